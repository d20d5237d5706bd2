"""How commands find a service, or all parts of one, and what becomes of what some of them refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from anystrat.cli.running_service import Services, configured_audit, running_services
from anystrat.cli.signals import _together
from anystrat.control.client import NotAnswering, RequestRefused
from anystrat.control.places import Access, write_owned
from anystrat.domain.cluster import ClusterView, PartLease, PartState
from anystrat.domain.errors import ConfigurationError

PLAIN = """\
source: {type: synthetic}
journal: {type: sqlite, path: state/journal.db}
control: {}
strategies: [{id: a, strategy_type: momentum, instruments: [1]}]
"""
CLUSTER = """\
cluster: {parts: 3}
source: {type: nats, url: "nats://localhost"}
journal: {type: postgres, url: "postgresql://localhost/x"}
control: {}
strategies: [{id: a, strategy_type: momentum, instruments: [1]}]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ANYSTRAT_CONTROL_URL", raising=False)
    path = tmp_path / "live.yaml"
    path.write_text("version: 1\n" + PLAIN)
    return path


def access(path: Path, port: int) -> None:
    write_owned(path, msgspec.json.encode(Access(f"http://127.0.0.1:{port}", "token", 1)))


def found(config: Path, part: int | None = None) -> dict[int | None, str]:
    with running_services(config, part) as services:
        return {number: str(client._client.base_url) for number, client in services.clients.items()}


def workers(config: Path) -> None:
    for number in (0, 1):
        access(config.parent / f"state/journal.worker-{number}-of-2.control.json", 8000 + number)


def test_of_workers_all_are_found_or_the_one_that_is_named(config: Path) -> None:
    workers(config)
    assert found(config) == {0: "http://127.0.0.1:8000", 1: "http://127.0.0.1:8001"}
    assert found(config, 1) == {1: "http://127.0.0.1:8001"}
    with pytest.raises(click.UsageError, match=r"no worker 7 of .* there are: 0, 1"):
        found(config, 7)


def test_of_one_process_there_is_one_and_no_parts(config: Path) -> None:
    with pytest.raises(NotAnswering, match="no service of"):
        found(config)
    access(config.parent / "state/journal.control.json", 8088)
    assert found(config) == {None: "http://127.0.0.1:8088"}
    with pytest.raises(click.UsageError, match="does not run in parts here"):
        found(config, 0)


def test_a_configuration_that_is_wrong_just_now_keeps_nobody_from_its_workers(config: Path) -> None:
    workers(config)
    config.write_text("version: 1\nstrategies: [")
    assert list(found(config)) == [0, 1]
    access(config.parent / "state/other.control.json", 9000)
    with pytest.raises(ConfigurationError):
        found(config)


def test_of_a_cluster_the_parts_of_this_machine_are_found_and_the_others_are_named(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Leases:
        def view(self) -> ClusterView:
            owners = ("here/1", "db2/2", "")
            return ClusterView(
                tuple(PartLease(k, owner, 1, 5.0, PartState.RUNNING) for k, owner in enumerate(owners)),
                ("here/1", "db2/2"),
            )

        def close(self) -> None: ...

    monkeypatch.setattr("anystrat.bootstrap.clustering.open_leases", lambda _configuration: Leases())
    config.write_text("version: 1\n" + CLUSTER)
    access(config.parent / ".anystrat-part-0.control.json", 8088)
    with running_services(config) as services:
        assert list(services.clients) == [0]
        assert [each.partition(":")[0] for each in services.missing] == ["part 1 on db2", "part 2 nobody has just now"]
        assert not services.complete
    with running_services(config, 0) as services:
        assert services.complete
    with pytest.raises(NotAnswering, match=r"part 1 on db2: ask there, or name .* port 8088"):
        found(config, 1)


class Client:
    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer

    def get(self, _path: str) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def asked(*answers: dict[str, Any] | Exception) -> tuple[dict[int | None, dict[str, Any]], list[str]]:
    services = Services({number: Client(each) for number, each in enumerate(answers)})  # type: ignore[misc]
    return services.each(lambda client: client.get("/")), services.missing


def test_a_strategy_that_one_worker_has_need_not_be_in_the_others() -> None:
    answers, missing = asked(RequestRefused("there is no strategy", "unknown_strategy"), {"done": True})
    assert (answers, missing) == ({1: {"done": True}}, [])


def test_what_nobody_has_done_is_an_error_and_what_one_has_not_done_is_told() -> None:
    unknown = RequestRefused("there is no strategy", "unknown_strategy")
    with pytest.raises(RequestRefused, match="there is no strategy"):
        asked(unknown, unknown)
    with pytest.raises(RequestRefused, match="is PAUSED"):
        asked(unknown, RequestRefused("is PAUSED", "not_possible"))
    _, missing = asked({"done": True}, NotAnswering("no service answers"))
    assert missing == ["part 1: no service answers"]


def test_an_audit_log_of_a_worker_is_named_also_when_it_runs_no_more(config: Path) -> None:
    log = config.parent / "state/journal.worker-1-of-2.audit.jsonl"
    log.parent.mkdir()
    log.touch()
    assert configured_audit(config, 1) == log
    for part in (None, 0):
        with pytest.raises(click.UsageError, match="here are the audit logs of the parts 1"):
            configured_audit(config, part)


def test_events_of_several_come_as_they_come_and_an_error_of_one_is_raised() -> None:
    def feed(name: str) -> Any:
        yield {"id": name}
        if name == "b":
            raise NotAnswering("gone")

    events = _together([feed("a"), feed("b")])
    with pytest.raises(NotAnswering, match="gone"):
        assert {each["id"] for each in events} <= {"a", "b"}
