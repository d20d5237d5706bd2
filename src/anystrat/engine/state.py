"""The engine's whole mutable state as flat columns of numbers.

One row an executor, one row a slot (an executor's instrument), one row an instrument. The columns are NumPy arrays, so
that a snapshot is their bytes and compiled code can work on them in place; interpreted code sees the same memory through
`memoryview`s, which give plain Python numbers several times faster than NumPy's own indexing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, cast

import numpy as np

from anystrat.domain.outcomes import REASONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Event time that never comes, and a limit that nothing reaches.
NEVER: Final = 2**63 - 1
#: Event time before everything: "has not happened yet".
LONG_AGO: Final = -(2**63)
#: One counter a reason, 0 unused, so that a reason's number is its column.
REASON_COLUMNS: Final = len(REASONS)

T = TypeVar("T", int, float)


class Column(Protocol[T]):
    """A column of numbers, whether a memoryview (interpreted) or an array (compiled)."""

    def __getitem__(self, index: int, /) -> T: ...
    def __setitem__(self, index: int, value: T, /) -> None: ...


Ints = Column[int]
Floats = Column[float]


class Limits(NamedTuple):
    """What an executor is held to; constant once registered. A row an executor, durations in nanoseconds.

    A limit that is not configured holds a value that nothing reaches: infinity, `NEVER`, or `LONG_AGO` for durations
    (an executor of several instruments can meet a tick that is older than its last signal, so that 0 is no such value).
    A `per_minute` of 0 is off.
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
    cooldown: Ints
    dedupe: Ints
    min_interval: Ints
    per_minute: Ints
    allow_preopen: Ints
    allow_closed: Ints
    max_age: Ints
    fee_bps: Floats
    slippage_bps: Floats
    same_tick: Ints
    first_slot: Ints
    last_slot: Ints
    rate_start: Ints


class Book(NamedTuple):
    """What changes. The first group has a row an executor, the second a row a slot, the third a row an instrument.

    Rings are flat: waiting orders of slot `s` at `s * pending_room + k`, its recent emissions at `s * recent_room + k`,
    the emissions of the last minute of executor `e` from `Limits.rate_start[e]`.
    """

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
    drops: Ints
    rate_ts: Ints

    position: Ints
    average: Floats
    changed_at: Ints
    slot_emit: Ints
    slot_realised: Floats
    slot_instrument: Ints
    slot_multiplier: Floats
    pending_count: Ints
    pending_quantity: Ints
    pending_price: Floats
    recent_count: Ints
    recent_next: Ints
    recent_ts: Ints
    recent_side: Ints
    recent_bucket: Ints

    last_ts: Ints
    last_price: Floats
    minute: Ints
    minute_open: Floats
    ticks: Ints

    pending_room: int
    recent_room: int


_F8, _I8 = "<f8", "<i8"
_LIMITS: Final[dict[str, str]] = {
    name: _F8
    if name in ("min_confidence", "band", "slippage_budget", "max_exposure", "fee_bps", "slippage_bps")
    else _I8
    for name in Limits._fields
}
_EXECUTOR: Final[dict[str, tuple[str, float]]] = {
    "state": (_I8, 0),
    "since": (_I8, LONG_AGO),
    "due": (_I8, NEVER),
    "pause_cause": (_I8, 0),
    "loss_streak": (_I8, 0),
    "last_emit": (_I8, LONG_AGO),
    "retries": (_I8, 0),
    "rate_count": (_I8, 0),
    "rate_next": (_I8, 0),
    "cash": (_F8, 0.0),
    "realised": (_F8, 0.0),
    "fees": (_F8, 0.0),
    "round_trips": (_I8, 0),
    "fills": (_I8, 0),
    "evaluations": (_I8, 0),
    "signals": (_I8, 0),
    "holds": (_I8, 0),
    "errors": (_I8, 0),
}
_SLOT: Final[dict[str, tuple[str, float]]] = {
    "position": (_I8, 0),
    "average": (_F8, 0.0),
    "changed_at": (_I8, LONG_AGO),
    "slot_emit": (_I8, LONG_AGO),
    "slot_realised": (_F8, 0.0),
    "slot_instrument": (_I8, 0),
    "slot_multiplier": (_F8, 1.0),
    "pending_count": (_I8, 0),
    "recent_count": (_I8, 0),
    "recent_next": (_I8, 0),
}
_INSTRUMENT: Final[dict[str, tuple[str, float]]] = {
    "last_ts": (_I8, LONG_AGO),
    "last_price": (_F8, 0.0),
    "minute": (_I8, LONG_AGO),
    "minute_open": (_F8, 0.0),
    "ticks": (_I8, 0),
}
_PENDING: Final[dict[str, str]] = {"pending_quantity": _I8, "pending_price": _F8}
_RECENT: Final[dict[str, str]] = {"recent_ts": _I8, "recent_side": _I8, "recent_bucket": _I8}


