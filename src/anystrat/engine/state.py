"""The engine's whole mutable state as tables of numbers.

One row an executor, one row a slot (an executor's instrument), one row an instrument. The tables are NumPy's structured
arrays, so that a snapshot is their bytes and compiled code works on them in place; interpreted code sees the columns of
the same memory through `memoryview`s, which give plain Python numbers several times faster than NumPy's own indexing.
Either way a cell is `book.executor.state[e]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, cast

import numpy as np

from anystrat.domain.outcomes import REASONS
from anystrat.engine.recent import has_room, recent_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Event time that never comes, and a limit that nothing reaches.
NEVER: Final = 2**63 - 1
#: Event time before everything: "has not happened yet".
LONG_AGO: Final = -(2**63)
#: Ticks lie between these (the years 1823 and 2116), so that no sum or difference of two times leaves 64 bits.
EARLIEST: Final = -(2**62)
LATEST: Final = 2**62
#: One counter a reason, 0 unused, so that a reason's number is its column.
REASON_COLUMNS: Final = len(REASONS)

T = TypeVar("T", int, float)
C = TypeVar("C", bound=tuple[Any, ...])


class Column(Protocol[T]):
    """A column of numbers, whether a memoryview (interpreted) or an array (compiled)."""

    def __getitem__(self, index: int, /) -> T: ...
    def __setitem__(self, index: int, value: T, /) -> None: ...
    def __len__(self) -> int: ...


Ints = Column[int]
Floats = Column[float]


class Limits(NamedTuple):
    """What an executor is held to; constant once registered. A row an executor, durations in nanoseconds.

    A limit that is not configured holds a value that nothing reaches: infinity, `NEVER`, or `LONG_AGO` for durations
    (an executor of several instruments can meet a tick that is older than its last signal, so that 0 is no such value).
    A `per_minute` of 0 is off; a `resume_after` below 0 waits for an operator; a `sizing` of 0 is the strategy's own
    quantity (see `engine.sizing`).
    """

    min_confidence: Floats
    max_quantity: Ints
    band: Floats
    slippage_budget: Floats
    min_flip: Ints
    max_position: Ints
    long_only: Ints
    max_exposure: Floats
    max_loss_streak: Ints
    resume_after: Ints
    cooldown: Ints
    dedupe: Ints
    min_interval: Ints
    per_minute: Ints
    pause_on_throttle: Ints
    throttle_pause: Ints
    allow_preopen: Ints
    allow_closed: Ints
    max_age: Ints
    fee_bps: Floats
    slippage_bps: Floats
    first_charge: Ints
    last_charge: Ints
    same_tick: Ints
    need: Ints
    first_slot: Ints
    last_slot: Ints
    rate_start: Ints
    sizing: Ints
    capital: Floats
    share: Floats
    most_share: Floats
    deviation_periods: Ints


class ExecutorColumns(NamedTuple):
    """A row an executor. Times are event time in nanoseconds, money is in doubles."""

    state: Ints
    since: Ints
    due: Ints
    pause_cause: Ints
    loss_streak: Ints
    last_emit: Ints
    retries: Ints
    rate_count: Ints
    rate_next: Ints
    cash: Floats
    realised: Floats
    fees: Floats
    round_trips: Ints
    fills: Ints
    evaluations: Ints
    signals: Ints
    holds: Ints
    errors: Ints


class SlotColumns(NamedTuple):
    """A row a slot: one instrument of one executor."""

    instrument: Ints
    multiplier: Floats
    position: Ints
    average: Floats
    changed_at: Ints
    last_emit: Ints
    realised: Floats
    pending_count: Ints
    recent_count: Ints
    lot: Ints


class InstrumentColumns(NamedTuple):
    """A row an instrument; `minute_open` is that of `minute`, the number of a UTC minute."""

    last_ts: Ints
    last_price: Floats
    minute: Ints
    minute_open: Floats
    ticks: Ints


class PendingColumns(NamedTuple):
    """Orders that wait for their fill: those of slot `s` at `s * pending_room` and on, in the order of acceptance."""

    quantity: Ints
    price: Floats
    ts: Ints


class RecentColumns(NamedTuple):
    """What a slot emitted lately, by side and price bucket.

    A hash table of `recent_room` places, a power of two, from `s * 2 * recent_room` on, of which at most `recent_count`
    are in use; and as many places again for clearing it up.
    """

    ts: Ints
    side: Ints
    bucket: Ints


class ChargeColumns(NamedTuple):
    """A row a part of what an executor's fills are charged, `Limits.first_charge..last_charge` without the last.

    `side` has a bit for buys (1) and one for sells (2), `of` one for each part, from the executor's first on, whose
    `amount` (the latest fill's) this one takes the share `share` of. No `maximum` is infinity, no `max_bps` too.
    """

    side: Ints
    per_trade: Floats
    per_unit: Floats
    bps: Floats
    of: Ints
    share: Floats
    minimum: Floats
    maximum: Floats
    max_bps: Floats
    amount: Floats


class Book(NamedTuple):
    """Everything that changes.

    `rate_ts` are an executor's emissions of the last minute, from `Limits.rate_start[e]` on; `drops` has
    `REASON_COLUMNS` counters an executor.
    """

    executor: ExecutorColumns
    slot: SlotColumns
    instrument: InstrumentColumns
    pending: PendingColumns
    recent: RecentColumns
    charges: ChargeColumns
    drops: Ints
    rate_ts: Ints
    pending_room: int
    recent_room: int


@cache
def table_type(columns: type[tuple[Any, ...]]) -> np.dtype[Any]:
    """The structured type of a table with these columns."""
    # A NamedTuple wraps what is written as text into forward references.
    kinds = {name: getattr(kind, "__forward_arg__", kind) for name, kind in columns.__annotations__.items()}
    return np.dtype([(name, "<f8" if kind == "Floats" else "<i8") for name, kind in kinds.items()])


def views(columns: type[C], table: NDArray[Any]) -> C:
    """The columns of a table as memoryviews, for interpreted code."""
    return columns(*(view_of(table[name]) for name in columns._fields))  # type: ignore[attr-defined]  # a NamedTuple


def view_of(array: NDArray[Any]) -> Any:
    """The array's memory as a memoryview; NumPy's stubs do not know that it has the buffer protocol."""
    return memoryview(cast("Any", array))


_TABLES: Final[dict[str, Any]] = {
    "limits": Limits,
    "executor": ExecutorColumns,
    "slot": SlotColumns,
    "instrument": InstrumentColumns,
    "pending": PendingColumns,
    "recent": RecentColumns,
    "charges": ChargeColumns,
}
#: What a fresh row holds where that is not 0.
_FRESH: Final[dict[str, dict[str, float]]] = {
    "executor": {"since": LONG_AGO, "due": NEVER, "last_emit": LONG_AGO},
    "slot": {"changed_at": LONG_AGO, "last_emit": LONG_AGO, "multiplier": 1.0, "lot": 1},
    "instrument": {"last_ts": LONG_AGO, "minute": LONG_AGO},
}


@cache
def _fresh_row(name: str) -> NDArray[Any]:
    row = np.zeros(1, table_type(_TABLES[name]))
    for column, value in _FRESH[name].items():
        row[column] = value
    return row


class State:
    """Owns the tables, makes room in them, and hands them out as `book` and `limits`.

    `tables` are what is in use of arrays that have more room than that: they grow by doubling, so that registering a
    strategy costs the same however many there are. `book` and `limits` see all of the room. `moved` is called whenever
    the memory of any table is elsewhere.
    """

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self._moved = moved
        self._rooms: dict[str, NDArray[Any]] = {
            **{name: np.zeros(0, table_type(columns)) for name, columns in _TABLES.items()},
            "drops": np.zeros(0, np.int64),
            "rate_ts": np.zeros(0, np.int64),
        }
        self.tables = dict(self._rooms)
        self.pending_room = 1
        self.recent_room = 8
        self._bind()

    @property
    def executors(self) -> int:
        """How many executors there are."""
        return len(self.tables["executor"])

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return len(self.tables["slot"])

    def _bind(self) -> None:
        rooms = self._rooms
        self._moved()
        self.limits = views(Limits, rooms["limits"])
        self.book = Book(
            views(ExecutorColumns, rooms["executor"]),
            views(SlotColumns, rooms["slot"]),
            views(InstrumentColumns, rooms["instrument"]),
            views(PendingColumns, rooms["pending"]),
            views(RecentColumns, rooms["recent"]),
            views(ChargeColumns, rooms["charges"]),
            view_of(rooms["drops"]),
            view_of(rooms["rate_ts"]),
            self.pending_room,
            self.recent_room,
        )

    def for_compiled(self) -> tuple[Limits, Book]:
        """The same memory as structured arrays, which compiled code reads by the same names."""
        tables: Any = self.tables
        book = Book._make([*(tables[name] for name in Book._fields[:-2]), self.pending_room, self.recent_room])
        return tables["limits"], book

    def _replace(self, name: str, table: NDArray[Any]) -> None:
        """Take another array for a table, all of it in use; `_bind` has to follow."""
        self._rooms[name] = self.tables[name] = table

    def _extend(self, name: str, count: int) -> tuple[NDArray[Any], bool]:
        """Make `count` fresh rows; (those rows, whether the table's memory moved)."""
        old = self.tables[name]
        used = len(old) + count
        moved = used > len(self._rooms[name])
        if moved:
            wider = np.zeros(max(used, 2 * len(old)), old.dtype)
            wider[: len(old)] = old
            self._rooms[name] = wider
        self.tables[name] = self._rooms[name][:used]
        fresh = self.tables[name][len(old) :]
        if name in _FRESH:
            fresh[:] = _fresh_row(name)
        return fresh, moved

    def add_instrument(self) -> int:
        """Room for one more instrument; its row."""
        _, moved = self._extend("instrument", 1)
        if moved:
            self._bind()
        return len(self.tables["instrument"]) - 1

    def add_executor(
        self, limits: dict[str, float], slots: list[tuple[int, float]], charges: Sequence[tuple[float, ...]] = ()
    ) -> int:
        """Room for one more executor, with a slot for each (instrument row, multiplier); its row.

        `charges` are rows of `ChargeColumns`.
        """
        places = {
            "first_slot": self.slots,
            "last_slot": self.slots + len(slots),
            "rate_start": len(self.tables["rate_ts"]),
            "first_charge": len(self.tables["charges"]),
            "last_charge": len(self.tables["charges"]) + len(charges),
        }
        values = {**limits, **places}
        rate, rate_moved = self._extend("rate_ts", int(limits["per_minute"]))
        rate[:] = LONG_AGO
        charged, charges_moved = self._extend("charges", len(charges))
        charged[:] = list(charges)
        row, row_moved = self._extend("limits", 1)
        row[0] = tuple(values.get(name, 0) for name in Limits._fields)
        slot, slot_moved = self._extend("slot", len(slots))
        slot["instrument"] = [instrument for instrument, _ in slots]
        slot["multiplier"] = [multiplier for _, multiplier in slots]
        others = {
            "executor": 1,
            "drops": REASON_COLUMNS,
            "pending": len(slots) * self.pending_room,
            "recent": len(slots) * 2 * self.recent_room,
        }
        moved = [self._extend(name, count)[1] for name, count in others.items()]
        if rate_moved or row_moved or slot_moved or charges_moved or any(moved):
            self._bind()
        return self.executors - 1

    def make_room(self, e: int, slot: int, ts: int) -> None:
        """Let one more order wait on this slot of executor `e`, and one more emission be remembered."""
        if self.book.slot.pending_count[slot] >= self.pending_room:
            self.widen(pending=True)
        while not has_room(self.limits, self.book, e, slot, ts):
            self.widen(pending=False)

    def widen(self, *, pending: bool) -> None:
        """Double the room for waiting orders, or that of the tables of recent emissions."""
        if pending:
            self._widen_pending()
        else:
            self._widen_recent()
        self._bind()

    def _widen_pending(self) -> None:
        room = self.pending_room
        old = self.tables["pending"].reshape(self.slots, room)
        new = np.zeros((self.slots, 2 * room), old.dtype)
        new[:, :room] = old
        self._replace("pending", new.reshape(-1))
        self.pending_room = 2 * room

    def _widen_recent(self) -> None:
        old, room = self.tables["recent"], self.recent_room
        used = np.flatnonzero(old["side"])
        self._replace("recent", np.zeros(2 * len(old), old.dtype))
        self.recent_room = 2 * room
        self._bind()
        recent = self.book.recent
        for place in used.tolist():
            ts, side, bucket = old[place].tolist()
            k = recent_place(self.book, place // (2 * room), side, bucket)
            recent.ts[k], recent.side[k], recent.bucket[k] = ts, side, bucket

    def dump(self) -> dict[str, Any]:
        """Everything, as bytes by name."""
        return {
            "rooms": [self.pending_room, self.recent_room],
            "tables": {name: table.tobytes() for name, table in self.tables.items()},
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take over what `dump` gave; the executors and instruments must be those of this state."""
        self.pending_room, self.recent_room = dumped["rooms"]
        for name, old in self.tables.items():
            self._replace(name, np.frombuffer(dumped["tables"][name], old.dtype).copy())
        self._bind()
