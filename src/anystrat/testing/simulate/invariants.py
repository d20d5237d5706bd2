"""What must hold after a history, whatever happened in it: I1 to I9, against the world's ledger and an undisturbed run.

I1: every offset is journaled once. I2: the accepted signals are those of an undisturbed run. I3: at most one effect at the
broker for an id. I4: nothing is acknowledged before it is durable, nothing sent before the intent to is, nothing given up
before the pause of its strategy is. I5: the state is what the inputs make of an engine, in their order. I6: nothing leaves
when killed, halted, stale or over a limit. I7: queues are bounded. I8: once nothing goes wrong any more, everything is
finished. I9: each tick is accounted for.
I4, I6, I7 and I8 are seen while it happens (`world`, `history`); here is the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from anystrat.domain.columns import TickColumns
from anystrat.domain.delivery import Idempotent
from anystrat.domain.events import Command, FeedFresh, FeedStale, Operation, Reconfigured
from anystrat.domain.journal import Fate
from anystrat.domain.outcomes import Emitted, Outcome
from anystrat.engine.carrying import carry_over
from anystrat.engine.obeying import obeyed
from anystrat.engine.snapshot import snapshot
from anystrat.runner.tally import Tally, accounts_of
from anystrat.testing.simulate.journal_port import at_once
from anystrat.testing.simulate.ledger import places_of
from anystrat.testing.simulate.models import ModelFile
from anystrat.testing.simulate.scenario import engines_of

if TYPE_CHECKING:
    from anystrat.domain.inputs import Input
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
    fresh = Fresh(world)
    folds = [_Fold(world, shard, fresh) for shard in range(world.scenario.plan.count)]
    for fold in folds:
        fold.run()
    if last is not None:
        _each_tick_once(world, folds)
        _as_undisturbed(world, folds, fresh)
        for fold, shard in zip(folds, last.shards, strict=True):
            fold.compare(shard.driver.engine)


class _Fold:
    """One shard's inputs, as they were committed, pushed through a new engine one by one."""

    def __init__(self, world: World, shard: int, fresh: Fresh) -> None:
        self.shard = shard
        self.ticks: list[int] = []
        self.events = 0
        self._world = world
        self._fresh = fresh
        self._steps = world.ledger.steps.get(shard, [])
        self._inputs = world.ledger.inputs.get(shard, [])
        self._engine = fresh(world.scenario.settings[0].fingerprint, shard)
        self._killed = self._stale = False

    def run(self) -> None:
        """All of them; what each step accepted must be what this accepts."""
        world, at = self._world, 0
        for step, inputs in zip(self._steps, self._inputs, strict=True):
            if step.first != at:
                world.broken("I1", f"shard {self.shard}: inputs from {step.first} on were committed after {at}")
            at = step.first + step.count
            ids = [signal.signal_id for signal in step.signals]
            found = [
                outcome.signal.signal_id
                for each in inputs
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
        places = places_of(each)
        self.ticks += places
        for row in each.rows():
            outcomes = self._engine.step(row)
            if any(isinstance(one, Emitted) for one in outcomes) and (self._killed or self._stale or row.halted):
                why = "killed" if self._killed else "stale" if self._stale else "halted"
                self._world.broken("I6", f"shard {self.shard}: a signal was accepted on a tick while {why}")
            yield from outcomes
        if self._engine.waits_for_feed and self._world.scenario.ordered:
            self._world.broken("I8", f"shard {self.shard}: takes ticks, and waits for the feed to speak")

    def _event(self, event: Input) -> None:
        if isinstance(event, Command) and event.operation in {Operation.KILL, Operation.UNKILL}:
            self._killed = event.operation is Operation.KILL
        elif isinstance(event, FeedStale | FeedFresh):
            self._stale = isinstance(event, FeedStale) and not event.pause
        elif isinstance(event, Reconfigured):
            other = self._fresh(event.after, self.shard)
            carry_over(self._engine, other)
            self._engine = other

    def compare(self, engine: Engine) -> None:
        """The engine of the last process has to be where this one is, to the last bit."""
        if snapshot(engine) != snapshot(self._engine):
            self._world.broken("I5", f"shard {self.shard}: the state is not what its inputs make of an engine")

    def accounts(self) -> Tally:
        """As the last step has them."""
        return msgspec.msgpack.decode(self._steps[-1].tally, type=Tally) if self._steps else Tally()


def _journal_is_the_ledger(world: World) -> None:
    """Nothing that was durable is gone, nothing is there that was never written."""
    journal = world.journal(None)
    at_once(journal.open(None))
    difference = world.difference(journal)
    if difference:
        world.broken("I1", difference)
    at_once(journal.close())


def _effects(world: World) -> None:
    """What brokers did against what the journal says of it."""
    for name, broker in world.brokers.items():
        fates = world.ledger.fates.get(name, {})
        for signal_id, effects in broker.effects.items():
            number = world.ledger.number_of.get((name, signal_id), 0)
            if effects > 1 and (name, number) not in world.ledger.wanted_again:
                world.broken("I3", f"{name}: signal {signal_id} had {effects} effects")
            if world.ledger.fate_of(name, signal_id) is None:
                world.broken("I2", f"{name}: signal {signal_id} had an effect, and was never accepted")
        for number in broker.overtaken:
            if (name, number) not in world.ledger.wanted_again:
                world.broken(
                    "I3", f"{name} {number}: had its effect after a later signal of its strategy and instrument"
                )
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
    scenario, ledger = world.scenario, world.ledger
    tokens = scenario.block.instrument_token
    for place, count in ledger.logged.items():
        if count > 1:
            world.broken("I1", f"tick {place} is journaled {count} times")
    nowhere = [place for place in range(len(scenario.block)) if place not in ledger.logged]
    missing = Counter(tokens[[place for place in nowhere if place not in world.forgotten]].tolist())
    if missing != ledger.shed:
        world.broken("I1", f"by instrument, {dict(missing)} ticks are nowhere, and {dict(ledger.shed)} were left out")
    for fold in folds:
        _in_order(world, fold)
        tally = fold.accounts()
        accounts = accounts_of(tally)
        if not accounts.balanced:
            world.broken("I9", f"shard {fold.shard}: {accounts}")
        taken = accounts.processed + sum(accounts.dropped.values()) - tally.malformed
        if taken != len(fold.ticks):
            world.broken("I9", f"shard {fold.shard}: {len(fold.ticks)} ticks are journaled, {accounts}")
    shed = sum(accounts_of(fold.accounts()).shed for fold in folds)
    if shed != ledger.shed.total():
        world.broken("I9", f"{ledger.shed.total()} ticks were left out, {shed} are counted")
    malformed = sum(not each.places for messages in scenario.messages.values() for each in messages)
    counted = sum(fold.accounts().malformed for fold in folds)
    if counted != malformed:
        world.broken("I9", f"{malformed} messages were malformed, {counted} are counted")


def _in_order(world: World, fold: _Fold) -> None:
    """A shard has the ticks of each partition in their order."""
    for name, messages in world.scenario.messages.items():
        mine = {place for each in messages for place in each.places}
        places = [place for place in fold.ticks if place in mine]
        if places != sorted(places):
            world.broken("I5", f"shard {fold.shard}: ticks of {name} are journaled in another order")


def _as_undisturbed(world: World, folds: list[_Fold], fresh: Fresh) -> None:
    """Where nothing but ticks decided, a plain replay of all of them accepts the same signals."""
    scenario, plan = world.scenario, world.scenario.plan
    if not scenario.ordered or world.forgotten or any(fold.events for fold in folds):
        return
    world.trace.happened("compared with an undisturbed run")
    engines = [fresh(scenario.settings[0].fingerprint, shard) for shard in range(plan.count)]
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


class Fresh:
    """New engines, one a call, by the fingerprint of their configuration; each set is built once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._built: dict[tuple[str, int], Engine] = {}

    def __call__(self, fingerprint: str, shard: int) -> Engine:
        if (fingerprint, shard) not in self._built:
            scenario = self._world.scenario
            setting = next(each for each in scenario.settings if each.fingerprint == fingerprint)
            engines, _ = engines_of(setting, ModelFile(scenario.seed))
            self._built |= {(fingerprint, number): engine for number, engine in enumerate(engines)}
        return self._built.pop((fingerprint, shard))


def _difference(wanted: list[str], found: list[str]) -> str:
    return f"{len(found)} signals were accepted, a replay of the same inputs has {len(wanted)}"
