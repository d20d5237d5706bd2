"""From a node to a checked, frozen value: a Pydantic model is derived from each dataclass, once.

Types are strict: text is no number, `true` is no number, a fraction is no whole number; a whole number does for a
number. Values from the environment are text by nature and are read as what the field asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from anystrat.config.fields import FieldShape, arms, fields_of, holds_secret, is_path, unwrapped
from anystrat.config.node import MASK, Node, path_text
from anystrat.config.problems import Problems
from anystrat.config.yaml_reader import scalar_value
from anystrat.domain.configuration import EnvironmentText, Secret
from anystrat.domain.errors import nearest_name
from anystrat.domain.exact import to_decimal
from anystrat.domain.parameters import ParameterError

Steps = tuple[str | int, ...]
T = TypeVar("T")

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)
_MESSAGES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "extra_forbidden": "unknown key",
    "float_type": "must be a number",
    "frozen_set_type": "must be a list",
    "greater_than": "out of bounds",
    "greater_than_equal": "out of bounds",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "out of bounds",
    "less_than_equal": "out of bounds",
    "list_type": "must be a list",
    "literal_error": "not one of the values that are allowed",
    "mapping_type": "must be a mapping",
    "missing": "required, and not there",
    "model_type": "must be a mapping",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}


def checked(
    shape: type[T],
    node: Node,
    path: Steps,
    problems: Problems,
    *,
    explain: Callable[[str], str] | None = None,
    more_keys: Iterable[str] = (),
    where: Mapping[str, Steps] | None = None,
) -> T | None:
    """An instance of `shape` made from a mapping node, or None after adding all that is wrong with it to `problems`.

    `more_keys` are keys that somebody else checks. `explain` may say where an unknown key belongs instead. `where` has
    the whole path of keys that are not at `path` themselves, when a mapping was put together from several.
    """
    where = where or {}
    described = {each.name: each for each in fields_of(shape)}
    others = set(more_keys)
    if not node.is_mapping:
        problems.add(node, path, "must be a mapping", allowed=f"keys {', '.join([*described, *sorted(others)])}")
        return None
    before = len(problems.found)
    own = {key: child for key, child in node.entries.items() if key not in others}
    for key in own.keys() - described.keys():
        hint = explain(key) if explain else ""
        child = own[key]
        problems.unknown(
            child.with_value(None, masked=False),
            (*path, key),
            f"key ({hint})" if hint else "key",
            key,
            [*described, *sorted(others)],
            line=child.key_line,
        )
    values = {key: child.plain() for key, child in own.items() if key in described}
    try:
        model = model_of(shape).model_validate(values, context={"base_dir": node.origin.base_dir})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _add(details, described, node, path, problems, where)
        return None
    return _made(shape, model, node, path, problems, where) if len(problems.found) == before else None


def model_of(shape: type[Any]) -> type[BaseModel]:
    """The Pydantic model that checks what a frozen dataclass is made from."""
    cached: Any = _model_of
    model: type[BaseModel] = cached(shape)
    return model


@lru_cache(maxsize=512)
def _model_of(shape: Any) -> type[BaseModel]:
    definitions: dict[str, Any] = {}
    for index, each in enumerate(fields_of(shape)):
        # Fields go by alias: a dataclass may name one `schema` or `_x`, which a Pydantic model cannot.
        default = Field(alias=each.name) if each.required else Field(default=each.default, alias=each.name)
        definitions[f"field_{index}"] = (_pydantic_type(each.annotation, each.bounds, each.markers), default)
    model: type[BaseModel] = create_model(shape.__name__, __config__=_STRICT, **definitions)
    return model


def _made(
    shape: type[T], model: BaseModel, node: Node, path: Steps, problems: Problems, where: Mapping[str, Steps]
) -> T | None:
    values = {each.name: getattr(model, f"field_{index}") for index, each in enumerate(fields_of(shape))}
    try:
        return shape(**values)
    except ParameterError as error:
        steps = [int(step) if step.isdigit() else step for step in error.field.split(".")]
        place = where.get(error.field, (*path, *steps))
        given = str(steps[0]) in node.entries
        field = next((each for each in fields_of(shape) if each.name == error.field), None)
        secret = field is not None and holds_secret(field.annotation)
        shown = None if given else "" if error.found is None else f"{error.found}, by default"
        if secret and shown != "":
            shown = MASK
        problems.add(node.at(steps), place, error.message, found=shown)
    except (ValueError, TypeError, ArithmeticError) as error:
        problems.add(node, path, str(error) or type(error).__name__, found="")
    return None


def _add(
    details: ErrorDetails,
    described: Mapping[str, FieldShape],
    node: Node,
    path: Steps,
    problems: Problems,
    where: Mapping[str, Steps],
) -> None:
    """Add one of Pydantic's errors, in our words and at its place in the file."""
    # Pydantic names the arms of a union in `loc`; what is no step into the values is left out.
    steps: list[str | int] = []
    here = node
    for step in details["loc"]:
        if step in here.entries or (isinstance(step, int) and 0 <= step < len(here.items)):
            steps.append(step)
            here = here.at([step])
        elif details["type"] == "missing" and step == details["loc"][-1]:
            steps.append(step)
    field = described.get(str(details["loc"][0])) if details["loc"] else None
    kind, message = details["type"], details["msg"].removeprefix("Value error, ")
    if kind == "too_short" and here.items:
        return  # Pydantic counts only the items that are right; what is wrong with the others is said of them
    place = (*where[str(steps[0])], *steps[1:]) if steps and steps[0] in where else (*path, *steps)
    written = (here.origin.name, here.line, path_text(place))
    if any((problem.file, problem.line, problem.path) == written for problem in problems.found):
        return  # another arm of the same union
    secret = field is not None and holds_secret(field.annotation)
    outer, field = field, _innermost(field, steps[1:])
    inside = field is outer and len(steps) > 1
    allowed = "" if field is None else field.inner_text if inside else field.allowed_text
    nearest = ""
    # Where a list is expected, a text is wrong whatever it says.
    scalar = _MESSAGES.get(kind) != "must be a list"
    if scalar and isinstance(here.value, str) and field is not None and not here.masked and not secret:
        nearest = nearest_name(here.value, _choices(field.annotation))
    shown = MASK if secret and not (here.is_mapping or here.is_list) else None
    found = "" if kind == "missing" else shown
    if kind == "extra_forbidden" and field is not None:
        names = [each.name for shape in _shapes_in(field.annotation) for each in fields_of(shape)]
        found, allowed, nearest = "", ", ".join(names) or allowed, nearest_name(str(steps[-1]), names)
    problems.add(here, place, _MESSAGES.get(kind, message), found=found, allowed=allowed, nearest=nearest)


