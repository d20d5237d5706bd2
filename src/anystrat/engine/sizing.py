"""Quantities by what an executor's paper account is worth.

Plain numbers in, a quantity out. Written in the part of Python that Numba compiles unchanged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from anystrat.domain.sizing import SizingMode
from anystrat.engine.answers import LARGEST_QUANTITY
from anystrat.paper.sizing import leverage_for, units_for

if TYPE_CHECKING:
    from anystrat.domain.configuration import RiskLimits
    from anystrat.engine.state import Book, Limits

#: Modes as numbers; 0 is the strategy's own quantity.
BY_CASH: Final = 1
BY_EQUITY: Final = 2
BY_VOLATILITY: Final = 3
_CODES: Final = {SizingMode.CASH: BY_CASH, SizingMode.EQUITY: BY_EQUITY, SizingMode.VOLATILITY: BY_VOLATILITY}
#: As invalid as any larger one.
_TOO_LARGE: Final = LARGEST_QUANTITY + 1


def sizing_of(risk: RiskLimits) -> dict[str, float]:
    """A strategy's sizing as columns of `Limits`; the risk multiplier is in the share."""
    sizing = risk.sizing
    if sizing is None:
        return {}
    share = sizing.fraction if sizing.fraction is not None else sizing.target
    assert share is not None  # one of the two is there
    by_volatility = sizing.mode is SizingMode.VOLATILITY
    multiplier = float(risk.risk_multiplier)
    return {
        "sizing": _CODES[sizing.mode],
        "capital": sizing.capital,
        "share": share * multiplier / (math.sqrt(sizing.steps_per_year) if by_volatility else 1.0),
        "most_share": sizing.max_leverage * multiplier,
        "deviation_periods": sizing.periods if by_volatility else 0,
    }


def account_quantity(limits: Limits, book: Book, e: int, s: int, side: int, price: float, deviation: float) -> int:
    """What a signal on slot `s` trades at `price`; `deviation` counts only by volatility.

    A signal against the position, waiting orders included, closes it. Last prices must be those of the signal's tick.
    """
    held = expected_position(book, s)
    if (held > 0 and side != 1) or (held < 0 and side == 1):
        return abs(held)
    worth = limits.capital[e] + book.executor.cash[e]
    invested = 0.0
    for k in range(limits.first_slot[e], limits.last_slot[e]):
        unit = book.instrument.last_price[book.slot.instrument[k]] * book.slot.multiplier[k]
        worth += book.slot.position[k] * unit
        invested += abs(expected_position(book, k)) * unit
    mode = limits.sizing[e]
    if mode == BY_CASH:
        amount = limits.share[e] * (worth - invested)
    elif mode == BY_EQUITY:
        amount = limits.share[e] * worth
    else:
        amount = leverage_for(limits.share[e], deviation, limits.most_share[e]) * worth
    return units_for(amount, price, book.slot.multiplier[s], book.slot.lot[s], _TOO_LARGE)


def expected_position(book: Book, s: int) -> int:
    """Slot `s`'s position once its waiting orders are filled."""
    held = book.slot.position[s]
    for k in range(s * book.pending_room, s * book.pending_room + book.slot.pending_count[s]):
        held += book.pending.quantity[k]
    return held
