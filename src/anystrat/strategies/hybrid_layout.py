"""Whose is which key of a hybrid's parameters: the rules', the ML strategy's, the policy's, or the hybrid's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from anystrat.strategies.catalog import Catalog, Composition, Kind

#: The hybrid's own keys beside those of its parts.
OWN_KEYS: Final = ("policy", "on_model_failure", "on_deadline")

#: What to do without a model, or without its answer, is the whole hybrid's affair: no part is asked.
NO_PART_KEYS: Final = frozenset({"on_model_failure", "on_deadline"})


@dataclass(frozen=True, slots=True)
class PartLayout:
    """The raw values that belong to one part: by field name, and where in the mapping each of them was found."""

    type: str
    values: Mapping[str, Any]
    paths: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class LayoutProblem:
    """A key that nobody knows, a name that is not registered, or a part that is missing; `path` leads to it."""

    path: tuple[str, ...]
    message: str
    found: str = ""
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HybridLayout:
    """Which keys of a raw mapping belong to whom. A part is None only where `problems` says why.

    `on_model_failure` is the raw value, or None where it is not given.
    """

    rules: PartLayout | None
    ml: PartLayout | None
    policy: PartLayout | None
    on_model_failure: Any = None
    problems: tuple[LayoutProblem, ...] = ()


def split_parameters(composition: Composition, catalog: Catalog, mapping: Mapping[str, Any]) -> HybridLayout:
    """Say for the raw parameters of a hybrid which of them belong to the rules, the ML strategy and the policy.

    `mapping` is `parameters` without the engine's own keys (`risk` and the like). No value is validated: a part's
    dataclass and its constraints do that. With the parts named by `composition` each key goes to every part that has
    such a field; otherwise `rules` and `ml` are mappings with `type`, and the other keys are the policy's. A policy's
    keys come from the `policy` mapping, then from `mapping`, then from the defaults.
    """
    split = _Split(catalog, mapping)
    policy = split.policy(composition.default_policy)
    known = {*OWN_KEYS, *split.fields_of("policy", policy)}
    if composition.rules is None or composition.ml is None:
        rules, ml = split.nested("rules", "rules"), split.nested("ml", "ml")
        known |= {"rules", "ml"}
        complete = policy is not None
    else:
        rules, ml = split.flat(composition.rules, "rules"), split.flat(composition.ml, "ml")
        known |= split.fields_of("strategy", rules) | split.fields_of("strategy", ml)
        complete = policy is not None and rules is not None and ml is not None
    # The keys of a part that is not known cannot be told from wrong ones: the part's own problem comes first.
    if complete:
        split.unknown_keys(mapping, (), known)
    return HybridLayout(rules, ml, policy, mapping.get("on_model_failure"), tuple(split.problems))


@dataclass(slots=True)
class _Split:
    catalog: Catalog
    mapping: Mapping[str, Any]
    problems: list[LayoutProblem] = field(default_factory=list)

    def fields_of(self, shelf: Literal["strategy", "policy"], part: PartLayout | None) -> set[str]:
        return set() if part is None else self._fields(shelf, part.type)

    def flat(self, name: str, kind: Kind) -> PartLayout | None:
        if not self._registered((kind,), name, f"{kind} strategy", self._strategies(kind)):
            return None
        known = self._fields("strategy", name)
        values = {key: value for key, value in self.mapping.items() if key in known}
        return PartLayout(name, values, {key: (key,) for key in values})

    def nested(self, key: str, kind: Kind) -> PartLayout | None:
        allowed = self._strategies(kind)
        own = self.mapping.get(key)
        name = self._type_in(own, (key,), allowed)
        if name is None or not isinstance(own, Mapping):
            return None
        if not self._registered((key, "type"), name, f"{kind} strategy", allowed):
            return None
        known = self._fields("strategy", name)
        self.unknown_keys(own, (key,), known | {"type"})
        values = {each: value for each, value in own.items() if each in known}
        return PartLayout(name, values, {each: (key, each) for each in values})

    def policy(self, default: str) -> PartLayout | None:
        allowed = tuple(sorted(self.catalog.policies))
        raw = self.mapping.get("policy")
        own: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        where = ("policy", "type") if isinstance(raw, Mapping) else ("policy",)
        name: str | None = default
        if raw is not None:
            name = raw if isinstance(raw, str) else self._type_in(raw, ("policy",), allowed)
        if name is None or not self._registered(where, name, "policy", allowed):
            return None
        known = self._fields("policy", name)
        self.unknown_keys(own, ("policy",), known | {"type"})
        values = {key: value for key, value in self.mapping.items() if key in known}
        paths: dict[str, tuple[str, ...]] = {key: (key,) for key in values}
        for key, value in own.items():
            if key in known:
                values[key] = value
                paths[key] = ("policy", key)
        return PartLayout(name, values, paths)

    def unknown_keys(self, mapping: Mapping[str, Any], path: tuple[str, ...], known: set[str]) -> None:
        allowed = tuple(sorted(known))
        self.problems += [
            LayoutProblem((*path, str(key)), "unknown key", str(key), allowed) for key in mapping if key not in known
        ]

    def _fields(self, shelf: Literal["strategy", "policy"], name: str) -> set[str]:
        entry = self.catalog.strategy(name) if shelf == "strategy" else self.catalog.policy(name)
        return {each.name for each in fields(entry.parameters) if each.init} - NO_PART_KEYS

    def _strategies(self, kind: Kind) -> tuple[str, ...]:
        return tuple(sorted(name for name, entry in self.catalog.strategies.items() if entry.kind == kind))

    def _registered(self, path: tuple[str, ...], name: str, what: str, allowed: tuple[str, ...]) -> bool:
        if name in allowed:
            return True
        self.problems.append(LayoutProblem(path, f"unknown {what}", name, allowed))
        return False

    def _type_in(self, part: object, path: tuple[str, ...], allowed: tuple[str, ...]) -> str | None:
        if part is None:
            self.problems.append(LayoutProblem(path, "is missing: a mapping with `type`", "", allowed))
        elif not isinstance(part, Mapping):
            self.problems.append(LayoutProblem(path, "must be a mapping with `type`", repr(part), allowed))
        elif part.get("type") is None:
            self.problems.append(LayoutProblem((*path, "type"), "is missing", "", allowed))
        elif not isinstance(part["type"], str):
            self.problems.append(LayoutProblem((*path, "type"), "must be a name", repr(part["type"]), allowed))
        else:
            return str(part["type"])
        return None