def _innermost(field: FieldShape | None, steps: list[str | int]) -> FieldShape | None:
    """The field of the mapping within the mapping … that the steps lead to; itself where they lead to none."""
    for step in steps:
        shapes = _shapes_in(field.annotation) if field is not None and isinstance(step, str) else []
        field = next((each for shape in shapes for each in fields_of(shape) if each.name == step), field)
    return field


def _shapes_in(annotation: Any) -> list[type[Any]]:
    """The dataclasses that an annotation takes mappings for, at any depth of lists."""
    bare, _ = unwrapped(annotation)
    if isinstance(bare, type) and is_dataclass(bare):
        return [bare]
    return [shape for argument in get_args(bare) for shape in _shapes_in(argument)]


def _choices(annotation: Any) -> list[str]:
    """The texts that an annotation allows, where it allows only some."""
    bare, _ = unwrapped(annotation)
    if isinstance(bare, type) and issubclass(bare, Enum):
        return [str(member.value) for member in bare]
    if get_origin(bare) is Literal:
        return [str(value) for value in get_args(bare)]
    return [choice for argument in get_args(bare) for choice in _choices(argument)]


def _pydantic_type(annotation: Any, bounds: tuple[Any, ...] = (), markers: tuple[Any, ...] = ()) -> Any:
    """The type that Pydantic is given for an annotation of ours; `bounds` are for the numbers in it."""
    annotation, inner = unwrapped(annotation)
    markers = (*markers, *inner)
    members = arms(annotation)
    if len(members) > 1:
        return Union[tuple(_pydantic_type(member, bounds, markers) for member in members)]  # noqa: UP007  made at run time
    if annotation in _PLAIN:
        return Annotated[Any, PlainValidator(_PLAIN[annotation])]
    if annotation in {bool, int, float, str, Decimal}:
        return _scalar_type(annotation, bounds, markers)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Annotated[Any, PlainValidator(_member_of(annotation))]
    if get_origin(annotation) is Literal:
        return Annotated[annotation, BeforeValidator(_unmarked)]
    if isinstance(annotation, type) and is_dataclass(annotation):
        return Annotated[model_of(annotation), AfterValidator(_builder_of(annotation))]
    return _container_type(annotation, bounds, markers)


