"""The golden path: a configuration in YAML, a server with ticks, and signals on the subject where they are looked for."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from tests.integration.cli_project import Project
from tests.integration.live_run import LiveRun
from tests.servers import nats_server
from tests.streams import Stored, handled, make_stream, publish, stored

from anystrat.adapters.tick_files import open_ticks
from anystrat.adapters.tick_files.merge import sliced
from anystrat.testing.messages import columns_message, json_lines_message, json_message, packed_message
from anystrat.testing.servers import NatsServer

__all__ = ["nats_server"]

pytestmark = pytest.mark.server

FORMS = (json_message, columns_message, json_lines_message, packed_message)
CONFIG = """\
version: 1
run: {name: golden, shards: 2}
source: {type: nats, url: "%(url)s", stream: GOLDEN_TICKS, subject: "golden.ticks.>"}
brokers:
  out: {type: nats, url: "%(url)s", stream: GOLDEN_SIGNALS, subject: "golden.signals.{strategy_id}.{instrument_token}"}
journal: {type: sqlite, path: state/journal.db}
strategies:
  - id: mom
    strategy_type: momentum
    parameters: {lookback_periods: 3, threshold: 0.01, position_size: 10}
    instruments: [1, 2, 3]
    brokers: [out]
    per_instrument: true
  - id: cross
    strategy_type: sma_crossover
    parameters: {fast_periods: 3, slow_periods: 9}
    instruments: [1, 2, 3]
    brokers: [out]
    per_instrument: true
"""


def messages(ticks: Path, sizes: tuple[int, ...] = (1, 7, 3)) -> list[bytes]:
    """A file's ticks as messages of 1 to 7 ticks, in every form that is taken."""
    made: list[bytes] = []
    for block in open_ticks(ticks):
        at = 0
        while at < len(block):
            size = sizes[len(made) % len(sizes)]
            made.append(FORMS[len(made) % len(FORMS)](sliced(block, at, min(len(block), at + size))))
            at += size
    return made


def rows(found: list[Stored]) -> list[dict[str, object]]:
    """The signals of a stream; one strategy's on one instrument stay in their order, all others are made comparable."""
    return sorted(map(json.loads, (each.data for each in found)), key=_place)


def replayed(project: Project, broker: str, *arguments: object) -> list[dict[str, object]]:
    answer = project.run("replay", *arguments, "--signals", "expected.jsonl", "--reasons", "--quiet")
    assert answer.code == 0, answer
    lines = (Path.cwd() / "expected.jsonl").read_text().splitlines()
    return sorted((row for row in map(json.loads, lines) if row["broker"] == broker), key=_place)


def _place(row: dict[str, object]) -> tuple[object, ...]:
    return row["strategy_id"], row["instrument_token"], row["ts_ns"]


def test_from_a_stream_of_ticks_to_the_first_signal_and_to_all_that_a_replay_gives(
    project: Project, nats_server: NatsServer
):
    url = nats_server.url
    lines = ["ts_ns,instrument_token,price"]
    lines += [f"{1_704_186_900_000_000_000 + k * 10**9},{1 + k % 3},{100 + k * 7919 % 13}" for k in range(600)]
    ticks = project.write("ticks.csv", "\n".join(lines) + "\n")
    project.config(CONFIG % {"url": url})
    assert project.run("check").code == 0
    asyncio.run(make_stream(url, "GOLDEN_TICKS", ["golden.ticks.>"]))
    asyncio.run(make_stream(url, "GOLDEN_SIGNALS", ["golden.signals.>"]))
    asyncio.run(publish(url, "golden.ticks.a", messages(ticks)))
    expected = replayed(project, "out", "--ticks", "ticks.csv")
    assert len(expected) > 100

    with LiveRun(project.path) as run:
        run.until("first signal", lambda: asyncio.run(stored(url, "GOLDEN_SIGNALS")))
        first = asyncio.run(stored(url, "GOLDEN_SIGNALS"))[0]
        body = json.loads(first.data)
        assert first.id == body["signal_id"]
        assert first.subject == f"golden.signals.{body['strategy_id']}.{body['instrument_token']}"
        run.until("last tick", lambda: asyncio.run(handled(url, "GOLDEN_TICKS", "anystrat")))
        report = run.ended()

    found = asyncio.run(stored(url, "GOLDEN_SIGNALS"))
    assert rows(found) == expected
    assert [each.id for each in found] == [json.loads(each.data)["signal_id"] for each in found]
    assert report["ticks"] == {"received": 600, "processed": 600, "duplicates": 0, "dropped": {}, "shed": 0}
    in_order: dict[tuple[object, ...], int] = {}
    for row in map(json.loads, (each.data for each in found)):
        place = (row["strategy_id"], row["instrument_token"])
        assert row["ts_ns"] > in_order.get(place, 0)
        in_order[place] = row["ts_ns"]


def test_the_live_project_of_init_runs_on_nats_once_the_lines_that_it_names_are_changed(
    project: Project, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
):
    url = nats_server.url
    assert project.run("init", "demo").code == 0
    folder = project / "demo"
    monkeypatch.chdir(folder)
    live = folder / "live.yaml"
    text = live.read_text()
    for key in ("source", "out"):
        # What stands there is taken out, what waits behind a `#` takes its place.
        text = re.sub(rf"^( *){key}: .*\n", "", text, count=1, flags=re.MULTILINE)
        text, changed = re.subn(rf"^# ( *){key}: ", rf"\1{key}: ", text, count=1, flags=re.MULTILINE)
        assert changed == 1, key
    live.write_text(text.replace("nats://localhost:4222", url))
    assert project.run("check", "live.yaml").code == 0
    commands = re.findall(r"nats stream add (\w+) --subjects '([^']+)'", text)
    assert [name for name, _ in commands] == ["TICKS", "SIGNALS"]
    for name, subject in commands:
        asyncio.run(make_stream(url, name, [subject]))
    some = project.write("some.csv", "".join((folder / "ticks.csv").read_text().splitlines(keepends=True)[:4_001]))
    asyncio.run(publish(url, "ticks.demo", messages(some, sizes=(64,))))
    expected = replayed(project, "out", "live.yaml", "--ticks", some)
    assert expected

    with LiveRun(folder, "live.yaml") as run:
        run.until("last tick", lambda: asyncio.run(handled(url, "TICKS", "anystrat")))
        run.ended()
    assert rows(asyncio.run(stored(url, "SIGNALS"))) == expected
