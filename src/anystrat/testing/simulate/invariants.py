"""What must hold after a history, whatever happened in it: I1 to I9, against the world's ledger and an undisturbed run.

I1: every offset is journaled once. I2: the accepted signals are those of an undisturbed run. I3: at most one effect at the
broker for an id. I4: nothing is acknowledged before it is durable, nothing sent before the intent to is. I5: the state is
what the inputs make of an engine, in their order. I6: nothing leaves when killed, halted, stale or over a limit. I7: queues
are bounded. I8: once nothing goes wrong any more, everything is finished. I9: each tick is accounted for.
I4, I6, I7 and I8 are seen while it happens (`world`, `history`); here is the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from anystrat.domain.columns import TickColumns
from anystrat.domain.delivery import Idempotent
from anystrat.domain.events import Command, Conflated, FeedFresh, FeedStale, Operation
from anystrat.domain.inputs import Input, decoded_inputs
from anystrat.domain.journal import Fate
from anystrat.domain.outcomes import Emitted, Outcome
from anystrat.engine.obeying import obeyed
from anystrat.engine.snapshot import snapshot
from anystrat.runner.tally import Tally, accounts_of
from anystrat.testing.simulate.journal_port import all_inputs, at_once
from anystrat.testing.simulate.scenario import engines_of

if TYPE_CHECKING:
    from anystrat.engine.engine import Engine
    from anystrat.runner.runner import Runner
    from anystrat.testing.simulate.world import World

#: Who may be in which fate at the end, by whether the broker had an effect.
_WITH_EFFECT = frozenset({Fate.ACKED, Fate.UNKNOWN})
_WITHOUT = frozenset({Fate.REJECTED, Fate.EXPIRED, Fate.DEAD, Fate.UNKNOWN})


def check(world: World, last: Runner | None) -> None:
    """Tell the world of every invariant that does not hold. `last`: the runner that ended well; None: there is none."""
    _journal_is_the_ledger(world)
    _effects(world)
    folds = [_Fold(world, shard) for shard in range(world.scenario.settings[0].plan.count)]
    for fold in folds:
        fold.run()
    if last is not None:
        _each_tick_once(world, folds)
        _as_undisturbed(world, folds)
        for fold, shard in zip(folds, last.shards, strict=True):
            fold.compare(shard.driver.engine)


class _Fold:
    """One shard's inputs, as they were committed, pushed through a new engine one by one."""

    def __init__(self, world: World, shard: int) -> None:
        self.shard = shard
        self.ticks: list[int] = []
        self.shed: Counter[int] = Counter()
        self.events = 0
        self._world = world
        self._steps = world.ledger.steps.get(shard, [])
        self._engine: Engine = engines_of(world.scenario.settings[0])[0][shard]
        self._killed = self._stale = False

    def run(self) -> None:
        """All of them; what each step accepted must be what this accepts."""
        world, at = self._world, 0
        for step in self._steps:
            if step.first != at:
                world.broken("I1", f"shard {self.shard}: inputs from {step.first} on were committed after {at}")
            at = step.first + step.count
            ids = [signal.signal_id for signal in step.signals]
            found = [
                outcome.signal.signal_id
                for each in (decoded_inputs(step.inputs) if step.count else ())
                for outcome in self._pushed(each)
                if isinstance(outcome, Emitted)
            ]
            if ids != found:
                world.broken("I2", f"shard {self.shard}, inputs {step.first}+{step.count}: {_difference(found, ids)}")

    def _pushed(self, each: Input) -> Iterator[Outcome]:
        if not isinstance(each, TickColumns):
            self.events += 1
            self._event(each)
            yield from obeyed(self._engine, each)
            return
        for row in each.rows():
            self.ticks.append(int(row.volume or 0) - 1)
            outcomes = self._engine.step(row)
            if any(isinstance(one, Emitted) for one in outcomes) and (self._killed or self._stale or row.halted):
                why = "killed" if self._killed else "stale" if self._stale else "halted"
                self._world.broken("I6", f"shard {self.shard}: a signal was accepted on a tick while {why}")
            yield from outcomes

    def _event(self, event: Input) -> None:
        if isinstance(event, Command) and event.operation in {Operation.KILL, Operation.UNKILL}:
            self._killed = event.operation is Operation.KILL
        elif isinstance(event, FeedStale | FeedFresh):
            self._stale = isinstance(event, FeedStale)
        elif isinstance(event, Conflated):
            self.shed[event.instrument_token] += event.ticks

    def compare(self, engine: Engine) -> None:
        """The engine of the last process has to be where this one is, to the last bit."""
        if snapshot(engine) != snapshot(self._engine):
            self._world.broken("I5", f"shard {self.shard}: the state is not what its inputs make of an engine")

    def accounts(self) -> Tally:
        """As the last step has them."""
        return msgspec.msgpack.decode(self._steps[-1].tally, type=Tally) if self._steps else Tally()


