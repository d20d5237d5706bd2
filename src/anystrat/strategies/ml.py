"""ML strategies: a model's probabilities over features of the window decide.

The three types differ in their names and in the features that a model for them is trained on by default; at run time
the model's own list of features decides. The model comes from a shelf, once; another version of its file serves when an
event says so, so that each engine has it at a place of its own among its ticks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import numpy as np

from anystrat.domain.columns import Answered
from anystrat.domain.errors import AnystratError, MissingExtra, ModelRefused
from anystrat.domain.parameters import LARGEST_SIZE, Doc, Ge, Gt, Le, PathParameter, Unit
from anystrat.domain.protocols import Compiler, InferenceModel, InferencePort
from anystrat.domain.signal import SIDE_NAME, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, ModelShelf, StrategyType
from anystrat.strategies.feature_cache import FeatureCache
from anystrat.strategies.features import FEATURES, FeatureRegistry, FeatureSet
from anystrat.strategies.inference import NOTHING_ASKED, ask_model
from anystrat.strategies.ml_decision import TOLERANCE, are_probabilities, decide_probabilities, decide_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What a model of each type is trained on unless its author chooses otherwise.
DEFAULT_FEATURES: Final[Mapping[str, tuple[str, ...]]] = {
    "ml_momentum": ("ret_1", "ret_5", "ret_20", "vol_20", "z_20", "pos_20"),
    "ml_mean_reversion": ("z_5", "z_20", "pos_20", "ret_1", "vol_20"),
    "ml_breakout": ("pos_20", "pos_60", "ret_5", "vol_5", "vol_20"),
}


#: A new version of a model is on trial for so many inferences of each strategy: the first that fails among them ends it.
TRIAL_INFERENCES: Final = 100


class InferenceLate(AnystratError):
    """A model's answer was not there in time. It counts as no signal, and is noted."""


class PredictionFailed(AnystratError):
    """A model answered with something that is no probability. It counts as no signal."""


@dataclass(frozen=True, slots=True)
class MLParameters:
    """Parameters of `ml_momentum`, `ml_mean_reversion` and `ml_breakout`."""

    model_path: Annotated[str, PathParameter(), Doc("The ONNX file of the model.")]
    position_size: Annotated[int, Gt(0), Le(LARGEST_SIZE), Unit("units"), Doc("Quantity of every signal.")] = 100
    min_conf: Annotated[
        float, Ge(0), Le(1), Unit("probability"), Doc("A signal needs a probability of at least this.")
    ] = 0.5
    on_model_failure: Annotated[
        Literal["skip"], Doc("Where the model does not load, the strategy is left out, with a warning.")
    ] = "skip"
    inference_deadline_ms: Annotated[
        float | None,
        Gt(0),
        Unit("milliseconds"),
        Doc("How long a live inference may take; without it, as long as it takes."),
    ] = None
    on_deadline: Annotated[Literal["drop"], Doc("Where an inference takes longer, the tick gives no signal.")] = "drop"


class _Bound(NamedTuple):
    """A model with all that follows from it."""

    model: InferenceModel
    features: FeatureSet
    memo_keys: tuple[str, str, str]


class ModelInput(NamedTuple):
    """One row for a model. `values` is float32[1, F]; `price` is the tick's; `memo` is shared for the current tick."""

    values: NDArray[np.float32]
    price: Decimal
    memo: dict[str, float]
    bound: _Bound


class ModelReading(NamedTuple):
    """What a model was given at a tick, and what it made of it. `probabilities` are SELL, HOLD, BUY."""

    features: dict[str, float]
    probabilities: tuple[float, float, float]
    model: str


