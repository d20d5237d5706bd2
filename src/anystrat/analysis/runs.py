"""A whole run of a recording, kept for comparing: signals by where they were given, drops by reason, what was earned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anystrat.backtest.replay import Speed, replay
from anystrat.backtest.report import executor_report
from anystrat.domain.exact import plain_text
from anystrat.domain.outcomes import Emitted, Outcome
from anystrat.domain.signal import EmittedSignal

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine

#: Makes an engine of a configuration, fresh each time.
Build = Callable[["Configuration"], "Engine"]
#: Strategy, broker, instrument, time, and which of several signals at that very time it is.
Place = tuple[str, str, int, int, int]


@dataclass(frozen=True, slots=True)
class Given:
    """What a signal says, whoever gave it."""

    side: str
    quantity: int
    price: str
    confidence: float


@dataclass(slots=True)
class Run:
    """What came of a recording under one configuration."""

    engine: Engine
    signals: dict[Place, Given] = field(default_factory=dict)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Keep the signals among these."""
        for outcome in outcomes:
            if isinstance(outcome, Emitted):
                self._keep(outcome.signal)

    def _keep(self, signal: EmittedSignal) -> None:
        which = 0
        place = signal.strategy_id, signal.broker, signal.instrument_token, signal.ts_ns
        while (*place, which) in self.signals:
            which += 1
        given = Given(signal.signal_type, signal.quantity, plain_text(signal.price), signal.confidence)
        self.signals[*place, which] = given

    def reports(self) -> dict[str, list[dict[str, Any]]]:
        """What each executor did, by strategy."""
        found: dict[str, list[dict[str, Any]]] = {}
        for executor in self.engine.executors:
            found.setdefault(executor.strategy_id, []).append(executor_report(executor))
        return found

    def drops(self, strategy_id: str) -> Counter[str]:
        """A strategy's refused signals by reason, over its brokers and instruments."""
        total: Counter[str] = Counter()
        for executor in self.engine.executors:
            if executor.strategy_id == strategy_id:
                total.update(executor.counters()["drops"])
        return total


def run(
    engine: Engine,
    blocks: Iterable[TickColumns],
    *,
    speed: Speed = Speed.AUTO,
    compiler: Callable[[], Compiler | None] | None = None,
    expected_rows: int | None = None,
) -> Run:
    """Push a recording through an engine, and keep what came of it."""
    made = Run(engine)
    replay(
        engine,
        blocks,
        on_outcomes=made.take,
        speed=speed,
        compiler=compiler,
        expected_rows=expected_rows,
        reasons=False,
    )
    return made
