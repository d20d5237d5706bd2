"""Times on the command line: ISO 8601, or nanoseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from anystrat.domain.tick import MarketTick

if TYPE_CHECKING:
    _Type = click.ParamType[int]
else:
    _Type = click.ParamType  # older versions of click are not generic


class Moment(_Type):
    """A time in UTC as nanoseconds: `2024-01-02T09:16:00Z`, `2024-01-02 09:16`, or `1704186960000000000`."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Nanoseconds since 1970. A time without a zone is in UTC; a date alone is its midnight."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if text.lstrip("-").isdigit():
            return int(text)
        whole, dot, fraction = text.partition(".")
        digits = ""
        if dot:
            digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
            whole += fraction[len(digits) :]
        try:
            stamp = datetime.fromisoformat(whole)
        except ValueError:
            self.fail(f"{text!r} is no time; write 2024-01-02T09:16:00Z, or nanoseconds since 1970.", param, ctx)
        seconds = stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC)
        return MarketTick(0, 1, seconds).ts_ns + int(f"{digits:0<9}"[:9])  # type: ignore[arg-type]  # any price
