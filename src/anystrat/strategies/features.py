"""Features: named numbers that a model reads. The same functions make training sets, batches and single rows.

A feature at a tick is a function of the last `history_length` prices and of nothing else. It is computed in float64 and
cast to float32 once, when a row or a matrix is put together. Over prices `p`, for any positive whole number `k`:

- `ret_k`: `p[-1] / p[-1-k] - 1`
- `vol_k`: the population standard deviation of the last `k` one-step returns
- `z_k`: the z-score of `p[-1]` in the last `k` prices; 0 if they are flat
- `pos_k`: `(p[-1] - min) / (max - min)` over the last `k` prices; 0.5 if they are flat
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from anystrat.domain.errors import UnknownName
from anystrat.domain.protocols import Compiler
from anystrat.domain.window import History
from anystrat.strategies.feature_cache import FeatureCache
from anystrat.strategies.feature_loops import position_loop, return_loop, score_loop, volatility_loop
from anystrat.strategies.indicators import one_return, position_in_range, volatility, zscore

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: `function(prices, end)`: the value at `prices[end - 1]`, from `prices[:end]` alone, oldest first.
Compute: TypeAlias = Callable[[Sequence[float], int], float]
#: `function(prices, end, k)`: the same for a family of features with a number in the name.
FamilyCompute: TypeAlias = Callable[[Sequence[float], int, int], float]
#: `function(prices)`: float64[n - history_length + 1], the values at every place that has its history.
Columns: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"
#: `function(prices, k)`: the same for a family.
FamilyColumns: TypeAlias = "Callable[[NDArray[np.float64], int], NDArray[np.float64]]"
#: `loop(prices, out, *arguments)`: the same into `out`, as plain loops for a compiler; the arguments are numbers.
Loop: TypeAlias = Callable[..., None]

# A number is written one way only, so that no two names mean one feature; 18 digits fit an int64.
_NUMBERED = re.compile(r"(?P<family>[a-z][a-z0-9_]*)_(?P<k>[1-9][0-9]{0,17})")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")

# Rows of a matrix that are computed together: the temporaries of one block stay in the processor's cache.
_BLOCK = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One feature. `compute(prices, end)` reads nothing before `prices[end - history_length]`.

    `columns`, where there is one, gives the same values for all places at once, to the last bit. `cached`: it is dear to
    compute, and a feature store is asked first where there is one.
    """

    name: str
    history_length: int
    compute: Compute
    columns: Columns | None = None
    loop: tuple[Loop, tuple[int, ...]] | None = None
    cached: bool = False

    def column(self, prices: NDArray[np.float64], compiler: Compiler | None = None) -> NDArray[np.float64]:
        """The feature at every tick that has its history: float64[n - history_length + 1], for n prices."""
        if len(prices) < self.history_length:
            return np.empty(0)
        if self.loop is not None and compiler is not None:
            run, arguments = self.loop
            out = np.empty(len(prices) - self.history_length + 1)
            compiler(run)(prices, out, *arguments)
            return out
        if self.columns is not None:
            return self.columns(prices)
        plain = prices.tolist()
        return np.array([self.compute(plain, end) for end in range(self.history_length, len(plain) + 1)], np.float64)

    def last_value(self, compiler: Compiler | None) -> Callable[[NDArray[np.float64]], float] | None:
        """What gives the feature at the last of at least `history_length` prices by its loop; None without one."""
        if self.loop is None or compiler is None:
            return None
        run, arguments, length = compiler(self.loop[0]), self.loop[1], self.history_length
        out = np.empty(1)

        def last(prices: NDArray[np.float64]) -> float:
            run(prices[-length:], out, *arguments)
            return out.item()

        return last


@dataclass(frozen=True, slots=True, eq=False)
class FeatureFamily:
    """Features that differ in a number: `ret` makes `ret_1`, `ret_20`; `history(k)` is the number of prices read."""

    prefix: str
    history: Callable[[int], int]
    compute: FamilyCompute
    columns: FamilyColumns | None = None
    loop: Loop | None = None
    cached: bool = False

    def feature(self, name: str, k: int) -> Feature:
        """The member with the number `k`."""
        function, columns = self.compute, self.columns
        loop = (self.loop, (k,)) if self.loop is not None else None

        def compute(prices: Sequence[float], end: int) -> float:
            return function(prices, end, k)

        if columns is None:
            return Feature(name, self.history(k), compute, loop=loop, cached=self.cached)
        whole = columns

        def column(prices: NDArray[np.float64]) -> NDArray[np.float64]:
            return whole(prices, k)

        return Feature(name, self.history(k), compute, column, loop, self.cached)


