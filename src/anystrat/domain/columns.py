"""A block of ticks as columns: what files are read into and what batches are evaluated over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from anystrat.domain.tick import TickRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TickColumns:
    """`n` ticks in input order, every column of shape (n,).

    `ts_ns` is in nanoseconds since 1970 UTC. `price` is a double; `exact` holds the decimals where the file had text or
    decimals (None: the double's shortest decimal is exact). `volume`, `bid`, `ask` hold NaN where a row had none.
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

    def __len__(self) -> int:
        return len(self.ts_ns)

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
        for fields in columns:
            yield TickRow(*fields)


def _optional(column: NDArray[np.float64] | None, nothing: list[None]) -> list[float | None] | list[None]:
    if column is None:
        return nothing
    return [value if value == value else None for value in column.tolist()]  # noqa: PLR0124  NaN is not itself
