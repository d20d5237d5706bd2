"""What the engines decided, for whoever follows: the latest outcomes, numbered, in bounded memory.

Taking outcomes over costs the shard next to nothing: a list is kept as it is. Text is made of it when somebody reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from anystrat.domain.exact import plain_text
from anystrat.domain.notices import BreakerMoved, DeadLettered, Expired, Notice
from anystrat.domain.outcomes import Dropped, Emitted, Filled, Noted, Outcome, ProcessorFailed, Transition

#: What the stream tells of, and by which name; all else (dropped ticks, HOLD) is counted elsewhere.
KINDS: Final[Mapping[type, str]] = {
    Emitted: "signal",
    Dropped: "drop",
    Transition: "transition",
    ProcessorFailed: "error",
    Filled: "fill",
    Noted: "note",
    DeadLettered: "dead_letter",
    BreakerMoved: "breaker",
    Expired: "expired",
}
#: So many of each are listed as recent.
RECENT: Final = 1_000


class Event(NamedTuple):
    """One of the stream: its number, counted from 1 since the process began, its kind, and what happened."""

    number: int
    kind: str
    what: Any


class OutcomeStream:
    """The last `capacity` outcomes. `boot` tells this process's numbers from those of another one."""

    def __init__(self, boot: str, capacity: int) -> None:
        self.boot = boot
        self.last = 0
        self.signals: deque[Event] = deque(maxlen=RECENT)
        self.drops: deque[Event] = deque(maxlen=RECENT)
        self._capacity = capacity
        self._batches: deque[tuple[int, Sequence[object]]] = deque()
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def first(self) -> int:
        """The number of the oldest that is kept; `last + 1` where none is."""
        return self._batches[0][0] if self._batches else self.last + 1

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take a shard's outcomes over: an observer."""
        self._add(outcomes)

    def hear(self, notice: Notice) -> None:
        """Take a notice over, if the stream tells of its kind."""
        if type(notice) in KINDS:
            self._add([notice])

    def _add(self, several: Sequence[object]) -> None:
        began = self.last + 1
        self.last += len(several)
        for number, each in enumerate(several, start=began):
            kind = type(each)
            if kind is Dropped:
                self.drops.append(Event(number, "drop", each))
            elif kind is Emitted:
                self.signals.append(Event(number, "signal", each))
        if len(several) > self._capacity:
            began, several = self.last - self._capacity + 1, several[-self._capacity :]
        self._batches.append((began, several))
        while self.last - self._batches[0][0] >= self._capacity and len(self._batches) > 1:
            self._batches.popleft()
        if self._waiting:
            waiting, self._waiting = self._waiting, set()
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    def after(self, number: int) -> Iterator[Event]:
        """What is kept of the outcomes after this one, in order."""
        batches = iter(reversed(self._batches))
        wanted: list[tuple[int, Sequence[object]]] = []
        for began, several in batches:
            if began + len(several) <= number + 1:
                break
            wanted.append((began, several))
        for began, several in reversed(wanted):
            skipped = max(0, number + 1 - began)
            for place, each in enumerate(islice(several, skipped, None), start=began + skipped):
                kind = KINDS.get(type(each))
                if kind is not None:
                    yield Event(place, kind, each)

    async def more(self, number: int, patience_sec: float) -> bool:
        """Wait until there is something after `number`; False where there is not, for so long."""
        if self.last > number:
            return True
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(heard)
        try:
            async with asyncio.timeout(patience_sec):
                await heard
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(heard)
        return True

    def id_of(self, number: int) -> str:
        """How a reader names the place where it was."""
        return f"{self.boot}-{number}"

    def place_of(self, event_id: str) -> int | None:
        """The number in an id; None for another process's, and for what is none."""
        boot, dash, number = event_id.rpartition("-")
        if not dash or boot != self.boot or not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        return min(int(number), self.last)


def body_of(event: Event) -> dict[str, Any]:
    """An outcome as plain values."""
    made = _BODIES[event.kind](event.what) if event.kind in _BODIES else msgspec.to_builtins(event.what)
    return {"id": event.number, "kind": event.kind, **made}


def _signal(outcome: Emitted) -> dict[str, Any]:
    signal = outcome.signal
    return {
        "ts_ns": signal.ts_ns,
        "strategy_id": signal.strategy_id,
        "broker": signal.broker,
        "instrument_token": signal.instrument_token,
        "signal_type": signal.signal_type,
        "quantity": signal.quantity,
        "price": _price(signal.price),
        "confidence": signal.confidence,
        "signal_id": signal.signal_id,
        "reasoning": signal.reasoning,
    }


def _drop(outcome: Dropped) -> dict[str, Any]:
    signal = outcome.signal
    return {
        "ts_ns": outcome.ts_ns,
        "strategy_id": outcome.strategy_id,
        "broker": outcome.broker,
        "instrument_token": outcome.instrument_token,
        "signal_type": signal.signal_type,
        "quantity": signal.quantity,
        "price": _price(signal.price),
        "confidence": _number(signal.confidence),
        "reason": str(outcome.reason),
        "reasoning": signal.reasoning,
    }


def _price(value: Any) -> str:
    return plain_text(value) if isinstance(value, Decimal) and value.is_finite() else str(value)


def _number(value: Any) -> float | None:
    """A number that JSON has; a strategy may say anything."""
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None


def _transition(outcome: Transition) -> dict[str, Any]:
    return {
        "ts_ns": outcome.ts_ns,
        "strategy_id": outcome.strategy_id,
        "broker": outcome.broker,
        "before": outcome.before.name,
        "after": outcome.after.name,
        "trigger": outcome.trigger.value,
    }


def _failure(outcome: ProcessorFailed) -> dict[str, Any]:
    return {
        "ts_ns": outcome.ts_ns,
        "strategy_id": outcome.strategy_id,
        "broker": outcome.broker,
        "instrument_token": outcome.instrument_token,
        "error": outcome.error,
    }


def _note(outcome: Noted) -> dict[str, Any]:
    details = msgspec.to_builtins(outcome.details, builtin_types=(), enc_hook=str)
    return {"ts_ns": outcome.ts_ns, "strategy_id": outcome.strategy_id, "note": outcome.kind, "details": details}


def _breaker(notice: BreakerMoved) -> dict[str, Any]:
    moved = {"before": notice.before.name.lower(), "after": notice.after.name.lower()}
    return {"broker": notice.broker, **moved, "reason": notice.reason}


_BODIES: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "signal": _signal,
    "drop": _drop,
    "transition": _transition,
    "error": _failure,
    "note": _note,
    "breaker": _breaker,
}
