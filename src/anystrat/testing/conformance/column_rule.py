"""The check of rules that are one loop over a block: what fires is what `decide` says, tick by tick."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from anystrat.domain.protocols import ColumnRule, PriceRule
from anystrat.domain.signal import SIDE_NAME
from anystrat.testing.conformance.answers import ask, form
from anystrat.testing.conformance.calls import at
from anystrat.testing.conformance.columns import Block, cuts_of
from anystrat.testing.conformance.paths import PricePath
from anystrat.testing.conformance.subject import Subject
from anystrat.testing.conformance.suite import NotJudged

Fired = dict[int, tuple[int, float, float]]

_ADVICE = (
    "the kernel writes, for each tick j from `first` on that has its history and a side, what decide(prices, j + 1) "
    "has: add up in the same order, and read neither later prices nor anything of the block as a whole"
)


@runtime_checkable
class _Rule(ColumnRule, PriceRule, Protocol):
    """What the engine evaluates by its kernel."""


def column_rule(subject: Subject) -> None:
    """The kernel fires on the ticks, with the sides and numbers, of `decide`, for many ways of cutting into blocks."""
    made = subject.make()
    if not isinstance(made, _Rule):
        raise NotJudged("the processor has no fired() beside decide")
    for path in subject.paths():
        prices = path.prices()
        prices.flags.writeable = False
        rng = np.random.Generator(np.random.PCG64([path.seed, 44]))
        for blocks in cuts_of(len(path), subject.need, rng):
            for block in blocks:
                _compare(subject, made, path, prices, block)


def _compare(subject: Subject, rule: _Rule, path: PricePath, prices: NDArray[np.float64], block: Block) -> None:
    part = prices[block.start : block.stop]
    answer = ask(lambda: _fired(rule, part, block.first - block.start))
    wanted = _decided(rule, part, block.first - block.start, subject.need)
    last = max(block.stop - 1, block.first - 1)
    if answer.error:
        raise at(subject, path, last, "the kernel raises", f"{answer} ({block})", f"{len(wanted)} hits", _ADVICE)
    found: Fired = answer.value
    for j in sorted(found.keys() | wanted.keys()):
        if form(found.get(j)) != form(wanted.get(j)):
            raise at(
                subject,
                path,
                block.start + j,
                "the kernel of fired() and decide differ",
                f"{_shown(found.get(j))} (kernel; {block})",
                f"{_shown(wanted.get(j))} (decide)",
                _ADVICE,
            )


def _fired(rule: _Rule, prices: NDArray[np.float64], first: int) -> Fired:
    room = len(prices) - first
    places, sides = np.zeros(room, np.int64), np.zeros(room, np.int8)
    confidences, values = np.zeros(room), np.zeros(room)
    kernel, arguments = rule.fired()
    count = kernel(prices, first, places, sides, confidences, values, *arguments)
    found: Fired = {}
    for k in range(count):
        j, side = int(places[k]), int(sides[k])
        if k and j <= int(places[k - 1]):
            raise ValueError(f"tick {j} is written after tick {int(places[k - 1])}: hits come in order, each once")
        if side < 0:
            side = rule.settle(prices.tolist(), j + 1, None)
        if side:
            found[j] = side, float(confidences[k]), float(values[k])
    return found


def _decided(rule: _Rule, prices: NDArray[np.float64], first: int, need: int) -> Fired:
    plain = prices.tolist()
    decisions = ((j, rule.decide(plain, j + 1)) for j in range(max(first, need - 1), len(plain)))
    return {j: (int(made[0]), float(made[1]), float(made[2])) for j, made in decisions if made is not None}


def _shown(hit: tuple[int, float, float] | None) -> str:
    if hit is None:
        return "no signal"
    side, confidence, value = hit
    return f"{SIDE_NAME.get(side, side)}, confidence {confidence!r}, value {value!r}"
