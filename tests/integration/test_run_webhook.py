"""A run posts its signals, and tells people, over real connections."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.integration.cli_project import clean, command_line
from tests.web_server import Request, WebServer, reply

from anystrat.bootstrap import build_engine, default_wiring
from anystrat.bootstrap.notifying import notifier
from anystrat.bootstrap.observing import observation
from anystrat.bootstrap.running import RunOptions, build_runner, system_clock
from anystrat.config import configuration_from_mapping
from anystrat.domain.configuration import Configuration
from anystrat.domain.journal import Fate
from anystrat.strategies.builtin import builtin_catalog


def configured(port: int) -> Configuration:
    here = {"url": f"http://127.0.0.1:{port}/signals", "allow_private": True, "secret": "key"}
    row = {
        "id": "s",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 5, "threshold": 0.001, "risk": {"cooldown_sec": 10}},
        "instruments": [1],
        "brokers": ["out"],
    }
    mapping = {
        "source": {"type": "synthetic", "ticks": 2_000, "seed": 3, "instruments": [1], "pace": "max"},
        "brokers": {"out": {"type": "webhook", **here, "attempts": 2, "backoff_sec": 0.01}},
        "notify": {**here, "url": f"http://127.0.0.1:{port}/people", "on": ["strategy", "dead_letter", "service"]},
        "log": {"level": "error"},
        "strategies": [row],
    }
    return configuration_from_mapping(mapping, builtin_catalog())


def ran(answer: Callable[[Request], bytes]) -> tuple[list[Request], list[Request], dict[Fate, int]]:
    """What was posted as signals and to people, and what became of the signals."""

    async def main() -> tuple[list[Request], list[Request], dict[Fate, int]]:
        async with WebServer(None, answer) as server:
            configuration, wiring, clock = configured(server.port), default_wiring(), system_clock()
            build_engine(configuration, wiring)
            watching = observation(configuration, clock=clock, version="0")
            told = notifier(configuration, watching, clock=clock)
            assert told is not None
            await told.start()
            try:
                runner = build_runner(configuration, wiring, RunOptions(clock, observation=watching, notifier=told))
                await runner.run()
            finally:
                await told.stop()
                watching.close()
            by_place = [[each for each in server.requests if each.target == name] for name in ("/signals", "/people")]
            health = runner.deliveries["out"].health()
            return (
                by_place[0],
                by_place[1],
                {Fate.ACKED: health.acked, Fate.REJECTED: health.rejected, Fate.DEAD: health.dead},
            )

    return asyncio.run(main())


def test_every_signal_is_posted_once_and_the_end_is_told() -> None:
    signals, people, fates = ran(lambda _: reply(200))
    assert len(signals) == fates[Fate.ACKED] > 5
    assert len({each.headers["idempotency-key"] for each in signals}) == len(signals)
    assert [json.loads(each.body)["event"] for each in people] == ["service.stopped"]
    assert "webhook-signature" in people[0].headers


def test_a_dead_letter_and_the_pause_that_follows_are_told() -> None:
    signals, people, fates = ran(lambda request: reply(429 if request.target == "/signals" else 200))
    assert fates[Fate.DEAD] >= 1
    assert len(signals) >= 2
    events = [json.loads(each.body)["event"] for each in people]
    assert {"dead_letter", "strategy.paused", "service.stopped"} <= set(events)


def test_the_command_tells_of_its_end(tmp_path: Path) -> None:
    told: list[dict[str, str]] = []

    class Keeping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeping) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "live.yaml").write_text(
            "run: {name: desk}\nsource: {type: synthetic, ticks: 100, instruments: [1]}\n"
            f"notify: {{url: 'http://127.0.0.1:{server.server_port}/', allow_private: true}}\nstrategies: []\n"
        )
        ended = subprocess.run(
            command_line("run", "--speed", "scalar", "live.yaml"),
            cwd=tmp_path,
            env=clean(),
            capture_output=True,
            check=False,
        )
        server.shutdown()
    assert ended.returncode == 0, ended.stderr.decode()
    assert [(each["run"], each["event"], each["text"]) for each in told] == [
        ("desk", "service.stopped", "The service stopped: the source ended")
    ]
