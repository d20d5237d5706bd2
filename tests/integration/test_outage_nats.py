"""The server that signals go to is away for a while, and they are accepted meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.integration.cli_project import Project
from tests.integration.live_run import LiveRun
from tests.servers import own_nats_server
from tests.streams import make_stream, stored

from anystrat.testing.servers import NatsServer

__all__ = ["own_nats_server"]

pytestmark = pytest.mark.server

STEP_NS = 4_000_000_000
PRICES = [100 + (k * 7919 % 13) for k in range(90)]
#: The server goes before the second part of the ticks, and is back for the third.
PARTS = (PRICES[:30], PRICES[30:60], PRICES[60:])
CONFIG = """\
version: 1
run: {name: outage}
log: {format: json}
metrics: {port: 0}
source: {type: stdin}
brokers:
  patient: {type: nats, url: "%(url)s", stream: SIGNALS, subject: "signals.patient", backoff_sec: 0.05, max_backoff_sec: 0.2}
  urgent: {type: nats, url: "%(url)s", stream: SIGNALS, subject: "signals.urgent", backoff_sec: 0.05, max_backoff_sec: 0.2, expire_sec: 5}
journal: {type: sqlite, path: state/journal.db}
strategies:
  - id: mom
    strategy_type: momentum
    parameters: {lookback_periods: 3, threshold: 0.01, position_size: 10}
    instruments: [1]
    brokers: [patient, urgent]
"""


def lines(part: int) -> str:
    first = sum(map(len, PARTS[:part]))
    return "".join(
        json.dumps({"ts_ns": 1_704_186_900_000_000_000 + at * STEP_NS, "instrument_token": 1, "price": price}) + "\n"
        for at, price in enumerate(PARTS[part], first)
    )


def test_signals_of_an_outage_keep_their_order_and_those_that_are_too_old_are_counted_and_not_sent(
    project: Project, own_nats_server: NatsServer
):
    server = own_nats_server
    asyncio.run(make_stream(server.url, "SIGNALS", ["signals.>"]))
    project.config(CONFIG % {"url": server.url})
    project.write("ticks.jsonl", lines(0) + lines(1) + lines(2))
    answer = project.run("replay", "--ticks", "ticks.jsonl", "--signals", "expected.jsonl", "--reasons", "--quiet")
    assert answer.code == 0, answer
    expected = [json.loads(line) for line in (project / "expected.jsonl").read_text().splitlines()]
    starts = [json.loads(lines(part).splitlines()[0])["ts_ns"] for part in (1, 2)]

    def of(broker: str, *parts: int) -> list[dict[str, Any]]:
        placed = [(sum(row["ts_ns"] >= start for start in starts), row) for row in expected]
        return [row for part, row in placed if row["broker"] == broker and part in parts]

    def sent(broker: str) -> list[dict[str, Any]]:
        found = asyncio.run(stored(server.url, "SIGNALS"))
        return [json.loads(each.data) for each in found if each.subject == f"signals.{broker}"]

    with LiveRun(project.path) as run:

        def brokers() -> dict[str, dict[str, Any]]:
            return {each["broker"]: each for each in run.ready()[1]["brokers"]}

        run.write(lines(0))
        first = len(of("patient", 0))
        assert first > 10
        run.until("delivery", lambda: all(each["acked"] == first for each in brokers().values()))
        server.kill()
        run.write(lines(1))
        run.until("expiry", lambda: brokers()["urgent"]["expired"] == len(of("urgent", 1)))
        assert brokers()["patient"]["queued"] == len(of("patient", 1))

        def away() -> bool:
            # While the breaker is half open, a server is tried that may have come back.
            status, how = run.ready()
            return status == 503 and any("patient" in part for part in how["troubles"])

        run.until("a readiness that names the broker", away)
        server.start()
        run.until("delivery after the outage", lambda: not brokers()["patient"]["queued"] and run.ready()[0] == 200)
        assert sent("patient") == of("patient", 0, 1)
        run.write(lines(2))
        report = run.drained()
        said = run.events("signals expired unsent")

    assert sent("patient") == of("patient", 0, 1, 2)
    assert sent("urgent") == of("urgent", 0, 2)
    ends = {each["broker"]: each for each in report["brokers"]}
    assert (ends["patient"]["acked"], ends["patient"]["expired"]) == (len(of("patient", 0, 1, 2)), 0)
    assert (ends["urgent"]["acked"], ends["urgent"]["expired"]) == (len(of("urgent", 0, 2)), len(of("urgent", 1)))
    assert {each["broker"] for each in said} == {"urgent"}
    assert sum(each["count"] for each in said) == len(of("urgent", 1))
    for one in ends.values():
        assert one["dead"] == one["unknown"] == one["queued"] == 0
