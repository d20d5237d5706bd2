"""The ports: what a strategy, a policy, a validator, a model, a source or a sink has to offer. No inheritance needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import cache
from inspect import get_annotations
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from decimal import Decimal

    import numpy as np
    from numpy.typing import NDArray

    from anystrat.domain.columns import Answered, TickColumns
    from anystrat.domain.configuration import ExecutionContext, Session
    from anystrat.domain.signal import EmittedSignal, SignalResult
    from anystrat.domain.tick import MarketTick
    from anystrat.domain.window import History

__all__ = [
    "BatchCapable",
    "ColumnRule",
    "Compiler",
    "CompilerAware",
    "DeadlineAware",
    "DecisionPolicy",
    "FeatureStore",
    "HistoryProvider",
    "InferenceModel",
    "InferencePort",
    "MLCapable",
    "ModelSwappable",
    "PriceRule",
    "SeedAware",
    "SessionClock",
    "SharesInference",
    "SignalPublisher",
    "SignalValidator",
    "SometimesBatchable",
    "StrategyProcessor",
    "TickSource",
    "fulfils",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def fulfils(thing: object, protocol: Callable[..., T]) -> TypeGuard[T]:
    """What `isinstance(thing, protocol)` says of one of these, in a tenth of the time: there are many strategies to ask."""
    methods, others = _members(protocol)
    return all(getattr(thing, name, None) is not None for name in methods) and all(
        hasattr(thing, name) for name in others
    )


@cache
def _members(protocol: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a protocol's methods, which are not to be None, and of its attributes."""
    own = [each for each in protocol.__mro__ if getattr(each, "_is_protocol", False) and each is not Protocol]
    names = dict.fromkeys(name for each in own for name in (*vars(each), *get_annotations(each)))
    public = [name for name in names if not name.startswith("_")]
    methods = tuple(name for name in public if callable(getattr(protocol, name, None)))
    return methods, tuple(name for name in public if name not in methods)


@runtime_checkable
class StrategyProcessor(Protocol):
    """The one contract of every strategy: rules, ML or hybrid.

    Keep no state between calls: whatever you compute must follow from `history` alone, so that a restart, a replay and
    a backtest agree. An exception is contained and counted; it never ends the run.
    """

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """Decide on one tick. `history[-1]` is `tick`; it holds `get_required_history_length()` ticks, oldest first."""
        ...

    def get_required_history_length(self) -> int:
        """How many ticks, the current one included, a decision needs; constant over the processor's life."""
        ...

    def supports_instrument(self, token: int) -> bool:
        """Whether this strategy can trade the instrument; a configured one that it refuses is an error at load."""
        ...

    def get_strategy_name(self) -> str:
        """A short name for logs and traces."""
        ...


@runtime_checkable
class MLCapable(Protocol):
    """An optional capability: the processor decides with a model."""

    def load_model(self) -> bool:
        """Load the model if it is not loaded; idempotent. False where it cannot be loaded."""
        ...

    def extract_features(self, tick: MarketTick, history: History) -> Any:
        """The model's input for this tick."""
        ...

    def predict_signal(self, features: Any) -> SignalResult | None:
        """The model's decision; an exception counts as no signal and never ends the strategy."""
        ...


@runtime_checkable
class DeadlineAware(Protocol):
    """An optional capability: the processor can do without its model on a tick on which the answer comes too late."""

    @property
    def inference_deadline_ns(self) -> int | None:
        """How long a live inference may take; None: as long as it takes, and nothing below is called."""
        ...

    @property
    def missed(self) -> bool:
        """Whether the last `process_tick` had to do without: the port was late, or `miss_next` said so."""
        ...

    def use_inference(self, inference: InferencePort | None) -> None:
        """From now on ask the model through this port; None: ask the model itself, and wait for it."""
        ...

    def miss_next(self) -> None:
        """The next `process_tick` does without the model's answer, just as if that had come too late."""
        ...


@runtime_checkable
class ModelSwappable(Protocol):
    """An optional capability: the processor's model is a file, and can be another version of it from the next tick on."""

    @property
    def model_path(self) -> str | None:
        """The file, as the configuration names it; None: there is none after all."""
        ...

    @property
    def model_sha256(self) -> str | None:
        """The hash of the version that serves; None before the first one is loaded."""
        ...

    def swap_model(self, sha256: str, *, on_trial: bool = False) -> str:
        """Let the version with this hash serve. Answers why it does not fit this processor, which then keeps the one it has.

        On trial, a failure within its first inferences is reported to whoever gave the model. Raises `ModelRefused`
        where that version cannot be had.
        """
        ...


