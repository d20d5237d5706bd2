"""A block of ticks as columns: what files are read into and what batches are evaluated over; and what comes of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anystrat.domain.exact import to_decimal
from anystrat.domain.signal_id import mixed_columns
from anystrat.domain.tick import MarketTick, TickRow, bar_value, row_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TickColumns:
    """`n` ticks in input order, every column of shape (n,).

    `ts_ns` is in nanoseconds since 1970 UTC. `price` is a double; `exact` holds the decimals where the file had text or
    decimals (None: the double's shortest decimal is exact). `volume`, `bid`, `ask` hold NaN where a row had none; so do `open`,
    `high`, `low`, which are there where ticks are bars, whose close is their price.
    """

    ts_ns: NDArray[np.int64]
    instrument_token: NDArray[np.int64]
    price: NDArray[np.float64]
    exact: list[Decimal | None] | None = None
    volume: NDArray[np.float64] | None = None
    bid: NDArray[np.float64] | None = None
    ask: NDArray[np.float64] | None = None
    halted: NDArray[np.bool_] | None = None
    auction: NDArray[np.bool_] | None = None
    open: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    low: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ts_ns)

    def taken(self, places: NDArray[np.int64]) -> TickColumns:
        """Only the ticks at `places`, in that order."""
        more = (self.volume, self.bid, self.ask, self.halted, self.auction, self.open, self.high, self.low)
        return TickColumns(
            self.ts_ns[places],
            self.instrument_token[places],
            self.price[places],
            [self.exact[k] for k in places.tolist()] if self.exact is not None else None,
            *(column[places] if column is not None else None for column in more),  # type: ignore[arg-type]
        )

    def rows(self) -> Iterator[TickRow]:
        """The ticks one by one, in order."""
        n = len(self)
        nothing = [None] * n
        flags = [False] * n
        columns = zip(
            self.instrument_token.tolist(),
            self.ts_ns.tolist(),
            self.price.tolist(),
            self.exact if self.exact is not None else nothing,
            _optional(self.volume, nothing),
            _optional(self.bid, nothing),
            _optional(self.ask, nothing),
            self.halted.tolist() if self.halted is not None else flags,
            self.auction.tolist() if self.auction is not None else flags,
            strict=True,
        )
        bars = {name: part for name in ("open", "high", "low") if (part := getattr(self, name)) is not None}
        if not bars:
            for fields in columns:
                yield TickRow(*fields)
            return
        if self.volume is not None:
            bars["volume"] = self.volume
        for fields, *values in zip(columns, *(part.tolist() for part in bars.values()), strict=True):
            row = TickRow(*fields)
            row.metadata = _bar(bars, values)
            yield row


def columns_of_ticks(rows: Iterable[TickRow | MarketTick]) -> TickColumns:
    """Rows as a block of columns, with the optional columns that any of them has."""
    taken = [item if isinstance(item, TickRow) else row_of(item) for item in rows]

    def optional(values: list[float | Decimal | None]) -> NDArray[np.float64] | None:
        if all(value is None for value in values):
            return None
        return np.array([np.nan if value is None else float(value) for value in values], np.float64)

    def flag(values: list[bool]) -> NDArray[np.bool_] | None:
        return np.array(values, np.bool_) if any(values) else None

    exact = [
        None if item.exact is None or not item.exact.is_finite() or to_decimal(item.price) == item.exact else item.exact
        for item in taken
    ]
    return TickColumns(
        np.array([item.ts_ns for item in taken], np.int64),
        np.array([item.instrument_token for item in taken], np.int64),
        np.array([item.price for item in taken], np.float64),
        exact if any(value is not None for value in exact) else None,
        optional([item.volume for item in taken]),
        optional([item.bid for item in taken]),
        optional([item.ask for item in taken]),
        flag([item.halted for item in taken]),
        flag([item.auction for item in taken]),
        *(optional(bars) for bars in _bars_of(taken)),
    )


def _bars_of(rows: Sequence[TickRow]) -> Iterator[list[float | Decimal | None]]:
    for name in ("open", "high", "low"):
        values = (bar_value(row.metadata, name) for row in rows)
        yield [None if math.isnan(value) else value for value in values]


def _bar(names: Iterable[str], values: Iterable[float]) -> dict[str, Decimal]:
    return {name: to_decimal(value) for name, value in zip(names, values, strict=True) if not math.isnan(value)}


def no_ticks() -> TickColumns:
    """A block of no ticks."""
    return TickColumns(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def joined(blocks: Sequence[TickColumns]) -> TickColumns:
    """Several blocks as one, in order; a column that only some have is NaN or false for the others."""
    if len(blocks) == 1:
        return blocks[0]

    def column(name: str, missing: Any, kind: Any) -> Any:
        parts = [getattr(block, name) for block in blocks]
        if all(part is None for part in parts):
            return None
        filled = [
            np.full(len(block), missing, kind) if part is None else part
            for block, part in zip(blocks, parts, strict=True)
        ]
        return np.concatenate(filled)

    exact: list[Decimal | None] | None = None
    if any(block.exact is not None for block in blocks):
        exact = []
        for block in blocks:
            exact += block.exact if block.exact is not None else [None] * len(block)
    return TickColumns(
        np.concatenate([block.ts_ns for block in blocks]),
        np.concatenate([block.instrument_token for block in blocks]),
        np.concatenate([block.price for block in blocks]),
        exact,
        *(column(name, np.nan, np.float64) for name in ("volume", "bid", "ask")),
        *(column(name, missing=False, kind=np.bool_) for name in ("halted", "auction")),
        *(column(name, np.nan, np.float64) for name in ("open", "high", "low")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SignalColumns:
    """Signals and drops in the order of ticks, rows and brokers, every column of shape (n,).

    `executor` is a place in `executors`, (strategy_id, broker) each. `side` is 1 for BUY and 2 for SELL. `code` is 0 for
    an emitted signal, otherwise the place of its reason in `domain.outcomes.REASONS`. `price` and `exact` are as in
    `TickColumns`. `bucket` and `epoch` are what a signal's id is made of beside its instrument and side; `bases` holds
    the two halves' bases of each executor, uint64, shape (executors, 2).
    """

    ts_ns: NDArray[np.int64]
    executor: NDArray[np.int64]
    instrument_token: NDArray[np.int64]
    side: NDArray[np.int8]
    confidence: NDArray[np.float64]
    quantity: NDArray[np.int64]
    price: NDArray[np.float64]
    exact: list[Decimal | None] | None
    code: NDArray[np.int64]
    bucket: NDArray[np.int64]
    epoch: NDArray[np.int64]
    executors: tuple[tuple[str, str], ...]
    bases: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.ts_ns)

    def taken(self, places: NDArray[np.int64]) -> SignalColumns:
        """Only those at `places`, in that order."""
        exact = [self.exact[k] for k in places.tolist()] if self.exact is not None else None
        return SignalColumns(
            self.ts_ns[places],
            self.executor[places],
            self.instrument_token[places],
            self.side[places],
            self.confidence[places],
            self.quantity[places],
            self.price[places],
            exact,
            self.code[places],
            self.bucket[places],
            self.epoch[places],
            self.executors,
            self.bases,
        )

    def ids(self) -> NDArray[np.uint64]:
        """The signals' ids as two 64-bit halves, shape (n, 2): `signal_id` of each row, as numbers."""
        return mixed_columns(self.bases[self.executor], [self.instrument_token, self.side, self.bucket, self.epoch])


class Answered(NamedTuple):
    """A model's answers to `n` rows: float32[n, 3], columns SELL, HOLD, BUY; NaN in the rows on which it raised.

    `raised` says by row what it said then. `asked` is how many of the rows the model was asked for this: 0 where another
    strategy had it asked them already.
    """

    probabilities: NDArray[np.float32]
    raised: Mapping[int, str]
    asked: int = 0


def _optional(column: NDArray[np.float64] | None, nothing: list[None]) -> list[float | None] | list[None]:
    if column is None:
        return nothing
    return [value if value == value else None for value in column.tolist()]  # noqa: PLR0124  NaN is not itself
