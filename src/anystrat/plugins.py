"""What third parties add: through Python entry points of installed packages, or through `register_*` calls.

A configuration can only name what is registered here or built in; it never makes the program import a dotted path.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, Final, TypeVar

from anystrat.domain.delivery import Sink
from anystrat.domain.errors import AnystratError
from anystrat.domain.intake import LiveSource
from anystrat.domain.protocols import DecisionPolicy, SignalPublisher, SignalValidator, StrategyProcessor, TickSource
from anystrat.strategies.builtin import builtin_catalog
from anystrat.strategies.catalog import (
    Catalog,
    Entry,
    Kind,
    PolicyType,
    PublisherType,
    SourceType,
    StrategyType,
    ValidatorType,
)

#: Entry-point group -> what its objects are.
GROUPS: Final = {
    "anystrat.strategies": StrategyType,
    "anystrat.policies": PolicyType,
    "anystrat.validators": ValidatorType,
    "anystrat.publishers": PublisherType,
    "anystrat.sources": SourceType,
}
FEATURE_GROUP: Final = "anystrat.features"

E = TypeVar("E", StrategyType, PolicyType, ValidatorType, PublisherType, SourceType)

_registered: list[Entry] = []
_joined: set[tuple[str, str]] = set()


class BrokenPlugin(AnystratError):
    """An installed plug-in cannot be loaded, or offers something that is no entry for its group."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point of an installed package, as found; `error` is empty where it loads."""

    group: str
    name: str
    package: str
    version: str
    error: str = ""


def register_strategy(
    name: str | StrategyType,
    build: Callable[[Any], StrategyProcessor] | None = None,
    *,
    parameters: type[Any] | None = None,
    kind: Kind = "rules",
    summary: str = "",
) -> StrategyType:
    """Make a strategy type known to every configuration that is loaded from now on, in this process.

    Either a ready `StrategyType` (what `@rule` makes), or a name with `build(parameters) -> StrategyProcessor` and the
    `parameters` class (a frozen dataclass) that its configuration is checked against.

    Raises `ValueError` when the name is taken by something else.
    """
    if isinstance(name, StrategyType):
        entry = name
    else:
        if build is None:
            raise TypeError("register_strategy needs build(parameters) -> StrategyProcessor beside a name")
        maker = build
        entry = StrategyType(
            name,
            kind,
            parameters or NoParameters,
            lambda values, _context: maker(values),
            summary or _first_line(build),
            origin="this program",
        )
    return _add(entry)


def register_policy(
    name: str, build: Callable[[Any], DecisionPolicy], *, parameters: type[Any] | None = None, summary: str = ""
) -> PolicyType:
    """Make a decision policy known. Raises `ValueError` when the name is taken by something else."""
    return _add(PolicyType(name, parameters or NoParameters, build, summary, origin="this program"))


def register_validator(name: str, build: Callable[[], SignalValidator], *, summary: str = "") -> ValidatorType:
    """Make a validator known. Raises `ValueError` when the name is taken by something else."""
    _not_standard(name)
    return _add(ValidatorType(name, build, summary, origin="this program"))


def register_publisher(
    name: str,
    build: Callable[[Any], SignalPublisher | Sink],
    *,
    options: type[Any] | None = None,
    summary: str = "",
) -> PublisherType:
    """Make a type of broker known: `build(options)` makes what its signals are published with.

    `options` is the frozen dataclass that its configuration is checked against; without it the type has none of its own.
    Raises `ValueError` when the name is taken by something else.
    """
    _not_built_in(PublisherType, name)
    entry = PublisherType(name, options or NoParameters, build, summary or _first_line(build), origin="this program")
    return _add(entry)


def register_source(
    name: str,
    build: Callable[[Any], TickSource | LiveSource],
    *,
    options: type[Any] | None = None,
    summary: str = "",
) -> SourceType:
    """Make a type of source known: `build(options)` makes what its ticks come from.

    A `TickSource` is enough: ticks one by one, as they come. A `LiveSource` can also go on after a restart, and say what
    it missed. `options` is as for `register_publisher`. Raises `ValueError` when the name is taken by something else.
    """
    _not_built_in(SourceType, name)
    entry = SourceType(name, options or NoParameters, build, summary or _first_line(build), origin="this program")
    return _add(entry)


