"""The catalogue: what a configuration can name. Strategies, policies, validators, publishers, sources, with their builders.

Checks, the JSON Schema, `anystrat types` and the reference pages are all derived from here. A configuration never
makes the program import anything that is not registered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from anystrat.domain.delivery import Sink
from anystrat.domain.errors import UnknownName
from anystrat.domain.intake import LiveSource
from anystrat.domain.protocols import (
    DecisionPolicy,
    FeatureStore,
    InferenceModel,
    SignalPublisher,
    SignalValidator,
    StrategyProcessor,
    TickSource,
)
from anystrat.strategies.feature_cache import FeatureCache

Kind = Literal["rules", "ml", "hybrid"]
T = TypeVar("T")


class ModelShelf(Protocol):
    """Where ML strategies get their models: one loaded model a file, shared by all that name it."""

    def model(self, path: str) -> InferenceModel:
        """The model now serving for this file, loaded at the first call. Raises `ModelRefused`."""
        ...

    def version(self, path: str, sha256: str) -> InferenceModel:
        """The version of this file with this hash, serving or not. Raises `ModelRefused` where it cannot be had."""
        ...

    def failed(self, path: str, sha256: str, why: str) -> None:
        """A version failed in use while it was on trial; the shelf's owner may go back to the one before it."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A named building block with its checked parameters: the rules, the ML or the policy of a hybrid."""

    type: str
    parameters: Any


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a builder may use beside its parameters."""

    catalog: Catalog
    models: ModelShelf
    features: FeatureStore | None = None
    strategy_id: str = ""

    def feature_cache(self) -> FeatureCache | None:
        """The strategy's way to the feature store; None where none is configured."""
        return FeatureCache(self.features, self.strategy_id) if self.features is not None else None

    def build(self, part: Part) -> StrategyProcessor:
        """Build another strategy as a part of this one."""
        return self.catalog.strategy(part.type).build(part.parameters, self)

    def policy(self, part: Part) -> DecisionPolicy:
        """Build a decision policy."""
        return self.catalog.policy(part.type).build(part.parameters)


@dataclass(frozen=True, slots=True)
class Composition:
    """How a hybrid type finds its parts: by name here, or (None) in mappings `rules` and `ml` of its parameters."""

    rules: str | None = None
    ml: str | None = None
    default_policy: str = "majority"


@dataclass(frozen=True, slots=True)
class StrategyType:
    """One strategy type. `parameters` is a frozen dataclass; `build` makes a processor of an instance of it.

    With a `composition` the parameters are put together from those of the parts, and `build` gets a `HybridParameters`.
    """

    name: str
    kind: Kind
    parameters: type[Any]
    build: Callable[[Any, BuildContext], StrategyProcessor]
    summary: str
    composition: Composition | None = None
    origin: str = "anystrat"


@dataclass(frozen=True, slots=True)
class PolicyType:
    """One decision policy."""

    name: str
    parameters: type[Any]
    build: Callable[[Any], DecisionPolicy]
    summary: str
    origin: str = "anystrat"


@dataclass(frozen=True, slots=True)
class ValidatorType:
    """One validator; `standard` (SPEC's checks alone) needs no entry."""

    name: str
    build: Callable[[], SignalValidator]
    summary: str
    origin: str = "anystrat"


@dataclass(frozen=True, slots=True)
class PublisherType:
    """One more type of broker. `build` makes a publisher, or a whole sink, of an instance of `options`, a frozen dataclass.

    Names of options that every broker has (`attempts`, `timeout_sec` …) are taken: delivery reads them.
    """

    name: str
    options: type[Any]
    build: Callable[[Any], SignalPublisher | Sink]
    summary: str
    origin: str = "anystrat"


@dataclass(frozen=True, slots=True)
class SourceType:
    """One more type of source. `build` makes a `TickSource`, or a whole `LiveSource`, of an instance of `options`.

    `options` is a frozen dataclass. Names of options that every source has (`stale_after_sec`, `on_stale`, `on_gap`) are
    taken: the runner reads them.
    """

    name: str
    options: type[Any]
    build: Callable[[Any], TickSource | LiveSource]
    summary: str
    origin: str = "anystrat"


Entry = StrategyType | PolicyType | ValidatorType | PublisherType | SourceType


@dataclass(slots=True)
class Catalog:
    """Names to types. `register` refuses a name that is taken, so that no plug-in can shadow another."""

    strategies: dict[str, StrategyType] = field(default_factory=dict)
    policies: dict[str, PolicyType] = field(default_factory=dict)
    validators: dict[str, ValidatorType] = field(default_factory=dict)
    publishers: dict[str, PublisherType] = field(default_factory=dict)
    sources: dict[str, SourceType] = field(default_factory=dict)

    def register(self, entry: Entry) -> None:
        """Add an entry. Raises `ValueError` when its name is taken by another one."""
        shelf: dict[str, Any] = self.validators
        if isinstance(entry, StrategyType):
            shelf = self.strategies
        elif isinstance(entry, PolicyType):
            shelf = self.policies
        elif isinstance(entry, PublisherType):
            shelf = self.publishers
        elif isinstance(entry, SourceType):
            shelf = self.sources
        taken = shelf.get(entry.name)
        if taken is not None and taken is not entry:
            raise ValueError(f"{entry.name!r} is already registered by {taken.origin}; choose another name")
        shelf[entry.name] = entry

    def strategy(self, name: str) -> StrategyType:
        """The strategy type of this name. Raises `UnknownName`, which says the nearest."""
        return _found(self.strategies, "strategy type", name)

    def policy(self, name: str) -> PolicyType:
        """The policy of this name. Raises `UnknownName`, which says the nearest."""
        return _found(self.policies, "policy", name)

    def validator(self, name: str) -> ValidatorType | None:
        """The validator of this name; None for `standard`. Raises `UnknownName`, which says the nearest."""
        return None if name == "standard" else _found(self.validators, "validator", name, "standard")

    def copy(self) -> Catalog:
        """A catalogue of one's own, to register into without touching this one."""
        shelves = (self.strategies, self.policies, self.validators, self.publishers, self.sources)
        return Catalog(*(dict(shelf) for shelf in shelves))  # type: ignore[arg-type]  # each is its own field's


def _found(shelf: Mapping[str, T], what: str, name: str, *more: str) -> T:
    try:
        return shelf[name]
    except KeyError:
        raise UnknownName(what, name, [*shelf, *more]) from None
