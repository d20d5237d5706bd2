"""Hybrids: any rules with any ML under any policy, put together by composition alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from msgspec import structs

from anystrat.domain.columns import Answered
from anystrat.domain.parameters import Doc
from anystrat.domain.protocols import (
    BatchCapable,
    ColumnRule,
    Compiler,
    CompilerAware,
    DeadlineAware,
    DecisionPolicy,
    InferenceModel,
    InferencePort,
    MLCapable,
    ModelSwappable,
    PriceRule,
    SeedAware,
    SharesInference,
    SometimesBatchable,
    StrategyProcessor,
)
from anystrat.domain.signal import SIDE_CODE, SignalResult
from anystrat.domain.signal_id import mixed
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.breakout import Breakout
from anystrat.strategies.catalog import BuildContext, Composition, Part, StrategyType
from anystrat.strategies.mean_reversion import MeanReversion
from anystrat.strategies.momentum import Momentum
from anystrat.strategies.policies.answer import ColumnPolicy, Decided, Pairs
from anystrat.strategies.price_rule import SignalColumns, dense_columns
from anystrat.strategies.sma_crossover import SmaCrossover

if TYPE_CHECKING:
    from numpy.typing import NDArray

PartColumns: TypeAlias = "tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.int64]]"

# Rules whose metadata holds no flags for a policy; what others put there is seen tick by tick.
_WITHOUT_FLAGS: Final = (Momentum, MeanReversion, Breakout, SmaCrossover)


@dataclass(frozen=True, slots=True)
class HybridParameters:
    """Parameters of a hybrid: its three parts, each with the checked parameters of its own type."""

    rules: Annotated[Part, Doc("The rules, by type, with their parameters.")]
    ml: Annotated[Part, Doc("The ML strategy, by type, with its parameters.")]
    policy: Annotated[Part, Doc("How one decision is made of two, by type, with its parameters.")]
    on_model_failure: Annotated[
        Literal["skip", "rules_only"],
        Doc("Where the model does not load: leave the strategy out, or go on with the rules and their history alone."),
    ] = "skip"
    on_deadline: Annotated[
        Literal["drop", "rules_only"],
        Doc("Where an inference takes longer than its deadline: no signal on this tick, or the rules' own."),
    ] = "drop"


@runtime_checkable
class NeedsHistory(Protocol):
    """An optional capability of a policy: it reads `context["history"]`, and says how much of it."""

    def get_required_history_length(self) -> int:
        """How many ticks, the current one included, a decision needs."""
        ...


class HybridProcessor:
    """One decision of two: the rules' and the model's, under a policy.

    Each part sees exactly the history that it asked for, the policy the whole. `rules`, `ml` and `policy` are open to
    whoever evaluates them apart, over columns, or goes on with the rules alone where no model loads. The model is first
    asked for when the history is: nothing is loaded here.

    `agreement` is None until somebody sets an array of zeros (3, 3) there. It then counts what the two parts said on
    every tick on which they were asked: rules by row, model by column, each none, BUY, SELL; HOLD is none.
    """

    __slots__ = (
        "_compiler",
        "_lengths",
        "_name",
        "_on_deadline",
        "_swappable",
        "_timed",
        "agreement",
        "ml",
        "policy",
        "rules",
    )

    def __init__(
        self,
        rules: StrategyProcessor,
        ml: StrategyProcessor,
        policy: DecisionPolicy,
        name: str = "hybrid",
        *,
        on_deadline: Literal["drop", "rules_only"] = "drop",
    ) -> None:
        self.rules, self.ml, self.policy = rules, ml, policy
        self._name = name
        self._on_deadline: Literal["drop", "rules_only"] = on_deadline
        self._timed = ml if isinstance(ml, DeadlineAware) else None
        self._swappable = ml if isinstance(ml, ModelSwappable) else None
        self._lengths: tuple[int, int] | None = None
        self._compiler: Compiler | None = None
        self.agreement: NDArray[np.int64] | None = None

    def of_parts(self, rules: StrategyProcessor, ml: StrategyProcessor, policy: DecisionPolicy) -> HybridProcessor:
        """The same hybrid made of other parts, such as copies of its own."""
        return HybridProcessor(rules, ml, policy, self._name, on_deadline=self._on_deadline)

    def _part_lengths(self) -> tuple[int, int]:
        # Asked for once: they are constant, and an answer may cost a look at the model.
        if self._lengths is None:
            self._lengths = self.rules.get_required_history_length(), self.ml.get_required_history_length()
        return self._lengths

    def get_required_history_length(self) -> int:
        """The longest of rules, ML and policy. Raises what the ML part raises where its model does not load."""
        needed = self.policy.get_required_history_length() if isinstance(self.policy, NeedsHistory) else 1
        return max(*self._part_lengths(), needed)

    def supports_instrument(self, token: int) -> bool:
        return self.rules.supports_instrument(token) and self.ml.supports_instrument(token)

    def supports_broker(self, broker_id: str) -> bool:
        """Whether both parts can trade there; a part that does not say can."""
        for part in (self.rules, self.ml):
            supports = getattr(part, "supports_broker", None)
            if supports is not None and not supports(broker_id):
                return False
        return True

    def get_strategy_name(self) -> str:
        return self._name

    def set_seed(self, seed: int) -> None:
        # Parts with one seed between them would roll the same dice.
        for place, part in enumerate((self.rules, self.ml, self.policy)):
            if isinstance(part, SeedAware):
                part.set_seed(mixed(seed, (place,)))

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        rules_length, ml_length = self._lengths or self._part_lengths()
        rules_signal = self.rules.process_tick(tick, history.last(rules_length))
        ml_signal = self.ml.process_tick(tick, history.last(ml_length))
        if self.missed:
            return rules_signal if self._on_deadline == "rules_only" else None
        if self.agreement is not None:
            self.agreement[_said(rules_signal), _said(ml_signal)] += 1
        answer = self.policy.decide(rules_signal, ml_signal, {"tick": tick, "history": history})
        return answer if ml_signal is None else self._signed(answer)

    def _signed(self, answer: SignalResult | None) -> SignalResult | None:
        """The signal with the hash of the model that had a part in it."""
        sha256 = self.model_sha256
        if answer is None or sha256 is None or (answer.metadata is not None and "model" in answer.metadata):
            return answer
        return structs.replace(answer, metadata={**(answer.metadata or {}), "model": sha256})

    @property
    def inference_deadline_ns(self) -> int | None:
        """The ML part's; see `DeadlineAware`."""
        return self._timed.inference_deadline_ns if self._timed is not None else None

    @property
    def missed(self) -> bool:
        """Whether the last tick was decided without the model: as `on_deadline` says, and no policy was asked."""
        return self._timed is not None and self._timed.missed

    def use_inference(self, inference: InferencePort | None) -> None:
        """See `DeadlineAware`."""
        if self._timed is not None:
            self._timed.use_inference(inference)

    def miss_next(self) -> None:
        """See `DeadlineAware`."""
        if self._timed is not None:
            self._timed.miss_next()

    def batchable(self, *, shortest: bool = False) -> bool:
        """Whether both parts and the policy can go over columns now, and doubles say all that they read."""
        if not (isinstance(self.policy, ColumnPolicy) and all(_batchable(each, shortest) for each in self._parts())):
            return False
        return type(self.rules) in _WITHOUT_FLAGS or not getattr(self.policy, "reads_rules_metadata", False)

    def use_compiler(self, compiler: Compiler) -> None:
        self._compiler = compiler
        for part in self._parts():
            if isinstance(part, CompilerAware):
                part.use_compiler(compiler)

    def process_columns(self, prices: NDArray[np.float64], first: int) -> SignalColumns:
        """Many ticks of one instrument; the measured value is the confidence. See `BatchCapable`."""
        return self._both(prices, first, lambda begin: self._columns(self.ml, prices, begin))

    @property
    def shares_inference(self) -> bool:
        """Whether the ML part does; see `SharesInference`."""
        return isinstance(self.ml, SharesInference) and self.ml.shares_inference

    def wants_answers(self, count: int, first: int) -> tuple[InferenceModel, int] | None:
        """See `SharesInference`."""
        begin = self._begin(count, first)
        return self._sharing().wants_answers(count, begin) if begin < count else None

    def answer_rows(self, prices: NDArray[np.float64], start: int) -> NDArray[np.float32]:
        """See `SharesInference`."""
        return self._sharing().answer_rows(prices, start)

    def process_answers(self, prices: NDArray[np.float64], first: int, start: int, answered: Answered) -> SignalColumns:
        """See `SharesInference`; the measured value is the confidence."""
        ml = self._sharing()
        return self._both(prices, first, lambda begin: _sparse(ml.process_answers(prices, begin, start, answered)))

    def _sharing(self) -> SharesInference:
        assert isinstance(self.ml, SharesInference)
        return self.ml

    def _begin(self, count: int, first: int) -> int:
        # A tick without the whole history is asked of neither part.
        return min(max(first, self.get_required_history_length() - 1), count)

    def _both(self, prices: NDArray[np.float64], first: int, ml: Callable[[int], PartColumns]) -> SignalColumns:
        count, begin = len(prices) - first, self._begin(len(prices), first)
        skipped = begin - first
        sides, confidences, quantities = np.zeros(count, np.int8), np.zeros(count), np.zeros(count, np.int64)
        if begin < len(prices):
            rules, learned = self._columns(self.rules, prices, begin), ml(begin)
            if self.agreement is not None:
                self._count_agreement(rules[0], learned[0])
            self._decide(
                Pairs(*rules, *learned),  # type: ignore[arg-type]  # arrays are sequences of their numbers
                Decided(sides[skipped:], confidences[skipped:], quantities[skipped:]),  # type: ignore[arg-type]  # as above
                prices,
                begin,
            )
        return sides, confidences, confidences, quantities

    def _count_agreement(self, rules: NDArray[np.int8], ml: NDArray[np.int8]) -> None:
        assert self.agreement is not None
        # Sides are 1 and 2; everything else is no signal.
        both = 3 * np.where(rules <= 2, rules, 0).astype(np.int64) + np.where(ml <= 2, ml, 0)
        self.agreement += np.bincount(both, minlength=9).reshape(3, 3)

    def _decide(self, pairs: Pairs, decided: Decided, prices: NDArray[np.float64], first: int) -> None:
        assert isinstance(self.policy, ColumnPolicy)
        loop, arguments = self.policy.decisions()
        if self._compiler is not None:
            self._compiler(loop)(pairs, decided, prices, first, *arguments)
            return
        # Interpreted loops are several times faster over lists, and divide as Python does.
        plain = Pairs(*(np.asarray(column).tolist() for column in pairs))
        answers = Decided(*([0] * len(plain.ml_side) for _ in decided))  # type: ignore[arg-type]  # numbers of each kind
        loop(plain, answers, prices.tolist(), first, *arguments)
        for column, answer in zip(decided, answers, strict=True):
            column[:] = answer  # type: ignore[index]  # an array

    def _columns(self, part: StrategyProcessor, prices: NDArray[np.float64], first: int) -> PartColumns:
        if isinstance(part, ColumnRule):
            return _sparse(dense_columns(part, prices, first, self._compiler))  # type: ignore[arg-type]  # a ColumnRule has a quantity
        assert isinstance(part, BatchCapable)
        return _sparse(part.process_columns(prices, first))

    def _parts(self) -> tuple[StrategyProcessor, StrategyProcessor]:
        return self.rules, self.ml

    def load_model(self) -> bool:
        return self._model_part().load_model()

    @property
    def model_path(self) -> str | None:
        """The ML part's; see `ModelSwappable`."""
        return self._swappable.model_path if self._swappable is not None else None

    @property
    def model_sha256(self) -> str | None:
        """The ML part's; see `ModelSwappable`."""
        return self._swappable.model_sha256 if self._swappable is not None else None

    def swap_model(self, sha256: str, *, on_trial: bool = False) -> str:
        """See `ModelSwappable`."""
        return self._swappable.swap_model(sha256, on_trial=on_trial) if self._swappable is not None else ""

    def extract_features(self, tick: MarketTick, history: History) -> Any:
        return self._model_part().extract_features(tick, history.last(self._part_lengths()[1]))

    def predict_signal(self, features: Any) -> SignalResult | None:
        return self._model_part().predict_signal(features)

    def _model_part(self) -> MLCapable:
        if not isinstance(self.ml, MLCapable):
            raise TypeError(
                f"the ML part of {self._name}, {type(self.ml).__name__}, has no model: "
                "it needs load_model, extract_features and predict_signal"
            )
        return self.ml


