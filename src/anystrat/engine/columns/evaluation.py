"""Which processors can be evaluated over columns, and how: one call an instrument and block, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anystrat.domain.protocols import BatchCapable, ColumnRule, CompilerAware

if TYPE_CHECKING:
    from decimal import Decimal

    from numpy.typing import NDArray

    from anystrat.domain.protocols import Compiler
    from anystrat.engine.executor import StrategyExecutor

#: The exact decimals of the window that ends before a place of the prices; None where its doubles say all.
ExactWindow = Callable[[int], "list[Decimal] | None"]


class Hits(NamedTuple):
    """The ticks of one instrument on which a processor fired: places in the prices, sides, and what it measured."""

    at: NDArray[np.int64]
    side: NDArray[np.int8]
    confidence: NDArray[np.float64]
    value: NDArray[np.float64]
    quantity: NDArray[np.int64]


def can_batch(executor: StrategyExecutor) -> bool:
    """Whether this executor's raw signals can be worked out over columns, with the very bits of the scalar path."""
    processor = executor.processor
    if executor.validator is not None:
        return False
    batchable = getattr(processor, "batchable", None)
    if batchable is not None and not batchable():
        return False
    return isinstance(processor, ColumnRule | BatchCapable)


class Evaluator:
    """Evaluates processors over one instrument's prices; strategies that are alike share one evaluation a block."""

    def __init__(self, compiler: Compiler | None) -> None:
        self._compiler = compiler
        self._known: dict[Any, Hits] = {}
        self._kernels: dict[Any, Callable[..., int]] = {}
        self._scratch = 0
        self._at = np.zeros(0, np.int64)
        self._side = np.zeros(0, np.int8)
        self._confidence = np.zeros(0)
        self._value = np.zeros(0)

    def prepare(self, executor: StrategyExecutor) -> None:
        """Hand the compiler to processors that have loops of their own."""
        if self._compiler is not None and isinstance(executor.processor, CompilerAware):
            executor.processor.use_compiler(self._compiler)

    def next_block(self) -> None:
        """Forget what was shared within the last block."""
        self._known.clear()

    def hits(
        self,
        executor: StrategyExecutor,
        i: int,
        prices: NDArray[np.float64],
        first: int,
        *,
        shortest: bool,
        exact: ExactWindow,
    ) -> Hits:
        """Where the executor's processor fires among `prices[first:]`; `i` names the instrument within the block.

        `shortest` promises that every price is the shortest decimal of its double.
        """
        processor = executor.processor
        if isinstance(processor, ColumnRule):
            kernel, arguments = processor.fired(shortest=shortest)
            key = (i, kernel, arguments)
            found = self._known.get(key)
            if found is None:
                found = self._fired(processor, kernel, arguments, prices, first, exact)
                self._known[key] = found
            quantity: int = processor.quantity()  # type: ignore[attr-defined]  # a ColumnRule is a PriceRule
            return found._replace(quantity=np.full(len(found.at), quantity, np.int64))
        sides, confidences, values, quantities = processor.process_columns(prices, first)  # type: ignore[attr-defined]
        at = np.flatnonzero(sides)
        return Hits(at + first, sides[at].astype(np.int8), confidences[at], values[at], quantities[at].astype(np.int64))

    def _fired(
        self,
        rule: ColumnRule,
        kernel: Callable[..., int],
        arguments: tuple[float, ...],
        prices: NDArray[np.float64],
        first: int,
        exact: ExactWindow,
    ) -> Hits:
        room = len(prices) - first
        if room > self._scratch:
            self._scratch = 2 * room
            self._at = np.zeros(self._scratch, np.int64)
            self._side = np.zeros(self._scratch, np.int8)
            self._confidence = np.zeros(self._scratch)
            self._value = np.zeros(self._scratch)
        run = self._kernels.get(kernel)
        if run is None:
            run = self._compiler(kernel) if self._compiler is not None else kernel
            self._kernels[kernel] = run
        count = run(prices, first, self._at, self._side, self._confidence, self._value, *arguments)
        at, side = self._at[:count].copy(), self._side[:count].copy()
        confidence, value = self._confidence[:count].copy(), self._value[:count].copy()
        unsure = np.flatnonzero(side < 0)
        if len(unsure):
            for k in unsure.tolist():
                end = int(at[k]) + 1
                side[k] = rule.settle(prices, end, exact(end))  # type: ignore[arg-type]  # an array is a sequence here
            fired = np.flatnonzero(side)
            at, side, confidence, value = at[fired], side[fired], confidence[fired], value[fired]
        return Hits(at, side, confidence, value, _NONE)


_NONE = np.zeros(0, np.int64)