class MLStrategy:
    """The largest of a model's probabilities for SELL, HOLD and BUY decides; a tie for the largest, or HOLD: no signal.

    The confidence is that probability; below `min_conf` there is no signal. A prediction that raises, or that is no
    probability (NaN, or outside 0..1 by more than 1e-3), is no signal and is counted; it never ends the strategy.

    `inferences` counts the rows that this strategy asked a model for, a row that it shared with another strategy
    included, and `asked` those alone on which the model really ran for it; `inference_failures` counts those that gave no answer, and `last_failure` says why the last one did not.
    `missed` says whether the last tick had to do without the model because its answer came too late, `deadline_misses`
    how many had. `model_error` is why the model was refused; empty while one serves.
    """

    #: See `SharesInference`.
    shares_inference = True

    def __init__(
        self,
        name: str,
        parameters: MLParameters,
        models: ModelShelf,
        features: FeatureRegistry = FEATURES,
        cache: FeatureCache | None = None,
    ) -> None:
        self.parameters = parameters
        self.inferences = 0
        self.asked = 0
        self.inference_failures = 0
        self.last_failure = ""
        self.missed = False
        self.deadline_misses = 0
        self.model_error = ""
        self._name = name
        self._models = models
        self._registry = features
        self._cache = cache
        self._bound: _Bound | None = None
        self._compiler: Compiler | None = None
        self._inference: InferencePort | None = None
        self._miss_next = False
        # The number of inferences up to which the version that serves is on trial.
        self._trial_ends = 0

    @property
    def inference_deadline_ns(self) -> int | None:
        """See `DeadlineAware`."""
        deadline = self.parameters.inference_deadline_ms
        return round(deadline * 1_000_000) if deadline is not None else None

    def use_inference(self, inference: InferencePort | None) -> None:
        """See `DeadlineAware`."""
        self._inference = inference

    def miss_next(self) -> None:
        """See `DeadlineAware`."""
        self._miss_next = True

    @property
    def model(self) -> InferenceModel | None:
        """The model that serves, or None before the first one is loaded."""
        return self._bound.model if self._bound is not None else None

    def load_model(self) -> bool:
        """Take the model from the shelf if there is none yet. False where it is refused: `model_error` says why.

        Raises `MissingExtra`.
        """
        if self._bound is not None:
            return True
        try:
            self._bound = self._bind(self._models.model(self.parameters.model_path), None)
        except MissingExtra:
            raise
        except AnystratError as error:
            self.model_error = str(error)
            return False
        self.model_error = ""
        return True

    @property
    def model_path(self) -> str:
        """See `ModelSwappable`."""
        return self.parameters.model_path

    @property
    def model_sha256(self) -> str | None:
        """See `ModelSwappable`."""
        return self._bound.model.sha256 if self._bound is not None else None

    def swap_model(self, sha256: str, *, on_trial: bool = False) -> str:
        """See `ModelSwappable`."""
        bound = self._bound
        if bound is not None and bound.model.sha256 == sha256:
            return ""
        model = self._models.version(self.parameters.model_path, sha256)
        try:
            self._bound = self._bind(model, bound)
        except AnystratError as error:
            self.model_error = str(error)
            return self.model_error
        self.model_error = ""
        self._trial_ends = self.inferences + TRIAL_INFERENCES if on_trial else 0
        return ""

    def _bind(self, model: InferenceModel, before: _Bound | None) -> _Bound:
        features = self._registry.feature_set(model.feature_names)
        if before is not None and features.history_length != before.features.history_length:
            raise ModelRefused(
                f"{self.parameters.model_path}: the model that serves needs a history of "
                f"{before.features.history_length} ticks, its successor {features.history_length}; "
                "a strategy's history is constant while it runs: restart to change it"
            )
        sha256 = model.sha256
        keys = (f"{sha256}:sell", f"{sha256}:hold", f"{sha256}:buy")
        return _Bound(model, features, keys)

    def _serving(self) -> _Bound:
        if not self.load_model() or self._bound is None:
            raise ModelRefused(self.model_error)
        return self._bound

    def get_required_history_length(self) -> int:
        """What the model's features need. Raises `ModelRefused` where there is no model: ask `load_model` first."""
        return (self._bound or self._serving()).features.history_length

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        return True

    def get_strategy_name(self) -> str:
        return self._name

    def quantity(self) -> int:
        return self.parameters.position_size

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        self.missed, self._miss_next = self._miss_next, False
        if not self.load_model():
            self._count_failures(1, self.model_error)
            return None
        features = self.extract_features(tick, history)
        if self.missed:
            self.inferences += 1
            self.deadline_misses += 1
            return None
        try:
            return self.predict_signal(features)
        except InferenceLate:
            self.missed = True
            self.deadline_misses += 1
            return None
        except Exception as error:  # noqa: BLE001  whatever a model does, the strategy goes on
            self._count_failures(1, f"{type(error).__name__}: {error}")
            self._judge(self.inferences)
            return None

    def extract_features(self, tick: MarketTick, history: History) -> ModelInput:
        bound = self._serving()
        return ModelInput(
            bound.features.of(history, self._compiler, self._cache)[np.newaxis], tick.last_price, history.memo, bound
        )

    def predict_signal(self, features: ModelInput) -> SignalResult | None:
        """The decision on one row. Raises `PredictionFailed`, `InferenceLate`, or whatever the model raises."""
        self.inferences += 1
        self.asked += features.bound.memo_keys[2] not in features.memo
        sell, hold, buy = self._probabilities(features)
        if not are_probabilities(sell, hold, buy):
            raise PredictionFailed(_no_probabilities(sell, hold, buy))
        side, confidence = decide_probabilities(sell, hold, buy, self.parameters.min_conf)
        if side == 0:
            return None
        return SignalResult(
            SIDE_NAME[side],
            confidence,
            self.parameters.position_size,
            features.price,
            f"ml: {SIDE_NAME[side]} p={confidence:.3f}",
            {"probabilities": [sell, hold, buy], "model": features.bound.model.sha256},
        )

    def reading(self, tick: MarketTick, history: History) -> ModelReading:
        """The features of this tick by name, as the model gets them, and its probabilities. Counts nothing.

        Raises `ModelRefused` where no model serves, or whatever the model raises.
        """
        given = self.extract_features(tick, history)
        sell, hold, buy = self._probabilities(given)
        names = given.bound.features.names
        features = dict(zip(names, given.values[0].tolist(), strict=True))
        return ModelReading(features, (sell, hold, buy), given.bound.model.sha256[:12])

    def _probabilities(self, features: ModelInput) -> Sequence[float]:
        memo, keys = features.memo, features.bound.memo_keys
        if keys[2] in memo:
            return memo[keys[0]], memo[keys[1]], memo[keys[2]]
        model, deadline = features.bound.model, self.inference_deadline_ns
        if self._inference is None or deadline is None:
            answer = model.predict(features.values)
        else:
            timely = self._inference.predict(model, features.values, deadline)
            if timely is None:
                raise InferenceLate(f"no answer within {self.parameters.inference_deadline_ms:g} ms")
            answer = timely
        row: list[float] = answer[0].tolist()
        memo[keys[0]], memo[keys[1]], memo[keys[2]] = row
        return row

    def batchable(self, *, shortest: bool = False) -> bool:  # noqa: ARG002  the model reads doubles
        """Whether a model serves whose rows do not depend on the rows beside them."""
        return self.load_model() and self._bound is not None and self._bound.model.batchable

    def use_compiler(self, compiler: Compiler) -> None:
        self._compiler = compiler

    def process_columns(
        self, prices: NDArray[np.float64], first: int
    ) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Many ticks of one instrument; the measured value is the confidence. See `BatchCapable`.

        One call of the model for up to 4096 rows where the model is batchable, a call a row where it is not.
        """
        wanted = self.wants_answers(len(prices), first)
        if wanted is None:
            return self.process_answers(prices, first, len(prices), NOTHING_ASKED)
        model, start = wanted
        return self.process_answers(prices, first, start, ask_model(model, self.answer_rows(prices, start)))

    def wants_answers(self, count: int, first: int) -> tuple[InferenceModel, int] | None:
        """See `SharesInference`."""
        if not self.load_model():
            self._count_failures(count - first, self.model_error)
            return None
        bound = self._serving()
        start = max(first, bound.features.history_length - 1)
        return (bound.model, start) if start < count else None

    def answer_rows(self, prices: NDArray[np.float64], start: int) -> NDArray[np.float32]:
        """See `SharesInference`."""
        features = self._serving().features
        return features.matrix(prices[start - features.history_length + 1 :], self._compiler)

    def process_answers(
        self, prices: NDArray[np.float64], first: int, start: int, answered: Answered
    ) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """See `SharesInference`; the measured value is the confidence."""
        count = len(prices) - first
        sides, confidences = np.zeros(count, np.int8), np.zeros(count)
        if start < len(prices):
            sides[start - first :], confidences[start - first :] = self._decided(answered)
        return sides, confidences, confidences, np.full(count, self.parameters.position_size, np.int64)

    def decide_features(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Sides int8[N] (0 none, 1 BUY, 2 SELL) and confidences float64[N] for the model's features [N, F].

        For whoever has the features of many ticks already; counts like `process_tick` row by row.
        """
        return self._decided(ask_model(self._serving().model, rows))

    def _decided(self, answered: Answered) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        probabilities = answered.probabilities
        self.inferences += len(probabilities)
        self.asked += answered.asked
        sides, confidences, failed = decide_rows(probabilities, self.parameters.min_conf, self._compiler)
        failures = np.flatnonzero(failed)
        if len(failures):
            raised = answered.raised
            why = raised[max(raised)] if raised else _no_probabilities(*probabilities[failures[-1]].tolist())
            self._count_failures(len(failures), why)
            self._judge(self.inferences - len(probabilities) + int(failures[0]) + 1)
        return sides, confidences

    def _judge(self, inference: int) -> None:
        """An inference failed, by its number: a version on trial has lost."""
        if inference <= self._trial_ends and self._bound is not None:
            self._trial_ends = 0
            self._models.failed(self.parameters.model_path, self._bound.model.sha256, self.last_failure)

    def _count_failures(self, count: int, why: str) -> None:
        self.inference_failures += count
        self.last_failure = why


def _no_probabilities(sell: float, hold: float, buy: float) -> str:
    return (
        f"expected probabilities within 0..1 (±{TOLERANCE:g}); found SELL {sell:g}, HOLD {hold:g}, BUY {buy:g}: "
        "look at the model's last layer and at its inputs"
    )


def _strategy_type(name: str, summary: str) -> StrategyType:
    def build(parameters: MLParameters, context: BuildContext) -> MLStrategy:
        return MLStrategy(name, parameters, context.models, cache=context.feature_cache())

    return StrategyType(name, "ml", MLParameters, build, summary)


ML_MOMENTUM = _strategy_type("ml_momentum", "Trade with a model of returns, volatility and place in the range.")
ML_MEAN_REVERSION = _strategy_type("ml_mean_reversion", "Trade with a model of the distance from recent means.")
ML_BREAKOUT = _strategy_type("ml_breakout", "Trade with a model of the place in short and long ranges.")
