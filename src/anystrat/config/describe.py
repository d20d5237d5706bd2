"""What a configuration can name, described for people: the source of `anystrat types` and of the reference pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from anystrat.config.fields import FieldShape, fields_of, is_path
from anystrat.config.risk import RiskShape, SizingShape
from anystrat.domain.configuration import DeliveryOptions
from anystrat.domain.exact import plain_text
from anystrat.strategies.catalog import Catalog, Composition, StrategyType
from anystrat.strategies.hybrid import HybridParameters
from anystrat.strategies.hybrid_layout import NO_PART_KEYS


@dataclass(frozen=True, slots=True)
class ParameterDescription:
    """One parameter. `default` is as it would be written in a file; empty for a required one or one that is off."""

    name: str
    type: str
    required: bool
    default: str
    bounds: str
    unit: str
    doc: str


@dataclass(frozen=True, slots=True)
class TypeDescription:
    """One strategy type (`kind` rules, ml or hybrid), policy or validator."""

    name: str
    kind: str
    summary: str
    origin: str
    parameters: tuple[ParameterDescription, ...]


def describe_types(catalog: Catalog) -> tuple[TypeDescription, ...]:
    """Everything that the catalogue holds: strategies, then policies, then validators, in the order of registration."""
    strategies = [
        TypeDescription(entry.name, entry.kind, entry.summary, entry.origin, _parameters_of(entry, catalog))
        for entry in catalog.strategies.values()
    ]
    policies = [
        TypeDescription(entry.name, "policy", entry.summary, entry.origin, _described(fields_of(entry.parameters)))
        for entry in catalog.policies.values()
    ]
    standard = TypeDescription("standard", "validator", "The standard checks alone.", "anystrat", ())
    validators = [
        TypeDescription(entry.name, "validator", entry.summary, entry.origin, ())
        for entry in catalog.validators.values()
    ]
    return (*strategies, *policies, standard, *validators)


def describe_common() -> tuple[ParameterDescription, ...]:
    """What every strategy type takes under `parameters` beside its own: sizing, and `risk`."""
    return (*_described(fields_of(SizingShape)), *_described(fields_of(RiskShape), prefix="risk."))


def describe_delivery() -> tuple[ParameterDescription, ...]:
    """What every type of broker but `paper` takes beside its own options."""
    return _described(fields_of(DeliveryOptions))


def _parameters_of(entry: StrategyType, catalog: Catalog) -> tuple[ParameterDescription, ...]:
    if entry.composition is None:
        return _described(fields_of(entry.parameters))
    return _hybrid(entry.composition, catalog)


def _hybrid(composition: Composition, catalog: Catalog) -> tuple[ParameterDescription, ...]:
    """A hybrid's keys: those of its parts, each once, or the mappings that name them; then the policy."""
    own = {each.name: each for each in fields_of(HybridParameters)}
    parts = [catalog.strategy(name).parameters for name in (composition.rules, composition.ml) if name is not None]
    result: dict[str, ParameterDescription] = {}
    if len(parts) == 2:
        for shape in parts:
            for described in _described(fields_of(shape)):
                if described.name not in NO_PART_KEYS:
                    result.setdefault(described.name, described)
    else:
        for name in ("rules", "ml"):
            result[name] = ParameterDescription(name, "mapping with `type`", True, "", "", "", own[name].doc)
    policy = f"one of {', '.join(catalog.policies)}, or a mapping with `type`"
    result["policy"] = ParameterDescription(
        "policy", policy, required=False, default=composition.default_policy, bounds="", unit="", doc=own["policy"].doc
    )
    for described in _described(fields_of(catalog.policy(composition.default_policy).parameters)):
        result.setdefault(described.name, described)
    result |= {name: _described([each])[0] for name, each in own.items() if name in NO_PART_KEYS}
    return tuple(result.values())


def _described(fields: Iterable[FieldShape], *, prefix: str = "") -> tuple[ParameterDescription, ...]:
    return tuple(
        ParameterDescription(
            name=prefix + each.name,
            type="path" if is_path(each.markers) else each.type_text,
            required=each.required,
            default="" if each.required else default_text(each.default),
            bounds=each.bounds_text,
            unit=each.unit,
            doc=each.doc,
        )
        for each in fields
    )


def default_text(value: Any) -> str:
    """A default as it would be written in a file; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain_text(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (tuple, frozenset, list)):
        return (
            "["
            + ", ".join(sorted(map(default_text, value)) if isinstance(value, frozenset) else map(default_text, value))
            + "]"
        )
    return "{}" if isinstance(value, dict) and not value else str(value)


__all__ = [
    "ParameterDescription",
    "TypeDescription",
    "default_text",
    "describe_common",
    "describe_delivery",
    "describe_types",
]
