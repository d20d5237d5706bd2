"""Who may ask, from where, how much and how often: whatever is in doubt is refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import time

import httpx
import pytest
from fastapi.routing import APIRoute

from anystrat.config import load_configuration
from anystrat.control.api import control_app
from anystrat.control.endpoint import ControlEndpoint, Patient
from anystrat.control.guard import LARGEST_BODY
from anystrat.control.places import FileRefused, read_access, write_owned
from anystrat.control.tokens import Scope, TokenBook, TokenRefused, fresh
from anystrat.domain.configuration import ControlSettings
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.health import EndpointRefused
from anystrat.domain.parameters import ParameterError

from .desk import OPERATOR, READER, Desk, told

#: Every path, what it takes, and a body that is right. A path that is missing here fails the test.
MATRIX = {
    ("GET", "/"): (None, None),
    ("GET", "/v1/health"): (None, None),
    ("GET", "/v1/ready"): ("read", None),
    ("GET", "/v1/status"): ("read", None),
    ("GET", "/v1/strategies"): ("read", None),
    ("GET", "/v1/strategy"): ("read", None),
    ("GET", "/v1/positions"): ("read", None),
    ("GET", "/v1/signals"): ("read", None),
    ("GET", "/v1/drops"): ("read", None),
    ("GET", "/v1/events"): ("read", None),
    ("GET", "/v1/kill"): ("read", None),
    ("GET", "/v1/dead-letters"): ("read", None),
    ("GET", "/v1/openapi.json"): ("read", None),
    ("PUT", "/v1/kill"): ("operate", {"on": False}),
    ("GET", "/v1/reduce-only"): ("read", None),
    ("PUT", "/v1/reduce-only"): ("operate", {"on": False}),
    ("POST", "/v1/commands"): ("operate", {"operation": "pause", "all": True}),
    ("POST", "/v1/reload"): ("operate", None),
    ("POST", "/v1/dead-letters/replay"): ("operate", {"all": True}),
}
PARAMETERS = {"/v1/strategy": {"id": "up"}, "/v1/events": {"follow": "false"}}


async def ask(client, method, path, body=None, **more):
    return await client.request(method, path, params=PARAMETERS.get(path), json=body, **more)


@pytest.mark.parametrize("anonymous", ["none", "read", "operate"])
def test_every_path_is_open_to_whom_it_says_and_to_nobody_else(tmp_path, anonymous):
    async def story():
        async with Desk(tmp_path, control={"anonymous": anonymous}) as desk:
            app = control_app(desk.service)
            there = {
                (method, each.path) for each in app.routes if isinstance(each, APIRoute) for method in each.methods
            }
            assert there == set(MATRIX)
            may = {None: {"none": 0, "read": 1, "operate": 2}[anonymous], READER: 1, OPERATOR: 2}
            for (method, path), (scope, body) in MATRIX.items():
                needed = {None: 0, "read": 1, "operate": 2}[scope]
                for token, can in may.items():
                    async with desk.client(token) as client:
                        status = (await ask(client, method, path, body)).status_code
                    refused = 401 if token is None else 403
                    assert status == refused if can < needed else status not in {401, 403}, (method, path, token)

    told(story)


def test_a_path_that_does_not_say_what_it_takes_is_closed_to_everybody(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            app = control_app(desk.service)

            @app.get("/v1/new")
            async def new():
                return {}

            desk.app._app = app
            async with desk.client(OPERATOR) as client:
                assert (await client.get("/v1/new")).status_code == 403

    told(story)


@pytest.mark.parametrize(
    "header",
    ["Bearer x", "Bearer anystrat_" + "A" * 43, "Basic YTpi", "Bearer", "", "bearer \x7f", "Bearer " + "é" * 43],
)
def test_a_wrong_token_is_no_token_even_where_none_is_needed(tmp_path, header):
    async def story():
        async with Desk(tmp_path) as desk, desk.client() as client:
            answer = await client.get("/v1/health", headers=[(b"authorization", header.encode("latin-1"))])
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")

    told(story)


def test_a_token_in_the_url_is_not_looked_at(tmp_path):
    async def story():
        async with Desk(tmp_path, control={"anonymous": "none"}) as desk, desk.client() as client:
            assert (await client.get("/v1/status", params={"token": OPERATOR})).status_code == 401

    told(story)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8088", 200),
        ("localhost", 200),
        ("[::1]:8088", 200),
        ("box.lan", 200),
        ("BOX.lan:1", 200),
        ("evil.com", 400),
        ("127.0.0.1.evil.com", 400),
        ("", 400),
        ("[evil.com]", 400),
    ],
)
def test_a_request_must_name_this_machine(tmp_path, host, status):
    async def story():
        async with Desk(tmp_path, control={"hosts": ["box.lan"]}) as desk, desk.client() as client:
            assert (await client.get("/v1/health", headers={"host": host})).status_code == status

    told(story)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.com"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8088"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(tmp_path, headers):
    async def story():
        async with Desk(tmp_path, control={"anonymous": "operate"}) as desk, desk.client() as client:
            for method, path, body in (("PUT", "/v1/kill", {"on": True}), ("GET", "/v1/status", None)):
                assert (await ask(client, method, path, body, headers=headers)).status_code == 403
            assert not desk.runner.killed
            own = {"origin": "http://127.0.0.1:8088", "sec-fetch-site": "same-origin"}
            assert (await client.put("/v1/kill", json={"on": True}, headers=own)).status_code == 200

    told(story)


def test_headers_that_are_there_twice_say_nothing(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk, desk.client() as client:
            twice = [("host", "127.0.0.1"), ("host", "evil.com")]
            assert (await client.get("/v1/health", headers=twice)).status_code == 400

    told(story)


def test_a_body_has_its_limit_whatever_its_length_is_said_to_be(tmp_path):
    async def chunks():
        for _ in range(LARGEST_BODY // 1024 + 1):
            yield b" " * 1024

    async def story():
        async with Desk(tmp_path) as desk:
            for body in (b" " * (LARGEST_BODY + 1), chunks()):
                answer = await desk.api.post("/v1/commands", content=body)
                assert answer.status_code == 413
            said = await desk.api.post("/v1/commands", content=b"{}", headers={"content-length": str(2**30)})
            assert said.status_code == 413
            deep = b"[" * 30_000 + b"]" * 30_000
            answer = await desk.api.post("/v1/commands", content=deep, headers={"content-type": "application/json"})
            assert answer.status_code in {400, 422}

    told(story)


def test_a_flood_is_turned_away_by_client(tmp_path):
    async def story():
        async with Desk(tmp_path, control={"requests_per_sec": 5}) as desk:
            answers = [await desk.api.get("/v1/health") for _ in range(30)]
            assert [each.status_code for each in answers[:5]] == [200] * 5
            assert answers[-1].status_code == 429
            assert int(answers[-1].headers["retry-after"]) >= 1
            async with desk.client(READER) as other:
                assert (await other.get("/v1/health")).status_code == 200

    told(story)


def test_every_answer_forbids_to_keep_sniff_frame_or_embed_it(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk, desk.client() as client:
            for path in ("/", "/v1/health", "/v1/nothing"):
                headers = (await client.get(path)).headers
                assert headers["cache-control"] == "no-store"
                assert headers["x-content-type-options"] == "nosniff"
                policy = headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy

    told(story)


class TestTokens:
    def test_only_hashes_are_kept_in_a_file_for_its_owner_alone(self, tmp_path):
        book = TokenBook(tmp_path / "tokens.json")
        token = book.make("alice", Scope.OPERATE, 1)
        text = book.path.read_text()
        assert token not in text
        assert hashlib.sha256(token.encode()).hexdigest() in text
        assert stat.S_IMODE(book.path.stat().st_mode) == 0o600
        assert book.known(token).name == "alice"
        assert book.known(fresh()) is None

    def test_a_revoked_token_is_good_for_nothing_at_once_in_a_running_service(self, tmp_path):
        running, other = TokenBook(tmp_path / "t.json"), TokenBook(tmp_path / "t.json")
        token = other.make("alice", Scope.READ, 1)
        assert running.known(token) is not None
        other.revoke("alice")
        assert running.known(token) is None

    def test_names_are_unique_plain_and_not_ours(self, tmp_path):
        book = TokenBook(tmp_path / "t.json")
        book.make("alice", Scope.READ, 1)
        for name in ("alice", "local", "anonymous", "", "a b", "-x", "a\n", "x" * 65):
            with pytest.raises(TokenRefused):
                book.make(name, Scope.READ, 1)
        with pytest.raises(TokenRefused, match="did you mean 'alice'"):
            book.revoke("alcie")

    def test_a_file_that_others_can_read_is_refused(self, tmp_path):
        book = TokenBook(tmp_path / "t.json")
        book.make("alice", Scope.READ, 1)
        book.path.chmod(0o640)
        os.utime(book.path, ns=(1, 1))
        with pytest.raises(FileRefused, match="chmod 600"):
            book.known(fresh())

    def test_a_link_is_not_followed(self, tmp_path):
        write_owned(tmp_path / "real", b"[]")
        (tmp_path / "t.json").symlink_to(tmp_path / "real")
        with pytest.raises(FileRefused):
            TokenBook(tmp_path / "t.json").tokens()

    def test_what_is_no_file_of_tokens_is_said_so(self, tmp_path):
        write_owned(tmp_path / "t.json", b'[{"name": 1}]')
        with pytest.raises(FileRefused, match="anystrat token new"):
            TokenBook(tmp_path / "t.json").tokens()


class TestListening:
    @pytest.mark.parametrize("listen", ["127.0.0.1:8088", "localhost:1", "[::1]:8088", "127.0.0.2:0"])
    def test_this_machines_own_addresses_need_nothing(self, listen):
        assert ControlSettings(listen).loopback

    @pytest.mark.parametrize("listen", ["0.0.0.0:8088", "192.168.1.5:80", "[::]:8088"])
    def test_any_other_needs_tls_or_the_word_insecure(self, listen):
        with pytest.raises(ParameterError, match="`insecure: true`"):
            ControlSettings(listen)
        assert not ControlSettings(listen, insecure=True).loopback

    @pytest.mark.parametrize("listen", ["8088", "127.0.0.1", "example.org:80", "127.0.0.1:99999", "127.0.0.1:x", ":1"])
    def test_what_is_no_address_and_port_is_refused(self, listen):
        with pytest.raises(ParameterError, match="ADDRESS:PORT"):
            ControlSettings(listen, insecure=True)

    def test_a_file_says_it_with_its_line(self, tmp_path):
        from anystrat.bootstrap import default_catalog

        path = tmp_path / "live.yaml"
        path.write_text("control:\n  listen: 0.0.0.0:8088\nstrategies: []\n")
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(path, default_catalog())
        problem = caught.value.problems[0]
        assert (problem.path, problem.line) == ("control.listen", 2)

    def test_beyond_this_machine_a_token_must_have_been_made_and_nobody_is_anonymous(self, tmp_path):
        async def story():
            settings = {"listen": "0.0.0.0:0", "insecure": True, "anonymous": "operate"}
            desk = Desk(tmp_path, control=settings)
            endpoint = ControlEndpoint(desk.service, desk.configuration.control, desk.places, now_ns=time.time_ns)
            with pytest.raises(EndpointRefused, match="anystrat token new"):
                await endpoint.start()
            async with desk.client() as nobody:
                assert (await nobody.get("/v1/status")).status_code == 401

        told(story)

    def test_a_port_in_use_is_said_in_words(self, tmp_path):
        async def story():
            desk = Desk(tmp_path, control={"listen": "127.0.0.1:0"})
            first = ControlEndpoint(desk.service, desk.configuration.control, desk.places, now_ns=time.time_ns)
            url = await first.start()
            taken = ControlSettings(url.removeprefix("http://"))
            second = ControlEndpoint(desk.service, taken, desk.places, now_ns=time.time_ns)
            with pytest.raises(EndpointRefused, match="name another port"):
                await second.start()
            await second.stop()
            # The file of the one that runs is still there.
            assert read_access(desk.places.access).url == url
            await first.stop()

        told(story)

    def test_whoever_never_ends_the_head_of_a_request_is_let_go(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Patient, "head_sec", 0.05)

        async def story():
            desk = Desk(tmp_path, control={"listen": "127.0.0.1:0"})
            endpoint = ControlEndpoint(desk.service, desk.configuration.control, desk.places, now_ns=time.time_ns)
            host, port = (await endpoint.start()).removeprefix("http://").split(":")
            whole = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
            for said in (b"", b"GET / HT", whole + b"GET"):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(said)
                async with asyncio.timeout(5):
                    try:
                        while await reader.read(4096):
                            pass
                    except ConnectionResetError:
                        pass
                writer.close()
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
                assert (await client.get("/v1/health")).json()["phase"] == "starting"
            await endpoint.stop()

        told(story)


def test_no_token_is_ever_in_the_log_the_audit_log_or_an_answer(tmp_path):
    said = []

    async def story():
        async with Desk(tmp_path) as desk:
            desk.service.on_action = lambda *each: said.append(repr(each))
            for method, path in MATRIX:
                answer = await ask(desk.api, method, path, MATRIX[method, path][1])
                said.append(answer.text + str(answer.headers))
            said.append(desk.places.audit.read_text())

    told(story)
    text = json.dumps(said)
    assert "ada" in text
    assert OPERATOR not in text
    assert hashlib.sha256(OPERATOR.encode()).hexdigest() not in text
