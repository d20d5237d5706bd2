"""The check of rules that are one loop over a block: what fires is what `process_tick` says, tick by tick."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from anystrat.domain.exact import to_decimal
from anystrat.domain.protocols import ColumnRule
from anystrat.domain.signal import SIDE_NAME, SignalResult
from anystrat.testing.conformance.answers import Answer, ask, side_by_side
from anystrat.testing.conformance.calls import at
from anystrat.testing.conformance.columns import Block, cuts_of, one_by_one
from anystrat.testing.conformance.paths import PricePath
from anystrat.testing.conformance.subject import Subject
from anystrat.testing.conformance.suite import NotJudged

_ADVICE = (
    "the kernel writes, for each tick from `first` on that has its history and a side, what process_tick has: add up in "
    "the same order, and read neither later prices nor anything of the block as a whole"
)


@runtime_checkable
class _Rule(ColumnRule, Protocol):
    """A rule with a kernel; `quantity` and `describe` complete its signals, as those of a `PriceRule`."""

    def quantity(self) -> int: ...
    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]: ...


def column_rule(subject: Subject) -> None:
    """The kernel fires on the ticks, with the signals, of `process_tick`, for many ways of cutting into blocks."""
    made = subject.make()
    if not isinstance(made, _Rule):
        raise NotJudged("the processor has no fired()")
    for path in subject.paths():
        expected = one_by_one(subject, path)
        prices = path.prices()
        prices.flags.writeable = False
        rng = np.random.Generator(np.random.PCG64([path.seed, 44]))
        for block in itertools.chain.from_iterable(cuts_of(len(path), subject.need, rng)):
            for shortest in (False, True):
                _compare(subject, made, path, prices, block, expected, shortest=shortest)


def _compare(
    subject: Subject,
    rule: _Rule,
    path: PricePath,
    prices: NDArray[np.float64],
    block: Block,
    expected: list[Answer],
    *,
    shortest: bool,
) -> None:
    part = prices[block.start : block.stop]
    call = f"fired(shortest={shortest}), {block}"
    answer = ask(lambda: _fired(rule, part, block.first - block.start, shortest=shortest))
    if answer.error:
        last = max(block.stop - 1, block.first - 1)
        raise at(subject, path, last, "the kernel does not run", f"{answer} ({call})", "hits in order", _ADVICE)
    fired: dict[int, SignalResult] = answer.value
    for i in range(block.first, block.stop):
        found = Answer(fired.get(i - block.start))
        if found.form != expected[i].form:
            shown, wanted = side_by_side(found, expected[i])
            what = "the kernel of fired() and process_tick differ"
            raise at(subject, path, i, what, f"{shown} (kernel; {call})", f"{wanted} (process_tick)", _ADVICE)


def _fired(rule: _Rule, prices: NDArray[np.float64], first: int, *, shortest: bool) -> dict[int, SignalResult]:
    room = len(prices) - first
    places, sides = np.zeros(room, np.int64), np.zeros(room, np.int8)
    confidences, values = np.zeros(room), np.zeros(room)
    kernel, arguments = rule.fired(shortest=shortest)
    count = kernel(prices, first, places, sides, confidences, values, *arguments)
    found: dict[int, SignalResult] = {}
    for k in range(count):
        j, side, value = int(places[k]), int(sides[k]), float(values[k])
        if k and j <= int(places[k - 1]):
            raise ValueError(f"tick {j} is written after tick {int(places[k - 1])}: hits come in order, each once")
        if side < 0:
            side = rule.settle(prices.tolist(), j + 1, None)
        if side:
            price: Decimal = to_decimal(float(prices[j]))
            reasoning, metadata = rule.describe(side, value)
            signal = SignalResult(SIDE_NAME[side], float(confidences[k]), rule.quantity(), price, reasoning, metadata)
            found[j] = signal
    return found
