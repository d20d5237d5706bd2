"""A real runner whose ticks come from the test, and the control API before it, in one process."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace

import httpx
import numpy as np

from anystrat.adapters.system_clock import SystemClock
from anystrat.bootstrap import default_wiring
from anystrat.bootstrap.reloading import Reloader
from anystrat.bootstrap.running import RunOptions, build_runner
from anystrat.config import load_configuration
from anystrat.control.audit import AuditLog
from anystrat.control.endpoint import guarded
from anystrat.control.places import places_of
from anystrat.control.service import ControlService
from anystrat.control.stream import OutcomeStream
from anystrat.control.tokens import Scope, Token, TokenBook, fresh, hashed
from anystrat.domain.delivery import TAKEN, Idempotent
from anystrat.domain.health import Phase
from anystrat.domain.intake import TickBatch
from anystrat.runner.delivery import BrokerDelivery
from anystrat.runner.runner import Runner
from anystrat.testing.ticks import columns, tick

ROWS = [
    {
        "id": "up",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 2, "threshold": 0.0001, "risk": {"dedupe_window_sec": 1e-6}},
        "instruments": [1],
        "brokers": ["out"],
    },
    {
        "id": "calm",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 2, "threshold": 0.0001, "risk": {"cooldown_sec": 1000}},
        "instruments": [1, 2],
    },
]
OPERATOR, READER = fresh(), fresh()
BASE = "http://127.0.0.1:8088"


class HandSource:
    """Gives what the test puts in."""

    resumable = True

    def __init__(self):
        self.queue = asyncio.Queue()
        self.at = -1

    def put(self, *ticks):
        self.queue.put_nowait(columns(ticks))

    async def batches(self, after):
        self.at = after.get("hand", -1)
        while (block := await self.queue.get()) is not None:
            offsets = np.arange(self.at + 1, self.at + 1 + len(block))
            self.at = int(offsets[-1])
            yield TickBatch("hand", block, offsets, self.at)

    async def acknowledge(self, partition, offset):
        pass

    async def close(self):
        pass


class SlowSink:
    """Sends one by one, and notes when each send began."""

    guarantee = Idempotent()
    largest_group = 1

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.began = []

    async def open(self):
        pass

    async def send(self, signals):
        self.began.append(time.perf_counter())
        await asyncio.sleep(self.seconds)
        return [TAKEN] * len(signals)

    async def has(self, signals):
        return [None] * len(signals)

    async def close(self):
        pass


def mapping_of(rows=None, control=None, journal=None, account=None):
    return {
        "version": 1,
        "run": {"name": "desk"},
        "control": {"requests_per_sec": 10_000, **(control or {})},
        "source": {"type": "synthetic"},
        "brokers": {"out": {"type": "log", "attempts": 1}},
        "journal": journal or {"type": "memory"},
        "strategies": rows or ROWS,
        **({} if account is None else {"account": account}),
    }


def configured(folder, rows=None, control=None, journal=None, account=None):
    """From a file, so that it can be read again."""
    wiring = default_wiring()
    path = folder / "live.json"
    path.write_text(json.dumps(mapping_of(rows, control, journal, account)))
    return load_configuration(path, wiring.catalog, environ={}), wiring


class Desk:
    """`async with Desk(folder) as desk`: `desk.api` asks as an operator, `desk.ticks(…)` is handled when it returns."""

    def __init__(self, folder, *, rows=None, control=None, journal=None, sink=None, account=None):
        self.configuration, wiring = configured(folder, rows, control, journal, account)
        self.sink = sink or SlowSink()
        self.stream = OutcomeStream("boot", self.configuration.control.events)
        clock = SystemClock()
        built = build_runner(self.configuration, wiring, RunOptions(clock, stream=self.stream))
        parts = built._parts

        def slow(each, on_dead):
            if each is None or each.broker != "out":
                return each
            return BrokerDelivery(
                each.broker, "slow", self.sink, parts.journal, clock=clock, random=random.Random(0),
                options=self.configuration.brokers["out"].delivery, on_dead=on_dead, listener=parts.listener,
            )  # fmt: skip

        def deliveries(on_dead):
            return [slow(each, on_dead) for each in parts.deliveries(on_dead)]

        def left_over(broker, on_dead):
            return slow(parts.left_over(broker, on_dead), on_dead)

        self.source = HandSource()
        self.runner = Runner(
            replace(parts, deliveries=deliveries, left_over=left_over, source=self.source, drain_sec=0.2)
        )
        self.places = places_of(self.configuration)
        tokens = [
            Token("ada", Scope.OPERATE, hashed(OPERATOR), 0),
            Token("bob", Scope.READ, hashed(READER), 0),
        ]
        self.file = folder / "live.json"
        reload = Reloader(self.file, wiring.catalog, self.configuration, self.runner)
        self.service = ControlService(self.runner, self.stream, AuditLog(self.places.audit), reload)
        self.book = TokenBook(self.places.tokens, tokens)
        self.app = guarded(self.service, self.configuration.control, self.book)
        self.second = 0

    async def __aenter__(self):
        self._running = asyncio.create_task(self.runner.run())
        while self.runner.phase is not Phase.RUNNING:
            assert not self._running.done(), self._running.result()
            await asyncio.sleep(0)
        self.api = self.client(OPERATOR)
        return self

    async def __aexit__(self, *_):
        await self.api.aclose()
        self.runner.stop("the test ends")
        await self._running

    def client(self, token=None, **headers):
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 1))
        return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)

    async def ticks(self, *prices, token=1):
        """One a second, handled and committed when this returns."""
        for price in prices:
            self.second += 1
            self.source.put(tick(token, price, self.second))
        await self.settled()

    async def settled(self):
        await asyncio.sleep(0.001)
        while self.runner.accounts.received < self.second:  # noqa: ASYNC110  counts are plain values
            await asyncio.sleep(0)
        await self.runner._settled()

    def states(self):
        return {
            (each.strategy_id, each.broker): each.state.name
            for shard in self.runner.shards
            for each in shard.driver.engine.executors
        }


def told(story):
    """Run a coroutine function's story to its end."""
    return asyncio.run(story())
