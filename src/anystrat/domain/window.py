"""One window per instrument: a mirrored ring, so that every strategy's view of it is one contiguous slice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, Final, cast, overload

import numpy as np

from anystrat.domain.errors import StaleHistory
from anystrat.domain.tick import AUCTION_FLAG, HALTED_FLAG, MarketTick, TickRow, row_of

if TYPE_CHECKING:
    from decimal import Decimal

    from numpy.typing import NDArray

#: A window's numbers: where the current tick is, how many are held, whether any is there as numbers alone; then a time
#: a place, then flags a place, which are the market's and `NUMBERS_ALONE`.
PLACE: Final = 0
COUNT: Final = 1
SOME_ALONE: Final = 2
HEADER: Final = 3
#: The tick at this place is in the columns only: no object was made of it.
NUMBERS_ALONE: Final = 64


class Rings:
    """The memory of many windows, in two arrays that compiled code can work on.

    `prices` and `numbers` move when they grow: the windows follow, and `moved` is called.
    """

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self._moved = moved
        self.prices: NDArray[np.float64] = np.zeros(0)
        self.numbers: NDArray[np.int64] = np.zeros(0, np.int64)
        self._prices_used = 0
        self._numbers_used = 0
        self._windows: dict[int, Window] = {}

    def window(self, capacity: int, instrument_token: int) -> Window:
        """A new, empty window in this memory."""
        window = Window(capacity, instrument_token, rings=self)
        self._windows[id(window)] = window
        return window

    def widened(self, window: Window, capacity: int) -> Window:
        """A window of more ticks with what `window` holds; that one is not to be used any more."""
        del self._windows[id(window)]
        wider = self.window(capacity, window.instrument_token)
        for kept in window.rows():
            wider.push(kept)
        return wider

    def take(self, prices: int, numbers: int) -> tuple[int, int]:
        """Room for so many prices and numbers: where they begin."""
        places = self._prices_used, self._numbers_used
        self._prices_used += prices
        self._numbers_used += numbers
        if self._prices_used > len(self.prices) or self._numbers_used > len(self.numbers):
            self.prices = _longer(self.prices, 2 * self._prices_used)
            self.numbers = _longer(self.numbers, 2 * self._numbers_used)
            self._moved()
            for window in self._windows.values():
                window.follow()
        return places


def _longer(array: NDArray[Any], size: int) -> NDArray[Any]:
    longer = np.zeros(max(size, len(array)), array.dtype)
    longer[: len(array)] = array
    return longer


class Window:
    """The last `capacity` ticks of one instrument, shared by all strategies that watch it.

    Each price is written at `i` and at `i + capacity`: the last `k` prices are always `prices[end - k:end]`, oldest
    first, with no copying. `view` is the same memory as plain Python floats, for interpreted code. `memo` holds what was
    computed from the window for its current tick (features, by name), so that whoever asks second gets the first's.

    Compiled code may push ticks too: it writes `numbers` and prices as `push` does, and whoever drives it hands the
    tick itself to `keep`, or marks the place `NUMBERS_ALONE`; a row is made of the numbers then when somebody asks.
    """

    __slots__ = (
        "_numbers",
        "_rings",
        "_ticks",
        "capacity",
        "instrument_token",
        "keep",
        "memo",
        "numbers_at",
        "prices",
        "prices_at",
        "stamp",
        "view",
    )

    def __init__(self, capacity: int, instrument_token: int = 0, *, rings: Rings | None = None) -> None:
        self.capacity = max(1, capacity)
        self.instrument_token = instrument_token
        self._rings = rings or Rings()
        self.prices_at, self.numbers_at = self._rings.take(2 * self.capacity, HEADER + 2 * self.capacity)
        self.prices: NDArray[np.float64]
        self.view: MutableSequence[float]
        self.follow()
        self.stamp = 0
        self.memo: dict[str, float] = {}
        self._ticks: deque[MarketTick | TickRow] = deque(maxlen=self.capacity)
        #: Takes the current tick, once compiled code has pushed its numbers.
        self.keep = self._ticks.append
        self.clear()

    def follow(self) -> None:
        """Find the window's memory again after it moved."""
        size = HEADER + 2 * self.capacity
        self.prices = self._rings.prices[self.prices_at : self.prices_at + 2 * self.capacity]
        numbers = self._rings.numbers[self.numbers_at : self.numbers_at + size]
        # NumPy's stubs do not know that arrays have the buffer protocol.
        self.view = cast("Any", memoryview)(self.prices)
        self._numbers: MutableSequence[int] = cast("Any", memoryview)(numbers)

    @property
    def count(self) -> int:
        """How many ticks are held."""
        return self._numbers[COUNT]

    @property
    def end(self) -> int:
        """Where the prices end, of which the current one is the last."""
        return self._numbers[PLACE] + self.capacity + 1

    def push(self, row: TickRow) -> None:
        """Append a tick; the oldest leaves when the window is full."""
        numbers, capacity = self._numbers, self.capacity
        place = numbers[PLACE] + 1
        if place == capacity:
            place = 0
        numbers[PLACE] = place
        if numbers[COUNT] < capacity:
            numbers[COUNT] += 1
        self.view[place] = self.view[place + capacity] = row.price
        numbers[HEADER + place] = row.ts_ns
        numbers[HEADER + capacity + place] = 0
        self.keep(row)
        if self.memo:
            self.memo.clear()

    def _kept(self, back: int) -> MarketTick | TickRow:
        if not 0 <= back < self.count:
            raise IndexError(f"the window holds {self.count} ticks, not {back + 1}")
        if self._numbers[SOME_ALONE]:
            self._make_rows()
        return self._ticks[-1 - back]

    def row(self, back: int) -> TickRow:
        """The tick `back` places before the current one (0 is the current one)."""
        kept = self._kept(back)
        return kept if isinstance(kept, TickRow) else row_of(kept)

    def tick(self, back: int) -> MarketTick:
        """As `row`, as strategies see it."""
        kept = self._kept(back)
        return kept if isinstance(kept, MarketTick) else kept.market_tick()

    def rows(self) -> list[TickRow]:
        """Every tick that is held, oldest first."""
        return [self.row(back) for back in range(self.count - 1, -1, -1)]

    def _make_rows(self) -> None:
        """Make rows of the ticks that are there as numbers alone."""
        numbers, capacity, place = self._numbers, self.capacity, self._numbers[PLACE]
        kept, rows = reversed(self._ticks), []
        for back in range(self.count):
            at = (place - back) % capacity
            flags = numbers[HEADER + capacity + at]
            if not flags & NUMBERS_ALONE:
                rows.append(next(kept))
                continue
            numbers[HEADER + capacity + at] = flags & ~NUMBERS_ALONE
            rows.append(
                TickRow(
                    self.instrument_token,
                    numbers[HEADER + at],
                    self.view[at],
                    halted=flags & HALTED_FLAG != 0,
                    auction=flags & AUCTION_FLAG != 0,
                )
            )
        self._ticks.clear()
        self._ticks.extend(reversed(rows))
        numbers[SOME_ALONE] = 0

    def dump(self) -> tuple[bytes, bytes, bytes] | None:
        """Times, prices and flags of every tick, oldest first, where all of them are numbers alone; else None."""
        numbers, capacity, count = self._rings.numbers[self.numbers_at :], self.capacity, self.count
        places = (self._numbers[PLACE] - np.arange(count - 1, -1, -1)) % capacity
        flags = numbers[HEADER + capacity + places]
        if not (flags & NUMBERS_ALONE).all():
            return None
        return numbers[HEADER + places].tobytes(), self.prices[places].tobytes(), flags.tobytes()

    def load(self, dumped: tuple[bytes, bytes, bytes]) -> None:
        """Hold what `dump` gave, and nothing else."""
        self.clear()
        times, flags = (np.frombuffer(part, np.int64) for part in (dumped[0], dumped[2]))
        count, capacity = len(times), self.capacity
        numbers = self._rings.numbers[self.numbers_at :]
        self.prices[:count] = self.prices[capacity : capacity + count] = np.frombuffer(dumped[1], np.float64)
        numbers[HEADER : HEADER + count], numbers[HEADER + capacity : HEADER + capacity + count] = times, flags
        numbers[PLACE], numbers[COUNT], numbers[SOME_ALONE] = (count - 1) % capacity, count, count > 0

    def clear(self) -> None:
        """Forget every tick."""
        numbers = self._numbers
        numbers[PLACE], numbers[COUNT], numbers[SOME_ALONE] = self.capacity - 1, 0, 0
        self._ticks.clear()
        self.memo.clear()
        self.expire()

    def history(self, length: int) -> History:
        """The last `length` ticks as strategies see them, until the next `expire`."""
        return History(self, min(length, self.count))

    def expire(self) -> None:
        """Make every history that was handed out so far stale."""
        self.stamp += 1


