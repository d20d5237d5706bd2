"""What operators ask for happens, among the ticks, and is written down with their names."""

from __future__ import annotations

import pytest

from anystrat.control.audit import verified
from anystrat.domain.delivery import SendResult, Verdict
from anystrat.domain.events import Command
from anystrat.domain.health import ProcessHealth, ProcessState
from anystrat.domain.inputs import decoded_inputs

from .desk import Desk, SlowSink, told


def test_health_is_for_everybody_and_says_where_the_service_stands(tmp_path):
    async def story():
        async with Desk(tmp_path, control={"anonymous": "none"}) as desk, desk.client() as nobody:
            assert (await nobody.get("/v1/health")).json() == {"alive": True, "phase": "running"}
            assert (await nobody.get("/v1/ready")).status_code == 401
            ready = (await desk.api.get("/v1/ready")).json()
            # Nothing was read yet, which a source that has said nothing cannot be blamed for.
            assert ready["run"] == "desk"
            assert ready["phase"] == "running"

    told(story)


def test_strategies_are_listed_with_their_states_and_counters(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            found = (await desk.api.get("/v1/strategies")).json()["strategies"]
            assert [(one["strategy_id"], one["broker"], one["state"], one["signals"]) for one in found] == [
                ("up", "out", "ACTIVE", 1),
                ("calm", "paper", "ACTIVE", 1),
            ]
            one = (await desk.api.get("/v1/strategy", params={"id": "up"})).json()["strategies"]
            assert [each["broker"] for each in one] == ["out"]

    told(story)


def test_an_isolated_strategy_is_shown_with_its_process(tmp_path):
    process = ProcessHealth("up", ProcessState.READY, 7, 2, 61_000_000, "its process did not answer")

    class Processes:
        def health(self):
            return (process,)

        def news(self):
            return ()

        def close(self):
            pass

    async def story():
        async with Desk(tmp_path) as desk:
            desk.runner._parts.processes = Processes()
            up, calm = (await desk.api.get("/v1/strategies")).json()["strategies"]
            assert up["process"] == {
                "state": "ready",
                "pid": 7,
                "restarts": 2,
                "resident_bytes": 61_000_000,
                "problem": "its process did not answer",
            }
            assert calm["process"] is None
            one = (await desk.api.get("/v1/strategy", params={"id": "up"})).json()["strategies"]
            assert [each["process"]["restarts"] for each in one] == [2]

    told(story)


def test_a_paused_strategy_decides_nothing_until_it_is_resumed(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            answer = await desk.api.post("/v1/commands", json={"operation": "pause", "strategy": "up"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["done"] is True
            assert [one["state"] for one in answer.json()["strategies"]] == ["PAUSED"]
            await desk.ticks(102)
            assert desk.states()["up", "out"] == "PAUSED"
            await desk.api.post("/v1/commands", json={"operation": "resume", "strategy": "up"})
            await desk.ticks(103)
            assert desk.states()["up", "out"] == "ACTIVE"
            signals = (await desk.api.get("/v1/signals", params={"strategy": "up"})).json()["signals"]
            assert [each["price"] for each in signals] == ["103", "101"]

    told(story)


def test_a_stopped_strategy_begins_anew_once_it_is_enabled_with_its_windows_and_positions(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101, 102)
            for operation, state in (("stop", "STOPPED"), ("enable", "WARMUP")):
                order = {"operation": operation, "strategy": "up", "broker": "out"}
                answer = (await desk.api.post("/v1/commands", json=order)).json()
                assert [one["state"] for one in answer["strategies"]] == [state]
            held = desk.runner.shards[0].driver.engine.executors[0].portfolio.positions
            assert held[1] > 0
            await desk.ticks(103)
            assert desk.states()["up", "out"] == "ACTIVE"
            assert (await desk.api.get("/v1/signals")).json()["signals"][0]["price"] == "103"

    told(story)


def test_one_word_is_for_all_and_moves_those_that_it_can(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            await desk.api.post("/v1/commands", json={"operation": "stop", "strategy": "calm"})
            answer = (await desk.api.post("/v1/commands", json={"operation": "pause", "all": True})).json()
            assert answer["done"] is True
            assert desk.states() == {("up", "out"): "PAUSED", ("calm", "paper"): "STOPPED"}

    told(story)


def test_what_cannot_be_is_refused_with_the_reason_and_the_nearest_name(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            cases = [
                ({"operation": "pause", "strategy": "upp"}, 404, "did you mean 'up'?"),
                ({"operation": "pause", "strategy": "up", "broker": "ou"}, 404, "did you mean 'out'?"),
                ({"operation": "resume", "strategy": "up"}, 409, "'up' is WARMUP on out"),
                ({"operation": "pause"}, 422, "not allowed"),
                ({"operation": "explode", "all": True}, 422, "not allowed"),
                ({"operation": "pause", "all": False}, 422, "not allowed"),
                ({"operation": "pause", "strategy": "up", "all": True}, 422, "not allowed"),
            ]
            for order, status, words in cases:
                answer = await desk.api.post("/v1/commands", json=order)
                assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text

    told(story)


def test_a_command_is_an_input_among_the_ticks_so_that_a_replay_sees_it(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            await desk.api.post("/v1/commands", json={"operation": "pause", "strategy": "up"})
            await desk.ticks(102)
            kept = [each async for _, _, data in desk.runner._parts.journal.inputs(0) for each in decoded_inputs(data)]
            places = [place for place, each in enumerate(kept) if isinstance(each, Command)]
            assert [kept[place].strategy_id for place in places] == ["up"]
            assert 0 < places[0] < len(kept) - 1

    told(story)


def test_who_did_what_is_in_the_audit_log(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            await desk.api.post("/v1/commands", json={"operation": "pause", "strategy": "up"})
            await desk.api.put("/v1/kill", json={"on": True, "reason": "wrong prices"})
            entries = list(verified(desk.places.audit))
            assert [(each.actor, each.client, each.action) for each in entries] == [
                ("ada", "127.0.0.1", "pause"),
                ("ada", "127.0.0.1", "kill"),
            ]
            assert entries[1].details == {"on": True, "reason": "wrong prices"}

    told(story)


def test_without_an_audit_log_nothing_is_done_but_the_kill_switch_turned_on(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            desk.places.audit.mkdir()
            answer = await desk.api.post("/v1/commands", json={"operation": "pause", "strategy": "up"})
            assert answer.status_code == 503
            assert desk.states()["up", "out"] == "ACTIVE"
            assert (await desk.api.put("/v1/kill", json={"on": True})).json()["on"] is True
            assert (await desk.api.put("/v1/kill", json={"on": False})).status_code == 503
            assert desk.runner.killed

    told(story)


def test_drops_are_listed_with_their_reasons(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101, 102)
            answer = (await desk.api.get("/v1/drops")).json()
            assert [(each["strategy_id"], each["reason"], each["price"]) for each in answer["drops"]] == [
                ("calm", "cooldown", "102")
            ]
            assert answer["counts"] == {"cooldown": 1}
            assert (await desk.api.get("/v1/drops", params={"reason": "killed"})).json()["drops"] == []

    told(story)


def test_positions_and_profit_add_up(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101, 102)
            answer = (await desk.api.get("/v1/positions")).json()
            calm = next(each for each in answer["accounts"] if each["strategy_id"] == "calm")
            (held,) = calm["positions"]
            # Bought on the tick after its signal, at 102.
            assert (held["instrument_token"], held["quantity"], held["average_price"]) == (1, 100, 102.0)
            assert calm["net"] == pytest.approx(calm["cash"] + 100 * 102.0)
            assert answer["net"] == pytest.approx(sum(each["net"] for each in answer["accounts"]))

    told(story)


class Refusing(SlowSink):
    async def send(self, signals):
        self.began.append(0.0)
        return [SendResult(Verdict.FAILED, "no")] * len(signals)


def test_dead_letters_are_listed_and_sent_again_under_their_ids(tmp_path):
    async def story():
        sink = Refusing()
        async with Desk(tmp_path, sink=sink) as desk:
            await desk.ticks(100, 101)
            while not (found := (await desk.api.get("/v1/dead-letters")).json())["total"]:
                await desk.settled()
            (letter,) = found["dead_letters"]
            assert (letter["broker"], letter["strategy_id"], letter["fate"]) == ("out", "up", "dead")
            assert letter["signal"]["signal_type"] == "BUY"
            sink.send = SlowSink.send.__get__(sink)
            missing = await desk.api.post("/v1/dead-letters/replay", json={"ids": ["0" * 32]})
            assert missing.status_code == 404
            before = len(sink.began)
            answer = await desk.api.post("/v1/dead-letters/replay", json={"ids": [letter["signal_id"]]})
            assert answer.json() == {"revived": 1}
            while len(sink.began) == before:
                await desk.settled()
            assert (await desk.api.get("/v1/dead-letters")).json()["total"] == 0

    told(story)
