"""What a configuration becomes once it is checked: plain frozen values that the engine is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Session(StrEnum):
    """Where an exchange's day stands."""

    PREOPEN = "preopen"
    REGULAR = "regular"
    CLOSED = "closed"


class FillTiming(StrEnum):
    """When the paper broker fills an accepted signal."""

    NEXT_TICK = "next_tick"
    SAME_TICK = "same_tick"


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """One instrument. Without a `calendar` it is always in its regular session."""

    token: int
    symbol: str = ""
    exchange: str = ""
    tick_size: Decimal | None = None
    lot_size: int = 1
    multiplier: float = 1.0
    quantity_step: Decimal = Decimal(1)
    round_to_lot: bool = False
    calendar: str | None = None


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """The checks of one strategy; None means that the check is off. Durations are whole nanoseconds of event time."""

    max_position_size: Decimal = Decimal(0)
    risk_multiplier: Decimal = Decimal(1)
    min_confidence: float | None = None
    max_quantity: int | None = None
    band_pct: float | None = None
    slippage_budget: float | None = None
    min_flip_ns: int | None = None
    long_only: bool = False
    max_exposure: float | None = None
    max_loss_streak: int | None = None
    resume_after_ns: int | None = None
    cooldown_ns: int | None = None
    dedupe_window_ns: int = 3_000_000_000
    price_bucket: Decimal = Decimal("0.01")
    min_signal_interval_ns: int | None = None
    max_signals_per_min: int | None = None
    pause_on_throttle: bool = False
    throttle_pause_ns: int = 60_000_000_000
    max_tick_age_ns: int | None = None
    allow_sessions: frozenset[Session] = frozenset()
    max_errors: int = 5
    error_window_ns: int = 60_000_000_000
    retry_backoff_ns: int = 1_000_000_000
    max_retries: int = 3


@dataclass(frozen=True, slots=True)
class PaperCosts:
    """What a paper fill costs: basis points on the price and on the turnover, and when it happens."""

    fee_bps: float = 0.0
    slippage_bps: float = 0.0
    fill: FillTiming = FillTiming.NEXT_TICK


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """One row: a strategy, what it watches, where its signals go.

    `parameters` is the checked parameters object of its type (a frozen dataclass), not a mapping of strings.
    """

    strategy_id: str
    strategy_type: str
    parameters: Any
    instrument_tokens: tuple[int, ...]
    active_brokers: tuple[str, ...] = ("paper",)
    name: str = ""
    validator: str = "standard"
    per_instrument: bool = False
    enabled: bool = True
    risk: RiskLimits = field(default_factory=RiskLimits)

    @property
    def max_position_size(self) -> Decimal:
        """Largest absolute position, in units; 0 is no limit."""
        return self.risk.max_position_size

    @property
    def risk_multiplier(self) -> Decimal:
        """What a strategy's quantity is multiplied with before the checks."""
        return self.risk.risk_multiplier


@dataclass(frozen=True, slots=True)
class PortfolioState:
    """The paper account of one executor at a moment. Quantities are signed; prices and cash are doubles."""

    positions: Mapping[int, int] = field(default_factory=dict)
    average_prices: Mapping[int, float] = field(default_factory=dict)
    cash: float = 0.0
    realised: float = 0.0
    fees: float = 0.0
    loss_streak: int = 0


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """What a validator may know beside the signal, the tick and the history."""

    strategy_id: str
    broker: str
    ts_ns: int
    market_session: Session
    risk_limits: RiskLimits
    portfolio_state: PortfolioState
