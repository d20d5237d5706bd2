"""What a fill is charged: parts that a broker, an exchange and a state take, and example schedules of them.

A schedule is an example of its date. Rates change: look yours up, and write your own list where they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from anystrat.domain.parameters import Doc, Ge, ParameterError, Unit

#: A part's place is a bit of a 64-bit number where another is a share of it.
MOST_PARTS: Final = 62


class ChargedSide(StrEnum):
    """Which fills a part is charged on."""

    BOTH = "both"
    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True, slots=True)
class ChargePart:
    """One part of what a fill costs: the sum of its rates, raised to `minimum`, cut to `maximum` and `max_bps`.

    The turnover that basis points are of is price x quantity x the instrument's multiplier.
    """

    name: Annotated[str, Doc("What it is called, for parts that are a share of it.")] = ""
    side: Annotated[ChargedSide, Doc("The fills that it is charged on.")] = ChargedSide.BOTH
    per_trade: Annotated[float, Ge(0), Unit("money"), Doc("For a fill, whatever its size.")] = 0.0
    per_unit: Annotated[float, Ge(0), Unit("money"), Doc("For each unit that was traded.")] = 0.0
    bps: Annotated[float, Ge(0), Unit("basis points"), Doc("Of the fill's turnover.")] = 0.0
    percent: Annotated[float, Ge(0), Unit("percent"), Doc("Of the parts named by `of`, as a tax on charges is.")] = 0.0
    of: Annotated[tuple[str, ...], Doc("Names of parts before this one.")] = ()
    minimum: Annotated[float, Ge(0), Unit("money"), Doc("No fill is charged less.")] = 0.0
    maximum: Annotated[float | None, Ge(0), Unit("money"), Doc("No fill is charged more.")] = None
    max_bps: Annotated[float | None, Ge(0), Unit("basis points"), Doc("Nor more than this share of its turnover.")] = (
        None
    )

    def __post_init__(self) -> None:
        if bool(self.percent) != bool(self.of):
            raise ParameterError("of" if self.percent else "percent", "`percent` and `of` need each other")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ParameterError("maximum", f"must not be below `minimum` ({self.minimum:g})", self.maximum)


class Schedule(StrEnum):
    """Example schedules, by their market and date."""

    NSE_INTRADAY = "nse_intraday_2024"
    NSE_DELIVERY = "nse_delivery_2024"
    US_STOCKS = "us_stocks_2024"


def _nse(brokerage: ChargePart, stt: ChargePart, stamp_bps: float) -> tuple[ChargePart, ...]:
    return (
        brokerage,
        stt,
        ChargePart("exchange", bps=0.297),
        ChargePart("sebi", bps=0.01),
        ChargePart("stamp_duty", ChargedSide.BUY, bps=stamp_bps),
        ChargePart("gst", percent=18.0, of=("brokerage", "exchange", "sebi")),
    )


#: NSE: cash equities as charged from 1 October 2024 (exchange 0.00297 %, SEBI 10 rupees a crore, securities transaction tax
#: 0.025 % of sales intraday and 0.1 % of both sides for delivery, stamp duty 0.003 % and 0.015 % of purchases, GST 18 % of
#: brokerage, exchange and SEBI charges), with a discount broker's 0.03 % up to 20 rupees intraday and none for delivery.
#: US: 0.005 dollars a share, at least 1, at most 1 % of the turnover; on sales the SEC's fee of 27.80 dollars a million from
#: 22 May 2024, and FINRA's trading activity fee of 0.000166 dollars a share, at most 8.30.
SCHEDULES: Final[dict[Schedule, tuple[ChargePart, ...]]] = {
    Schedule.NSE_INTRADAY: _nse(
        ChargePart("brokerage", bps=3.0, maximum=20.0), ChargePart("stt", ChargedSide.SELL, bps=2.5), 0.3
    ),
    Schedule.NSE_DELIVERY: _nse(ChargePart("brokerage"), ChargePart("stt", bps=10.0), 1.5),
    Schedule.US_STOCKS: (
        ChargePart("commission", per_unit=0.005, minimum=1.0, max_bps=100.0),
        ChargePart("sec_fee", ChargedSide.SELL, bps=0.278),
        ChargePart("finra_taf", ChargedSide.SELL, per_unit=0.000166, maximum=8.30),
    ),
}


def check_parts(before: tuple[ChargePart, ...], parts: tuple[ChargePart, ...]) -> None:
    """Check the parts of `charges`, which follow those `before`.

    Raises `ParameterError` where one is a share of a part that does not stand before it, where two have one name, and
    where there are too many.
    """
    if len(before) + len(parts) > MOST_PARTS:
        raise ParameterError("charges", f"must be at most {MOST_PARTS - len(before)} parts", len(parts))
    known = [part.name for part in before]
    for number, part in enumerate(parts):
        for name in part.of:
            if name not in known:
                there = ", ".join(filter(None, known)) or "none"
                message = f"no part before this one is called {name!r}; there are: {there}"
                raise ParameterError(f"charges.{number}.of", message)
        if part.name and part.name in known:
            raise ParameterError(f"charges.{number}.name", f"another part is called {part.name!r}", part.name)
        known.append(part.name)