@dataclass(frozen=True, slots=True)
class NoParameters:
    """For types that take no parameters of their own."""


def catalog() -> Catalog:
    """Everything that a configuration can name now. Raises `BrokenPlugin` for an installed one that does not load."""
    found = builtin_catalog()
    for entry in _registered:
        found.register(entry)
    for group, point in _points():
        _join(found, group, point)
    return found


def installed() -> list[Plugin]:
    """Every entry point of anystrat's groups that is installed, loadable or not."""
    found = []
    known = builtin_catalog()
    for entry in _registered:
        known.register(entry)
    for group, point in _points():
        try:
            _join(known, group, point)
            error = ""
        except BrokenPlugin as broken:
            error = str(broken)
        dist = point.dist
        found.append(Plugin(group, point.name, dist.name if dist else "?", dist.version if dist else "?", error))
    return found


def _points() -> tuple[tuple[str, EntryPoint], ...]:
    """(group, entry point) of all that is installed now."""
    return _read_points(entry_points, tuple(map(_changed, sys.path)))


# To read the files of every installed package takes longer than a short backtest, and a notebook makes many.
@lru_cache(maxsize=1)
def _read_points(
    read: Callable[[], EntryPoints],
    places: tuple[tuple[str, int], ...],  # noqa: ARG001  where nothing was installed since, there is nothing new
) -> tuple[tuple[str, EntryPoint], ...]:
    everything = read()
    return tuple((group, point) for group in (FEATURE_GROUP, *GROUPS) for point in everything.select(group=group))


def _changed(place: str) -> tuple[str, int]:
    """A place where packages are, and when one was last added to it or removed."""
    try:
        return place, Path(place).stat().st_mtime_ns
    except OSError:
        return place, 0


def _join(known: Catalog, group: str, point: EntryPoint) -> None:
    """Add what the entry point offers. Raises `BrokenPlugin`, which names it and its package, for whatever goes wrong."""
    where = f"plug-in {point.name!r} of {point.dist.name if point.dist else '?'} ({point.value})"
    try:
        entry: Any = point.load()
    except Exception as error:  # a plug-in's import may raise anything
        raise BrokenPlugin(f"{where} does not load: {type(error).__name__}: {error}") from error
    if group == FEATURE_GROUP:
        _join_features(where, point, entry)
        return
    kind: Any = GROUPS[group]
    if not isinstance(entry, kind):
        raise BrokenPlugin(f"{where} is {type(entry).__name__}; expected {kind.__name__}")
    try:
        if isinstance(entry, ValidatorType):
            _not_standard(entry.name)
        if isinstance(entry, PublisherType | SourceType):
            _not_built_in(type(entry), entry.name)
        known.register(entry)
    except ValueError as taken:
        raise BrokenPlugin(f"{where}: {taken}") from taken


def _join_features(where: str, point: EntryPoint, register: Any) -> None:
    if not callable(register):
        raise BrokenPlugin(f"{where} is {type(register).__name__}; expected a function that registers features")
    key = (point.name, point.value)
    if key in _joined:
        return  # features are known to the whole process: a second call would find its own names taken
    try:
        register()
    except Exception as error:  # as above
        raise BrokenPlugin(f"{where} does not register its features: {type(error).__name__}: {error}") from error
    _joined.add(key)


def _not_standard(name: str) -> None:
    if name == "standard":
        raise ValueError("'standard' is the built-in validator; choose another name")


def _not_built_in(kind: type[PublisherType | SourceType], name: str) -> None:
    from anystrat.config.endpoint_types import EndpointTypes  # noqa: PLC0415  start-up budget: no endpoint, no Pydantic

    known = EndpointTypes()
    what, shelf = ("source", known.sources) if kind is SourceType else ("broker", known.brokers)
    if name in shelf:
        raise ValueError(f"{name!r} is a built-in type of {what}; choose another name")


def _first_line(described: Any) -> str:
    return (described.__doc__ or "").strip().split("\n")[0]


def _add(entry: E) -> E:
    probe = builtin_catalog()
    for earlier in _registered:
        probe.register(earlier)
    probe.register(entry)
    if entry not in _registered:
        _registered.append(entry)
    return entry
