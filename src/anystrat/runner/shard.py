"""A shard: takes what waits in its mailbox, pushes it through its engine, hands the result to be committed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from anystrat.domain.events import Arrived, Conflated
from anystrat.domain.inputs import Input, count_of, encoded_inputs
from anystrat.domain.journal import OutboxSignal, Step
from anystrat.domain.outcomes import Emitted, Outcome
from anystrat.engine.snapshot import snapshot
from anystrat.engine.tally import tally_of
from anystrat.runner.tally import Accounts, Tally, accounts_of
from anystrat.runner.turn import Turn

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.events import Reconfigured
    from anystrat.domain.signal import EmittedSignal
    from anystrat.runner.committer import Committer
    from anystrat.runner.driver import EngineDriver
    from anystrat.runner.mailbox import Mailbox
    from anystrat.runner.parcel import Parcel
    from anystrat.runner.quarantine import Quarantine

#: How many ticks are handled between two looks at everything else that goes on.
TICKS_AT_ONCE: Final = 8_192
#: Without a compiler a tick takes a hundred times as long.
TICKS_AT_ONCE_INTERPRETED: Final = 256
#: A restart pushes at most about so many inputs through again, or so many times as many as its windows hold ticks: what
#: a checkpoint costs follows from those.
CHECKPOINT_INPUTS: Final = 65_536
CHECKPOINT_WINDOWS: Final = 16

Encode = Callable[[Sequence["EmittedSignal"]], list[tuple[str, bytes]]]
Observer = Callable[[Sequence[Outcome]], object]
Offload = Callable[[Callable[[], None]], Awaitable[None]]


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """An engine's whole state, and the digest of the signals that it emitted up to then."""

    digest: bytes
    state: bytes


class Numbers:
    """The next number of each broker's signals, over all shards."""

    def __init__(self, last: Mapping[str, int]) -> None:
        self._last = dict(last)

    def next(self, broker: str) -> int:
        """A broker's next number."""
        number = self._last.get(broker, 0) + 1
        self._last[broker] = number
        return number


@dataclass(slots=True, eq=False)
class Work:
    """A step of a shard on its way into the journal, and what is done once it is there."""

    step: Step
    inputs: list[Input] = field(default_factory=list)
    #: Who waits for the commit.
    kept: list[asyncio.Future[None]] = field(default_factory=list)


@dataclass(slots=True)
class OutboxWriter:
    """Makes outbox entries of emitted signals. `encode` gives the id and the sink's body of each; a lifetime of 0 never ends."""

    clock: Clock
    numbers: Numbers
    encode: Encode
    lifetime_ns: Mapping[str, int]

    def entries(self, signals: Sequence[EmittedSignal]) -> tuple[OutboxSignal, ...]:
        """One entry a signal, in order, with the numbers that come next."""
        if not signals:
            return ()
        now = self.clock.now_ns()
        expires = {
            broker: now + lifetime if (lifetime := self.lifetime_ns.get(broker, 0)) else 0
            for broker in {signal.broker for signal in signals}
        }
        return tuple(
            OutboxSignal(
                signal.broker,
                self.numbers.next(signal.broker),
                signal_id,
                signal.strategy_id,
                signal.instrument_token,
                signal.ts_ns,
                expires[signal.broker],
                body,
            )
            for signal, (signal_id, body) in zip(signals, self.encode(signals), strict=True)
        )


