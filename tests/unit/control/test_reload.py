"""A reload is all or nothing, happens between two ticks, and leaves alone what is the same."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random

import msgspec
import pytest

from anystrat.adapters.sqlite_journal import JournalFile
from anystrat.bootstrap import default_wiring
from anystrat.bootstrap.running import build_engines, run_fingerprint
from anystrat.config import configuration_from_mapping
from anystrat.domain.events import Reconfigured
from anystrat.domain.health import ProcessState
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.journal import Fate
from anystrat.domain.notices import PartFailed
from anystrat.domain.outcomes import Emitted
from anystrat.engine.carrying import carry_over
from anystrat.engine.snapshot import snapshot
from anystrat.runner.plan import plan_shards
from anystrat.testing.ticks import row

from .desk import ROWS, Desk, SlowSink, mapping_of, told


def changed(desk, **keys):
    """Write the file anew, with these top-level keys; rows by a function of what they were."""
    mapping = json.loads(desk.file.read_text())
    for key, value in keys.items():
        mapping[key] = value(copy.deepcopy(mapping[key])) if callable(value) else value
    desk.file.write_text(json.dumps(mapping))


def fates_in(path):
    """What became of every signal, broker by broker."""
    with JournalFile(path) as journal:
        return journal.fates()


async def reload(desk):
    return await desk.api.post("/v1/reload")


def test_where_nothing_changed_nothing_happens(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            before = desk.runner.shards[0].driver.engine
            assert (await reload(desk)).json()["changes"] == []
            assert desk.runner.shards[0].driver.engine is before

    told(story)


def test_a_strategy_that_is_isolated_by_a_reload_goes_on_in_a_process_and_comes_back_from_it(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)

            def isolated(old):
                return [{**old[0], "isolate": {"deadline_ms": 30_000}}, old[1]]

            changed(desk, strategies=isolated)
            answer = await reload(desk)
            assert answer.status_code == 200, answer.text
            (change,) = answer.json()["changes"]
            assert (change["name"], change["how"]) == ("up", "goes on, with another isolate")
            (process,) = desk.runner.health().processes
            assert (process.strategy_id, process.state) == ("up", ProcessState.READY)
            await desk.ticks(102)
            changed(desk, strategies=lambda old: [{key: old[0][key] for key in ROWS[0]}, old[1]])
            assert (await reload(desk)).status_code == 200
            assert desk.runner.health().processes == ()
            with pytest.raises(ProcessLookupError):
                os.kill(process.pid, 0)
            await desk.ticks(103)
            signals = (await desk.api.get("/v1/signals", params={"strategy": "up"})).json()["signals"]
            assert [each["price"] for each in signals] == ["103", "102", "101"]

    told(story)


def test_rows_come_go_and_change_and_what_is_the_same_goes_on(tmp_path):
    journal = {"type": "sqlite", "path": str(tmp_path / "journal.db")}

    async def story():
        async with Desk(tmp_path, journal=journal) as desk:
            await desk.ticks(100, 101, 102)
            before = desk.runner.shards[0].driver.engine.executors[0]

            def rows(old):
                old[1]["parameters"]["threshold"] = 0.5
                return [{**old[0], "id": "new"}, *old]

            changed(desk, strategies=rows)
            answer = await reload(desk)
            assert answer.status_code == 200, answer.text
            assert [(each["name"], each["how"]) for each in answer.json()["changes"]] == [
                ("new", "added"),
                ("calm", "begins anew, with other parameters.threshold; its positions are not kept"),
            ]
            _, up, calm = desk.runner.shards[0].driver.engine.executors
            assert up.counters() == before.counters()
            assert up.portfolio == before.portfolio
            assert calm.counters()["signals"] == 0
            assert calm.counters()["ticks"] == 3
            # Windows are there already.
            await desk.ticks(103)
            assert desk.states() == {("new", "out"): "ACTIVE", ("up", "out"): "ACTIVE", ("calm", "paper"): "ACTIVE"}
            assert {
                each["strategy_id"]
                for each in (await desk.api.get("/v1/signals", params={"limit": 2})).json()["signals"]
            } == {
                "new",
                "up",
            }
            return desk.runner.fingerprint, up.counters()["signals"]

    fingerprint, signals = asyncio.run(story())

    async def restarted():
        mapping = json.loads((tmp_path / "live.json").read_text())
        async with Desk(tmp_path, rows=mapping["strategies"], journal=journal) as desk:
            assert desk.runner.fingerprint == fingerprint
            assert desk.runner.shards[0].driver.engine.executors[1].counters()["signals"] == signals
            changed(desk, strategies=lambda old: old[1:2])
            answer = (await reload(desk)).json()
            assert [(each["name"], each["how"]) for each in answer["changes"]] == [
                ("new", "removed"),
                ("calm", "removed"),
            ]
            await desk.ticks(200)
            assert list(desk.states()) == [("up", "out")]

    asyncio.run(restarted())


def test_a_strategy_that_begins_anew_does_not_emit_again_under_an_id_that_is_taken(tmp_path):
    long = {"risk": {"dedupe_window_sec": 1000}}

    async def story():
        rows = [{**ROWS[0], "parameters": {"lookback_periods": 2, "threshold": 0.0001, **long}}]
        async with Desk(tmp_path, rows=rows) as desk:
            await desk.ticks(100, 101, 102)

            def other_threshold(old):
                old[0]["parameters"]["threshold"] = 0.0002
                return old

            changed(desk, strategies=other_threshold)
            assert (await reload(desk)).status_code == 200
            await desk.ticks(100, 101, 102, 103)
            return [each["signal_id"] for each in (await desk.api.get("/v1/signals")).json()["signals"]]

    ids = asyncio.run(story())
    assert len(ids) == len(set(ids))
    assert len(ids) >= 3


async def removed_while_signals_wait(folder, journal):
    """The one strategy that sends to the slow broker is removed; how many signals that broker has not taken."""
    async with Desk(folder, journal=journal, sink=SlowSink(3600)) as desk:
        await desk.ticks(100, 101, 102, 103)
        changed(desk, strategies=lambda old: old[1:])
        assert (await reload(desk)).status_code == 200
    return desk.runner.health().brokers[0].queued


def test_what_was_accepted_for_a_broker_that_no_strategy_has_any_more_is_still_delivered(tmp_path):
    journal = {"type": "sqlite", "path": str(tmp_path / "journal.db")}

    waiting = asyncio.run(removed_while_signals_wait(tmp_path, journal))
    assert waiting >= 2

    async def restarted():
        sink = SlowSink()
        async with Desk(tmp_path, rows=ROWS[1:], journal=journal, sink=sink) as desk:
            async with asyncio.timeout(5):
                while len(sink.began) < waiting:  # noqa: ASYNC110  a list tells nobody when it grows
                    await asyncio.sleep(0.001)
            await desk.runner.deliveries["out"].drain(1)
        return fates_in(tmp_path / "journal.db")

    assert asyncio.run(restarted())["out"] == {Fate.ACKED: waiting}


def test_signals_for_a_broker_that_is_not_configured_any_more_stay_in_the_journal_and_are_named(tmp_path):
    journal = {"type": "sqlite", "path": str(tmp_path / "journal.db")}

    async def restarted():
        said = []
        desk = Desk(tmp_path, rows=ROWS[1:], journal=journal)
        del desk.configuration.brokers["out"]
        desk.runner._parts.listener = said.append
        async with desk:
            assert list(desk.runner.deliveries) == ["paper"]
        return [each for each in said if isinstance(each, PartFailed)]

    asyncio.run(removed_while_signals_wait(tmp_path, journal))
    (notice,) = asyncio.run(restarted())
    assert notice.part == "broker out"
    assert "the configuration has no broker of this name" in notice.error
    assert Fate.ACKED not in fates_in(tmp_path / "journal.db")["out"]


def test_it_is_an_input_among_the_ticks(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            changed(desk, strategies=lambda old: [{**old[0], "enabled": False}, old[1]])
            answer = await reload(desk)
            assert answer.json()["changes"] == [{"what": "strategy", "name": "up", "how": "disabled"}]
            await desk.ticks(102)
            kept = [each async for _, _, data in desk.runner._parts.journal.inputs(0) for each in decoded_inputs(data)]
            (event,) = [each for each in kept if isinstance(each, Reconfigured)]
            assert 0 < kept.index(event) < len(kept) - 1
            assert event.removed == ("up",)
            assert (event.before, event.after) != ("", desk.runner.fingerprint)
            assert event.after == desk.runner.fingerprint

    told(story)


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ({"strategies": lambda old: [{**old[0], "parameters": {"treshold": 1}}]}, "invalid_configuration", "not valid"),
        ({"brokers": {"out": {"type": "log"}}}, "needs_restart", "brokers changed"),
        ({"run": {"name": "other"}, "source": {"type": "stdin"}}, "needs_restart", "run, source changed"),
        ({"strategies": lambda old: [{**old[0], "instruments": [9]}]}, "needs_restart", "not asked for instrument 9"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_and_the_old_stays_in_force(tmp_path, keys, code, words):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            before, engine = desk.runner.fingerprint, desk.runner.shards[0].driver.engine
            changed(desk, **keys)
            answer = await reload(desk)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (409, code)
            assert words in error["message"]
            assert "stays in force" in error["message"]
            if code == "invalid_configuration":
                assert error["problems"][0]["file"].endswith("live.json")
            assert (desk.runner.fingerprint, desk.runner.shards[0].driver.engine) == (before, engine)
            await desk.ticks(102)
            assert (await desk.api.get("/v1/signals", params={"strategy": "up"})).json()["signals"][0]["price"] == "102"

    told(story)


def test_the_loaders_words_come_with_the_answer(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            desk.file.write_text(
                '{"version": 1,\n "strategies": [{"id": "up", "strategy_type": "momentun", "instruments": [1]}]}'
            )
            (problem,) = (await reload(desk)).json()["error"]["problems"]
            assert (problem["path"], problem["line"], problem["nearest"]) == (
                "strategies[0].strategy_type",
                2,
                "momentum",
            )

    told(story)


@pytest.mark.parametrize("seed", range(6))
def test_an_engine_that_another_took_over_from_decides_as_if_nothing_had_been(seed):
    """The law behind a reload: the same rows, in another order and beside others, give the same signals."""
    rng = random.Random(seed)
    rows = [
        {**ROWS[0], "parameters": {"lookback_periods": 3, "threshold": 0.001, "risk": {"max_signals_per_min": 5, "max_loss_streak": 2, "resume_after_sec": 9}}},
        {**ROWS[1], "parameters": {"lookback_periods": 2, "threshold": 0.002, "risk": {"dedupe_window_sec": 20, "max_exposure": 90_000}}},
        {"id": "z", "strategy_type": "mean_reversion", "parameters": {"lookback_periods": 6}, "instruments": [2, 1]},
    ]  # fmt: skip
    wiring = default_wiring()

    def engine(chosen):
        configuration = configuration_from_mapping(mapping_of(chosen), wiring.catalog)
        plan = plan_shards(configuration.strategies, 1)
        (made,) = build_engines(configuration, wiring, plan)
        return made, run_fingerprint(plan, [made])

    price, ticks = {1: 100.0, 2: 50.0}, []
    for k in range(400):
        token = rng.choice([1, 2])
        price[token] = round(price[token] * (1 + rng.gauss(0, 0.003)), 2)
        ticks.append(row(token, price[token], k * 0.7))
    whole, _ = engine(rows)
    parts, _ = engine(rows)
    expected, found = [], []
    for k, each in enumerate(ticks):
        if k in {50, 130, 290}:
            other, _ = engine(rng.sample([*rows, {**ROWS[0], "id": f"guest{k}", "instruments": [3]}], 4))
            carry_over(parts, other)
            parts = other
        expected += [one.signal.signal_id for one in whole.step(each) if isinstance(one, Emitted)]
        found += [
            one.signal.signal_id
            for one in parts.step(each)
            if isinstance(one, Emitted) and not one.signal.strategy_id.startswith("guest")
        ]
    assert len(expected) > 20
    assert sorted(found) == sorted(expected)
    back, _ = engine(rows)
    carry_over(parts, back)
    assert known(back) == known(whole)


def known(engine):
    """All of an engine's state, but for when it cleared up what it need not remember any more."""
    content = msgspec.msgpack.decode(snapshot(engine)[32:])
    tables = {name: table.tolist() for name, table in engine.state.tables.items() if name not in {"recent", "slot"}}
    slot = engine.state.tables["slot"]
    slots = slot[[name for name in slot.dtype.names if name != "recent_count"]].tolist()
    return {**content, "state": tables, "slots": slots}
