"""`check_feature`: the contract of features, of one tick and of whole columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from anystrat.strategies.features import FEATURES, Feature, FeatureRegistry, FeatureSet
from anystrat.testing.conformance.answers import Answer, ask
from anystrat.testing.conformance.paths import PricePath, synthetic_paths
from anystrat.testing.conformance.suite import Broken, Check, Finding, Report, Suite

_TICKS_AFTER_FULL: Final = 40
_OLDER: Final = 5

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class _Subject:
    feature: Feature
    seeds: int
    asked: int = 0
    _paths: list[PricePath] = field(default_factory=list)

    def paths(self) -> list[PricePath]:
        if not self._paths:
            self._paths = list(synthetic_paths(self.seeds, (1,), self.feature.history_length + _TICKS_AFTER_FULL))
        return self._paths

    def window(self, path: PricePath, i: int) -> list[float]:
        """Exactly the declared history, up to tick `i`."""
        return [row.price for row in path.ticks[i + 1 - self.feature.history_length : i + 1]]

    def value(self, prices: list[float], end: int) -> Answer:
        self.asked += 1
        return ask(lambda: self.feature.compute(prices, end))

    def places(self, path: PricePath) -> range:
        return range(self.feature.history_length - 1, len(path))


def check_feature(feature: str | Feature, *, registry: FeatureRegistry = FEATURES, seeds: int = 3) -> Report:
    """Hold a feature to its contract. Raises `ContractBroken` with everything that was found.

    `feature` is a feature, or the name of a registered one, with its number where it belongs to a family (`ret_20`).
    Raises `UnknownName` for a name that is not registered.
    """
    __tracebackhide__ = True
    subject = _subject(feature, registry, seeds)
    passed, skipped = _suite(subject).run_all()
    return Report(subject.feature.name, passed, skipped, subject.asked)


def all_feature_checks(feature: str | Feature, *, registry: FeatureRegistry = FEATURES, seeds: int = 3) -> list[Check]:
    """The checks of `check_feature` one by one, to be parametrised."""
    return list(_suite(_subject(feature, registry, seeds)))


def _subject(feature: str | Feature, registry: FeatureRegistry, seeds: int) -> _Subject:
    return _Subject(registry.feature(feature) if isinstance(feature, str) else feature, seeds)


def _suite(subject: _Subject) -> Suite:
    suite = Suite(subject.feature.name)

    def add(name: str, promise: str, function: Callable[[_Subject], None], *after: str) -> None:
        suite.add(name, promise, lambda: function(subject), *after)

    add("contract", "The history is a number of prices.", _contract)
    add("answers", "Every value is a finite float, from exactly the declared history.", _answers, "contract")
    add("determinism", "The same prices give the same value, whatever was asked before.", _determinism, "contract")
    add("untouched", "The prices are left as they were.", _untouched, "contract")
    add("window_only", "Neither earlier nor later prices change a value.", _window_only, "answers", "determinism")
    add("columns", "A column holds the bits of single values, wherever it is cut.", _columns, "answers", "window_only")
    add("rows", "A row and a matrix for a model hold the same bits.", _rows, "columns")
    return suite


def _at(subject: _Subject, path: PricePath, i: int, what: str, found: object, expected: object, advice: str) -> Broken:
    prices = path.window_text(i, subject.feature.history_length)
    return Broken(Finding(what, advice, path.where(i), str(found), str(expected), prices))


def _contract(subject: _Subject) -> None:
    length: object = subject.feature.history_length
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        advice = "register it with the number of prices that it reads, the current one included"
        raise Broken(Finding("the history is no number of prices", advice, found=repr(length), expected="at least 1"))


def _answers(subject: _Subject) -> None:
    for path in subject.paths():
        for i in subject.places(path):
            window = subject.window(path, i)
            value = subject.value(window, len(window))
            good = isinstance(value.value, float) and not isinstance(value.value, bool) and math.isfinite(value.value)
            if not good:
                advice = (
                    "return a float for any positive prices, flat ones too; let the registered history say how many "
                    "prices are read"
                )
                found = value.error or repr(value.value)
                raise _at(subject, path, i, "gives no finite float", found, "a finite float", advice)


def _determinism(subject: _Subject) -> None:
    for path in subject.paths():
        there = [
            (i, subject.value(subject.window(path, i), subject.feature.history_length)) for i in subject.places(path)
        ]
        for i, expected in reversed(there):
            found = subject.value(subject.window(path, i), subject.feature.history_length)
            if found.form != expected.form:
                advice = "compute from the prices alone: no clock, no randomness, nothing kept between calls"
                what = "gives another value for the same prices"
                raise _at(subject, path, i, what, found.value, expected.value, advice)


def _untouched(subject: _Subject) -> None:
    for path in subject.paths():
        for i in subject.places(path):
            window = subject.window(path, i)
            subject.value(window, len(window))
            if window != subject.window(path, i):
                advice = "work on a copy: other features and strategies read the same prices"
                raise _at(subject, path, i, "changes the prices", window, "the prices as they were", advice)


def _window_only(subject: _Subject) -> None:
    length = subject.feature.history_length
    for path in subject.paths():
        for i in subject.places(path):
            window = subject.window(path, i)
            expected = subject.value(window, length)
            older = [window[0] * (0.5 + 0.75 * (k % 3)) for k in range(_OLDER)]
            later = [window[-1] * 3.0, window[-1] * 0.25]
            for prices, end, what in (
                ([*older, *window], _OLDER + length, "depends on prices before its history"),
                ([*window, *later], length, "depends on prices after the current one"),
            ):
                found = subject.value(prices, end)
                if found.form != expected.form:
                    advice = f"compute(prices, end) reads prices[end - {length}:end] and nothing else"
                    raise _at(subject, path, i, what, found, expected, advice)


def _columns(subject: _Subject) -> None:
    feature, length = subject.feature, subject.feature.history_length
    for path in subject.paths():
        prices = path.prices()
        prices.flags.writeable = False
        singles = {i: subject.value(subject.window(path, i), length) for i in subject.places(path)}
        rng = np.random.Generator(np.random.PCG64([path.seed, 33]))
        cuts = [(0, len(path)), *(sorted(rng.choice(len(path) + 1, 2, replace=False).tolist()) for _ in range(6))]
        for start, stop in [*cuts, (len(path) - length, len(path)), (0, length - 1)]:
            for compiler in (None, _INTERPRETED) if feature.loop is not None else (None,):
                column = ask(lambda: feature.column(prices[start:stop], compiler))  # noqa: B023
                part = f"prices {start + 1} to {stop}, by {'columns' if compiler is None else 'the loop'}"
                _compare_column(subject, path, singles, column, (start, stop), part)


class _Interpreted:
    """A compiler that leaves a loop as it is: it runs slowly, with the same results."""

    def __call__(self, function: F, /) -> F:
        return function

    def direct(self, function: F, _example: tuple[Any, ...], /) -> F:
        return function


_INTERPRETED: Final = _Interpreted()


def _compare_column(
    subject: _Subject,
    path: PricePath,
    singles: dict[int, Answer],
    column: Answer,
    cut: tuple[int, int],
    part: str,
) -> None:
    start, stop = cut
    length = subject.feature.history_length
    rows = max(0, stop - start - length + 1)
    if not isinstance(column.value, np.ndarray) or column.value.shape != (rows,):
        found = column.error or repr(column.value)
        advice = "columns(prices) gives float64[n - history_length + 1], a loop fills as many; the prices are read-only"
        what = f"a column does not hold {rows} values for {part}"
        raise _at(subject, path, max(stop - 1, 0), what, found, f"float64[{rows}]", advice)
    for k, found_value in enumerate(column.value.tolist()):
        i = start + length - 1 + k
        if Answer(found_value).form != Answer(float(singles[i].value)).form:
            advice = "add up in the order of the single value; nothing of the block as a whole may matter"
            what = f"a column of {part} and a single value differ"
            raise _at(subject, path, i, what, repr(found_value), repr(singles[i].value), advice)


def _rows(subject: _Subject) -> None:
    features = FeatureSet([subject.feature])
    for path in subject.paths():
        matrix = features.matrix(path.prices())
        for row, i in enumerate(subject.places(path)):
            window = subject.window(path, i)
            single = features.row(window, len(window))
            if single.tobytes() != matrix[row].tobytes():
                advice = "give one value for one window, in compute and in columns"
                what = "a row and a matrix differ"
                raise _at(subject, path, i, what, matrix[row].tolist(), single.tolist(), advice)
