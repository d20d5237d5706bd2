"""The check of the second speed: many ticks in one call give what one tick a call gives, to the last bit."""

from __future__ import annotations

import itertools
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from anystrat.domain.protocols import BatchCapable, PriceRule, SometimesBatchable
from anystrat.domain.signal import SIDE_CODE, SIDE_NAME
from anystrat.testing.conformance.answers import Answer, ask, form
from anystrat.testing.conformance.calls import at
from anystrat.testing.conformance.paths import PricePath
from anystrat.testing.conformance.subject import Subject
from anystrat.testing.conformance.suite import Broken, Finding, NotJudged

_TYPES: Final = (np.int8, np.float64, np.float64, np.int64)
_NAMES: Final = ("sides", "confidences", "values", "quantities")
_ADVICE: Final = (
    "process_columns is a function of the prices up to each tick, whatever the borders of the block: add up in the same "
    "order as process_tick, and read neither later prices nor anything of the block as a whole"
)


class Block(NamedTuple):
    """One call: the prices from `start` to `stop` of the path, of which those from `first` on are asked for."""

    start: int
    first: int
    stop: int

    def __str__(self) -> str:
        return f"block of ticks {self.first + 1} to {self.stop}, with {self.first - self.start} before it"


def columns(subject: Subject) -> None:
    """Side, confidence, value and quantity of every tick, for many ways of cutting a path into blocks."""
    made = subject.make()
    if not isinstance(made, BatchCapable):
        raise NotJudged("the processor has no process_columns")
    if isinstance(made, SometimesBatchable) and not made.batchable(shortest=True):
        raise NotJudged("batchable() answers False: every tick is a call of process_tick")
    answered, error = 0, ""
    for path in subject.paths():
        expected = one_by_one(subject, path)
        prices = path.prices()
        prices.flags.writeable = False
        # One processor for all cuts: a call must not depend on those before it either.
        processor = cast("BatchCapable", subject.make())
        rng = np.random.Generator(np.random.PCG64([path.seed, 99]))
        for block in itertools.chain.from_iterable(cuts_of(len(path), subject.need, rng)):
            raised = _compare(subject, processor, path, prices, block, expected)
            answered += not raised
            error = raised or error
    if not answered:
        advice = "an exception sends a block back to process_tick; the prices are read-only: work on a copy"
        raise Broken(Finding("process_columns raises for every block", advice, found=error, expected="four columns"))


def cuts_of(n: int, need: int, rng: np.random.Generator) -> list[list[Block]]:
    """Everything at once; at random borders; a tick a block near the first full window; no ticks at all."""
    at_random = [0, *sorted(set(rng.integers(1, n, 5).tolist())), n]
    borders: list[list[int]] = [[0, n], at_random, [need - 1, *range(need, min(need + 12, n)), n]]
    older = (need - 1, need - 1 + int(rng.integers(0, need + 1)), n)
    cuts = [
        [Block(max(0, first - before), first, stop) for first, stop in itertools.pairwise(edges) if first < stop]
        for edges, before in itertools.product(borders, older)
    ]
    return [*cuts, [Block(0, n, n)]]


def one_by_one(subject: Subject, path: PricePath) -> list[Answer]:
    """What `process_tick` answers at each tick, from prices and times alone; no signal before the window is full."""
    answers = [Answer() for _ in range(subject.need - 1)]
    return answers + [answer for _, answer, _ in subject.walk(subject.make(), path, plain=True)]


def _compare(
    subject: Subject,
    processor: BatchCapable,
    path: PricePath,
    prices: NDArray[np.float64],
    block: Block,
    expected: list[Answer],
) -> str:
    """The error that the block raised, if it did: it has to be evaluated tick by tick then, which is no fault."""
    answer = ask(lambda: processor.process_columns(prices[block.start : block.stop], block.first - block.start))
    if answer.error:
        return answer.error
    wrong = _misshapen(answer.value, block.stop - block.first)
    last = max(block.stop - 1, block.first - 1)
    if wrong:
        raise at(
            subject,
            path,
            last,
            "process_columns does not answer with four columns",
            f"{wrong} ({block})",
            f"arrays {', '.join(_NAMES)} of int8, float64, float64, int64, an entry a tick from `first` on",
            "see anystrat.BatchCapable; the prices are read-only",
        )
    sides, confidences, values, quantities = answer.value
    for k, i in enumerate(range(block.first, block.stop)):
        row = (int(sides[k]), float(confidences[k]), float(values[k]), int(quantities[k]))
        wanted = _row_of(processor, path, i, subject.need, expected[i])
        if not _agree(row, wanted):
            raise _differs(subject, processor, path, prices, block, i, row, wanted)
    return ""


def _misshapen(answer: Any, count: int) -> str:
    if not isinstance(answer, tuple) or len(answer) != 4:
        return f"found {type(answer).__name__}"
    for name, column, kind in zip(_NAMES, answer, _TYPES, strict=True):
        if not isinstance(column, np.ndarray):
            return f"{name} is {type(column).__name__}, expected {np.dtype(kind)}[{count}]"
        if (column.dtype, column.shape) != (kind, (count,)):
            shape = f"{column.dtype}{list(column.shape)}"
            return f"{name} is {shape}, expected {np.dtype(kind)}[{count}]"
    return ""


def _row_of(
    processor: object, path: PricePath, i: int, need: int, answer: Answer
) -> tuple[int, float, float | None, int]:
    """The columns' row for an answer of `process_tick`; None is a value that only `process_columns` knows."""
    signal = answer.value
    if signal is None:
        return 0, 0.0, None, 0
    value: float | None = None
    if isinstance(processor, PriceRule):
        prices = [row.price for row in path.ticks[i + 1 - need : i + 1]]
        decision = processor.decide(prices, need)
        value = decision[2] if decision is not None else None
    return SIDE_CODE[signal.signal_type], float(signal.confidence), value, int(signal.quantity)


def _agree(found: tuple[int, float, float, int], wanted: tuple[int, float, float | None, int]) -> bool:
    if found[0] == wanted[0] == 0:
        return True  # the other columns mean nothing where there is no signal
    return all(other is None or form(one) == form(other) for one, other in zip(found, wanted, strict=True))


def _differs(
    subject: Subject,
    processor: BatchCapable,
    path: PricePath,
    prices: NDArray[np.float64],
    block: Block,
    i: int,
    found: tuple[int, float, float, int],
    wanted: tuple[int, float, float | None, int],
) -> Broken:
    hint = ""
    cut = ask(lambda: processor.process_columns(prices[block.start : i + 1], block.first - block.start))
    if not cut.error and not _misshapen(cut.value, i + 1 - block.first):
        sides, confidences, values, quantities = (column[-1].item() for column in cut.value)
        if _agree((sides, confidences, values, quantities), wanted):
            hint = "; it agrees where the block ends with this tick: it reads ahead"
    return at(
        subject,
        path,
        i,
        "process_columns and process_tick differ",
        f"{_shown(found)} ({block}{hint})",
        f"{_shown(wanted)} (process_tick)",
        _ADVICE,
    )


def _shown(row: tuple[int, float, float | None, int]) -> str:
    side, confidence, value, quantity = row
    if side == 0:
        return "no signal"
    text = f"{SIDE_NAME.get(side, side)}, confidence {confidence!r}, quantity {quantity}"
    return text if value is None else f"{text}, value {value!r}"
