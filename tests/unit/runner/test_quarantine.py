"""A tick that the whole process dies of is found out, left out and told of; the rest goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from dataclasses import dataclass

import pytest

from anystrat.adapters.mark_file import MarkFile
from anystrat.bootstrap import default_catalog, default_wiring
from anystrat.bootstrap.running import RunOptions, build_runner, system_clock
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.events import Command, Operation, TickQuarantined, TimerDue
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.notices import DiedWithin, PartFailed, Quarantined
from anystrat.engine.engine import Engine
from anystrat.runner.driver import StrategyEnds
from anystrat.runner.quarantine import _FEW, Quarantine
from anystrat.strategies.catalog import StrategyType
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import columns, row

from . import rig as rig_module
from .rig import ListSource, Rig

POISON = 666.0


@dataclass(frozen=True)
class NoParameters:
    """A strategy that has none."""


class Fragile:
    """Does as `end` says on a price."""

    def __init__(self, end):
        self.end = end

    def process_tick(self, tick, history):
        if tick.price == POISON:
            self.end()

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, instrument_token):
        return True

    def get_strategy_name(self):
        return "fragile"


def fragile_wiring(end):
    catalog = default_catalog()
    catalog.register(StrategyType("fragile", "rules", NoParameters, lambda *_: Fragile(end), "It ends."))
    return default_wiring(catalog)


class Marks:
    """Keeps the mark in memory, over the simulated deaths of processes."""

    kept_in = "somewhere"

    def __init__(self):
        self.data = b""
        self.kept = []

    def open(self):
        return self.data

    def write(self, data):
        self.data = data

    def keep(self, tick):
        self.kept.append(tick)

    def close(self):
        pass


def walk(prices, tokens=(1,)):
    return columns([row(tokens[k % len(tokens)], str(price), k) for k, price in enumerate(prices)])


def lives(monkeypatch, block, sizes, *, shards=1, most=20, marks=None, source=ListSource):
    """Start again and again, until a run ends well: (its rig, the last runner, how often it died)."""

    def end():
        raise SystemExit(9)

    monkeypatch.setattr(rig_module, "default_wiring", lambda: fragile_wiring(end))
    rows = [
        {"id": "f", "strategy_type": "fragile", "instruments": sorted(set(block.instrument_token.tolist())), "per_instrument": True}
    ]  # fmt: skip
    rig = Rig(rows, block, shards=shards, marks=Marks() if marks is None else marks)

    async def life():
        runner = rig.start(source(block, sizes))
        try:
            await runner.run()
        except StrategyEnds:
            return None
        return runner

    for deaths in range(most):
        runner = simulate(life)
        if runner is not None:
            return rig, runner, deaths
        rig.store.crash()
    raise AssertionError(f"it died {most} times")


def inputs_of(rig):
    return [each for steps in rig.store.inputs.values() for _, _, data in steps for each in decoded_inputs(data)]


def prices_of(rig):
    return [price for each in inputs_of(rig) if isinstance(each, TickColumns) for price in each.price.tolist()]


@pytest.mark.parametrize("sizes", [[1], [10], [3, 4], [100]])
def test_the_fourth_start_leaves_the_tick_out_and_takes_all_others(sizes, monkeypatch):
    prices = [100, 101, 102, 666, 103, 104, 105]
    rig, runner, deaths = lives(monkeypatch, walk(prices), sizes)
    assert deaths == 3
    assert prices_of(rig) == [100, 101, 102, 103, 104, 105]
    [event] = [each for each in inputs_of(rig) if isinstance(each, TickQuarantined)]
    assert (event.instrument_token, event.price, event.deaths, event.partition) == (1, "666", 3, "list")
    assert runner.accounts.dropped == {"quarantined": 1}
    assert runner.accounts.balanced
    [told] = [each for each in rig.heard if isinstance(each, Quarantined)]
    assert (told.price, told.deaths, told.kept_in) == ("666", 3, "somewhere")
    assert [each.deaths for each in rig.heard if isinstance(each, DiedWithin)] == [1, 2, 3]
    assert rig.options["marks"].kept == [event]


def test_among_many_ticks_the_first_death_only_says_where_to_look(monkeypatch):
    prices = [*range(100, 180), 666, *range(180, 200)]
    rig, runner, deaths = lives(monkeypatch, walk(prices), [200])
    assert deaths == 4
    assert len(prices_of(rig)) == 100
    assert runner.accounts.dropped == {"quarantined": 1}


def test_of_equal_ticks_the_one_is_left_out_that_the_process_dies_of(monkeypatch):
    block = columns([row(1, "100", 0), row(1, "100", 0), row(1, "100", 0), row(1, "101", 1)])
    marks, deaths = Marks(), 0
    for _ in range(6):
        quarantine = Quarantine(marks, lambda _: None)
        quarantine.open([{}])
        suspects = quarantine.suspects(0, "p", {})
        trying = (
            quarantine.one_by_one(0, block, "p", {"p": 1}, suspects)
            if suspects
            else quarantine.watched(0, block, {"p": 1})
        )
        taken = []
        for each in trying:
            if isinstance(each, TickColumns) and (len(each) > 1 or len(taken) == 1):
                deaths += 1
                break
            taken.append(each)
        else:
            break
    assert deaths == 3
    assert [isinstance(each, TickQuarantined) for each in taken] == [False, True, False, False]


def test_a_replay_of_what_was_taken_drops_the_tick_too(monkeypatch):
    rig, runner, _ = lives(monkeypatch, walk([100, 666, 101]), [10])
    engine = Engine()
    for each in inputs_of(rig):
        if isinstance(each, TickQuarantined):
            [dropped] = engine.step(each)
            assert (dropped.reason, dropped.row.price) == ("quarantined", 666.0)
    assert engine.tick_drops == runner.tick_drops() == {"quarantined": 1}


@pytest.mark.parametrize("shards", [1, 3])
def test_several_ticks_are_found_out_one_after_the_other(shards, monkeypatch):
    prices = [100, 666, 102, 666, 103, 104, 666, 105, 106, 107]
    rig, runner, deaths = lives(monkeypatch, walk(prices, tokens=(1, 2, 3)), [4], shards=shards)
    assert sorted(prices_of(rig)) == [100, 102, 103, 104, 105, 106, 107]
    assert deaths <= 9
    assert runner.accounts.dropped == {"quarantined": 3}
    assert runner.accounts.balanced


def test_a_tick_that_the_process_died_in_twice_is_taken_when_it_survives_it():
    """As when it was killed from outside, just then."""
    marks, heard = Marks(), []
    block = walk([100, 101])
    for _ in range(2):
        quarantine = Quarantine(marks, heard.append)
        quarantine.open([{}])
        suspects = quarantine.suspects(0, "p", {})
        each = (
            quarantine.one_by_one(0, block, "p", {"p": 1}, suspects)
            if suspects
            else quarantine.watched(0, block, {"p": 1})
        )
        next(each)
    quarantine = Quarantine(marks, heard.append)
    quarantine.open([{}])
    taken = list(quarantine.one_by_one(0, block, "p", {"p": 1}, quarantine.suspects(0, "p", {})))
    assert [each.price.tolist() for each in taken] == [[100.0], [101.0]]
    # And it is under no suspicion any more.
    next(quarantine.one_by_one(0, block, "p", {"p": 1}, quarantine.suspects(0, "p", {})))
    following = Quarantine(marks, heard.append)
    following.open([{"p": 1}])
    assert [(each.ticks, each.deaths) for each in heard] == [(2, 1), (1, 2), (1, 2)]
    assert not following.suspects(0, "p", {})


def test_ticks_that_are_committed_are_suspected_no_more_and_others_not_at_all():
    marks = Marks()
    died = Quarantine(marks, lambda _: None)
    died.open([{}, {}])
    next(died.watched(1, walk([100, 101, 102]), {"p": 9, "q": 4}))
    again = Quarantine(marks, lambda _: None)
    again.open([{}, {"p": 5}])
    assert again.suspects(1, "p", {"p": 5})
    assert again.suspects(1, "q", {})
    assert not again.suspects(0, "p", {})
    assert not again.suspects(1, "p", {"p": 9})
    assert not again.suspects(1, "r", {})
    later = Quarantine(marks, lambda _: None)
    later.open([{}, {"p": 9, "q": 4}])
    assert not later.suspects(1, "p", {})


def test_a_timer_that_the_process_dies_of_rests_until_the_next_tick():
    marks, heard = Marks(), []
    for _ in range(3):
        quarantine = Quarantine(marks, heard.append)
        quarantine.open([{"p": 7}])
        assert quarantine.begins(0, {"p": 7})
    quarantine = Quarantine(marks, heard.append)
    quarantine.open([{"p": 7}])
    assert not quarantine.begins(0, {"p": 7})
    assert quarantine.begins(0, {"p": 8})
    quarantine.ended()
    assert [(each.ticks, each.deaths) for each in heard] == [(0, 1), (0, 2), (0, 3)]


def test_other_events_are_never_left_out(monkeypatch):
    from anystrat.runner.turn import Turn

    class Driver:
        def event(self, event):
            return [event]

    quarantine = Quarantine(Marks(), lambda _: None)
    quarantine.open([{}])
    monkeypatch.setattr(quarantine, "begins", lambda shard, watermarks: False)
    turn = Turn(0, Driver(), {}, measures=False, quarantine=quarantine)
    turn.event(TimerDue(1))
    turn.event(Command(Operation.KILL, 1))
    assert turn.inputs == turn.outcomes == [Command(Operation.KILL, 1)]


def test_a_mark_that_cannot_be_kept_is_said_and_the_run_goes_on(monkeypatch):
    class Nowhere(Marks):
        def open(self):
            raise PermissionError(13, "Permission denied", "state/journal.db.mark")

    rig, runner, deaths = lives(monkeypatch, walk([100, 101]), [1], marks=Nowhere())
    assert deaths == 0
    [failed] = [each for each in rig.heard if isinstance(each, PartFailed)]
    assert failed.error == "state/journal.db.mark: Permission denied"
    assert runner.accounts.processed == 2


class TestMarkFile:
    def test_what_was_written_is_there_for_the_next_one_and_for_its_owner_alone(self, tmp_path):
        path = tmp_path / "state" / "journal.db.mark"
        file = MarkFile(path)
        assert file.open() == b""
        file.write(b"something")
        file.write(b"other")
        assert MarkFile(path).open() == b"other"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        file.close()
        file.write(b"nothing")

    def test_a_torn_or_foreign_one_is_none(self, tmp_path):
        path = tmp_path / "journal.db.mark"
        file = MarkFile(path)
        file.open()
        file.write(b"something")
        content = bytearray(path.read_bytes())
        content[10] ^= 1
        path.write_bytes(bytes(content))
        assert MarkFile(path).open() == b""
        path.write_bytes(b"\xff" * 100)
        again = MarkFile(path)
        assert again.open() == b""
        heard = []
        quarantine = Quarantine(again, heard.append)
        again.write(b"no content of ours")
        quarantine.open([{}])
        assert heard == []

    def test_more_than_there_is_room_for_is_no_mark(self, tmp_path):
        file = MarkFile(tmp_path / "m.mark")
        file.open()
        file.write(bytes(70_000))
        assert MarkFile(tmp_path / "m.mark").open() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="a process is forked")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_process_that_is_killed_by_a_tick_three_times_goes_on_at_its_fourth_start(tmp_path):
    prices = [100, 101, 666.0, 102, 103]
    lines = [json.dumps({"ts_ns": 10**18 + k, "instrument_token": 1, "price": price}) for k, price in enumerate(prices)]
    (tmp_path / "ticks.jsonl").write_text("\n".join(lines) + "\n")
    top = {
        "version": 1,
        "source": {"type": "file", "path": "ticks.jsonl"},
        "journal": {"type": "sqlite", "path": "state/journal.db"},
        "strategies": [{"id": "f", "strategy_type": "fragile", "instruments": [1]}],
    }

    def life():
        wiring = fragile_wiring(lambda: os.kill(os.getpid(), signal.SIGKILL))
        configured = configuration_from_mapping(top, wiring.catalog, base_dir=tmp_path)
        runner = build_runner(configured, wiring, RunOptions(system_clock()))
        asyncio.run(runner.run())
        return runner.accounts

    def forked():
        child = os.fork()
        if not child:
            try:
                accounts = life()
                (tmp_path / "accounts.json").write_text(
                    json.dumps([accounts.processed, accounts.dropped, accounts.balanced])
                )
            finally:
                os._exit(0)
        return os.WTERMSIG(os.waitpid(child, 0)[1])

    assert [forked() for _ in range(4)] == [signal.SIGKILL] * 3 + [0]
    assert json.loads((tmp_path / "accounts.json").read_text()) == [4, {"quarantined": 1}, True]
    kept = tmp_path / "state" / "journal.db.quarantined.jsonl"
    assert json.loads(kept.read_text()) == {
        "ts_ns": 10**18 + 2, "instrument_token": 1, "price": "666", "deaths": 3, "partition": "file"
    }  # fmt: skip
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


class TestMarks:
    """The marks by themselves: what the next process is told of this one."""

    def marked(self, marks=None, watermarks=({},)):
        said = []
        marks = Marks() if marks is None else marks
        found = Quarantine(marks, said.append)
        found.open(list(watermarks))
        return found, marks, said

    def dies_on(self, marks, block):
        """A process that dies of the block's ticks, all at once or one by one where it was told to look."""
        found, _, said = self.marked(marks)
        suspects = found.suspects(0, "p", {})
        steps = found.one_by_one(0, block, "p", {"p": 1}, suspects) if suspects else found.watched(0, block, {"p": 1})
        next(iter(steps))
        return found, said

    def test_a_death_is_counted_once_however_often_it_is_looked_at(self):
        marks = Marks()
        self.dies_on(marks, walk([100]))
        assert [len(self.marked(marks)[2]) for _ in range(3)] == [1, 0, 0]

    def test_deaths_of_one_tick_are_added_up_in_one_mark(self):
        marks = Marks()
        for deaths in (1, 2, 3):
            self.dies_on(marks, walk([100]))
            found, _, said = self.marked(marks)
            assert [(each.ticks, each.deaths) for each in found.suspects(0, "p", {})] == [(1, deaths)]
            assert [each.deaths for each in said] == [deaths]

    def test_a_tick_that_nothing_is_known_of_begins_at_its_first_death(self):
        marks = Marks()
        self.dies_on(marks, walk([100]))
        found, _, _ = self.marked(marks)
        next(iter(found.one_by_one(0, walk([101]), "p", {"p": 2}, found.suspects(0, "p", {}))))
        assert [each.deaths for each in self.marked(marks)[2]] == [1]

    @pytest.mark.parametrize(("many", "counts"), [(_FEW, True), (_FEW + 1, False)])
    def test_deaths_among_a_few_ticks_are_each_ones_and_among_many_nobodys(self, many, counts):
        marks = Marks()
        block = walk(range(100, 100 + many))
        self.dies_on(marks, block)
        _, said = self.dies_on(marks, block)
        assert [each.ticks for each in said] == [many]
        assert [(each.ticks, each.deaths) for each in self.marked(marks)[2]] == [(1, 2 if counts else 1)]

    def test_marks_of_shards_that_are_no_more_are_forgotten(self):
        marks = Marks()
        self.dies_on(marks, walk([100]))
        found, _, said = self.marked(marks, [])
        assert len(said) == 1
        assert found.suspects(0, "p", {}) == []

    def test_a_timer_that_ended_leaves_no_mark(self):
        found, marks, _ = self.marked()
        nothing = marks.data
        assert found.begins(0, {"p": 1})
        assert marks.data != nothing
        found.ended()
        assert marks.data == nothing

    def test_closing_closes_where_they_are_kept(self):
        found, marks, _ = self.marked()
        marks.close = lambda: marks.kept.append("closed")
        found.close()
        assert marks.kept == ["closed"]
