"""What a decision was measured by, whether or not it led to a signal: numbers by name, and what they had to be."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from anystrat.domain.signal import SignalResult

_COMPARED: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Condition(msgspec.Struct, frozen=True):
    """One comparison: `name` was `value`, and `value sign limit` leads to `leads_to`, with all others that lead there.

    `sign` is ">", ">=", "<" or "<=".
    """

    name: str
    value: float
    sign: str
    limit: float
    leads_to: str

    @property
    def met(self) -> bool:
        """Whether the comparison holds; never for NaN."""
        return _COMPARED[self.sign](self.value, self.limit)


class Measurement(msgspec.Struct, frozen=True):
    """Numbers by name in the order in which they are read, the comparisons made with them, and a remark in words."""

    values: dict[str, float] = {}
    conditions: tuple[Condition, ...] = ()
    note: str = ""


@runtime_checkable
class Measuring(Protocol):
    """An optional capability of a strategy: it says what it measured, also where it gave no signal. Pure."""

    def measure(self, prices: Sequence[float], end: int) -> Measurement:
        """What decides at `prices[end - 1]`, from `prices[:end]`, oldest first, by the very formula that decides."""
        ...


@runtime_checkable
class MeasuringPolicy(Protocol):
    """An optional capability of a decision policy: it says what it measured, also where it gave no signal. Pure."""

    def measure(
        self, rules_signal: SignalResult | None, ml_signal: SignalResult | None, context: Mapping[str, Any]
    ) -> Measurement:
        """What decides on these two signals; the arguments are those of `decide`."""
        ...
