"""From what compiled code wrote down of a raw signal to the signal itself, or to its drop."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from anystrat.domain.outcomes import REASONS, Dropped
from anystrat.domain.signal import SIDE_NAME, EmittedSignal, SignalResult

if TYPE_CHECKING:
    from anystrat.engine.executor import StrategyExecutor

#: What an executor's signals have in common: strategy, broker, bases of their ids, dedupe window (ns), how they say why.
Voice: TypeAlias = tuple[str, str, tuple[int, int], int, Any]


def voice_of(executor: StrategyExecutor) -> Voice:
    """The executor's; without a way to say why where its processor writes nothing down."""
    describe = getattr(executor.processor, "describe", None)
    return executor.strategy_id, executor.broker, executor.id_bases, executor.risk.dedupe_window_ns, describe


def said(
    voice: Voice,
    side: int,
    quantity: int,
    bucket: int,
    code: int,
    confidence: float,
    value: float,
    price: Decimal,
    ts: int,
    token: int,
) -> EmittedSignal | Dropped:
    """The signal; dropped where its code says so. `value` is what the strategy measured."""
    strategy_id, broker, bases, window_ns, describe = voice
    why, metadata = describe(side, value)
    if code:
        reason = REASONS[code]
        assert reason is not None
        signal = SignalResult(SIDE_NAME[side], confidence, quantity, price, why, metadata)
        return Dropped(signal, reason, strategy_id, broker, token, ts)
    return EmittedSignal(
        SIDE_NAME[side],
        confidence,
        quantity,
        price,
        why,
        metadata,
        strategy_id=strategy_id,
        broker=broker,
        instrument_token=token,
        ts_ns=ts,
        id_bases=bases,
        price_bucket=bucket,
        dedupe_epoch=ts // window_ns,
    )
