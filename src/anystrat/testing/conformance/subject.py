"""What is under check: something that makes processors, and the ticks that they are asked on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np

from anystrat.domain.errors import ModelRefused
from anystrat.domain.protocols import InferenceModel, MLCapable, SeedAware, StrategyProcessor
from anystrat.domain.tick import MarketTick, TickRow
from anystrat.domain.window import Window
from anystrat.strategies.builtin import builtin_catalog
from anystrat.strategies.catalog import BuildContext, Catalog, ModelShelf, StrategyType
from anystrat.testing.conformance.answers import Answer, ask
from anystrat.testing.conformance.paths import KINDS, PricePath, filled, own_paths, synthetic_path, synthetic_paths
from anystrat.testing.conformance.suite import NotJudged

#: What `check_strategy` takes: a type, a processor (it is copied), or a function that builds one.
Strategy: TypeAlias = StrategyType | StrategyProcessor | Callable[[], StrategyProcessor]
Models: TypeAlias = ModelShelf | Mapping[str, InferenceModel]

_SEED: Final = 0x5EED
_TICKS_AFTER_FULL: Final = 60
_WINDOW_BUDGET: Final = 30_000
_FEWEST_PLACES: Final = 5
_MOST_PLACES: Final = 24

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Shelf:
    models: Mapping[str, InferenceModel]

    def model(self, path: str) -> InferenceModel:
        if path not in self.models:
            raise ModelRefused(
                f"no model {path!r} was handed to the check; pass models={{{path!r}: …}} or a shelf of models"
            )
        return self.models[path]

    def version(self, path: str, sha256: str) -> InferenceModel:  # noqa: ARG002  a check swaps no models
        return self.model(path)

    def failed(self, path: str, sha256: str, why: str) -> None:
        """Nothing is on trial in a check."""


@dataclass(slots=True)
class Subject:
    """One strategy under check. `make()` gives a processor that saw nothing yet, with its model loaded and seeded."""

    name: str
    build: Callable[[], StrategyProcessor]
    tokens: tuple[int, ...]
    seeds: int
    given: Sequence[MarketTick] | None = None
    evaluations: int = 0
    signals: int = 0
    _paths: list[PricePath] = field(default_factory=list)
    _need: int = 0

    def make(self) -> StrategyProcessor:
        processor = self.build()
        if isinstance(processor, MLCapable):
            processor.load_model()
        if isinstance(processor, SeedAware):
            processor.set_seed(_SEED)
        return processor

    @property
    def need(self) -> int:
        """The declared history."""
        if not self._need:
            self._need = int(self.make().get_required_history_length())
        return self._need

    def paths(self) -> list[PricePath]:
        """Every path, long enough to ask on many full windows."""
        if not self._paths:
            if self.given is None:
                length = self.need + _TICKS_AFTER_FULL
                self._paths = list(synthetic_paths(self.seeds, self.tokens, length))
            else:
                self._paths = [path for path in own_paths(self.given) if len(path) >= self.need]
        if not self._paths:
            raise NotJudged(f"none of the instruments in `ticks` has the {self.need} ticks that a window needs")
        return self._paths

    def long_paths(self, seed: int) -> list[PricePath]:
        """A path for each instrument, several times as long, for runs through the engine."""
        if self.given is not None:
            return self.paths()
        length = self.need + 5 * _TICKS_AFTER_FULL
        kinds = ("jumps", "noise", "trend", "waves")
        return [
            synthetic_path(kinds[(seed + number) % len(kinds)], 1_000 + seed, token, length)
            for number, token in enumerate(self.tokens)
        ]

    def places(self, path: PricePath, most: int = _MOST_PLACES) -> list[int]:
        """Some of the ticks whose window is full, the first and the last among them; fewer for long windows."""
        count = max(_FEWEST_PLACES, min(most, _WINDOW_BUDGET // self.need))
        full = np.arange(self.need - 1, len(path))
        if len(full) > count:
            kind = KINDS.index(path.kind) if path.kind in KINDS else 0
            rng = np.random.Generator(np.random.PCG64([path.seed, kind, 77]))
            middle = rng.choice(full[1:-1], count - 2, replace=False)
            full = np.concatenate([full[:1], np.sort(middle), full[-1:]])
        return [int(i) for i in full]

    def window_at(self, path: PricePath, i: int, capacity: int | None = None) -> Window:
        """A window of its own that holds just the ticks that a decision at tick `i` may read."""
        return filled(path.rows(i + 1 - self.need, i + 1), capacity or self.need)

    def fresh_answer(self, path: PricePath, i: int) -> Answer:
        """What a processor that saw nothing before answers at tick `i`."""
        return decided(self.make(), self.window_at(path, i), self.need)

    def walk(
        self, processor: StrategyProcessor, path: PricePath, *, plain: bool = False
    ) -> Iterator[tuple[int, Answer, Window]]:
        """The path tick by tick, as the engine does it: one window, a history for each call."""
        window = Window(self.need)
        for i, row in enumerate(path.rows(0, len(path), plain=plain)):
            window.push(row)
            if window.count >= self.need:
                yield i, decided(processor, window, self.need), window


def decided(processor: StrategyProcessor, window: Window, length: int) -> Answer:
    """What `process_tick` answers on the last `length` ticks of the window; the history is stale afterwards."""
    row: TickRow = window.row(0)
    history = window.history(length)
    answer = ask(lambda: processor.process_tick(row.market_tick(), history))
    window.expire()
    return answer


def subject_of(
    strategy: Strategy,
    *,
    parameters: Any = None,
    instruments: Sequence[int] = (1,),
    seeds: int = 5,
    ticks: Sequence[MarketTick] | None = None,
    models: Models | None = None,
    catalog: Catalog | None = None,
) -> Subject:
    """The subject that these arguments describe. Raises `TypeError` or `ValueError` where they describe none."""
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, found {seeds}")
    tokens = tuple(dict.fromkeys(tick.instrument_token for tick in ticks)) if ticks is not None else tuple(instruments)
    if not tokens:
        raise ValueError("there is no instrument to check on: name at least one, or give ticks")
    if isinstance(strategy, StrategyType):
        entry = strategy
        values = parameters_of(entry, parameters)
        context = BuildContext(catalog or builtin_catalog(), _shelf(models))
        return Subject(entry.name, lambda: entry.build(values, context), tokens, seeds, ticks)
    if parameters is not None or models is not None:
        raise TypeError("parameters and models are for a StrategyType; a processor and a builder bring their own")
    return Subject(name_of(strategy), builder_of(strategy, "process_tick"), tokens, seeds, ticks)


def parameters_of(entry: Any, parameters: Any) -> Any:
    """The parameters object to build an entry of a catalogue with: as given, from a mapping, or all defaults."""
    if parameters is not None and not isinstance(parameters, Mapping):
        return parameters
    try:
        return entry.parameters(**(parameters or {}))
    except TypeError as error:
        raise TypeError(f"{entry.name}: pass parameters=… for what has no default ({error})") from error


def builder_of(subject: Any, method: str) -> Callable[[], Any]:
    """Something that makes fresh ones: the builder itself, or copies of an object that has `method`."""
    if isinstance(subject, type) or not hasattr(subject, method):
        if not callable(subject):
            raise TypeError(f"{subject!r} has no {method}, and is no function that builds something that has")
        return cast("Callable[[], Any]", subject)
    try:
        pristine = copy.deepcopy(subject)
    except Exception as error:
        raise TypeError(
            f"{name_of(subject)} cannot be copied ({type(error).__name__}: {error}); "
            "pass a function that builds one, so that the checks can make fresh ones"
        ) from error

    def fresh() -> Any:
        return copy.deepcopy(pristine)

    return fresh


def name_of(subject: Any) -> str:
    """What to call it in findings."""
    named = getattr(subject, "__name__", None) or getattr(subject, "name", None)
    return named if isinstance(named, str) else type(subject).__name__


def _shelf(models: Models | None) -> ModelShelf:
    return _Shelf(models or {}) if models is None or isinstance(models, Mapping) else models