class FeatureSet:
    """An ordered list of features as a model reads them: column `i` is `names[i]`.

    `history_length` is the number of prices, the current one included, that a row needs. Rows and matrices hold the
    same bits: `matrix(prices)[i] == row(prices, i + history_length)`.
    """

    __slots__ = ("_cached", "_compiled", "_compiler", "features", "history_length", "names")

    def __init__(self, features: Iterable[Feature]) -> None:
        self._compiler: Compiler | None = None
        self._compiled: list[Callable[[NDArray[np.float64]], float] | None] = []
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in self.features)
        self.history_length = max((feature.history_length for feature in self.features), default=1)
        self._cached = tuple(feature for feature in self.features if feature.cached)

    def row(self, prices: Sequence[float], end: int) -> NDArray[np.float32]:
        """float32[F] at `prices[end - 1]`; needs `end >= history_length`. Quickest on a list of floats."""
        self._need(end)
        return _cast_row([feature.compute(prices, end) for feature in self.features])

    def of(
        self, history: History, compiler: Compiler | None = None, cache: FeatureCache | None = None
    ) -> NDArray[np.float32]:
        """float32[F] at the current tick; what any strategy computed for this tick already is taken from `memo`.

        A compiler makes the built-in features many times faster, a cache spares those that are declared `cached`;
        neither changes a bit.
        """
        self._need(len(history))
        memo = history.memo
        kept: Mapping[str, float] = {}
        if cache is not None and self._cached and any(each.name not in memo for each in self._cached):
            kept = self._kept(history, cache)
        recent: NDArray[np.float64] | None = None
        plain: list[float] = []
        values = []
        for feature, compiled in zip(self.features, self._last_values(compiler), strict=True):
            value = memo.get(feature.name)
            if value is None:
                value = kept.get(feature.name)
            if value is None:
                if recent is None:
                    # A copy: compiled code for memory that may not be written to would be another one than columns have.
                    recent = history.prices[-self.history_length :].copy()
                if compiled is not None:
                    value = compiled(recent)
                else:
                    plain = plain or recent.tolist()
                    value = feature.compute(plain, len(plain))
                memo[feature.name] = value
            values.append(value)
        return _cast_row(values)

    def _kept(self, history: History, cache: FeatureCache) -> dict[str, float]:
        """The `cached` features, from the store, or computed and put there.

        What comes from the store stays out of `memo`: there they are doubles, in the store what these are cast to.
        """
        cached, names = self._cached, [feature.name for feature in self._cached]
        recent = history.prices[-max(feature.history_length for feature in cached) :]
        key = cache.key(names, recent, history[-1])
        values = cache.get(key, len(cached))
        if values is None:
            plain = recent.tolist()
            values = [feature.compute(plain, len(plain)) for feature in cached]
            cache.put(key, values)
            history.memo.update(zip(names, values, strict=True))
        return dict(zip(names, values, strict=True))

    def _last_values(self, compiler: Compiler | None) -> list[Callable[[NDArray[np.float64]], float] | None]:
        # Asking a compiler for its function costs as much as a feature does: once is enough.
        if compiler is not self._compiler or not self._compiled:
            self._compiler = compiler
            self._compiled = [feature.last_value(compiler) for feature in self.features]
        return self._compiled

    def matrix(self, prices: NDArray[np.float64], compiler: Compiler | None = None) -> NDArray[np.float32]:
        """float32[n - history_length + 1, F] for `n` prices of one instrument, oldest first; no rows if `n` is less.

        Row `i` is the row at `prices[i + history_length - 1]`. A compiler makes the built-in features several times
        faster, and changes no bit.
        """
        need = self.history_length
        rows = max(0, len(prices) - need + 1)
        matrix = np.empty((rows, len(self.features)), np.float32)
        for first in range(0, rows, _BLOCK):
            last = min(first + _BLOCK, rows)
            for column, feature in enumerate(self.features):
                start = first + need - feature.history_length
                matrix[first:last, column] = _cast(feature.column(prices[start : last + need - 1], compiler))
        return matrix

    def _need(self, end: int) -> None:
        if end < self.history_length:
            raise ValueError(f"{', '.join(self.names)} need {self.history_length} prices; found {end}")


