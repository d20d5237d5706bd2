"""JSON Schema of a dataclass and of its fields' types. Text such as `${NAME}` is allowed wherever a scalar is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen

from anystrat.config.fields import FieldShape, arms, fields_of, holds_secret, unwrapped
from anystrat.domain.configuration import Secret

Schema = dict[str, Any]

# `minimum` speaks of numbers only and `pattern` of text only, so one schema holds both kinds.
_REFERENCE = r"\$\{"
_DECIMAL_TEXT = r"^[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$|\$\{"
_TYPES = {int: "integer", float: "number", bool: "boolean"}


def object_schema(
    shape: type[Any],
    *,
    extra: Mapping[str, Schema] | None = None,
    title: str = "",
    summary: str = "",
    secret_files: bool = False,
) -> Schema:
    """The mapping that makes an instance of a dataclass.

    `extra` are keys that others take from it. With `secret_files` a secret may also be given as `<key>_file`.
    """
    properties: dict[str, Schema] = dict(extra or {})
    required: list[str] = []
    either: list[Schema] = []
    for each in fields_of(shape):
        properties[each.name] = field_schema(each)
        if (
            secret_files
            and holds_secret(each.annotation)
            and get_origin(unwrapped(each.annotation)[0]) not in {dict, Mapping}
        ):
            file = f"{each.name}_file"
            properties[file] = {"type": "string", "title": file, "description": f"A file that holds `{each.name}`."}
            if each.required:
                either.append({"anyOf": [{"required": [each.name]}, {"required": [file]}]})
        elif each.required:
            required.append(each.name)
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if title:
        schema["title"] = title
    if summary:
        schema["description"] = summary
    if required:
        schema["required"] = required
    if either:
        schema["allOf"] = either
    return schema


def field_schema(field: FieldShape) -> Schema:
    """One field: its type and bounds, with title, description, unit and default."""
    schema = value_schema(field.annotation, field.bounds, field.markers)
    schema["title"] = field.name
    if field.doc:
        schema["description"] = f"{field.doc} Unit: {field.unit}." if field.unit else field.doc
    if field.unit:
        schema["x-unit"] = field.unit
    if not field.required and (default := plain_default(field.default)) is not None:
        schema["default"] = default
    return schema


def value_schema(annotation: Any, bounds: tuple[Any, ...] = (), markers: tuple[Any, ...] = ()) -> Schema:
    """What may be written for a value of this type."""
    annotation, inner = unwrapped(annotation)
    bounds = (*bounds, *(marker for marker in inner if isinstance(marker, (Ge, Gt, Le, Lt))))
    members = arms(annotation)
    if len(members) > 1:
        return _union(
            [value_schema(member, bounds, markers) for member in members if member is not type(None)], members
        )
    if annotation in _TYPES:
        kind = _TYPES[annotation]
        # The message is an extension that the editors' language servers know; without it they show the pattern.
        return {
            "type": [kind, "string"],
            "pattern": _REFERENCE,
            "patternErrorMessage": f"Must be of type {kind}, without quotes, or ${{NAME}}.",
            **_limits(bounds),
        }
    if annotation is Decimal:
        return {"type": ["number", "string"], "pattern": _DECIMAL_TEXT, **_limits(bounds)}
    if annotation in {str, Path, Secret}:
        lengths = [marker.min_length for marker in (*markers, *inner) if isinstance(marker, MinLen)]
        return {"type": "string", **({"minLength": lengths[0]} if lengths else {})}
    choices = _choices(annotation)
    if choices:
        return {"anyOf": [{"enum": choices}, {"type": "string", "pattern": _REFERENCE}]}
    if isinstance(annotation, type) and is_dataclass(annotation):
        return object_schema(annotation)
    return _container(annotation, bounds, markers)


def plain_default(value: Any) -> Any:
    """A default as JSON; None where there is nothing to show."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (tuple, list)):
        return [plain_default(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(plain_default(each) for each in value)
    return value if isinstance(value, (bool, int, float, str)) else None


def _union(schemas: list[Schema], members: tuple[Any, ...]) -> Schema:
    optional = type(None) in members
    if len(schemas) == 1 and isinstance(schemas[0].get("type"), (str, list)):
        kinds = schemas[0]["type"]
        listed = [kinds] if isinstance(kinds, str) else list(kinds)
        return {**schemas[0], "type": [*listed, "null"] if optional else listed}
    return {"anyOf": [*schemas, {"type": "null"}] if optional else schemas}


def _choices(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    return list(get_args(annotation)) if get_origin(annotation) is Literal else []


def _container(annotation: Any, bounds: tuple[Any, ...], markers: tuple[Any, ...]) -> Schema:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {tuple, list, frozenset, set}:
        items = value_schema(arguments[0], bounds)
        lengths = [marker.min_length for marker in markers if isinstance(marker, MinLen)]
        whole: Schema = {"type": "array", "items": items, **({"minItems": lengths[0]} if lengths else {})}
        return {"anyOf": [items, whole]} if arguments[0] is Path else whole
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": value_schema(arguments[1], bounds)}
    return {}


def _limits(bounds: tuple[Any, ...]) -> Schema:
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    limits: Schema = {}
    for bound in bounds:
        for attribute, name in names.items():
            if hasattr(bound, attribute):
                limits[name] = plain_default(getattr(bound, attribute))
    return limits
