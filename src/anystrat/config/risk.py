"""`parameters.risk` and its two neighbours, as people write them, and as the engine takes them: seconds to nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from anystrat.config.node import Node
from anystrat.config.problems import Problems
from anystrat.config.shapes import Steps, checked
from anystrat.domain.configuration import RiskLimits, Session
from anystrat.domain.exact import seconds_to_ns
from anystrat.domain.parameters import Doc, Ge, Gt, Le, Unit
from anystrat.domain.sizing import Sizing

# More than thirty years; in nanoseconds it still fits 64 bits.
_LONGEST = Le(1_000_000_000)
_NANOSECOND = Ge(Decimal("0.000000001"))


@dataclass(frozen=True, slots=True)
class RiskShape:
    """`parameters.risk`: the checks of one strategy. Whatever is left out is off."""

    min_confidence: Annotated[float | None, Ge(0), Le(1), Doc("Confidence that a signal needs at least.")] = None
    max_quantity: Annotated[int | None, Ge(1), Unit("units"), Doc("Largest quantity of a signal.")] = None
    max_tick_age_sec: Annotated[
        Decimal | None, _NANOSECOND, _LONGEST, Unit("seconds"), Doc("Oldest tick that may give a signal, live only.")
    ] = None
    band_pct: Annotated[
        float | None, Ge(0), Unit("percent"), Doc("Largest distance of the price from the minute's open.")
    ] = None
    slippage_budget: Annotated[
        float | None, Ge(0), Unit("price"), Doc("Largest distance of the price from the signal's reference price.")
    ] = None
    min_flip_sec: Annotated[
        Decimal | None,
        Ge(0),
        _LONGEST,
        Unit("seconds"),
        Doc("How long a position must stand before it may flip sides."),
    ] = None
    long_only: Annotated[bool, Doc("Refuse what would take the position below zero.")] = False
    max_exposure: Annotated[
        float | None, Ge(0), Unit("money"), Doc("Largest absolute exposure over all instruments of the executor.")
    ] = None
    max_loss_streak: Annotated[
        int | None, Ge(1), Unit("fills"), Doc("Losing fills in a row that open the circuit and pause the strategy.")
    ] = None
    resume_after_sec: Annotated[
        Decimal | None,
        _NANOSECOND,
        _LONGEST,
        Unit("seconds"),
        Doc("When an open circuit closes by itself; else an operator does."),
    ] = None
    cooldown_sec: Annotated[
        Decimal | None, Ge(0), _LONGEST, Unit("seconds"), Doc("Shortest time between two signals on an instrument.")
    ] = None
    dedupe_window_sec: Annotated[
        Decimal,
        _NANOSECOND,
        _LONGEST,
        Unit("seconds"),
        Doc("How long the same side at the same price bucket is a duplicate."),
    ] = Decimal(3)
    price_bucket: Annotated[
        Decimal, Gt(0), Ge(Decimal("1e-12")), Unit("price"), Doc("Prices in one bucket count as the same price.")
    ] = Decimal("0.01")
    min_signal_interval_ms: Annotated[
        Decimal | None,
        Ge(0),
        Le(1_000_000_000_000),
        Unit("milliseconds"),
        Doc("Shortest time between any two signals."),
    ] = None
    max_signals_per_min: Annotated[
        int | None, Ge(1), Le(1_000_000), Unit("signals"), Doc("Most signals within 60 seconds.")
    ] = None
    pause_on_throttle: Annotated[bool, Doc("Pause the strategy when it reaches `max_signals_per_min`.")] = False
    throttle_pause_sec: Annotated[Decimal, _NANOSECOND, _LONGEST, Unit("seconds"), Doc("How long that pause is.")] = (
        Decimal(60)
    )
    allow_sessions: Annotated[
        frozenset[Session], Doc("Sessions in which signals may pass, beside the regular one.")
    ] = frozenset()
    max_errors: Annotated[
        int, Ge(0), Le(1_000_000), Unit("errors"), Doc("Processor errors that are borne within `error_window_sec`.")
    ] = 5
    error_window_sec: Annotated[
        Decimal, _NANOSECOND, _LONGEST, Unit("seconds"), Doc("The time that errors are counted over.")
    ] = Decimal(60)
    retry_backoff_sec: Annotated[
        Decimal,
        _NANOSECOND,
        Le(1_000_000),
        Unit("seconds"),
        Doc("First wait after too many errors; it doubles each time."),
    ] = Decimal(1)
    max_retries: Annotated[
        int, Ge(0), Le(32), Unit("retries"), Doc("Retries before the strategy waits for an operator.")
    ] = 3


@dataclass(frozen=True, slots=True)
class SizingShape:
    """What sits directly under `parameters` beside the strategy's own."""

    max_position_size: Annotated[Decimal, Ge(0), Unit("units"), Doc("Largest absolute position; 0 is no limit.")] = (
        Decimal(0)
    )
    risk_multiplier: Annotated[Decimal, Ge(0), Unit("ratio"), Doc("Multiplies every quantity, before the checks.")] = (
        Decimal(1)
    )
    sizing: Annotated[
        Sizing | None, Doc("Quantities by what the paper account is worth; without it, the strategy's own.")
    ] = None


def risk_limits(parameters: Node, path: Steps, problems: Problems) -> RiskLimits:
    """The limits in a row's `parameters`; the defaults where anything was wrong."""
    own = {key: child for key, child in parameters.entries.items() if key in SIZING_KEYS}
    sizing = checked(SizingShape, parameters.with_value(own), path, problems) or SizingShape()
    node = parameters.entries.get("risk")
    if node is None or (node.value is None and not node.masked):
        node = parameters.with_value({})
    risk = checked(RiskShape, node, (*path, "risk"), problems, explain=_belongs) or RiskShape()
    return RiskLimits(
        max_position_size=sizing.max_position_size,
        risk_multiplier=sizing.risk_multiplier,
        min_confidence=risk.min_confidence,
        max_quantity=risk.max_quantity,
        band_pct=risk.band_pct,
        slippage_budget=risk.slippage_budget,
        min_flip_ns=_ns(risk.min_flip_sec),
        long_only=risk.long_only,
        max_exposure=risk.max_exposure,
        max_loss_streak=risk.max_loss_streak,
        resume_after_ns=_ns(risk.resume_after_sec),
        cooldown_ns=_ns(risk.cooldown_sec),
        dedupe_window_ns=seconds_to_ns(risk.dedupe_window_sec),
        price_bucket=risk.price_bucket,
        min_signal_interval_ns=_ns(risk.min_signal_interval_ms, Decimal("0.001")),
        max_signals_per_min=risk.max_signals_per_min,
        pause_on_throttle=risk.pause_on_throttle,
        throttle_pause_ns=seconds_to_ns(risk.throttle_pause_sec),
        max_tick_age_ns=_ns(risk.max_tick_age_sec),
        allow_sessions=risk.allow_sessions,
        max_errors=risk.max_errors,
        error_window_ns=seconds_to_ns(risk.error_window_sec),
        retry_backoff_ns=seconds_to_ns(risk.retry_backoff_sec),
        max_retries=risk.max_retries,
        sizing=sizing.sizing,
    )


SIZING_KEYS = ("max_position_size", "risk_multiplier", "sizing")
RISK_KEYS = frozenset(RiskShape.__dataclass_fields__)


def _belongs(key: str) -> str:
    return "it goes beside `risk`, under `parameters`" if key in SIZING_KEYS else ""


def _ns(duration: Decimal | None, unit: Decimal = Decimal(1)) -> int | None:
    return None if duration is None else seconds_to_ns(duration * unit)