@runtime_checkable
class PriceRule(Protocol):
    """An optional capability: the decision reads nothing but the window's prices, as plain numbers.

    The engine then makes ticks and signals only when somebody asks for them.
    """

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        """(side 1 BUY or 2 SELL, confidence, the measured value), from `prices[:end]`, oldest first; None: no signal.

        `prices` may hold more than the window; nothing before `end - get_required_history_length()` may be read.
        """
        ...

    def quantity(self) -> int:
        """The quantity of every signal, in units."""
        ...

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        """The signal's reasoning and metadata, made when asked for."""
        ...


@runtime_checkable
class BatchCapable(Protocol):
    """An optional capability: many ticks of one instrument in one call, over columns.

    Stateless; must equal `process_tick` tick by tick, to the last bit, whatever the borders of the block.
    """

    def process_columns(
        self, prices: NDArray[np.float64], first: int
    ) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Sides (0 none, 1 BUY, 2 SELL), confidences, measured values, quantities for ticks `first..len(prices)-1`.

        `prices` are one instrument's, oldest first; those before `first` are history. Where a tick has fewer than
        `get_required_history_length()` prices up to and including itself, its side is 0. Prices are finite and above
        zero. An exception means that this block has to be evaluated tick by tick: nothing was counted then.
        """
        ...


@runtime_checkable
class SometimesBatchable(Protocol):
    """Belongs to `BatchCapable`: whether `process_columns` can be called now. A processor without it always can."""

    def batchable(self, *, shortest: bool = False) -> bool:
        """Asked before each block; False where only `process_tick` can say: no model serves, a policy has no columns.

        `shortest`: whether each price of the block, and of the history before it, is the shortest decimal of its double.
        """
        ...


@runtime_checkable
class SharesInference(Protocol):
    """Belongs to `BatchCapable`: its model is asked from outside, with the rows of all instruments of a block together.

    Strategies that ask one model for the same ticks share rows and answers. The three calls together are what
    `process_columns` says, and count as it does.
    """

    @property
    def shares_inference(self) -> bool:
        """Whether it does; a strategy put together of parts has the methods whatever its parts are."""
        ...

    def wants_answers(self, count: int, first: int) -> tuple[InferenceModel, int] | None:
        """(model, start): which model has to answer for ticks `start..count-1` of `first..count-1`. None: no row is asked."""
        ...

    def answer_rows(self, prices: NDArray[np.float64], start: int) -> NDArray[np.float32]:
        """The model's input [len(prices) - start, F] for the ticks from `start` on."""
        ...

    def process_answers(
        self, prices: NDArray[np.float64], first: int, start: int, answered: Answered
    ) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """`process_columns` with the model's answers for the ticks from `start` on.

        Where `wants_answers` said None, `start` is `len(prices)`.
        """
        ...


class Compiler(Protocol):
    """Makes a quick function of a plain one, with the same results to the last bit; see `adapters.numba_kernels`."""

    def __call__(self, function: F, /) -> F:
        """The compiled function; the same one for the same function."""
        ...

    def direct(self, function: F, example: tuple[Any, ...], /) -> F:
        """The compiled function for arguments of the example's types alone, quicker to call; others are not checked."""
        ...


@runtime_checkable
class CompilerAware(Protocol):
    """An optional capability: the processor has loops of its own that are worth compiling."""

    def use_compiler(self, compiler: Compiler) -> None:
        """Called before the first block, perhaps more than once, where there is a compiler; results are the same without."""
        ...


@runtime_checkable
class ColumnRule(Protocol):
    """An optional capability of a `PriceRule`: its decisions over a whole block, as one loop that can be compiled.

    A shorter way to what `BatchCapable` says, for rules that fire seldom: only the ticks that fired are written down.
    `quantity` and `describe` are those of a `PriceRule`; `decide` is missing where doubles cannot always tell.
    """

    def fired(self, *, shortest: bool = False) -> tuple[Callable[..., int], tuple[float, ...]]:
        """(kernel, arguments) with `kernel(prices, first, at, side, confidence, value, *arguments) -> count`.

        `prices` is float64, one instrument's, oldest first; those before `first` are history. For each tick `j >= first`
        that has `get_required_history_length()` prices up to and including itself and a side, in order, the kernel
        writes `at[n] = j`, its side, confidence and measured value, exactly as `decide(prices, j + 1)` has them; it
        answers how many. The outputs hold at least `len(prices) - first` entries. Side -1 means that doubles cannot
        tell: `settle` is asked. `shortest` promises that each price is the shortest decimal of its double, so that
        fewer are left to settle. Plain loops over numbers: the kernel is compiled where a compiler is there.
        """
        ...

    def settle(self, prices: Sequence[float], end: int, exact: Sequence[Decimal] | None) -> int:
        """The side where the kernel said -1. `exact` are the window's decimals, or None where the doubles say all."""
        ...