@dataclass(slots=True)
class FeatureRegistry:
    """Names to features. What is registered once is known to training, to the checks of a model and to strategies.

    Values are shared through a tick's `memo` by name: strategies that watch one instrument must use one registry.
    """

    fixed: dict[str, Feature] = field(default_factory=dict)
    families: dict[str, FeatureFamily] = field(default_factory=dict)

    def register_feature(
        self,
        name_or_prefix: str,
        function: Compute | FamilyCompute,
        history: int | Callable[[int], int],
        columns: Columns | FamilyColumns | None = None,
        loop: Loop | None = None,
        *,
        cached: bool = False,
    ) -> None:
        """Add a feature, or a family of them.

        With a number as `history` the name is fixed: `function(prices, end)` is the value at `prices[end - 1]`, from
        the last `history` prices. With a function it is a family, named `prefix_k`: `function(prices, end, k)` reads
        `history(k)` prices. The function is pure and works in floats. `columns(prices)`, or `columns(prices, k)`,
        computes a whole column at once and must give the same bits, as must `loop(prices, out)`, or
        `loop(prices, out, k)`: plain loops into `out`, which a compiler makes quick where there is one.

        `cached` is for what takes milliseconds: a tick's value is looked up in the configured feature store first.

        Raises `ValueError` for a name that is taken, or that is not lower case letters, digits and underscores.
        """
        if not _NAME.fullmatch(name_or_prefix):
            raise ValueError(f"{name_or_prefix!r} is no feature name; use lower case letters, digits and underscores")
        if self.knows(name_or_prefix) or name_or_prefix in self.families:
            raise ValueError(f"the feature {name_or_prefix!r} is already registered; choose another name")
        if callable(history):
            taken = [name for name in self.fixed if _family_of(name) == name_or_prefix]
            if taken:
                raise ValueError(f"the feature {taken[0]!r} is already registered; choose another prefix")
            self.families[name_or_prefix] = FeatureFamily(name_or_prefix, history, function, columns, loop, cached)  # type: ignore[arg-type]  # told apart by history
        else:
            if history < 1:
                raise ValueError(f"{name_or_prefix!r} needs a history of at least 1 price; found {history}")
            loops = (loop, ()) if loop is not None else None
            self.fixed[name_or_prefix] = Feature(name_or_prefix, history, function, columns, loops, cached)  # type: ignore[arg-type]  # as above

    def feature(self, name: str) -> Feature:
        """The feature of this name. Raises `UnknownName`, which says the nearest."""
        fixed = self.fixed.get(name)
        if fixed is not None:
            return fixed
        numbered = _NUMBERED.fullmatch(name)
        family = self.families.get(numbered["family"]) if numbered else None
        if numbered is None or family is None:
            raise UnknownName("feature", name, self.examples(name))
        return family.feature(name, int(numbered["k"]))

    def knows(self, name: str) -> bool:
        """Whether `feature(name)` would find one."""
        return name in self.fixed or _family_of(name) in self.families

    def feature_set(self, names: Iterable[str]) -> FeatureSet:
        """These features in this order. Raises `UnknownName`."""
        return FeatureSet(self.feature(name) for name in names)

    def examples(self, like: str = "") -> list[str]:
        """What can be named: fixed names, and each family with the number in `like`, or with `k`."""
        number = _NUMBER.search(like)
        k = number.group() if number else "k"
        return [*self.fixed, *(f"{prefix}_{k}" for prefix in self.families)]


def _family_of(name: str) -> str:
    numbered = _NUMBERED.fullmatch(name)
    return numbered["family"] if numbered else ""


def _cast(values: NDArray[np.float64]) -> NDArray[np.float32]:
    # Beyond the range of float32 is infinity, in a row as in a matrix, and no warning.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _cast_row(values: Iterable[float]) -> NDArray[np.float32]:
    """The same for one row, quicker: C casts as NumPy does, and says nothing of infinity."""
    return np.frombuffer(array("f", values), np.float32)


def _ret(prices: Sequence[float], end: int, k: int) -> float:
    return one_return(prices, end - 1 - k, end)


