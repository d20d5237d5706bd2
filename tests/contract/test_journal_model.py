"""Any sequence of calls leaves a journal and a plain model of it alike, over restarts too."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.contract.journal_places import KINDS, PLACES, signal, step

from anystrat.domain.journal import Fate, Journal, OutboxSignal, Settled

BROKERS = ("a", "b")
SHARDS = (0, 1)
OPEN = (Fate.PENDING, Fate.SENDING)
DONE = (Fate.ACKED, Fate.REJECTED, Fate.EXPIRED)
OUTCOMES = st.sampled_from([fate for fate in Fate if fate is not Fate.SENDING])


class Model:
    """Everything in plain lists, one signal and one input at a time."""

    def __init__(self) -> None:
        self.signals: dict[str, dict[int, list[Any]]] = {broker: {} for broker in BROKERS}
        self.last = dict.fromkeys(BROKERS, 0)
        self.forgotten: dict[str, Counter[Fate]] = {broker: Counter() for broker in BROKERS}
        self.steps: dict[int, list[tuple[int, int, bytes]]] = {shard: [] for shard in SHARDS}
        self.next_input = dict.fromkeys(SHARDS, 0)
        self.watermarks: dict[int, dict[str, int]] = {shard: {} for shard in SHARDS}
        self.checkpoints: dict[int, tuple[bytes | None, int]] = dict.fromkeys(SHARDS, (None, 0))
        self.known: set[int] = set()
        self.killed = False

    def open_signals(self, broker: str, first: int, last: int) -> bool:
        return first <= last and all(
            number in self.signals[broker] and self.signals[broker][number][1] in OPEN
            for number in range(first, last + 1)
        )

    def compact(self, keep_inputs: int, keep_settled: int) -> None:
        for shard in SHARDS:
            before = self.checkpoints[shard][1] - keep_inputs
            self.steps[shard] = [each for each in self.steps[shard] if each[0] + each[1] > before]
        for broker, signals in self.signals.items():
            done = [number for number, known in sorted(signals.items()) if known[1] in DONE]
            for number in done[: max(0, len(done) - keep_settled)]:
                self.forgotten[broker][signals.pop(number)[1]] += 1


class JournalMachine(RuleBasedStateMachine):
    """One journal, opened anew now and then, beside its model."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.place = PLACES[self.kind](Path(self.directory.name))
        self.model = Model()

    @initialize()
    def start(self) -> None:
        self.journal: Journal = self.place.journal()
        self.do(self.journal.open("config"))

    def teardown(self) -> None:
        self.do(self.journal.close())
        self.loop.close()
        self.directory.cleanup()

    def do(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)

    def try_(self, call: Coroutine[Any, Any, Any], *, allowed: bool) -> None:
        if allowed:
            self.do(call)
        else:
            with pytest.raises(ValueError, match=r"broker|shard"):
                self.do(call)

    @rule(
        shards=st.lists(st.tuples(st.sampled_from(SHARDS), st.integers(0, 3), st.booleans()), min_size=1, max_size=3),
        brokers=st.lists(st.sampled_from(BROKERS), max_size=6),
        gap=st.sampled_from([0] * 8 + [1, -1]),
    )
    def commit(self, shards, brokers, gap) -> None:
        model = self.model
        last, at = dict(model.last), dict(model.next_input)
        signals: list[OutboxSignal] = []
        for broker in brokers:
            last[broker] += 1
            signals.append(signal(last[broker] + gap, broker))
        steps = []
        for place, (shard, count, checkpoint) in enumerate(shards):
            wrong = gap if not brokers else 0
            own = signals if place == len(shards) - 1 else []
            marks = {f"p{count}": at[shard] + count}
            state = b"state %d" % (at[shard] + count) if checkpoint else None
            steps.append(step(at[shard] + wrong, count, shard=shard, signals=own, watermarks=marks, checkpoint=state))
            at[shard] += count
        self.try_(self.journal.commit(steps), allowed=not gap)
        if gap:
            return
        model.last, model.next_input = last, at
        for each in steps:
            model.known.add(each.shard)
            model.watermarks[each.shard].update(each.watermarks)
            if each.count:
                model.steps[each.shard].append((each.first, each.count, each.inputs))
            if each.checkpoint is not None:
                model.checkpoints[each.shard] = (each.checkpoint, each.first + each.count)
            for one in each.signals:
                model.signals[one.broker][one.number] = [one, Fate.PENDING, "", 0]

    @rule(broker=st.sampled_from(BROKERS), first=st.integers(0, 40), more=st.integers(0, 6))
    def sending(self, broker, first, more) -> None:
        allowed = self.model.open_signals(broker, first, first + more)
        self.try_(self.journal.sending(broker, first, first + more), allowed=allowed)
        for number in range(first, first + more + 1) if allowed else ():
            self.model.signals[broker][number][1] = Fate.SENDING

    @rule(
        broker=st.sampled_from(BROKERS),
        wanted=st.lists(
            st.tuples(st.integers(0, 5), st.integers(0, 5), OUTCOMES, st.sampled_from(["", "why"])), max_size=3
        ),
        behind=st.booleans(),
    )
    def settle(self, broker, wanted, behind) -> None:
        open_ = [number for number, known in self.model.signals[broker].items() if known[1] in OPEN]
        number = min(open_, default=1) if behind else 1
        outcomes = []
        for skip, more, fate, reason in wanted:
            outcomes.append(Settled(broker, number + skip, number + skip + more, fate, reason, attempts=more))
            number += skip + more + 1
        allowed = all(self.model.open_signals(broker, each.first, each.last) for each in outcomes)
        self.try_(self.journal.settle(outcomes), allowed=allowed)
        for each in outcomes if allowed else ():
            for n in range(each.first, each.last + 1):
                self.model.signals[broker][n][1:] = [each.fate, each.reason, each.attempts]

    @rule(broker=st.sampled_from(BROKERS), numbers=st.lists(st.integers(0, 40), max_size=12), expires=st.integers(0, 9))
    def revive(self, broker, numbers, expires) -> None:
        signals = self.model.signals[broker]
        dead = {n for n in numbers if n in signals and signals[n][1] in {Fate.DEAD, Fate.UNKNOWN}}
        assert self.do(self.journal.revive(broker, numbers, expires)) == len(dead)
        for number in dead:
            old = signals[number][0]
            fields = {name: getattr(old, name) for name in old.__struct_fields__}
            signals[number] = [OutboxSignal(**{**fields, "expires_ns": expires}), Fate.PENDING, "", 0]

    @rule(keep_inputs=st.integers(0, 8), keep_settled=st.integers(0, 8))
    def compact(self, keep_inputs, keep_settled) -> None:
        self.do(self.journal.compact(keep_inputs=keep_inputs, keep_settled=keep_settled))
        self.model.compact(keep_inputs, keep_settled)

    @rule(on=st.booleans())
    def kill(self, on) -> None:
        self.do(self.journal.set_killed(on))
        self.model.killed = on

    @rule()
    def restart(self) -> None:
        self.do(self.journal.close())
        self.start()

    @rule()
    def another_takes_over(self) -> None:
        old = self.journal
        self.place.lose_lock()
        self.start()
        self.do(old.close())

    @invariant()
    def the_shards_are_alike(self) -> None:
        async def kept(shard: int) -> list[tuple[int, int, bytes]]:
            return [each async for each in self.journal.inputs(shard)]

        for shard in SHARDS:
            assert self.do(kept(shard)) == self.model.steps[shard]
            record = self.do(self.journal.shard(shard))
            if shard not in self.model.known:
                assert record is None
                continue
            state, begin = self.model.checkpoints[shard]
            assert (record.checkpoint, record.checkpoint_input) == (state, begin)
            assert list(record.since) == [each for each in self.model.steps[shard] if each[0] >= begin]
            assert record.next_input == self.model.next_input[shard]
            assert record.watermarks == self.model.watermarks[shard]
            assert record.tally == b"tally %d" % record.next_input

    @invariant()
    def the_outboxes_are_alike(self) -> None:
        fates = self.do(self.journal.fates())
        for broker, signals in self.model.signals.items():
            found = self.do(self.journal.unsettled(broker, 2, 5))
            wanted = [known for number, known in sorted(signals.items()) if number > 2 and known[1] in OPEN]
            assert [[each.signal, each.fate, each.reason, each.attempts] for each in found] == wanted[:5]
            letters = self.do(self.journal.dead_letters(broker))
            wanted = [known for _, known in sorted(signals.items()) if known[1] in {Fate.DEAD, Fate.UNKNOWN}]
            assert [[each.signal, each.fate, each.reason, each.attempts] for each in letters] == wanted
            counts = self.model.forgotten[broker] + Counter(known[1] for known in signals.values())
            assert fates.get(broker, {}) == dict(counts)
            assert self.do(self.journal.last_number(broker)) == self.model.last[broker]
        assert self.do(self.journal.killed()) is self.model.killed


#: Each example makes seven tables anew.
FEWER = {"postgres": 6}


@pytest.mark.parametrize("kind", KINDS)
def test_any_sequence_of_calls_leaves_the_journal_like_its_model(kind: str):
    machine = type(f"JournalMachine_{kind}", (JournalMachine,), {"kind": kind})
    run_state_machine_as_test(machine, settings=settings(max_examples=FEWER.get(kind, 30), stateful_step_count=30))
