"""Limits over the whole account: over all strategies and brokers together, checked before each strategy's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from anystrat.domain.parameters import Doc, Ge, Gt, Le, ParameterError, Unit


class AccountReason(StrEnum):
    """Why a signal was dropped for the account's sake, in the order of the checks."""

    REDUCE_ONLY = "account_reduce_only"
    GROSS_EXPOSURE = "account_gross_exposure"
    NET_EXPOSURE = "account_net_exposure"
    DAILY_LOSS = "account_daily_loss"
    ORDER_RATE = "account_order_rate"
    SIGNALS_PER_DAY = "account_signals_per_day"


@dataclass(frozen=True, slots=True)
class ScopeLimits:
    """What one scope is held to: the account, an instrument, or a broker. Whatever is left out is off."""

    max_gross_exposure: Annotated[
        float | None, Ge(0), Unit("money"), Doc("Largest sum of the absolute values of all positions.")
    ] = None
    max_net_exposure: Annotated[
        float | None, Ge(0), Unit("money"), Doc("Largest absolute value of the sum of all positions.")
    ] = None
    max_daily_loss: Annotated[
        float | None, Gt(0), Unit("money"), Doc("Loss since the UTC day began from which on signals must reduce.")
    ] = None
    max_orders_per_sec: Annotated[
        int | None, Ge(1), Le(1_000_000), Unit("signals"), Doc("Most signals within one second.")
    ] = None
    max_signals_per_day: Annotated[int | None, Ge(1), Unit("signals"), Doc("Most signals within one UTC day.")] = None


@dataclass(frozen=True, slots=True)
class AccountLimits(ScopeLimits):
    """What all strategies together are held to. Whatever is left out is off."""

    per_instrument: Annotated[ScopeLimits | None, Doc("The same limits, for each instrument by itself.")] = None
    per_broker: Annotated[Mapping[str, ScopeLimits], Doc("The same limits, for each broker that is named.")] = field(
        default_factory=dict
    )
    reduce_only: Annotated[bool, Doc("Let only those signals pass that bring a position nearer to zero.")] = False
    kill_daily_loss: Annotated[
        float | None, Gt(0), Unit("money"), Doc("Loss since the UTC day began that turns the kill switch on.")
    ] = None
    kill_drops_per_min: Annotated[
        int | None,
        Ge(1),
        Le(1_000_000),
        Unit("drops"),
        Doc("Drops by these limits within 60 seconds that turn the kill switch on."),
    ] = None

    def __post_init__(self) -> None:
        lost, last = self.max_daily_loss, self.kill_daily_loss
        if lost is not None and last is not None and last < lost:
            raise ParameterError("kill_daily_loss", "must not be below max_daily_loss", last)
