"""A validator: even quantities only."""

from __future__ import annotations

from anystrat import ExecutionContext, History, MarketTick, SignalResult
from anystrat.strategies.catalog import ValidatorType


class EvenLots:
    """Rounds quantities down to even ones; refuses what is nothing then."""

    def validate(
        self,
        signal: SignalResult,
        tick: MarketTick,
        history: History,
        context: ExecutionContext,
    ) -> SignalResult | str:
        """The signal with an even quantity, or the reason for its drop."""
        even = signal.quantity - signal.quantity % 2
        if even == 0:
            return "too_small"
        return SignalResult(
            signal.signal_type, signal.confidence, even, signal.price, signal.reasoning, signal.metadata
        )


EVEN_LOTS = ValidatorType("even_lots", EvenLots, "Even quantities only.", origin="anystrat-fade")
