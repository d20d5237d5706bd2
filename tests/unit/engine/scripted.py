"""An engine with one strategy that says what it is told to, for tests that look at one decision at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from anystrat.domain.configuration import InstrumentSpec, PaperCosts, RiskLimits, Session, StrategyConfig
from anystrat.domain.events import Command, Operation
from anystrat.domain.outcomes import (
    Dropped,
    Emitted,
    Filled,
    Held,
    Outcome,
    ProcessorFailed,
    TickDropped,
    Transition,
)
from anystrat.domain.signal import EmittedSignal, SignalResult
from anystrat.domain.tick import MarketTick, TickRow
from anystrat.domain.window import History
from anystrat.engine.engine import Engine
from anystrat.engine.executor import StrategyExecutor
from anystrat.engine.snapshot import restore, snapshot
from anystrat.testing.ticks import START_NS

SECOND = 1_000_000_000
MINUTE = 60 * SECOND

Answer = Callable[[MarketTick, History], Any]


class Scripted:
    """Answers with `answer`, or with what `answer(tick, history)` gives."""

    def __init__(self, answer: Answer | None = None, length: int = 1) -> None:
        self.answer = answer
        self.length = length
        self.calls = 0

    def get_required_history_length(self) -> int:
        return self.length

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "scripted"

    def process_tick(self, tick: MarketTick, history: History) -> Any:
        self.calls += 1
        return None if self.answer is None else self.answer(tick, history)


class Clock:
    """Sessions by second after the start: those named, else regular."""

    def __init__(self, sessions: Mapping[int, Session]) -> None:
        self.sessions = sessions

    def session(self, instrument_token: int, ts_ns: int) -> Session:
        return self.sessions.get((ts_ns - START_NS) // SECOND, Session.REGULAR)


def at(second: float | Decimal) -> int:
    """Nanoseconds of a second after the start, which is a whole minute; exact for decimals."""
    return START_NS + int(Decimal(str(second)) * SECOND)


def tick(
    second: float | Decimal = 0, price: float | str = 100.0, token: int = 1, *, halted: bool = False, **fields: Any
) -> TickRow:
    """A tick; a price in quotes is an exact decimal."""
    exact = Decimal(price) if isinstance(price, str) else None
    return TickRow(token, at(second), float(price), exact, halted=halted, **fields)


class Rig:
    """One scripted strategy in an engine of its own. `tick` says what came of it in a word."""

    def __init__(
        self,
        *,
        risk: RiskLimits | None = None,
        costs: PaperCosts | None = None,
        tokens: tuple[int, ...] = (1,),
        instruments: Mapping[int, InstrumentSpec] | None = None,
        sessions: Mapping[int, Session] | None = None,
        length: int = 1,
        validator: Any = None,
        processor: Any = None,
    ) -> None:
        specs = dict(instruments or {})
        if sessions is not None:
            specs |= {token: InstrumentSpec(token, calendar="TEST") for token in tokens}
        self.engine = Engine(specs, sessions=Clock(sessions) if sessions is not None else None)
        self.processor: Any = processor or Scripted(length=length)
        config = StrategyConfig("s", "scripted", None, tokens, risk=risk or RiskLimits())
        self.executor: StrategyExecutor = self.engine.register(
            config, "paper", self.processor, costs=costs, validator=validator
        )
        self.out: list[Outcome] = []
        self.everything: list[Outcome] = []

    def tick(
        self,
        second: float | Decimal,
        price: float | str = 100.0,
        say: str | None = None,
        quantity: Any = 10,
        *,
        confidence: Any = 0.8,
        at_price: Any = None,
        metadata: Any = None,
        token: int = 1,
        age_ns: int = 0,
        **fields: Any,
    ) -> str:
        """Push a tick on which the strategy says `say`: "emitted", a drop's reason, "held", "failed", or nothing."""
        if isinstance(self.processor, Scripted):
            self.processor.answer = say and (  # type: ignore[assignment]
                lambda tick, _: SignalResult(
                    say, confidence, quantity, tick.last_price if at_price is None else at_price, "", metadata
                )
            )
        return self.step(tick(second, price, token, **fields), age_ns=age_ns)

    def step(self, event: Any, *, age_ns: int = 0) -> str:
        """Push any event; as `tick`."""
        self.out = self.engine.step(event, age_ns=age_ns)
        self.everything += self.out
        for outcome in self.out:
            if isinstance(outcome, Emitted):
                return "emitted"
            if isinstance(outcome, Dropped | TickDropped):
                return str(outcome.reason)
            if isinstance(outcome, Held):
                return "held"
            if isinstance(outcome, ProcessorFailed):
                return "failed"
        return ""

    def command(self, operation: Operation, second: float = 0, strategy: str | None = None) -> None:
        self.step(Command(operation, at(second), strategy))

    @property
    def state(self) -> str:
        return self.executor.state.name

    @property
    def signal(self) -> EmittedSignal:
        """The one signal of the last event."""
        (signal,) = [outcome.signal for outcome in self.out if isinstance(outcome, Emitted)]
        return signal

    @property
    def fills(self) -> list[Filled]:
        """The fills of the last event."""
        return [outcome for outcome in self.out if isinstance(outcome, Filled)]

    @property
    def transitions(self) -> list[tuple[str, str, str]]:
        """(before, after, trigger) of the last event."""
        return [(o.before.name, o.after.name, o.trigger.value) for o in self.out if isinstance(o, Transition)]

    def position(self, token: int = 1) -> int:
        return self.executor.portfolio.positions.get(token, 0)

    def reborn(self) -> None:
        """Snapshot the engine, throw it away, and go on with a restored one."""
        data = snapshot(self.engine)
        old, self.engine = self.engine, Engine(self.engine.instruments, sessions=self.engine.sessions)
        was = old.executors[0]
        self.executor = self.engine.register(
            was.config, was.broker, self.processor, costs=was.costs, validator=was.validator
        )
        restore(self.engine, data)
