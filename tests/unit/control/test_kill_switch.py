"""The kill switch: once it is pressed no send begins, whatever is queued, and after a restart neither."""

from __future__ import annotations

import asyncio
import time

import httpx

from anystrat.control.endpoint import ControlEndpoint
from anystrat.control.places import read_access

from .desk import OPERATOR, Desk, SlowSink, told

BURST = 1_000
ROWS = [
    {
        "id": "up",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 2, "threshold": 1e-9, "risk": {"dedupe_window_sec": 1e-6}},
        "instruments": [1],
        "brokers": ["out"],
    }
]


async def burst(desk):
    await desk.ticks(*(100 + k for k in range(BURST + 1)))
    assert desk.runner.health().brokers[0].queued > BURST - 100


def test_of_a_thousand_queued_signals_none_begins_to_be_sent_100_ms_after_the_press_nor_after_a_restart(tmp_path):
    """Over a real socket, with the file of tokens that commands of this machine find."""
    journal = {"type": "sqlite", "path": str(tmp_path / "journal.db")}

    async def pressed():
        sink = SlowSink(0.002)
        async with Desk(tmp_path, rows=ROWS, journal=journal, sink=sink, control={"listen": "127.0.0.1:0"}) as desk:
            endpoint = ControlEndpoint(desk.service, desk.configuration.control, desk.places, now_ns=time.time_ns)
            await endpoint.start()
            access = read_access(desk.places.access)
            headers = {"authorization": f"Bearer {access.token}"}
            async with httpx.AsyncClient(base_url=access.url, headers=headers, trust_env=False) as api:
                await burst(desk)
                while not sink.began:  # noqa: ASYNC110  a list tells nobody when it grows
                    await asyncio.sleep(0.001)
                before = time.perf_counter()
                answer = await api.put("/v1/kill", json={"on": True})
                assert answer.json()["on"] is True
                took = time.perf_counter() - before
                assert answer.json()["queued"] > BURST - 200
                await asyncio.sleep(0.15)
            await endpoint.stop()
            assert not desk.places.access.exists()
            assert len([each for each in sink.began if each <= before]) > 0
            assert [each - before for each in sink.began if each > before + 0.1] == []
            assert took < 1.0
            return desk.runner.health().brokers[0].queued

    left = asyncio.run(pressed())
    assert left > BURST - 200

    async def restarted():
        sink = SlowSink()
        async with Desk(tmp_path, rows=ROWS, journal=journal, sink=sink) as desk:
            assert desk.runner.killed
            await asyncio.sleep(0.12)
            assert sink.began == []
            assert (await desk.api.get("/v1/kill")).json() == {"on": True, "queued": left}
            desk.second = BURST + 1
            await desk.ticks(1, 2)
            assert (await desk.api.get("/v1/drops")).json()["counts"]["killed"] > 0
            assert (await desk.api.put("/v1/kill", json={"on": False})).json()["on"] is False
            while desk.runner.health().brokers[0].queued:
                await desk.settled()
            assert len(sink.began) == left

    asyncio.run(restarted())


def test_whoever_turns_it_last_has_it_their_way(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            presses = [desk.runner.kill(on=on) for on in (True, False, True)]
            await asyncio.gather(*presses)
            await desk.ticks(102)
            assert desk.runner.killed
            assert desk.runner.deliveries["out"]._killed
            assert desk.runner.shards[0].driver.engine.killed
            assert await desk.runner._parts.journal.killed()

    told(story)


def test_it_is_not_held_up_by_the_rate_of_requests(tmp_path):
    async def story():
        async with Desk(tmp_path, control={"requests_per_sec": 0.001}) as desk:
            codes = {(await desk.api.get("/v1/strategies")).status_code for _ in range(3)}
            assert 429 in codes
            assert (await desk.api.put("/v1/kill", json={"on": True})).json()["on"] is True

    told(story)


def test_before_the_journal_is_open_it_is_refused_and_not_lost(tmp_path):
    async def story():
        desk = Desk(tmp_path)
        async with desk.client(OPERATOR) as api:
            answer = await api.put("/v1/kill", json={"on": True})
            assert answer.status_code == 503
            assert "starting" in answer.json()["error"]["message"]

    told(story)
