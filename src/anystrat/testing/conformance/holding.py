"""Checks of what is done with the history: it is left as it was, and let go of when the call ends."""

from __future__ import annotations

import gc
import sys
from collections.abc import Hashable

from anystrat.domain.protocols import PriceRule, StrategyProcessor
from anystrat.domain.window import History, Window
from anystrat.testing.conformance.answers import ask, form
from anystrat.testing.conformance.calls import at
from anystrat.testing.conformance.subject import Subject
from anystrat.testing.conformance.suite import Broken

_COPY = "copy what you keep during the call, with tuple(history) or history.prices.copy()"


def contents(window: Window) -> Hashable:
    """Everything that a window holds, memo apart. Only metadata can be changed behind a tick's frozen fields."""
    rows = [
        (row.ts_ns, row.price, row.exact, row.volume, row.bid, row.ask, row.metadata and form(row.metadata))
        for row in window.rows()
    ]
    return window.prices.tobytes(), tuple(rows)


def untouched(subject: Subject) -> None:
    """Prices, ticks, metadata and what others computed are after a call what they were before it."""
    for path in subject.paths():
        for i in subject.places(path, 6):
            window = subject.window_at(path, i)
            before = contents(window)
            processor = subject.make()
            answer = ask(lambda: processor.process_tick(window.row(0).market_tick(), window.history(subject.need)))  # noqa: B023
            if contents(window) != before:
                raise at(
                    subject,
                    path,
                    i,
                    "changes the ticks that it was handed",
                    f"other prices, ticks or metadata after the call ({answer})",
                    "the history as it was before the call: all strategies of the instrument share it",
                    "work on a copy: history.prices.copy(), dict(tick.metadata)",
                )
            known = dict(window.memo)
            ask(lambda: processor.process_tick(window.row(0).market_tick(), window.history(subject.need)))  # noqa: B023
            changed = [name for name, value in known.items() if form(window.memo.get(name)) != form(value)]
            if changed:
                raise at(
                    subject,
                    path,
                    i,
                    f"changes what history.memo already holds for this tick: {', '.join(changed)}",
                    repr({name: window.memo.get(name) for name in changed}),
                    repr({name: known[name] for name in changed}),
                    "read a value that is there; write only what the name stands for",
                )


def kept(subject: Subject) -> None:
    """Nothing that was handed in is read, or still held as an array, after the call."""
    for number, path in enumerate(subject.paths()):
        processor = subject.make()
        window = Window(subject.need)
        stale_reads: list[int] = []
        for i, row in enumerate(path.rows(0, len(path))):
            window.push(row)
            if window.count < subject.need:
                continue
            holders = _holders(window)
            _call(processor, window, subject.need, stale_reads)
            if stale_reads:
                raise _kept(subject, path, i, "reads a history of an earlier call")
            if _holders(window) > holders:
                gc.collect()
                if _holders(window) > holders:
                    raise _kept(subject, path, i, "keeps the prices (or the memo) of the history after the call")
        # To look through every object of the process is dear: two paths will do.
        if number < 2 and isinstance(processor, PriceRule) and _keeps_prices(processor, window):
            raise _kept(subject, path, len(path) - 1, "keeps the prices that decide(prices, end) was handed")


def _kept(subject: Subject, path: object, i: int, what: str) -> Broken:
    return at(
        subject,
        path,  # type: ignore[arg-type]  # a PricePath
        i,
        what,
        "a view of prices that are overwritten by later ticks",
        "nothing of the history is in use after process_tick returned",
        _COPY,
    )


def _call(processor: StrategyProcessor, window: Window, length: int, stale_reads: list[int]) -> None:
    history = _Watched(window, length, stale_reads)
    ask(lambda: processor.process_tick(window.row(0).market_tick(), history))
    window.expire()


def _holders(window: Window) -> tuple[int, int]:
    # A slice of a slice holds the array at the bottom, and nothing in between.
    owner = window.prices if window.prices.base is None else window.prices.base
    return sys.getrefcount(owner), sys.getrefcount(window.memo)


def _keeps_prices(processor: PriceRule, window: Window) -> bool:
    """Whether a memoryview more than before is on the window's prices: those have no count of their own to compare."""
    before = _memoryviews(window)
    ask(lambda: processor.decide(window.view, window.end))
    return _memoryviews(window) > before


def _memoryviews(window: Window) -> int:
    gc.collect()
    buffers = [holder for holder in gc.get_referrers(window.prices) if type(holder).__name__ == "managedbuffer"]
    found = sum(type(holder) is memoryview for buffer in buffers for holder in gc.get_referrers(buffer))
    return found + sys.getrefcount(window.view)


class _Watched(History):
    """A history that notes each read after its call."""

    __slots__ = ("_stale_reads",)

    def __init__(self, window: Window, length: int, stale_reads: list[int]) -> None:
        super().__init__(window, length)
        self._stale_reads = stale_reads

    def _live(self) -> Window:
        if self._window.stamp != self._stamp:
            self._stale_reads.append(self._stamp)
        return super()._live()

    def last(self, count: int) -> History:
        super().last(count)
        return _Watched(self._window, count, self._stale_reads)