def _sparse(columns: SignalColumns) -> PartColumns:
    """Sides, confidences and quantities, which are 0 where there is no signal."""
    sides, confidences, _, quantities = columns
    return sides, confidences, np.where(sides > 0, quantities, 0)


def _said(signal: SignalResult | None) -> int:
    return 0 if signal is None or signal.signal_type not in SIDE_CODE else SIDE_CODE[signal.signal_type] % 3


def _batchable(part: StrategyProcessor, shortest: bool) -> bool:  # noqa: FBT001  passed on
    if isinstance(part, SometimesBatchable) and not part.batchable(shortest=shortest):
        return False
    if isinstance(part, ColumnRule):
        # A rule that cannot decide from doubles would need the exact prices, which columns do not have.
        return shortest or isinstance(part, PriceRule)
    return isinstance(part, BatchCapable)


def _builder(name: str) -> Callable[[HybridParameters, BuildContext], HybridProcessor]:
    def build(parameters: HybridParameters, context: BuildContext) -> HybridProcessor:
        rules, ml = context.build(parameters.rules), context.build(parameters.ml)
        policy = context.policy(parameters.policy)
        return HybridProcessor(rules, ml, policy, name, on_deadline=parameters.on_deadline)

    return build


def _type(name: str, composition: Composition, summary: str) -> StrategyType:
    return StrategyType(name, "hybrid", HybridParameters, _builder(name), summary, composition)


HYBRID = _type("hybrid", Composition(), "Any rules with any ML under any policy.")
HYBRID_MOMENTUM = _type(
    "hybrid_momentum", Composition("momentum", "ml_momentum"), "Momentum rules and a momentum model under a policy."
)
HYBRID_MEAN_REVERSION = _type(
    "hybrid_mean_reversion",
    Composition("mean_reversion", "ml_mean_reversion"),
    "Mean-reversion rules and a mean-reversion model under a policy.",
)
HYBRID_BREAKOUT = _type(
    "hybrid_breakout", Composition("breakout", "ml_breakout"), "Breakout rules and a breakout model under a policy."
)