class History(Sequence["MarketTick"]):
    """A read-only, lazy sequence of the last ticks of one instrument, oldest first, the current tick last.

    Valid during the call that it was handed to; a later access raises `StaleHistory`. `tuple(history)` copies.
    """

    __slots__ = ("_length", "_stamp", "_window")

    def __init__(self, window: Window, length: int) -> None:
        self._window = window
        self._length = length
        self._stamp = window.stamp

    def _live(self) -> Window:
        window = self._window
        if window.stamp != self._stamp:
            raise StaleHistory(
                "this history was handed to an earlier call and its ticks have been overwritten since; "
                "copy what you need during the call, with tuple(history) or history.prices.copy()"
            )
        return window

    @property
    def prices(self) -> NDArray[np.float64]:
        """The prices as float64, shape (len(history),), oldest first; read-only, a view: copy what you keep."""
        window = self._live()
        end = window.end
        view = window.prices[end - self._length : end]
        view.flags.writeable = False
        return view

    def exact_prices(self) -> list[Decimal]:
        """The prices as the exact decimals that they are, oldest first; dearer than `prices`, for ties that count."""
        window = self._live()
        # Where a tie counts, prices repeat; and making a decimal of a double is what costs.
        known: dict[float, Decimal] = {}
        prices: list[Decimal] = []
        for back in range(self._length - 1, -1, -1):
            row = window.row(back)
            exact = row.exact if row.exact is not None else known.get(row.price)
            if exact is None:
                exact = known[row.price] = row.decimal
            prices.append(exact)
        return prices

    def last(self, count: int) -> History:
        """The last `count` of these ticks, as valid as this history is. Raises `IndexError` if there are fewer."""
        window = self._live()
        if not 0 <= count <= self._length:
            raise IndexError(f"history holds {self._length} ticks, not {count}")
        return History(window, count)

    @property
    def memo(self) -> dict[str, float]:
        """What was already computed for this tick, by name; shared by all strategies of the instrument."""
        return self._live().memo

    def __len__(self) -> int:
        self._live()
        return self._length

    @overload
    def __getitem__(self, index: int) -> MarketTick: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[MarketTick]: ...
    def __getitem__(self, index: int | slice) -> MarketTick | Sequence[MarketTick]:
        window, length = self._live(), self._length
        if isinstance(index, slice):
            return tuple(window.tick(length - 1 - i) for i in range(*index.indices(length)))
        position = index + length if index < 0 else index
        if not 0 <= position < length:
            raise IndexError(f"history holds {length} ticks; index {index} is outside")
        return window.tick(length - 1 - position)

    def __iter__(self) -> Iterator[MarketTick]:
        for position in range(self._length):
            yield self[position]

    def __repr__(self) -> str:
        stale = "stale" if self._window.stamp != self._stamp else f"{self._length} ticks"
        return f"<History: {stale}>"


def history_of(ticks: Sequence[TickRow]) -> History:
    """A history over ticks of your own, oldest first: for tests, training and analysis outside the engine."""
    window = Window(max(1, len(ticks)))
    for row in ticks:
        window.push(row)
    return window.history(len(ticks))
