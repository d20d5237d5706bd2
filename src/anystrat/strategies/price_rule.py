"""From a rule's plain numbers to a signal: the one place where both are tied together."""

from __future__ import annotations

from anystrat.domain.protocols import PriceRule
from anystrat.domain.signal import SIDE_NAME, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History


def price_rule_signal(rule: PriceRule, tick: MarketTick, history: History) -> SignalResult | None:
    """What a `PriceRule` says on a history, as the signal that `process_tick` answers with."""
    prices = history.prices.tolist()
    decision = rule.decide(prices, len(prices))
    if decision is None:
        return None
    side, confidence, value = decision
    reasoning, metadata = rule.describe(side, value)
    return SignalResult(SIDE_NAME[side], confidence, rule.quantity(), tick.last_price, reasoning, metadata)