def _scalar_type(annotation: Any, bounds: tuple[Any, ...], markers: tuple[Any, ...]) -> Any:
    constraints = (*bounds, *_constraints(markers))
    if annotation is Decimal:
        return Annotated[(Decimal, *constraints, BeforeValidator(_decimal))]
    if annotation is bool:
        return Annotated[bool, Strict(), BeforeValidator(_from_environment)]
    if annotation is not str:
        return Annotated[(annotation, Strict(), *constraints, BeforeValidator(_from_environment))]
    if is_path(markers):
        return Annotated[str, Strict(), AfterValidator(_path_text)]
    return Annotated[(str, Strict(), *_constraints(markers), WrapValidator(_text_as_given))]


def _container_type(annotation: Any, bounds: tuple[Any, ...], markers: tuple[Any, ...]) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    # Lengths are the container's; bounds and "names a file" are for what it holds.
    lengths = _constraints(markers)
    ours = tuple(marker for marker in markers if marker not in lengths)
    whole: Any = annotation
    if origin in {tuple, list, frozenset, set}:
        inside = tuple(each if each is Ellipsis else _pydantic_type(each, bounds, ours) for each in arguments)
        generic: Any = origin
        whole = _annotated(generic[inside], lengths)
        # One file, or a list of files: the case that is worth a shorthand.
        return Annotated[whole, BeforeValidator(_listed)] if arguments[:1] == (Path,) else whole
    if isinstance(origin, type) and issubclass(origin, Mapping):
        value_type: Any = _pydantic_type(arguments[1], bounds, ours)
        whole = _annotated(dict[str, value_type], lengths)
    return whole


def _annotated(annotation: Any, constraints: tuple[Any, ...]) -> Any:
    return Annotated[(annotation, *constraints)] if constraints else annotation


def _constraints(markers: tuple[Any, ...]) -> tuple[Any, ...]:
    """The markers that Pydantic understands; ours are for other readers."""
    return tuple(marker for marker in markers if type(marker).__module__.startswith("annotated_types"))


def _unmarked(value: Any) -> Any:
    return str(value) if isinstance(value, EnvironmentText) else value


def _from_environment(value: Any) -> Any:
    """Text from the environment as the scalar that it stands for; everything else as it is."""
    return scalar_value(str(value)) if isinstance(value, EnvironmentText) else value


def _decimal(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise PydanticCustomError("decimal_type", "must be a decimal number")
    try:
        return to_decimal(_unmarked(value))
    except (InvalidOperation, ValueError):
        raise PydanticCustomError("decimal_type", "must be a decimal number") from None


def _text_as_given(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    plain = handler(value)
    # Pydantic makes a plain `str` of it, which would print.
    return value if isinstance(value, EnvironmentText) else plain


def _absolute(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be text")
    if not value or "\0" in value:
        raise PydanticCustomError("path", "must be a path")
    context: Any = info.context
    return Path(context["base_dir"]) / str(value)


def _path_text(value: str, info: ValidationInfo) -> str:
    return str(_absolute(value, info))


def _secret(value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be text")
    return Secret(str(value))


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_PLAIN: dict[Any, Callable[..., Any]] = {Path: _absolute, Secret: _secret}


def _member_of(kind: type[Enum]) -> Callable[[Any], Enum]:
    def member(value: Any) -> Enum:
        for each in kind:
            if value is each or (type(value) in {str, EnvironmentText} and each.value == value):
                return each
        raise PydanticCustomError("choice", "not one of the values that are allowed")

    return member


def _builder_of(shape: type[Any]) -> Callable[[BaseModel], Any]:
    def build(model: BaseModel) -> Any:
        return shape(**{each.name: getattr(model, f"field_{index}") for index, each in enumerate(fields_of(shape))})

    return build
