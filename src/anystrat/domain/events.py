"""Whatever reaches the engine is an event with its position in the input: replaying the events replays the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from anystrat.domain.exact import plain_text
from anystrat.domain.outcomes import Noted, Outcome
from anystrat.domain.tick import TickRow

#: The kind of the note that says that an inference came too late.
INFERENCE_MISSED: Final = "inference_missed"
#: The kind of the note that says that an evaluation was lost with its strategy's process.
EVALUATION_LOST: Final = "evaluation_lost"


class Operation(StrEnum):
    """What an operator can ask of an executor, or of all of them."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ENABLE = "enable"
    KILL = "kill"
    UNKILL = "unkill"
    REDUCE_ONLY = "reduce_only"
    OPEN_AGAIN = "open_again"


class Command(msgspec.Struct, frozen=True, tag="command"):
    """An operator's command at event time `ts_ns`; without a `strategy_id` it is for all, without a `broker` for each.

    KILL and UNKILL switch the kill switch of all executors, REDUCE_ONLY and OPEN_AGAIN the mode of the account in which only
    what reduces a position may pass; without an account they lead to a note alone. Executors that the command cannot move are left as they
    are; one for a named strategy that moves none of its executors raises `InvalidTransition`, and one that names no
    strategy there is leads to a note.
    """

    operation: Operation
    ts_ns: int
    strategy_id: str | None = None
    broker: str | None = None


class TimerDue(msgspec.Struct, frozen=True, tag="timer"):
    """Event time reached `ts_ns` without a tick: timers that are due by then run."""

    ts_ns: int


class DeliveryFailed(msgspec.Struct, frozen=True, tag="delivery_failed"):
    """A signal of this executor went to the dead letters: the executor is paused."""

    ts_ns: int
    strategy_id: str
    broker: str
    signal_id: str


class ModelServing(msgspec.Struct, frozen=True, tag="model_serving"):
    """At the start of a run, before its first tick: which version of a model file serves.

    A replay takes that version, whatever the file holds by then. `strategy_ids` are those that it is for; none: all that
    name this very path.
    """

    model_path: str
    sha256: str
    strategy_ids: tuple[str, ...] = ()


class ModelSwapped(msgspec.Struct, frozen=True, tag="model_swapped"):
    """A model file was loaded aside, checked, and put in place of the old one before the next tick.

    `strategy_ids` as in `ModelServing`. `sha256` is that of the bytes that were loaded.
    """

    ts_ns: int
    model_path: str
    sha256: str
    strategy_ids: tuple[str, ...] = ()


class ModelReverted(msgspec.Struct, frozen=True, tag="model_reverted"):
    """A new version failed in use (`why`) while it was on trial: the one before it, `sha256`, serves again."""

    ts_ns: int
    model_path: str
    sha256: str
    failed_sha256: str
    why: str
    strategy_ids: tuple[str, ...] = ()


class ModelKept(msgspec.Struct, frozen=True, tag="model_kept"):
    """A model file changed, and what it holds now was refused (`why`): the version before it goes on serving."""

    ts_ns: int
    model_path: str
    why: str


class InferenceMissed(msgspec.Struct, frozen=True, tag="inference_missed"):
    """On its `tick`-th accepted tick an instrument's inference came too late for this executor, which went without.

    A live run measures that; it is recorded before that tick (or before the block that it is in), and a replay goes
    without on the same tick, measuring nothing. See `of`.
    """

    ts_ns: int
    strategy_id: str
    broker: str
    instrument_token: int
    tick: int

    @classmethod
    def of(cls, outcome: Outcome) -> InferenceMissed | None:
        """The event to record for an outcome of a live run; None for an outcome that says something else."""
        if not isinstance(outcome, Noted) or outcome.kind != INFERENCE_MISSED or outcome.strategy_id is None:
            return None
        details = outcome.details
        return cls(outcome.ts_ns, outcome.strategy_id, details["broker"], details["instrument"], details["tick"])


class EvaluationLost(msgspec.Struct, frozen=True, tag="evaluation_lost"):
    """On its `tick`-th accepted tick an instrument's evaluation was lost for this executor: `why` says how its process ended.

    A live run finds that out; it is recorded before that tick (or before the block that it is in), and a replay, which
    has no such processes, asks nobody on the same tick. See `of`.
    """

    ts_ns: int
    strategy_id: str
    broker: str
    instrument_token: int
    tick: int
    why: str

    @classmethod
    def of(cls, outcome: Outcome) -> EvaluationLost | None:
        """The event to record for an outcome of a live run; None for an outcome that says something else."""
        if not isinstance(outcome, Noted) or outcome.kind != EVALUATION_LOST or outcome.strategy_id is None:
            return None
        said = outcome.details
        return cls(outcome.ts_ns, outcome.strategy_id, said["broker"], said["instrument"], said["tick"], said["why"])


