"""What a bar is made of: so much time, so many ticks, or so much volume."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from anystrat.domain.exact import plain_text


class BarKind(StrEnum):
    """What ends a bar."""

    EVERY = "every"
    TICKS = "ticks"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class BarSpec:
    """Bars of one kind. `size` is in nanoseconds (EVERY), ticks, or the venue's units of volume; above zero.

    Bars of time begin at whole multiples of their size since 1970 UTC.
    """

    kind: BarKind
    size: Decimal

    @property
    def whole(self) -> int:
        """The size as a whole number: what EVERY and TICKS have."""
        return int(self.size)

    def __str__(self) -> str:
        if self.kind is not BarKind.EVERY:
            return f"{self.kind.value} {plain_text(self.size)}"
        for unit, size in UNITS.items():
            if self.whole % size == 0:
                return f"{self.whole // size}{unit}"
        return f"{self.whole}ns"


#: Units of time by their names, the longest first.
UNITS = {"d": 86_400_000_000_000, "h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}
