"""A decision policy: the rules trade, unless the model is sure of the opposite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from anystrat import SignalResult
from anystrat.domain.parameters import Doc, Ge, Le
from anystrat.strategies.catalog import PolicyType


@dataclass(frozen=True, slots=True)
class UnhurriedParameters:
    """Parameters of `unhurried`."""

    veto: Annotated[float, Ge(0), Le(1), Doc("From this confidence on the model can hold the rules back.")] = 0.7


@dataclass(frozen=True, slots=True)
class Unhurried:
    """The rules' signal, but not against a model that is sure."""

    parameters: UnhurriedParameters

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],
    ) -> SignalResult | None:
        """One decision of two."""
        if rules_signal is None or rules_signal.signal_type == "HOLD":
            return None
        against = ml_signal is not None and ml_signal.signal_type not in {"HOLD", rules_signal.signal_type}
        if against and ml_signal.confidence >= self.parameters.veto:
            return None
        return rules_signal


UNHURRIED = PolicyType(
    "unhurried", UnhurriedParameters, Unhurried, "The rules trade, unless the model objects.", "anystrat-fade"
)