class Shard:
    """One engine and its mailbox. `watermarks`, `next_input` and `tally` are as after the last step that was made."""

    def __init__(
        self,
        number: int,
        driver: EngineDriver,
        mailbox: Mailbox,
        committer: Committer,
        outbox: OutboxWriter,
        *,
        observers: Sequence[Observer] = (),
        ticks_at_once: int = TICKS_AT_ONCE,
        checkpoint_inputs: int | None = None,
        quarantine: Quarantine | None = None,
        offload: Offload | None = None,
        shards: int = 1,
    ) -> None:
        self.number = number
        #: Held while the engine is at work: nothing else may touch it then, for it may be at work beside the loop.
        self.at_work = asyncio.Lock()
        self._offload = offload
        self._one_of = shards
        self.driver = driver
        self.mailbox = mailbox
        self.watermarks: dict[str, int] = {}
        self.next_input = 0
        self.tally = Tally()
        self.checkpointed_at = 0
        self._committer = committer
        self._outbox = outbox
        self._observers = observers
        self._ticks_at_once = ticks_at_once
        self._checkpoint_inputs = checkpoint_inputs
        self._quarantine = quarantine
        self._arrived_ns: int | None = None
        self._use(driver)
        self._report_executors = False
        # Whether a step is made and not queued yet.
        self._under_way = False

    def _use(self, driver: EngineDriver) -> None:
        engine = driver.engine
        self.driver = driver
        self._ages = bool((engine.state.tables["limits"]["max_age"] < 2**63 - 1).any())
        #: Whether inferences may come too late here.
        self.has_deadlines = any(executor.deadline is not None for executor in engine.executors)
        self._waits_for_processes = any(executor.isolation is not None for executor in engine.executors)
        self._window_inputs = CHECKPOINT_WINDOWS * sum(window.capacity for window in engine.windows)

    def reconfigured(self, driver: EngineDriver, event: Reconfigured) -> Work:
        """Go on with another engine, which knows already what this one knew: a step of its own, with a checkpoint.

        The steps of all shards have to be committed together. Between two steps of `run`.
        """
        self._use(driver)
        outcomes = driver.event(event)
        for observe in self._observers:
            observe(outcomes)
        work = self._made([event], {}, (), checkpoint=True)
        return Work(msgspec.structs.replace(work.step, fingerprint=event.after), work.inputs)

    @property
    def accounts(self) -> Accounts:
        """Where every tick went that was taken out of the mailbox."""
        return accounts_of(self.tally)

    async def run(self) -> None:
        """Handle parcels until the mailbox is closed and empty; then leave a checkpoint."""
        while parcels := await self.mailbox.take(self._ticks_at_once):
            self._under_way = True
            async with self.at_work:
                work = await self._handled(parcels)
            await self._committer.put(work)
            self._under_way = False
            # Nothing above waits while there is work: let others have their turn.
            await asyncio.sleep(0)
        await self._committer.put(self._made([], {}, (), checkpoint=True))

    def report_executors(self) -> None:
        """Let the next step say how the executors are."""
        self._report_executors = True

    def idle_step(self, watermarks: Mapping[str, int]) -> Work | None:
        """A step without inputs, where the source has moved on without this shard and nothing waits here."""
        moved = {name: last for name, last in watermarks.items() if self.watermarks.get(name, -1) < last}
        if not moved or self._under_way or len(self.mailbox):
            return None
        self.watermarks.update(moved)
        return self._made([], moved, (), checkpoint=False)

    async def _handled(self, parcels: list[Parcel]) -> Work:
        # Where the engine may have to wait for a strategy's process, the loop does not wait with it.
        beside = self._offload if self._waits_for_processes else None
        turn = Turn(
            self.number,
            self.driver,
            self.watermarks,
            measures=self.has_deadlines or self._waits_for_processes,
            # There is one mark for all shards: beside the loop, another one's would be overwritten.
            quarantine=self._quarantine if beside is None or self._one_of == 1 else None,
        )
        if beside is None:
            self._take(turn, parcels)
        else:
            await beside(partial(self._take, turn, parcels))
        for parcel in parcels:
            if isinstance(parcel.event, Conflated):
                self.tally.shed += parcel.event.ticks
                self.tally.received += parcel.event.ticks
            self.tally.received += len(parcel) + parcel.malformed + parcel.duplicates
            self.tally.malformed += parcel.malformed
            self.tally.duplicates += parcel.duplicates
        outcomes = turn.outcomes
        for observe in self._observers if outcomes else ():
            observe(outcomes)
        self.watermarks.update(turn.moved)
        signals = self._outbox.entries([outcome.signal for outcome in outcomes if isinstance(outcome, Emitted)])
        work = self._made(turn.inputs, turn.moved, signals, checkpoint=turn.swapped)
        work.kept = turn.kept
        return work

    def _take(self, turn: Turn, parcels: list[Parcel]) -> None:
        for parcel in parcels:
            if parcel.event is not None:
                turn.event(parcel.event)
                if parcel.kept is not None:
                    turn.kept.append(parcel.kept)
                continue
            if self._ages and len(parcel) and parcel.arrived_ns != self._arrived_ns:
                self._arrived_ns = parcel.arrived_ns
                turn.event(Arrived(parcel.arrived_ns))
            turn.ticks(parcel)
        turn.finish()

    def _made(
        self,
        inputs: list[Input],
        moved: dict[str, int],
        signals: tuple[OutboxSignal, ...],
        *,
        checkpoint: bool,
    ) -> Work:
        engine = self.driver.engine
        self.tally.count(engine)
        if self._report_executors or checkpoint:
            self._report_executors = False
            self.tally.executors = tuple(map(tally_of, engine.executors))
        first, count = self.next_input, count_of(inputs)
        self.next_input += count
        if signals:
            self.tally.digest = chained(self.tally.digest, [signal.signal_id for signal in signals])
        state: bytes | None
        every = self._checkpoint_inputs or max(CHECKPOINT_INPUTS, self._window_inputs)
        if checkpoint or self.next_input - self.checkpointed_at >= every:
            state = msgspec.msgpack.encode(Checkpoint(self.tally.digest, snapshot(engine)))
            self.checkpointed_at = self.next_input
        else:
            state = None
        data = encoded_inputs(inputs) if inputs else b""
        step = Step(self.number, first, count, data, moved, signals, msgspec.msgpack.encode(self.tally), state)
        return Work(step, inputs)


def chained(digest: bytes, ids: Sequence[str]) -> bytes:
    """The digest after more signals: each step's ids are mixed into that of all steps before."""
    return hashlib.sha256(digest + "".join(ids).encode()).digest()