def _vol(prices: Sequence[float], end: int, k: int) -> float:
    return volatility(prices, end - 1 - k, end)


def _z(prices: Sequence[float], end: int, k: int) -> float:
    return zscore(prices, end - k, end)


def _pos(prices: Sequence[float], end: int, k: int) -> float:
    return position_in_range(prices, end - k, end)


# The columns below add up in the indicators' order, place by place from left to right, for all rows side by side: each
# row goes through the same roundings.


def _returns(prices: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        return prices[k:] / prices[:-k] - 1.0


def _means(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    rows = len(values) - k + 1
    total = np.zeros(rows)
    for place in range(k):
        total += values[place : place + rows]
    return total / k


def _deviations(values: NDArray[np.float64], k: int, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = len(centre)
    total = np.zeros(rows)
    for place in range(k):
        distance = values[place : place + rows] - centre
        total += distance * distance
    return np.sqrt(total / k)


def _extremes(prices: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = len(prices) - k + 1
    low, high = prices[:rows].copy(), prices[:rows].copy()
    for place in range(1, k):
        np.minimum(low, prices[place : place + rows], out=low)
        np.maximum(high, prices[place : place + rows], out=high)
    return low, high


def _vol_columns(prices: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        returns = _returns(prices, 1)
        return _deviations(returns, k, _means(returns, k))


def _z_columns(prices: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        low, high = _extremes(prices, k)
        centre = _means(prices, k)
        deviation = _deviations(prices, k, centre)
        score = (prices[k - 1 :] - centre) / deviation
    return np.where((low == high) | (deviation == 0.0), 0.0, score)


def _pos_columns(prices: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        low, high = _extremes(prices, k)
        position = (prices[k - 1 :] - low) / (high - low)
    return np.where(low == high, 0.5, position)


def _k(k: int) -> int:
    return k


def _k_and_one(k: int) -> int:
    return k + 1


def built_in_features() -> FeatureRegistry:
    """A registry that holds `ret_k`, `vol_k`, `z_k` and `pos_k`."""
    registry = FeatureRegistry()
    registry.register_feature("ret", _ret, _k_and_one, _returns, return_loop)
    registry.register_feature("vol", _vol, _k_and_one, _vol_columns, volatility_loop)
    registry.register_feature("z", _z, _k, _z_columns, score_loop)
    registry.register_feature("pos", _pos, _k, _pos_columns, position_loop)
    return registry


#: The features of this process: what models may name unless they are given a registry of their own.
FEATURES = built_in_features()


def register_feature(
    name_or_prefix: str,
    function: Compute | FamilyCompute,
    history: int | Callable[[int], int],
    columns: Columns | FamilyColumns | None = None,
    loop: Loop | None = None,
    *,
    cached: bool = False,
) -> None:
    """Add a feature or a family to `FEATURES`; see `FeatureRegistry.register_feature`."""
    FEATURES.register_feature(name_or_prefix, function, history, columns, loop, cached=cached)


def required_history(names: Iterable[str], registry: FeatureRegistry = FEATURES) -> int:
    """How many prices, the current one included, a row of these features needs. Raises `UnknownName`."""
    return registry.feature_set(names).history_length


def feature_row(
    prices: Sequence[float] | NDArray[np.float64] | History,
    end: int,
    names: Iterable[str],
    registry: FeatureRegistry = FEATURES,
) -> NDArray[np.float32]:
    """float32[F] at `prices[end - 1]`, in the order of `names`. Raises `UnknownName`, and `ValueError` if too short."""
    features = registry.feature_set(names)
    if isinstance(prices, History):
        if end == len(prices):
            return features.of(prices)
        prices = prices.prices
    start = max(0, end - features.history_length)
    # Plain floats: NumPy's scalars would warn where Python's divide, and are slower one by one.
    plain = [float(price) for price in prices[start:end]]
    return features.row(plain, len(plain))


def feature_matrix(
    prices: NDArray[np.float64], names: Iterable[str], registry: FeatureRegistry = FEATURES
) -> NDArray[np.float32]:
    """float32[n - h + 1, F] for `n` prices, where `h` is `required_history(names)`: row `i` is that of `prices[i + h - 1]`.

    The rows are bit for bit those of `feature_row`. Raises `UnknownName`.
    """
    return registry.feature_set(names).matrix(np.asarray(prices, np.float64))
