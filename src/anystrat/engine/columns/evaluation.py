"""Which processors can be evaluated over columns, and how: one call an instrument and block, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from anystrat.domain.protocols import BatchCapable, ColumnRule, CompilerAware

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.protocols import Compiler
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
        self.found = Firings()
        self._compiler = compiler
        self._known: dict[Any, tuple[int, int]] = {}
        self._kernels: dict[Any, Callable[..., int]] = {}
        self._rules: set[int] = set()

    def prepare(self, executor: StrategyExecutor) -> None:
        """Hand the compiler to processors that have loops of their own; learn once what each one can do."""
        if self._compiler is not None and isinstance(executor.processor, CompilerAware):
            executor.processor.use_compiler(self._compiler)
        if isinstance(executor.processor, ColumnRule):
            self._rules.add(executor.row)

    def is_rule(self, executor: StrategyExecutor) -> bool:
        """Whether the executor's processor is a `ColumnRule`, which settles what doubles cannot tell."""
        return executor.row in self._rules

    def next_block(self) -> None:
        """Forget what was found, and shared, within the last block."""
        self._known.clear()
        self.found.count = 0

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
            return self._batch(processor, prices, first, sized)
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
            found.make_room(len(prices) - first)
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

    def _batch(
        self, processor: Any, prices: NDArray[np.float64], first: int, sized: Callable[[int], int] | None
    ) -> int:
        sides, confidences, values, quantities = processor.process_columns(prices, first)
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
