"""What is posted, what each answer means, and where nothing is ever posted to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.web_server import NAME, Certificates, Request, WebServer, reply

from anystrat.adapters.sink_webhook import WebhookSink
from anystrat.adapters.webhook import signature, signing_key
from anystrat.domain.configuration import Secret
from anystrat.domain.delivery import SendResult, SinkUnavailable, Verdict
from anystrat.domain.journal import OutboxSignal
from anystrat.domain.parameters import ParameterError
from anystrat.domain.webhook import WebhookBroker

CANARY = "s3cr3t-canary"
NOW = 1_700_000_000


class Clock:
    def now_ns(self) -> int:
        return NOW * 1_000_000_000 + 999


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


async def here(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def signal(number: int = 1) -> OutboxSignal:
    body = {"signal_id": f"{number:032x}", "quantity": 10}
    return OutboxSignal("desk", number, body["signal_id"], "strat", 7, 0, 0, json.dumps(body).encode())  # type: ignore[arg-type]


def options(server: WebServer, certificates: Certificates | None, **more: object) -> WebhookBroker:
    given: dict[str, object] = {"url": Secret(f"https://{NAME}:{server.port}/signals?desk=7"), "allow_private": True}
    if certificates is not None:
        given["ca_file"] = certificates.ca_file
    return WebhookBroker(**(given | more))  # type: ignore[arg-type]


def sent(
    certificates: Certificates, answer: Callable[[Request], bytes | None], count: int = 1, **more: object
) -> tuple[list[SendResult], WebServer]:
    async def main() -> tuple[list[SendResult], WebServer]:
        async with WebServer(certificates.server, answer) as server:
            sink = WebhookSink(options(server, certificates, **more), 2.0, Clock(), here)
            await sink.open()
            try:
                return [(await sink.send([signal(number + 1)]))[0] for number in range(count)], server
            finally:
                await sink.close()

    return asyncio.run(main())


class TestTheRequest:
    def test_is_the_signal_under_its_id_to_the_name(self, certificates) -> None:
        (result,), server = sent(
            certificates, lambda _: reply(204), token=Secret(CANARY), headers={"X-Desk": Secret("7")}
        )
        (request,) = server.requests
        assert result.verdict is Verdict.ACKED
        assert (request.method, request.target, request.body) == ("POST", "/signals?desk=7", signal().body)
        assert request.headers["host"] == f"{NAME}:{server.port}"
        assert request.headers["idempotency-key"] == request.headers["webhook-id"] == f"{1:032x}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["authorization"] == f"Bearer {CANARY}"
        assert request.headers["x-desk"] == "7"
        assert set(server.names) <= {NAME}
        assert NAME in server.names

    def test_is_signed_over_id_time_and_body(self, certificates) -> None:
        _, server = sent(certificates, lambda _: reply(200), secret=Secret("key"))
        (request,) = server.requests
        told = request.headers["webhook-timestamp"]
        assert told == str(NOW)
        expected = hmac.new(b"key", f"{1:032x}.{told}.".encode() + request.body, hashlib.sha256).digest()
        assert request.headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()

    def test_is_not_signed_without_a_secret(self, certificates) -> None:
        _, server = sent(certificates, lambda _: reply(200))
        assert "webhook-signature" not in server.requests[0].headers

    def test_a_user_in_the_address_logs_in(self, certificates) -> None:
        async def main() -> Request:
            async with WebServer(certificates.server) as server:
                url = Secret(f"https://me:p%40ss@{NAME}:{server.port}/")
                sink = WebhookSink(options(server, certificates, url=url), 2.0, Clock(), here)
                await sink.open()
                await sink.send([signal()])
                await sink.close()
                return server.requests[0]

        request = asyncio.run(main())
        assert request.headers["authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
        assert request.target == "/"

    def test_goes_over_one_connection_as_long_as_that_stands(self, certificates) -> None:
        _, server = sent(certificates, lambda _: reply(200, b"taken"), count=5)
        assert len(server.requests) == 5
        assert server.connections == 2  # one was to see whether the server is there

    def test_the_published_example_of_standard_webhooks_is_signed_as_there(self) -> None:
        key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        body = b'{"test": 2432232314}'
        made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class TestTheAnswer:
    @pytest.mark.parametrize(
        ("answer", "verdict", "patience", "said"),
        [
            (reply(200), Verdict.ACKED, 0.0, ""),
            (reply(202), Verdict.ACKED, 0.0, ""),
            (reply(302, Location="https://169.254.169.254/"), Verdict.REJECTED, 0.0, "redirects are not followed"),
            (reply(308), Verdict.REJECTED, 0.0, "redirects are not followed"),
            (reply(400), Verdict.REJECTED, 0.0, "HTTP 400 Bad Request"),
            (reply(404), Verdict.REJECTED, 0.0, "HTTP 404"),
            (reply(422), Verdict.REJECTED, 0.0, "HTTP 422"),
            (reply(408), Verdict.FAILED, 0.0, "HTTP 408"),
            (reply(409), Verdict.FAILED, 0.0, "HTTP 409"),
            (reply(429), Verdict.FAILED, 0.0, "HTTP 429"),
            (reply(429, Retry_After="7"), Verdict.FAILED, 7.0, "HTTP 429"),
            (reply(429, Retry_After="0"), Verdict.FAILED, 0.1, "HTTP 429"),
            (reply(429, Retry_After="Tue, 14 Nov 2023 22:13:50 GMT"), Verdict.FAILED, 30.0, "HTTP 429"),
            (reply(429, Retry_After="soon"), Verdict.FAILED, 0.0, "HTTP 429"),
            (reply(503, Retry_After="3"), Verdict.FAILED, 3.0, "HTTP 503"),
            (reply(503), Verdict.UNKNOWN, 0.0, "HTTP 503"),
            (reply(500, b"secret " + CANARY.encode()), Verdict.UNKNOWN, 0.0, "HTTP 500 Internal Server Error"),
            (reply(799), Verdict.UNKNOWN, 0.0, "HTTP 799"),
            (None, Verdict.UNKNOWN, 0.0, "did not answer"),
            (b"what\r\n\r\n", Verdict.UNKNOWN, 0.0, "did not answer"),
        ],
    )
    def test_means_what_its_status_says(self, certificates, answer, verdict, patience, said) -> None:
        (result,), server = sent(certificates, lambda _: answer)
        assert result.verdict is verdict
        assert result.retry_after_sec == pytest.approx(patience, abs=1e-3)
        assert said in result.reason
        assert CANARY not in result.reason
        assert len(server.requests) == 1

    def test_that_does_not_come_in_time_leaves_the_outcome_unknown(self, certificates) -> None:
        async def main() -> SendResult:
            async with WebServer(certificates.server, lambda _: b"") as server:
                sink = WebhookSink(options(server, certificates), 0.3, Clock(), here)
                await sink.open()
                (result,) = await sink.send([signal()])
                await sink.close()
                return result

        result = asyncio.run(main())
        assert result.verdict is Verdict.UNKNOWN

    def test_401_is_no_fault_of_the_signal(self, certificates) -> None:
        with pytest.raises(SinkUnavailable, match=r"desk\.example refuses the login: HTTP 401 Unauthorized"):
            sent(certificates, lambda _: reply(401))

    def test_with_an_endless_body_is_read_no_further_than_is_useful(self, certificates) -> None:
        (result,), _ = sent(certificates, lambda _: reply(200, b"x" * 500_000))
        assert result.verdict is Verdict.ACKED


class TestWhereNothingGoes:
    def opened(self, options: WebhookBroker, resolve: object = here) -> None:
        asyncio.run(WebhookSink(options, 1.0, Clock(), resolve).open())  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "host", ["169.254.169.254", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[::1]", "127.0.0.1", "10.0.0.1"]
    )
    def test_an_address_inside_is_refused_before_anything_is_sent(self, host) -> None:
        from anystrat.adapters.pinned_network import resolve

        with pytest.raises(SinkUnavailable, match=r"cannot be reached: .* is "):
            self.opened(WebhookBroker(Secret(f"https://{host}/")), resolve)

    def test_a_name_that_comes_to_mean_an_address_inside_is_refused_too(self, certificates) -> None:
        """The first look-up is good; the server then cuts the line, and the next connection is looked up anew."""
        meanings = [["127.0.0.1"], ["127.0.0.1"], ["169.254.169.254"]]

        async def rebinding(_host: str, _port: int) -> list[str]:
            return meanings.pop(0)

        async def main() -> None:
            async with WebServer(certificates.server, lambda _: reply(200, Connection="close")) as server:
                sink = WebhookSink(options(server, certificates), 2.0, Clock(), rebinding)
                await sink.open()
                assert (await sink.send([signal()]))[0].verdict is Verdict.ACKED
                with pytest.raises(SinkUnavailable, match="link-local"):
                    await sink.send([signal(2)])
                await sink.close()
                assert len(server.requests) == 1

        asyncio.run(main())

    def test_a_server_that_is_not_there_costs_no_attempt(self) -> None:
        with pytest.raises(SinkUnavailable, match=r"the webhook to desk\.example cannot be reached"):
            self.opened(WebhookBroker(Secret(f"https://{NAME}:1/{CANARY}"), allow_private=True))

    def test_a_name_without_an_address_is_named(self) -> None:
        async def nobody(_host: str, _port: int) -> list[str]:
            raise OSError("no such name")

        with pytest.raises(SinkUnavailable, match=r"desk\.example has no address"):
            self.opened(WebhookBroker(Secret(f"https://{NAME}/")), nobody)

    def test_a_certificate_of_somebody_else_is_refused(self, certificates, tmp_path) -> None:
        other = Certificates(tmp_path)

        async def main() -> None:
            async with WebServer(certificates.server) as server:
                sink = WebhookSink(options(server, other), 2.0, Clock(), here)
                with pytest.raises(SinkUnavailable, match="its certificate is not valid"):
                    await sink.open()
                assert not server.requests

        asyncio.run(main())

    def test_certificates_that_cannot_be_read_are_named(self, tmp_path) -> None:
        with pytest.raises(SinkUnavailable, match=r"ca_file: .*nowhere\.pem cannot be used"):
            self.opened(WebhookBroker(Secret(f"https://{NAME}/"), ca_file=tmp_path / "nowhere.pem"))


class TestSecrets:
    def test_are_in_no_log_and_in_no_reason(self, certificates, caplog) -> None:
        caplog.set_level(logging.DEBUG)
        secrets = {"token": Secret(CANARY), "secret": Secret(CANARY + "2"), "headers": {"X-Key": Secret(CANARY + "3")}}
        said = []
        for answer in (reply(500, CANARY.encode()), reply(302), reply(404), None):
            (result,), server = sent(certificates, lambda _, answer=answer: answer, **secrets)  # type: ignore[misc]
            assert CANARY in server.requests[0].headers["authorization"]
            said.append(result.reason)
        assert CANARY not in "\n".join([*said, caplog.text])


class TestTheOptions:
    @pytest.mark.parametrize(
        ("url", "more", "field", "said"),
        [
            ("http://desk.example/", {}, "url", "must begin with https://; plain http needs"),
            ("ftp://desk.example/", {}, "url", "must begin with"),
            ("https:///path", {}, "url", "must be an address"),
            ("https://a:99999/", {}, "url", "must be an address"),
            ("https://desk.example/ x", {}, "url", "must be an address"),
            ("https://desk.example\\@evil.example/", {}, "url", "must be an address"),
            ("https://desk.example/#part", {}, "url", "must be an address"),
            ("https://münchen.example/", {}, "url", "in ASCII"),
            ("https://evil.example/", {"hosts": ("desk.example",)}, "url", "names a host that `hosts` does not list"),
            ("https://desk.example.evil/", {"hosts": ("*.desk.example",)}, "url", "does not list"),
            ("https://desk.example@evil/", {"hosts": ("desk.example",)}, "url", "does not list"),
            ("https://me:x@a/", {"token": Secret("t")}, "url", "keep one of them"),
            ("https://a/", {"headers": {"Host": Secret("b")}}, "headers", "Host is set by the webhook itself"),
            ("https://a/", {"headers": {"X Y": Secret("b")}}, "headers", "no name of a header"),
            ("https://a/", {"headers": {"X": Secret("a\r\nY: b")}}, "headers", "printable ASCII"),
            ("https://a/", {"token": Secret("a\nb")}, "token", "printable ASCII"),
        ],
    )
    def test_that_cannot_be_meant_are_refused(self, url, more, field, said) -> None:
        with pytest.raises(ParameterError) as refused:
            WebhookBroker(Secret(url), **more)
        assert refused.value.field == field
        assert said in refused.value.message

    @pytest.mark.parametrize("host", ["desk.example", "DESK.example.", "a.b.example"])
    def test_a_listed_host_is_taken(self, host) -> None:
        assert WebhookBroker(Secret(f"https://{host}/"), hosts=("desk.example", "*.b.example"))


def test_plain_http_is_for_the_own_network(tmp_path: Path) -> None:
    async def main() -> None:
        async with WebServer(None) as server:
            url = Secret(f"http://{NAME}:{server.port}/")
            sink = WebhookSink(options(server, None, url=url), 2.0, Clock(), here)
            await sink.open()
            assert (await sink.send([signal()]))[0].verdict is Verdict.ACKED
            await sink.close()

    asyncio.run(main())