class ProcessReady(msgspec.Struct, frozen=True, tag="process_ready"):
    """A strategy that lost its process has another one: its executors go on once their retry is due."""

    ts_ns: int
    strategy_id: str


class Arrived(msgspec.Struct, frozen=True, tag="arrived"):
    """The ticks that follow arrived at `wall_ns`, until the next such event: a tick's age on arrival follows from it.

    A live run gives it where a strategy has `max_tick_age_sec`. Without any, as in a plain recording, no tick has an age.
    """

    wall_ns: int


class FeedGap(msgspec.Struct, frozen=True, tag="feed_gap"):
    """Ticks are missing, and will not come. With `rewarm`, windows begin anew: nothing is evaluated until they are full.

    `instrument_tokens` are those concerned; None: all.
    """

    ts_ns: int
    instrument_tokens: tuple[int, ...] | None = None
    rewarm: bool = True
    details: dict[str, Any] = {}


class FeedStale(msgspec.Struct, frozen=True, tag="feed_stale"):
    """The feed has been silent for longer than it may. With `pause`, executors that are ACTIVE are PAUSED until it is not.

    Without, signals are dropped as `stale` until then.
    """

    ts_ns: int
    pause: bool = False
    details: dict[str, Any] = {}


class FeedFresh(msgspec.Struct, frozen=True, tag="feed_fresh"):
    """The feed speaks again: what `FeedStale` stopped goes on."""

    ts_ns: int


class Conflated(msgspec.Struct, frozen=True, tag="conflated"):
    """Before the next tick of this instrument, `ticks` older ones were left out: more came than could be handled."""

    ts_ns: int
    instrument_token: int
    ticks: int


class TickQuarantined(msgspec.Struct, frozen=True, tag="quarantined"):
    """In the place of a tick that the process died of `deaths` times while it was evaluated: no engine sees it again.

    `price` is a decimal's text. It came from `partition`, at its offset `up_to` or before.
    """

    ts_ns: int
    instrument_token: int
    price: str
    deaths: int
    partition: str = ""
    up_to: int = 0
    volume: float | None = None
    bid: float | None = None
    ask: float | None = None
    halted: bool = False
    auction: bool = False

    @classmethod
    def of(cls, row: TickRow, deaths: int, partition: str, up_to: int) -> TickQuarantined:
        """The event for a tick."""
        volume, bid, ask = (None if each is None else float(each) for each in (row.volume, row.bid, row.ask))
        price = plain_text(row.decimal)
        return cls(
            row.ts_ns,
            row.instrument_token,
            price,
            deaths,
            partition,
            up_to,
            volume,
            bid,
            ask,
            row.halted,
            row.auction,
        )

    @property
    def row(self) -> TickRow:
        """The tick."""
        exact = Decimal(self.price)
        return TickRow(
            self.instrument_token,
            self.ts_ns,
            float(exact),
            exact,
            self.volume,
            self.bid,
            self.ask,
            self.halted,
            self.auction,
        )


class HistoryLoaded(msgspec.Struct, frozen=True, tag="history"):
    """Ticks from before the next live one fill an instrument's empty window: nothing is evaluated or filled on them.

    Times in nanoseconds and prices as decimal texts, oldest first. A window that holds a tick already is left alone.
    """

    instrument_token: int
    times: tuple[int, ...]
    prices: tuple[str, ...]


class Reconfigured(msgspec.Struct, frozen=True, tag="reconfigured"):
    """Here another configuration took over: from now on these rows decide, `before` and `after` being their fingerprints.

    What is the same in both goes on (see `engine.carrying`). A replay needs the configuration that was in force on its side
    of this event.
    """

    ts_ns: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    before: str = ""
    after: str = ""


ModelEvent = ModelServing | ModelSwapped | ModelReverted | ModelKept
#: What reaches the engine beside ticks, and is recorded with its position among them.
RecordedEvent = (
    Command
    | TimerDue
    | DeliveryFailed
    | ModelServing
    | ModelSwapped
    | ModelReverted
    | ModelKept
    | InferenceMissed
    | EvaluationLost
    | ProcessReady
    | Arrived
    | FeedGap
    | FeedStale
    | FeedFresh
    | Conflated
    | TickQuarantined
    | HistoryLoaded
    | Reconfigured
)
Event = TickRow | RecordedEvent


def measured(outcomes: Iterable[Outcome]) -> Iterator[RecordedEvent]:
    """What only a live run can find out, as events to record before what led to these outcomes: there a replay needs them."""
    for outcome in outcomes:
        found = InferenceMissed.of(outcome) or EvaluationLost.of(outcome)
        if found is not None:
            yield found
