"""A row's `parameters`, checked into the object that its strategy type is built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from anystrat.config.node import MASK, Node
from anystrat.config.problems import Problems
from anystrat.config.risk import RISK_KEYS, SIZING_KEYS
from anystrat.config.shapes import Steps, checked
from anystrat.domain.errors import nearest_name
from anystrat.domain.parameters import Doc
from anystrat.strategies.catalog import Catalog, Composition, Part, StrategyType
from anystrat.strategies.hybrid import HybridParameters
from anystrat.strategies.hybrid_layout import NO_PART_KEYS, LayoutProblem, PartLayout, split_parameters

# Keys that every type takes under `parameters`, for the engine and not for the strategy.
SHARED_KEYS = ("risk", *SIZING_KEYS, "validator")
ROW_KEYS = frozenset(
    {
        "brokers",
        "enabled",
        "id",
        "instruments",
        "name",
        "per_instrument",
        "strategy_name",
        "strategy_type",
        "bars",
        "isolate",
    }
)


def strategy_parameters(entry: StrategyType, node: Node, path: Steps, catalog: Catalog, problems: Problems) -> Any:
    """The parameters object of a strategy type; None after adding what is wrong with it."""
    if entry.composition is not None:
        return _Hybrid(entry.composition, node, path, catalog, problems).parameters()
    return checked(entry.parameters, node, path, problems, more_keys=SHARED_KEYS, explain=_belongs)


def _belongs(key: str) -> str:
    """Where a key goes that is right in itself, but not here."""
    if key in RISK_KEYS:
        return "it goes under `parameters.risk`"
    return "it goes at the top of the row, beside `parameters`" if key in ROW_KEYS else ""


@dataclass(frozen=True, slots=True)
class _OwnShape:
    """The hybrid's keys that no part takes."""

    on_model_failure: Annotated[
        Literal["skip", "rules_only"],
        Doc("Where the model does not load: leave the strategy out, or go on with the rules and their history alone."),
    ] = "skip"
    on_deadline: Annotated[
        Literal["drop", "rules_only"],
        Doc("Where an inference takes longer than its deadline: no signal on this tick, or the rules' own."),
    ] = "drop"


@dataclass(frozen=True, slots=True)
class _Hybrid:
    """The parameters of a hybrid, part by part; problems keep the place that each key was written at."""

    composition: Composition
    node: Node
    path: Steps
    catalog: Catalog
    problems: Problems

    def parameters(self) -> HybridParameters | None:
        own = {key: child for key, child in self.node.entries.items() if key not in SHARED_KEYS}
        layout = split_parameters(self.composition, self.catalog, self.node.with_value(own).plain())
        for problem in layout.problems:
            self._add(problem)
        rules = self._part(layout.rules, "rules")
        ml = self._part(layout.ml, "ml")
        policy = self._part(layout.policy, "policy")
        kept = {key: child for key, child in own.items() if key in NO_PART_KEYS}
        rest = checked(_OwnShape, self.node.with_value(kept), self.path, self.problems)
        if rules is None or ml is None or policy is None or rest is None:
            return None
        return HybridParameters(rules, ml, policy, rest.on_model_failure, rest.on_deadline)

    def _part(self, layout: PartLayout | None, key: str) -> Part | None:
        if layout is None:
            return None
        shape = (self.catalog.policy if key == "policy" else self.catalog.strategy)(layout.type).parameters
        nodes = {name: self.node.at(steps) for name, steps in layout.paths.items()}
        where = {name: (*self.path, *steps) for name, steps in layout.paths.items()}
        nested = self.node.entries.get(key)
        inside = nested is not None and nested.is_mapping
        base = nested.with_value(nodes) if nested is not None and inside else self.node.with_value(nodes)
        made = checked(shape, base, (*self.path, key) if inside else self.path, self.problems, where=where)
        return None if made is None else Part(str(layout.type), made)

    def _add(self, problem: LayoutProblem) -> None:
        node = self.node.at(problem.path)
        key = problem.path[-1]
        unknown_key = problem.found == key
        hint = _belongs(key) if unknown_key else ""
        masked = node.masked and not unknown_key
        allowed = (*problem.allowed, *SHARED_KEYS) if unknown_key and len(problem.path) == 1 else problem.allowed
        self.problems.add(
            node,
            (*self.path, *problem.path),
            f"{problem.message} ({hint})" if hint else problem.message,
            found=MASK if masked else repr(problem.found) if problem.found else "",
            allowed=sorted(allowed),
            nearest="" if masked else nearest_name(problem.found, allowed),
            line=node.key_line if unknown_key else node.line,
        )
