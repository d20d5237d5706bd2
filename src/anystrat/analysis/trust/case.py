"""What trust checks work on: a configuration, its recording in memory, and ways to make engines and processors anew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from anystrat.backtest.replay import Speed, replay
from anystrat.domain.tick import TickRow
from anystrat.domain.window import Window
from anystrat.engine.bars import BarFeed
from anystrat.testing.conformance.answers import Answer
from anystrat.testing.conformance.paths import filled
from anystrat.testing.conformance.subject import decided

if TYPE_CHECKING:
    from anystrat.analysis.runs import Build
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.configuration import Configuration, StrategyConfig
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.protocols import Compiler, StrategyProcessor
    from anystrat.engine.engine import Engine

#: How many signals of a strategy are looked at, unless more are asked for; the choice is the seed's.
SAMPLE: Final = 40
#: Ticks of an instrument that are walked over, one by one, to find a strategy's answers.
WALKED: Final = 50_000


@dataclass(frozen=True, slots=True)
class Opening:
    """A file that was opened while strategies were imported, built or asked: its path, the line that did it, its module."""

    path: str
    where: str
    module: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A tick of an instrument on which a strategy was asked in a walk over its ticks, and what it answered."""

    token: int
    at: int
    answer: Answer


@dataclass(slots=True, eq=False)
class Case:
    """Everything that the checks need. `openings` are files that strategies opened, where somebody watched for them."""

    configuration: Configuration
    build: Build
    ticks: Sequence[TickColumns]
    compiler: Callable[[], Compiler | None] | None = None
    card: Callable[[str], Any] | None = None
    seed: int = 0
    sample: int = SAMPLE
    openings: Callable[[], Sequence[Opening]] | None = None
    _series: dict[int, list[TickRow]] = field(default_factory=dict)
    _subjects: dict[str, Subject | None] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What the recording is of, for people: ticks, or bars."""
        return "bars" if any(block.open is not None for block in itertools.islice(self.ticks, 1)) else "ticks"

    @property
    def rows(self) -> list[StrategyConfig]:
        """The strategies that are enabled, in their order."""
        return [row for row in self.configuration.strategies if row.enabled]

    def engine(self, *rows: StrategyConfig, **changes: Any) -> Engine:
        """A fresh engine of these strategies alone (all, if none is named), with `changes` to the configuration."""
        return self.build(replace(self.configuration, strategies=rows or self.configuration.strategies, **changes))

    def run(self, engine: Engine, on_outcomes: Callable[[Sequence[Outcome]], None] | None = None) -> Engine:
        """Push the whole recording through an engine, as quickly as can be."""
        compiled = self.compiler is not None and self.compiler() is not None
        speed = Speed.COLUMNS if compiled else Speed.SCALAR
        replay(engine, self.ticks, on_outcomes=on_outcomes, speed=speed, compiler=self.compiler, reasons=False)
        return engine

    def series(self, token: int) -> list[TickRow]:
        """The ticks of an instrument that an engine would accept, in order."""
        known = self._series.get(token)
        if known is None:
            known = self._series[token] = list(self._accepted(token))
        return known

    def _accepted(self, token: int) -> Iterator[TickRow]:
        latest = -math.inf
        for block in self.ticks:
            for row in block.taken(np.flatnonzero(block.instrument_token == token)).rows():
                if 0.0 < row.price < math.inf and row.ts_ns >= latest:
                    latest = row.ts_ns
                    yield row

    def subject(self, row: StrategyConfig) -> Subject | None:
        """A strategy with what it answered on its ticks; None where it takes no part (its model does not load)."""
        if row.strategy_id not in self._subjects:
            made = Subject(self, row)
            self._subjects[row.strategy_id] = made if made.takes_part else None
        return self._subjects[row.strategy_id]


@dataclass(slots=True, eq=False)
class Subject:
    """One strategy of a case. Processors are made anew whenever one is asked for; sightings are found once."""

    case: Case
    row: StrategyConfig
    need: int = 0
    _sightings: list[Sighting] | None = None
    _bars: dict[int, list[TickRow]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        executors = self.case.engine(self.row).executors
        self.need = executors[0].need if executors else 0

    @property
    def takes_part(self) -> bool:
        """Whether an engine has it at all."""
        return self.need > 0

    @property
    def strategy_id(self) -> str:
        """Its id."""
        return self.row.strategy_id

    def make(self, token: int) -> StrategyProcessor:
        """A processor that has seen nothing, as an engine would ask it about this instrument."""
        executors = self.case.engine(self.row).executors
        return next(one.processor for one in executors if token in one.slots)

    def series(self, token: int) -> list[TickRow]:
        """What the strategy gets of an instrument, in order: its ticks, or the bars that close."""
        if self.row.bars is None:
            return self.case.series(token)
        if token not in self._bars:
            feed = BarFeed(self.row.bars, token, Window(1))
            ticks = self.case.series(token)
            self._bars[token] = [bar for row in ticks for bar in feed.take(row) if bar is not None]
        return self._bars[token]

    def walk(self, token: int, rows: Sequence[TickRow]) -> Iterator[tuple[int, Answer]]:
        """(place, answer) for each of these ticks on which the window is full, by one processor from the first on."""
        processor, window = self.make(token), Window(self.need)
        for at, row in enumerate(rows):
            window.push(fresh(row))
            if window.count >= self.need:
                yield at, decided(processor, window, self.need)

    def answer_after(self, token: int, at: int, walked: int) -> Answer:
        """What a fresh processor answers at tick `at` after a walk that began `walked` ticks before its end."""
        rows = self.series(token)[max(0, at + 1 - walked) : at + 1]
        return list(self.walk(token, rows))[-1][1]

    def window(self, token: int, at: int, capacity: int | None = None) -> Window:
        """The window that a decision at tick `at` reads, in memory of its own."""
        size = capacity or self.need
        return filled(map(fresh, self.series(token)[max(0, at + 1 - size) : at + 1]), size)

    @property
    def sightings(self) -> list[Sighting]:
        """Every tick on which it was asked, over the first ticks of each of its instruments."""
        if self._sightings is None:
            self._sightings = [
                Sighting(token, at, answer)
                for token in self.row.instrument_tokens
                for at, answer in self.walk(token, self.series(token)[:WALKED])
            ]
        return self._sightings

    def spoken(self) -> list[Sighting]:
        """A seeded sample of the ticks on which it said something, in their order."""
        return self._sampled([each for each in self.sightings if each.answer.value is not None], self.case.sample)

    def silent(self) -> list[Sighting]:
        """A seeded sample, half as large, of the ticks on which it was asked and said nothing."""
        return self._sampled([each for each in self.sightings if each.answer.value is None], self.case.sample // 2)

    def _sampled(self, found: list[Sighting], many: int) -> list[Sighting]:
        if len(found) <= many:
            return found
        rng = np.random.Generator(np.random.PCG64([self.case.seed, len(found)]))
        return [found[k] for k in sorted(rng.choice(len(found), many, replace=False).tolist())]


def fresh(row: TickRow) -> TickRow:
    """The same tick, in an object that nobody else has."""
    return msgspec.structs.replace(row, market=None)
