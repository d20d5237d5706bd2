"""From a rule's plain numbers to a signal, and from the ticks on which it fired to whole columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np

from anystrat.domain.protocols import ColumnRule, PriceRule
from anystrat.domain.signal import SIDE_NAME, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Sides int8 (0 none, 1 BUY, 2 SELL), confidences, measured values, quantities: an entry a tick. See `BatchCapable`.
SignalColumns: TypeAlias = "tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]"


#: Reasons of a rule that are kept, by their number rounded to what is written of it: to write a number takes longer than
#: all else that a signal costs, and few of them differ.
REASONS_KEPT: Final = 4_096


class SizedColumnRule(ColumnRule, Protocol):
    """A `ColumnRule` that says how much it trades."""

    def quantity(self) -> int:
        """The quantity of every signal, in units."""
        ...


def price_rule_signal(rule: PriceRule, tick: MarketTick, history: History) -> SignalResult | None:
    """What a `PriceRule` says on a history, as the signal that `process_tick` answers with."""
    prices = history.prices.tolist()
    decision = rule.decide(prices, len(prices))
    if decision is None:
        return None
    side, confidence, value = decision
    reasoning, metadata = rule.describe(side, value)
    return SignalResult(SIDE_NAME[side], confidence, rule.quantity(), tick.last_price, reasoning, metadata)


def dense_columns(
    rule: SizedColumnRule, prices: NDArray[np.float64], first: int, compiler: Callable[[Any], Any] | None = None
) -> SignalColumns:
    """An entry for each tick of `prices[first:]`, from the ticks on which a rule fired; see `BatchCapable`.

    Every price is taken to be the shortest decimal of its double. Without a compiler the rule's loop is interpreted.
    """
    count = len(prices) - first
    sides, confidences = np.zeros(count, np.int8), np.zeros(count)
    values, quantities = np.zeros(count), np.full(count, rule.quantity(), np.int64)
    kernel, arguments = rule.fired(shortest=True)
    if compiler is not None:
        at = np.empty(count, np.int64)
        side, confidence, value = np.empty(count, np.int8), np.empty(count), np.empty(count)
        hits = compiler(kernel)(prices, first, at, side, confidence, value, *arguments)
        at = at[:hits] - first
        sides[at], confidences[at], values[at] = side[:hits], confidence[:hits], value[:hits]
    else:
        # Interpreted loops are several times faster over lists.
        places, found, sure, measured = [0] * count, [0] * count, [0.0] * count, [0.0] * count
        hits = kernel(prices.tolist(), first, places, found, sure, measured, *arguments)
        at = np.array(places[:hits], np.int64) - first
        sides[at], confidences[at], values[at] = found[:hits], sure[:hits], measured[:hits]
    for k in np.flatnonzero(sides < 0).tolist():
        end = first + k + 1
        sides[k] = rule.settle(prices, end, None)  # type: ignore[arg-type]  # an array is a sequence of its numbers
    return sides, confidences, values, quantities


def settled_by_doubles(rule: PriceRule, prices: Sequence[float], end: int) -> int:
    """What `settle` answers for a rule that doubles always decide."""
    decision = rule.decide(prices, end)
    return 0 if decision is None else decision[0]
