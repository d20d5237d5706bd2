"""How large a position a signal opens, where the strategy's own quantity is not to say so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from anystrat.domain.parameters import Doc, Ge, Gt, Le, ParameterError, Unit


class SizingMode(StrEnum):
    """What a position is a share of."""

    CASH = "cash"
    EQUITY = "equity"
    VOLATILITY = "volatility"


@dataclass(frozen=True, slots=True)
class Sizing:
    """`parameters.sizing`: positions by what the strategy's paper account is worth.

    A signal against the position closes it, whatever it would open; any other opens or adds so many units.
    """

    mode: Annotated[
        SizingMode,
        Doc("A share of what the account has not invested, of its worth, or as much as the price's volatility allows."),
    ]
    capital: Annotated[float, Gt(0), Le(1e15), Unit("money"), Doc("What the account starts with.")]
    fraction: Annotated[
        float | None, Gt(0), Le(100), Unit("ratio"), Doc("With `cash` and `equity`: the share that goes in.")
    ] = None
    target: Annotated[
        float | None,
        Gt(0),
        Le(100),
        Unit("ratio"),
        Doc("With `volatility`: the standard deviation that a position gives the account, as a share of its worth."),
    ] = None
    periods: Annotated[
        int, Ge(2), Le(100_000), Unit("ticks"), Doc("With `volatility`: one-step returns that it is measured over.")
    ] = 20
    steps_per_year: Annotated[
        float,
        Gt(0),
        Le(1e9),
        Unit("ticks"),
        Doc("With `volatility`: ticks (or bars) of a year, where `target` is for a year; 1: it is for a tick."),
    ] = 1.0
    max_leverage: Annotated[
        float, Gt(0), Le(100), Unit("ratio"), Doc("With `volatility`: a position's largest worth over the account's.")
    ] = 1.0

    def __post_init__(self) -> None:
        by_volatility = self.mode is SizingMode.VOLATILITY
        needed, other = ("target", "fraction") if by_volatility else ("fraction", "target")
        if getattr(self, needed) is None:
            raise ParameterError(needed, f"`mode: {self.mode}` needs it")
        if getattr(self, other) is not None:
            raise ParameterError(other, f"`mode: {self.mode}` knows only `{needed}`", getattr(self, other))
