"""Which processors can be evaluated over columns, and how: one call an instrument and block, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anystrat.domain.columns import Answered
from anystrat.domain.protocols import BatchCapable, ColumnRule, CompilerAware, SharesInference, fulfils
from anystrat.strategies.inference import NOTHING_ASKED, ask_together

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.protocols import Compiler, InferenceModel
    from anystrat.engine.executor import StrategyExecutor


class Firings:
    """What fired in a block, in the order in which it was found; the memory is kept from block to block.

    `at` are places in the prices that were looked at. A side below zero is one that doubles cannot tell.
    """

    def __init__(self) -> None:
        self.at = np.zeros(0, np.int64)
        self.side = np.zeros(0, np.int8)
        self.confidence = np.zeros(0)
        self.value = np.zeros(0)
        self.quantity = np.zeros(0, np.int64)
        self.count = 0

    def make_room(self, more: int) -> None:
        """Have room for so many entries after the last one."""
        wanted = self.count + more
        if wanted <= len(self.at):
            return
        for name in ("at", "side", "confidence", "value", "quantity"):
            known = getattr(self, name)
            wider = np.empty(2 * wanted, known.dtype)
            wider[: self.count] = known[: self.count]
            setattr(self, name, wider)

    def repeat(self, start: int, count: int) -> None:
        """Write down again what was found before; its quantities are yet to come."""
        self.make_room(count)
        for column in (self.at, self.side, self.confidence, self.value):
            column[self.count : self.count + count] = column[start : start + count]


class _Question(NamedTuple):
    """What a model is asked about one instrument in one block: its answers for the ticks from `start` on."""

    instrument: int
    model: int
    start: int


def can_batch(executor: StrategyExecutor) -> bool:
    """Whether this executor's raw signals can be worked out over columns, with the very bits of the scalar path."""
    processor = executor.processor
    if (
        executor.validator is not None
        or executor.costs.by_tick
        or executor.bars is not None
        or executor.held_to_account
    ):
        return False
    batchable = getattr(processor, "batchable", None)
    if batchable is not None and not batchable():
        return False
    return fulfils(processor, ColumnRule) or fulfils(processor, BatchCapable)