class State:
    """Owns the columns, makes room in them, and hands them out as `book` and `limits`."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {
            **{name: np.zeros(0, kind) for name, kind in _LIMITS.items()},
            **{name: np.zeros(0, kind) for name, (kind, _) in (_EXECUTOR | _SLOT | _INSTRUMENT).items()},
            **{name: np.zeros(0, kind) for name, kind in (_PENDING | _RECENT).items()},
            "drops": np.zeros(0, _I8),
            "rate_ts": np.zeros(0, _I8),
        }
        self.pending_room = 1
        self.recent_room = 4
        self.executors = self.slots = self.instruments = 0
        self._bind()

    def _bind(self) -> None:
        views = {name: memoryview(array) for name, array in self.arrays.items()}  # type: ignore[arg-type]  # arrays have the buffer protocol
        rooms = {"pending_room": self.pending_room, "recent_room": self.recent_room}
        self.limits = Limits(**{name: cast("Any", views[name]) for name in Limits._fields})
        self.book = Book(**{name: cast("Any", (views | rooms)[name]) for name in Book._fields})

    def _extend(self, name: str, count: int, value: float) -> None:
        old = self.arrays[name]
        self.arrays[name] = np.concatenate([old, np.full(count, value, old.dtype)])

    def add_instrument(self) -> int:
        """Room for one more instrument; its row."""
        for name, (_, value) in _INSTRUMENT.items():
            self._extend(name, 1, value)
        self.instruments += 1
        self._bind()
        return self.instruments - 1

    def add_executor(self, limits: dict[str, float], slots: list[tuple[int, float]]) -> int:
        """Room for one more executor, with a slot for each (instrument row, multiplier); its row."""
        per_minute = int(limits["per_minute"])
        limits |= {
            "first_slot": self.slots,
            "last_slot": self.slots + len(slots),
            "rate_start": len(self.arrays["rate_ts"]),
        }
        for name in Limits._fields:
            self._extend(name, 1, limits[name])
        for name, (_, value) in _EXECUTOR.items():
            self._extend(name, 1, value)
        for name, (_, value) in _SLOT.items():
            self._extend(name, len(slots), value)
        for name in _PENDING:
            self._extend(name, len(slots) * self.pending_room, 0)
        for name in _RECENT:
            self._extend(name, len(slots) * self.recent_room, 0)
        self._extend("drops", REASON_COLUMNS, 0)
        self._extend("rate_ts", per_minute, LONG_AGO)
        for k, (instrument, multiplier) in enumerate(slots):
            self.arrays["slot_instrument"][self.slots + k] = instrument
            self.arrays["slot_multiplier"][self.slots + k] = multiplier
        self.executors += 1
        self.slots += len(slots)
        self._bind()
        return self.executors - 1

    def make_room(self, slot: int) -> bool:
        """Widen the rings if this slot's is full; True if anything moved, so that bound books must be taken anew."""
        pending = self.book.pending_count[slot] >= self.pending_room
        recent = self.book.recent_count[slot] >= self.recent_room
        if pending:
            self.widen(pending=True)
        if recent:
            self.widen(pending=False)
        return pending or recent

    def widen(self, *, pending: bool) -> None:
        """Double the room of the rings of waiting orders, or of those of recent emissions."""
        if pending:
            self._widen(tuple(_PENDING), self.pending_room, self.pending_room * 2)
            self.pending_room *= 2
        else:
            self._unroll_recent()
            self._widen(tuple(_RECENT), self.recent_room, self.recent_room * 2)
            self.recent_room *= 2
        self._bind()

    def _widen(self, names: tuple[str, ...], room: int, wider: int) -> None:
        for name in names:
            old = self.arrays[name].reshape(self.slots, room)
            new = np.zeros((self.slots, wider), old.dtype)
            new[:, :room] = old
            self.arrays[name] = new.reshape(-1)

    def _unroll_recent(self) -> None:
        """Turn every ring so that its oldest entry comes first and the next free place follows its last."""
        room = self.recent_room
        counts, nexts = self.arrays["recent_count"], self.arrays["recent_next"]
        first = (nexts - counts) % room
        order = (first[:, None] + np.arange(room)) % room
        for name in _RECENT:
            grid = self.arrays[name].reshape(self.slots, room)
            self.arrays[name] = np.take_along_axis(grid, order, axis=1).reshape(-1)
        nexts[:] = counts

    def dump(self) -> dict[str, Any]:
        """Everything, as bytes by name."""
        return {
            "rooms": [self.pending_room, self.recent_room],
            "counts": [self.executors, self.slots, self.instruments],
            "arrays": {name: array.tobytes() for name, array in self.arrays.items()},
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take over what `dump` gave; the shapes must be those of this state's executors and instruments."""
        self.pending_room, self.recent_room = dumped["rooms"]
        for name, old in self.arrays.items():
            self.arrays[name] = np.frombuffer(dumped["arrays"][name], old.dtype).copy()
        self._bind()