@runtime_checkable
class SeedAware(Protocol):
    """An optional capability: receives the only randomness there is."""

    def set_seed(self, seed: int) -> None:
        """Called once before the first tick with a seed derived from the run's seed, the strategy and the broker."""
        ...


@runtime_checkable
class DecisionPolicy(Protocol):
    """How a hybrid strategy makes one decision of two; HOLD counts as no signal."""

    def decide(
        self, rules_signal: SignalResult | None, ml_signal: SignalResult | None, context: Mapping[str, Any]
    ) -> SignalResult | None:
        """`context` holds `tick` (MarketTick) and `history` (the same sequence that the processors saw)."""
        ...


@runtime_checkable
class SignalValidator(Protocol):
    """A check of your own, after sizing and before the standard checks, which it can tighten but not lift."""

    def validate(
        self, signal: SignalResult, tick: MarketTick, history: History, context: ExecutionContext
    ) -> SignalResult | str:
        """The signal to go on with, or the reason for its drop: a short lower_case label. Pure."""
        ...


class SignalPublisher(Protocol):
    """Where emitted signals go. Called after validation, at least once for each signal, with the same id."""

    async def publish(self, signal: EmittedSignal, *, strategy_id: str, broker: str) -> None:
        """Return once the sink has the signal. Any exception is a failed attempt that will be retried."""
        ...


class TickSource(Protocol):
    """Where ticks come from: a live subscription, or a recording."""

    def subscribe(self, instrument_tokens: Iterable[int]) -> AsyncIterator[MarketTick]:
        """Ticks as they arrive, until the source ends or the iteration is closed."""
        ...

    def replay(self) -> Iterable[TickColumns]:
        """The recording in blocks, in time order, in bounded memory."""
        ...


class HistoryProvider(Protocol):
    """What was before the first tick, so that windows are full at once."""

    def last_ticks(self, instrument_token: int, count: int) -> Sequence[MarketTick]:
        """At most `count` ticks of the instrument, oldest first, all older than what the source will deliver."""
        ...


@runtime_checkable
class PositionedHistory(HistoryProvider, Protocol):
    """A history of the very source that a run reads: where it ends, the run begins."""

    def position(self) -> Mapping[str, int]:
        """For each partition, the offset up to which everything is in the history. A new run's source goes on after it."""
        ...


class FeatureStore(Protocol):
    """A cache of feature vectors that are dear to compute."""

    def get(self, strategy_id: str, instrument_token: int, bar_ts: int) -> NDArray[np.float32] | None:
        """The vector that was put under this key, or None."""
        ...

    def put(self, strategy_id: str, instrument_token: int, bar_ts: int, features: NDArray[np.float32]) -> None:
        """Keep the vector; the least recently used is dropped when the store is full."""
        ...


class InferenceModel(Protocol):
    """A loaded, checked model. One row's result does not depend on the rows beside it where `batchable` is true."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The inputs, in the order of the columns."""
        ...

    @property
    def sha256(self) -> str:
        """The hash of the bytes that were loaded."""
        ...

    @property
    def batchable(self) -> bool:
        """Whether N rows in one call give the same bits as N calls."""
        ...

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities [N, 3], columns SELL, HOLD, BUY, for features [N, F]."""
        ...


class InferencePort(Protocol):
    """How a live driver asks a model that has a deadline. A replay has none: what was late then is in the recording."""

    def predict(
        self, model: InferenceModel, features: NDArray[np.float32], deadline_ns: int
    ) -> NDArray[np.float32] | None:
        """The model's answer, or None where it was not there within `deadline_ns`. Raises what the model raises.

        Returns soon after the deadline even where the model hangs.
        """
        ...


class SessionClock(Protocol):
    """Where an instrument's exchange day stands, as a function of event time."""

    def session(self, instrument_token: int, ts_ns: int) -> Session:
        """The session at `ts_ns` (UTC nanoseconds). Raises `OutsideCalendar` where that is not known: taken as closed."""
        ...


ModelLoader = Callable[[str], "InferenceModel"]