def _journal_is_the_ledger(world: World) -> None:
    """Nothing that was durable is gone, nothing is there that was never written."""
    world.lock_is_lost()
    journal, ledger = world.journal(), world.ledger
    at_once(journal.open(None))
    for shard in range(world.scenario.settings[0].plan.count):
        record = at_once(journal.shard(shard))
        steps = [(step.first, step.count, step.inputs) for step in ledger.steps.get(shard, []) if step.count]
        kept = at_once(all_inputs(journal, shard, 0))
        found = (0, {}) if record is None else (record.next_input, record.watermarks)
        if found != (ledger.next_input.get(shard, 0), ledger.watermarks.get(shard, {})):
            world.broken("I1", f"shard {shard}: the journal stands at {found}")
        if kept != steps[len(steps) - len(kept) :]:
            world.broken("I1", f"shard {shard}: the journal keeps other inputs than were committed")
    fates = at_once(journal.fates())
    for broker, numbers in ledger.fates.items():
        expected = dict(Counter(numbers.values()))
        if fates.get(broker, {}) != expected:
            world.broken("I3", f"{broker}: the journal has the fates {fates.get(broker)}, and {expected} were written")
    at_once(journal.close())


def _effects(world: World) -> None:
    """What brokers did against what the journal says of it."""
    for name, broker in world.brokers.items():
        fates = world.ledger.fates.get(name, {})
        for signal_id, effects in broker.effects.items():
            if effects > 1:
                world.broken("I3", f"{name}: signal {signal_id} had {effects} effects")
            if world.ledger.fate_of(name, signal_id) is None:
                world.broken("I2", f"{name}: signal {signal_id} had an effect, and was never accepted")
        for number, signal in world.ledger.signals.get(name, {}).items():
            fate, effect = fates[number], signal.signal_id in broker.effects
            world.trace.happened(f"fate {fate.name}{' with an effect' if effect else ''}")
            if fate in Fate and fate not in (_WITH_EFFECT if effect else _WITHOUT) and world.finished.is_set():
                said = "an effect" if effect else "no effect"
                world.broken("I3", f"{name} {number}: {fate.name}, and the broker had {said} of it")
        if not isinstance(broker.model.guarantee, Idempotent):
            world.trace.happened("a broker that honours no ids")


def _each_tick_once(world: World, folds: list[_Fold]) -> None:
    """I1 and I9: from the source's messages to the shards' logs."""
    scenario = world.scenario
    tokens = scenario.block.instrument_token
    plan = scenario.settings[0].plan
    shards = plan.of(tokens).tolist()
    for fold in folds:
        logged = Counter(fold.ticks)
        twice = [place for place, count in logged.items() if count > 1]
        if twice:
            world.broken("I1", f"shard {fold.shard}: tick {twice[0]} is journaled {logged[twice[0]]} times")
        missing: Counter[int] = Counter()
        for name, messages in scenario.messages.items():
            mine = [place for each in messages for place in each.places if shards[place] == fold.shard]
            lost = [place for place in mine if place not in logged]
            missing.update(tokens[lost].tolist())
            known = set(mine)
            if [place for place in fold.ticks if place in known] != [place for place in mine if place in logged]:
                world.broken("I5", f"shard {fold.shard}: ticks of {name} are journaled in another order")
        if missing != fold.shed:
            world.broken(
                "I1", f"shard {fold.shard}: by instrument, {dict(missing)} ticks are nowhere, {dict(fold.shed)} shed"
            )
        tally = fold.accounts()
        accounts = accounts_of(tally)
        if not accounts.balanced:
            world.broken("I9", f"shard {fold.shard}: {accounts}")
        taken = accounts.processed + sum(accounts.dropped.values()) - tally.malformed
        if taken != len(fold.ticks) or accounts.shed != sum(fold.shed.values()):
            world.broken("I9", f"shard {fold.shard}: {len(fold.ticks)} ticks are journaled, {accounts}")
    malformed = sum(not each.places for messages in scenario.messages.values() for each in messages)
    counted = sum(fold.accounts().malformed for fold in folds)
    if counted != malformed:
        world.broken("I9", f"{malformed} messages were malformed, {counted} are counted")


def _as_undisturbed(world: World, folds: list[_Fold]) -> None:
    """Where nothing but ticks decided, a plain replay of all of them accepts the same signals."""
    scenario = world.scenario
    if not scenario.ordered or any(fold.events for fold in folds):
        return
    world.trace.happened("compared with an undisturbed run")
    engines, _ = engines_of(scenario.settings[0])
    plan = scenario.settings[0].plan
    order = [place for messages in scenario.messages.values() for each in messages for place in each.places]
    rows = list(scenario.block.rows())
    shards = plan.of(scenario.block.instrument_token).tolist()
    expected: dict[str, set[str]] = {}
    for place in order:
        for outcome in engines[shards[place]].step(rows[place]):
            if isinstance(outcome, Emitted):
                expected.setdefault(outcome.signal.broker, set()).add(outcome.signal.signal_id)
    found = {broker: {each.signal_id for each in signals.values()} for broker, signals in world.ledger.signals.items()}
    for broker in sorted({*expected, *found}):
        wanted, accepted = expected.get(broker, set()), found.get(broker, set())
        if wanted != accepted:
            text = (
                f"{len(wanted - accepted)} signals of an undisturbed run are missing, {len(accepted - wanted)} are new"
            )
            world.broken("I2", f"{broker}: {text}")


def _difference(wanted: list[str], found: list[str]) -> str:
    return f"{len(found)} signals were accepted, a replay of the same inputs has {len(wanted)}"