class Evaluator:
    """Evaluates processors over one instrument's prices; strategies that are alike share one evaluation a block."""

    def __init__(self, compiler: Compiler | None) -> None:
        self.found = Firings()
        self._compiler = compiler
        self._known: dict[Any, tuple[int, int]] = {}
        self._kernels: dict[Any, Callable[..., int]] = {}
        self._rules: set[int] = set()
        self._sharing: set[int] = set()
        self._models: dict[int, InferenceModel] = {}
        self._questions: dict[_Question, NDArray[np.float32]] = {}
        self._question_of: dict[tuple[int, int], _Question | None] = {}
        self._answers: dict[_Question, Answered] = {}

    def prepare(self, executor: StrategyExecutor) -> None:
        """Hand the compiler to processors that have loops of their own; learn once what each one can do."""
        if self._compiler is not None and fulfils(executor.processor, CompilerAware):
            executor.processor.use_compiler(self._compiler)
        if fulfils(executor.processor, ColumnRule):
            self._rules.add(executor.row)
        elif fulfils(executor.processor, SharesInference) and executor.processor.shares_inference:
            self._sharing.add(executor.row)

    def is_rule(self, executor: StrategyExecutor) -> bool:
        """Whether the executor's processor is a `ColumnRule`, which settles what doubles cannot tell."""
        return executor.row in self._rules

    def next_block(self) -> None:
        """Forget what was found, and shared, within the last block."""
        self._known.clear()
        self.found.count = 0
        self._models.clear()
        self._questions.clear()
        self._question_of.clear()
        self._answers.clear()

    def collect(self, executor: StrategyExecutor, i: int, prices: NDArray[np.float64], first: int) -> None:
        """Note what the executor's model will be asked about `prices[first:]`: before the block's first `evaluate`.

        Strategies that ask a model the same share the question; a model is asked all its questions together.
        """
        if executor.row not in self._sharing:
            return
        processor: Any = executor.processor
        wanted = processor.wants_answers(len(prices), first)
        if wanted is None:
            self._question_of[executor.row, i] = None
            return
        model, start = wanted
        # By identity: a model of one's own need not be comparable. It lives as long as the question does.
        self._models[id(model)] = model
        question = _Question(i, id(model), start)
        self._question_of[executor.row, i] = question
        if question not in self._questions:
            self._questions[question] = processor.answer_rows(prices, start)

    def _ask(self) -> None:
        by_model: dict[int, list[_Question]] = {}
        for question in self._questions:
            by_model.setdefault(question.model, []).append(question)
        for model, questions in by_model.items():
            answers = ask_together(self._models[model], [self._questions[question] for question in questions])
            self._answers.update(zip(questions, answers, strict=True))
        self._questions.clear()

    def evaluate(
        self,
        executor: StrategyExecutor,
        i: int,
        prices: NDArray[np.float64],
        first: int,
        *,
        shortest: bool,
        sized: Callable[[int], int] | None,
    ) -> int:
        """Add to `found` where the executor's processor fires among `prices[first:]`; how many were added.

        `i` names the instrument within the block. `shortest` promises that every price is the shortest decimal of its
        double. `sized` makes the executor's quantity of the processor's; None: they are the same.
        """
        processor: Any = executor.processor
        if executor.row not in self._rules:
            return self._batch(self._columns(executor, i, prices, first), first, sized)
        found = self.found
        kernel, arguments = processor.fired(shortest=shortest)
        key = (i, kernel, arguments)
        known = self._known.get(key)
        start = found.count
        if known is not None:
            found.repeat(*known)
            count = known[1]
        else:
            run = self._kernels.get(kernel)
            if run is None:
                run = self._compiler(kernel) if self._compiler is not None else kernel
                self._kernels[kernel] = run
            # A rule may work on the whole history there.
            found.make_room(len(prices) + 1)
            count = run(
                prices,
                first,
                found.at[start:],
                found.side[start:],
                found.confidence[start:],
                found.value[start:],
                *arguments,
            )
            self._known[key] = start, count
        if count:
            quantity = processor.quantity()
            found.quantity[start : start + count] = quantity if sized is None else sized(quantity)
            found.count = start + count
        return count

    def _columns(
        self, executor: StrategyExecutor, i: int, prices: NDArray[np.float64], first: int
    ) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        processor: Any = executor.processor
        if (executor.row, i) not in self._question_of:
            return processor.process_columns(prices, first)  # type: ignore[no-any-return]  # as the protocol says
        if self._questions:
            self._ask()
        question = self._question_of[executor.row, i]
        if question is None:
            return processor.process_answers(prices, first, len(prices), NOTHING_ASKED)  # type: ignore[no-any-return]  # as above
        answered = self._answers[question]
        self._answers[question] = answered._replace(asked=0)  # who comes next shares it
        return processor.process_answers(prices, first, question.start, answered)  # type: ignore[no-any-return]  # as above

    def _batch(
        self,
        columns: tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
        first: int,
        sized: Callable[[int], int] | None,
    ) -> int:
        sides, confidences, values, quantities = columns
        at = np.flatnonzero(sides)
        if not len(at):
            return 0
        found = self.found
        found.make_room(len(at))
        mine = slice(found.count, found.count + len(at))
        quantity = quantities[at].astype(np.int64)
        if sized is not None:
            different, where = np.unique(quantity, return_inverse=True)
            quantity = np.array([sized(each) for each in different.tolist()], np.int64)[where]
        found.at[mine] = at + first
        found.side[mine] = sides[at].astype(np.int8)
        found.confidence[mine] = confidences[at]
        found.value[mine] = values[at]
        found.quantity[mine] = quantity
        found.count = mine.stop
        return len(at)
