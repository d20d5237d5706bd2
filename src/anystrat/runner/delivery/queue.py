"""The part of a broker's outbox that is in memory: a bounded window, in order; the rest waits in the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from anystrat.domain.journal import OutboxEntry, OutboxSignal

_NEVER: Final = 1 << 63
#: Waits that are shorter are over: a loop's time may not be able to move by so little.
ROUNDING_SEC: Final = 1e-9


@dataclass(slots=True)
class Tried:
    """What is known of a signal that was tried, or may have been.

    `due` is when it may be tried again (the event loop's time). `doubtful`: the sink may have it; `asked` counts how
    often the sink was asked and could not say.
    """

    attempts: int = 0
    due: float = 0.0
    doubtful: bool = False
    asked: int = 0


class OutboxWindow:
    """At most `capacity` signals, oldest first. `loaded` is the number up to which nothing waits in the journal alone."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.tried: dict[int, Tried] = {}
        self.loaded = 0
        self.accepted = 0
        self._known = False
        self._waiting: deque[OutboxSignal] = deque()
        self._first_expiry = _NEVER

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def lagging(self) -> bool:
        """Whether signals wait in the journal that are not here."""
        return not self._known or self.loaded < self.accepted

    @property
    def hungry(self) -> bool:
        """Whether signals should be read back from the journal now: so many at once that it is worth it."""
        return self.lagging and len(self._waiting) <= self.capacity // 2

    @property
    def may_expire(self) -> bool:
        """Whether a signal here has an expiry."""
        return self._first_expiry != _NEVER

    @property
    def oldest(self) -> int | None:
        """The number of the first signal here."""
        return self._waiting[0].number if self._waiting else None

    def accept(self, signals: Sequence[OutboxSignal]) -> None:
        """Take signals over that are in the journal; those that find no room here are read back later."""
        if not signals:
            return
        last = signals[-1].number
        if self.lagging:
            self.accepted = max(self.accepted, last)
            return
        new = [signal for signal in signals if signal.number > self.loaded][
            : max(0, self.capacity - len(self._waiting))
        ]
        self._append(new)
        if new:
            self.loaded = new[-1].number
        self.accepted = max(self.accepted, last)

    def forget(self, accepted: int) -> None:
        """Begin anew: everything is in the journal, which has accepted this many."""
        self._waiting.clear()
        self.tried.clear()
        self._first_expiry = _NEVER
        self.loaded, self.accepted, self._known = 0, max(self.accepted, accepted), True

    def load(self, entries: Sequence[OutboxEntry], doubtful: Iterable[int], *, up_to: int) -> None:
        """Take over what the journal had next; `up_to` is the number that this answers for if it is not in `entries`."""
        self._append([entry.signal for entry in entries])
        for entry in entries:
            if entry.attempts:
                self.tried[entry.signal.number] = Tried(entry.attempts)
        for number in doubtful:
            self.tried.setdefault(number, Tried()).doubtful = True
        self.loaded = max(self.loaded, up_to, entries[-1].signal.number if entries else 0)
        self.accepted = max(self.accepted, self.loaded)

    def expired(self, wall_ns: int, *, keep_doubtful: bool) -> list[OutboxSignal]:
        """Take out the signals that are too old by now. `keep_doubtful`: not those that the sink can be asked about."""
        if wall_ns < self._first_expiry:
            return []
        gone: list[OutboxSignal] = []
        kept: deque[OutboxSignal] = deque()
        for signal in self._waiting:
            old = 0 < signal.expires_ns <= wall_ns and not (keep_doubtful and self.is_doubtful(signal))
            (gone if old else kept).append(signal)
        self._waiting = kept
        self._first_expiry = min((each.expires_ns for each in kept if each.expires_ns > 0), default=_NEVER)
        return gone

    def is_doubtful(self, signal: OutboxSignal) -> bool:
        """Whether the sink may have it already."""
        tried = self.tried.get(signal.number)
        return tried is not None and tried.doubtful

    def doubtful(self, now: float, limit: int) -> list[OutboxSignal]:
        """Take out the doubtful signals that the sink may be asked about now, in order."""
        if not self.tried:
            return []
        due = {number for number, tried in self.tried.items() if tried.doubtful and not _later(tried, now)}
        if not due:
            return []
        return self.take_out([each for each in self._waiting if each.number in due][:limit])

    def pick(self, now: float, limit: int) -> list[OutboxSignal]:
        """Take out the next signals to send, in order.

        A signal that has to wait for another attempt holds back its strategy's later ones on its instrument, no others.
        """
        if not self.tried:
            return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        group: list[OutboxSignal] = []
        held: set[tuple[str, int]] = set()
        for signal in self._waiting:
            if len(group) == limit:
                break
            tried = self.tried.get(signal.number)
            key = (signal.strategy_id, signal.instrument_token)
            if tried is not None and _later(tried, now):
                held.add(key)
            elif key not in held:
                group.append(signal)
        return self.take_out(group)

    def next_due(self, now: float) -> float | None:
        """Seconds until the first signal that waits for another attempt may be tried; None where none waits."""
        return min((tried.due - now for tried in self.tried.values() if _later(tried, now)), default=None)

    def put_back(self, signals: Sequence[OutboxSignal]) -> None:
        """They were taken out and are not done; they find their place again."""
        if not signals:
            return
        self._append(signals)
        self._waiting = deque(sorted(self._waiting, key=lambda signal: signal.number))

    def done(self, signals: Iterable[OutboxSignal]) -> None:
        """They are settled."""
        if self.tried:
            for signal in signals:
                self.tried.pop(signal.number, None)

    def take_out(self, signals: list[OutboxSignal]) -> list[OutboxSignal]:
        """Take these out; the same list."""
        if signals:
            numbers = {signal.number for signal in signals}
            self._waiting = deque(signal for signal in self._waiting if signal.number not in numbers)
        return signals

    def _append(self, signals: Sequence[OutboxSignal]) -> None:
        self._waiting.extend(signals)
        for signal in signals:
            if 0 < signal.expires_ns < self._first_expiry:
                self._first_expiry = signal.expires_ns


def _later(tried: Tried, now: float) -> bool:
    """Whether it has to wait; what is left of a wait by rounding is none."""
    return tried.due > now + ROUNDING_SEC


def runs(signals: Iterable[OutboxSignal]) -> Iterator[tuple[int, int]]:
    """The signals' numbers as ranges without gaps, (first, last) each; the numbers ascend."""
    first = last = 0
    for signal in signals:
        if signal.number != last + 1 or not first:
            if first:
                yield first, last
            first = signal.number
        last = signal.number
    if first:
        yield first, last
