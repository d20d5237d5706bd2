"""What the runner has to say while it runs, beside what its engines decide: values for the log, and for tests."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from anystrat.domain.health import Breaker
from anystrat.domain.intake import SourceNotice


class Started(msgspec.Struct, frozen=True):
    """The service begins; nothing was read yet."""

    run: str
    version: str
    source: str
    journal: str
    brokers: tuple[str, ...]
    executors: int
    instruments: int


class ShardsAssigned(msgspec.Struct, frozen=True):
    """Instruments found their shards: `instruments[k]` are in shard `k`."""

    instruments: tuple[int, ...]

    @property
    def skew(self) -> float:
        """The fullest shard's share against an even one: 1 is even, the number of shards is all in one."""
        total = sum(self.instruments)
        return max(self.instruments) * len(self.instruments) / total if total else 1.0


class Recovered(msgspec.Struct, frozen=True):
    """A shard is where it was: its checkpoint loaded, `inputs` pushed through again.

    `diverged`: they led to other signals than were accepted before, so that a strategy is no function of its input.
    """

    shard: int
    inputs: int
    seconds: float
    epoch: int
    diverged: bool = False


class DiedWithin(msgspec.Struct, frozen=True):
    """The process before ended while it evaluated `ticks` ticks of a shard (0: a timer), for the `deaths`-th time.

    The first of them, and the last. They are evaluated one by one now.
    """

    shard: int
    ticks: int
    deaths: int
    first_ns: int
    first_token: int
    last_ns: int
    last_token: int


class Quarantined(msgspec.Struct, frozen=True):
    """A tick was left out of which the process died again and again. It is kept in the journal, and at `kept_in`."""

    shard: int
    instrument_token: int
    ts_ns: int
    price: str
    deaths: int
    partition: str
    kept_in: str


class HistoryReady(msgspec.Struct, frozen=True):
    """Windows were filled from history before the first live tick: of so many instruments, with so many ticks."""

    instruments: int
    ticks: int
    missing: int


class HandedOver(msgspec.Struct, frozen=True):
    """The feed follows on the history, of so many instruments; `silent` ones have had no tick that is newer.

    `duplicates` are ticks of the feed that are not newer than the history's last one of their instrument. The longest time
    between the two was `longest_gap_sec`, of `gap_token`.
    """

    instruments: int
    silent: int
    duplicates: int
    longest_gap_sec: float
    gap_token: int


class Listening(msgspec.Struct, frozen=True):
    """An endpoint takes connections."""

    what: str
    address: str


class DeadLettered(msgspec.Struct, frozen=True):
    """A signal is given up, and kept. `fate` is `dead`, or `unknown` where nobody knows whether the sink has it."""

    broker: str
    strategy_id: str
    signal_id: str
    instrument_token: int
    fate: str
    reason: str
    attempts: int


class Expired(msgspec.Struct, frozen=True):
    """Signals became too old before they could be sent, and were not."""

    broker: str
    count: int
    first_signal_id: str


class BreakerMoved(msgspec.Struct, frozen=True):
    """A broker's circuit breaker changed."""

    broker: str
    before: Breaker
    after: Breaker
    reason: str = ""


class JournalWaits(msgspec.Struct, frozen=True):
    """The journal finds no room: nothing is taken in or sent until it does. `problem` says what would help."""

    problem: str


class JournalWeak(msgspec.Struct, frozen=True):
    """The journal's server keeps less than it says: with these `settings`, a power cut may cost what was committed."""

    settings: str


class JournalGoesOn(msgspec.Struct, frozen=True):
    """The journal found room, after so many seconds; nothing was lost."""

    seconds: float


class StrategyBlocks(msgspec.Struct, frozen=True):
    """A strategy has not answered for `seconds`, and holds its shard up. `stack` is where it is, where that can be seen."""

    strategy_id: str
    shard: int
    instrument_token: int
    seconds: float
    stack: str = ""


class ProcessReplaced(msgspec.Struct, frozen=True):
    """An isolated strategy that lost its process has another one."""

    strategy_id: str
    text: str


class PartFailed(msgspec.Struct, frozen=True):
    """A part of the service cannot go on; `consequence` says what the service does about it."""

    part: str
    error: str
    consequence: str
    traceback: str = ""


class Draining(msgspec.Struct, frozen=True):
    """No more ticks are taken; what is accepted is delivered, until the deadline."""

    reason: str
    deadline_sec: float
    queued: int


class Stopped(msgspec.Struct, frozen=True):
    """The end. `queued` signals are accepted, durable and not sent: the next start sends them."""

    reason: str
    clean: bool
    queued: int
    seconds: float


Notice = (
    Started
    | ShardsAssigned
    | Recovered
    | DiedWithin
    | Quarantined
    | HistoryReady
    | HandedOver
    | Listening
    | SourceNotice
    | DeadLettered
    | Expired
    | BreakerMoved
    | JournalWaits
    | JournalGoesOn
    | JournalWeak
    | StrategyBlocks
    | ProcessReplaced
    | PartFailed
    | Draining
    | Stopped
)
#: Hears each notice once. Must not raise, and must not wait.
Listener = Callable[[Notice], None]
