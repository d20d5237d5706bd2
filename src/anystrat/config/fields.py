"""What a frozen dataclass says about its fields: type, bounds, unit, doc, default.

Checks, the JSON Schema and `anystrat types` all read parameters through this one description.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types

from anystrat.domain.configuration import Secret
from anystrat.domain.exact import plain_text, to_decimal
from anystrat.domain.parameters import Doc, Ge, Gt, Le, Lt, PathParameter, Unit

NO_DEFAULT: Any = MISSING
_BOUNDS = (Ge, Gt, Le, Lt)
_SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field. `annotation` is bare: no `Annotated` at its top, whose constraints are in `bounds` and `markers`."""

    name: str
    annotation: Any
    default: Any
    doc: str
    unit: str
    bounds: tuple[Any, ...]
    markers: tuple[Any, ...]

    @property
    def required(self) -> bool:
        """Whether a configuration must give it."""
        return self.default is NO_DEFAULT

    @property
    def type_text(self) -> str:
        """The type in words."""
        return type_text(self.annotation)

    @property
    def bounds_text(self) -> str:
        """The bounds as formulas: `≥ 1`, `> 0, ≤ 1`; empty without any."""
        return _bounds_text(self.bounds)

    @property
    def allowed_text(self) -> str:
        """What may stand here, in words, with bounds and unit."""
        name = "path" if is_path(self.markers) else self.type_text
        text = name + (f" {self.bounds_text}" if self.bounds else "")
        return f"{text} ({self.unit})" if self.unit else text

    @property
    def inner_text(self) -> str:
        """What may stand in the list or mapping that this field is, in words, with bounds."""
        arguments = [argument for argument in get_args(self.annotation) if argument is not Ellipsis]
        if not arguments:
            return self.allowed_text
        _, markers = unwrapped(arguments[-1])
        bounds = (*self.bounds, *(marker for marker in _flattened(markers) if isinstance(marker, _BOUNDS)))
        return " ".join(part for part in (type_text(arguments[-1]), _bounds_text(bounds)) if part)


def fields_of(shape: type[Any]) -> tuple[FieldShape, ...]:
    """The fields of a frozen dataclass that a configuration can give, in their order."""
    # mypy does not take a class for hashable.
    cached: Any = _fields_of
    described: tuple[FieldShape, ...] = cached(shape)
    return described


@lru_cache(maxsize=512)
def _fields_of(shape: Any) -> tuple[FieldShape, ...]:
    hints = get_type_hints(shape, include_extras=True)
    result = []
    for each in fields(shape):
        if not each.init:
            continue
        annotation, markers = unwrapped(hints[each.name])
        default = each.default
        if default is MISSING and each.default_factory is not MISSING:
            default = each.default_factory()
        flat = _flattened(markers)
        result.append(
            FieldShape(
                name=each.name,
                annotation=annotation,
                default=default,
                doc=next((marker.text for marker in flat if isinstance(marker, Doc)), ""),
                unit=next((marker.name for marker in flat if isinstance(marker, Unit)), ""),
                bounds=tuple(marker for marker in flat if isinstance(marker, _BOUNDS)),
                markers=tuple(marker for marker in flat if not isinstance(marker, (Doc, Unit, *_BOUNDS))),
            )
        )
    return tuple(result)


def unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """An annotation without its outer `Annotated`, and what that held."""
    if get_origin(annotation) is Annotated:
        bare, *markers = get_args(annotation)
        return bare, tuple(markers)
    return annotation, ()


def is_path(markers: tuple[Any, ...]) -> bool:
    """Whether the markers of a text say that it names a file."""
    return any(isinstance(marker, PathParameter) or marker is PathParameter for marker in markers)


def holds_secret(annotation: Any) -> bool:
    """Whether a value of this type may be a secret, or hold some."""
    bare, _ = unwrapped(annotation)
    return bare is Secret or any(holds_secret(argument) for argument in get_args(bare))


def arms(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def type_text(annotation: Any) -> str:
    """A type in the words of messages and reference pages."""
    annotation, _ = unwrapped(annotation)
    members = arms(annotation)
    if len(members) > 1:
        # That a field may be left empty is what its default says.
        return " or ".join(type_text(member) for member in members if member is not type(None))
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(str(value) for value in args)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(str(member.value) for member in annotation)
    if origin in {tuple, list, frozenset, set}:
        if not args:
            return "list"
        inside = type_text(args[0])
        return f"list of {inside}" if " " in inside else f"list of {inside}s"
    name = getattr(origin or annotation, "__name__", str(annotation))
    if name not in _NAMES and isinstance(annotation, type) and is_dataclass(annotation):
        return f"mapping with {', '.join(each.name for each in fields_of(annotation))}"
    return _NAMES.get(name, name)


_NAMES = {
    "int": "whole number",
    "float": "number",
    "Decimal": "decimal number",
    "bool": "true or false",
    "str": "text",
    "Path": "path",
    "Secret": "text (secret)",
    "Mapping": "mapping",
    "dict": "mapping",
    "Any": "anything",
}


def _flattened(markers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Grouped constraints, `Interval(ge=…, le=…)`, as single ones."""
    flat: list[Any] = []
    for marker in markers:
        flat.extend(marker if isinstance(marker, annotated_types.GroupedMetadata) else [marker])
    return tuple(flat)


def _bounds_text(bounds: tuple[Any, ...]) -> str:
    return ", ".join(f"{_SIGNS[type(bound)]} {_number(_limit(bound))}" for bound in bounds)


def _limit(bound: Any) -> Any:
    return next(getattr(bound, name) for name in ("ge", "gt", "le", "lt") if hasattr(bound, name))


def _number(value: Any) -> str:
    return plain_text(to_decimal(value))
