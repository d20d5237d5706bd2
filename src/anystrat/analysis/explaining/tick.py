"""`explain_tick`: everything that an executor would make of a tick, from an engine that stands just before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anystrat.analysis.explaining.because import ended, happened, why_not_active
from anystrat.analysis.explaining.explanation import Check, Ending, Explanation, Said, Sizing
from anystrat.analysis.explaining.gauges import Gauges, Market
from anystrat.analysis.explaining.numbers import moment
from anystrat.analysis.explaining.twin import Twin
from anystrat.analysis.explaining.voices import Heard, hear, policy_of, said_by
from anystrat.domain.configuration import Session
from anystrat.domain.errors import AnystratError
from anystrat.domain.exact import plain_text
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import (
    Dropped,
    Emitted,
    Filled,
    Held,
    Outcome,
    ProcessorFailed,
    Reason,
    TickDropped,
    Transition,
)
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import row_of
from anystrat.engine.checks import PREOPEN, REGULAR
from anystrat.engine.decision import sized

if TYPE_CHECKING:
    from anystrat.domain.tick import MarketTick, TickRow
    from anystrat.domain.window import History, Window
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

#: How many of the window's last prices an explanation shows.
PRICES_SHOWN = 8

_SESSION = {REGULAR: Session.REGULAR, PREOPEN: Session.PREOPEN}
_REASONS = frozenset(reason.value for reason in Reason)


class NothingToExplain(AnystratError):
    """What was asked about is not there; the text says what is, and what to ask instead."""

    exit_code = 2


def explain_tick(
    engine: Engine,
    row: TickRow,
    executor: StrategyExecutor | None = None,
    *,
    age_ns: int = 0,
    moves: Mapping[int, Transition] | None = None,
) -> Explanation:
    """Why `executor` does on the next tick what it does: `engine` stands just before `row`, and is only read.

    Without an executor, the one that watches the instrument; `age_ns` is as in `Engine.step`. `moves` are the last
    transitions by executor (their place in `engine.executors`), where somebody kept them: the engine itself remembers
    since when it is paused, and not always why.

    Raises `NothingToExplain` where nobody watches the instrument, or several do and none was named; `SnapshotRefused`
    where a tick's metadata cannot be written down.
    """
    return Explainer(engine, moves=moves or {}).explain(row, _one(engine, row, executor), age_ns=age_ns)


def explain_all(engine: Engine, row: TickRow, *, age_ns: int = 0) -> list[Explanation]:
    """`explain_tick` for every executor that watches the instrument, in their order; none: an empty list."""
    explainer = Explainer(engine)
    watching = [one for one in engine.executors if row.instrument_token in one.slots]
    return [explainer.explain(row, one, age_ns=age_ns) for one in watching]


@dataclass(slots=True)
class Explainer:
    """Explains ticks of one engine, as often as is asked; the twin that ticks are tried on is made once.

    `moves` is read at each explanation: whoever drives the engine keeps the last transition of each executor there.
    """

    engine: Engine
    moves: Mapping[int, Transition] = field(default_factory=dict)
    _twin: Twin = field(init=False)

    def __post_init__(self) -> None:
        self._twin = Twin(self.engine)

    def explain(self, row: TickRow, executor: StrategyExecutor, *, age_ns: int = 0) -> Explanation:
        """See `explain_tick`."""
        place = self.engine.executors.index(executor)
        return _Trial(self, self._twin, row, executor, place, age_ns).explanation()


@dataclass(slots=True)
class _Trial:
    """One tick tried on the twin: once with a strategy that says nothing, once with what the strategy says."""

    explainer: Explainer
    twin: Twin
    row: TickRow
    executor: StrategyExecutor
    place: int
    age_ns: int
    heard: Heard | None = None
    asked: MarketTick | None = None

    def explanation(self) -> Explanation:
        data = self.twin.stands()
        quiet = self._mine(self.twin.step(data, self.row, self.place, self._listen, age_ns=self.age_ns))
        state = self.twin.executor(self.place).state
        if any(isinstance(outcome, TickDropped) for outcome in quiet):
            return self._made(state, quiet, [], self._tick_dropped(quiet), ())
        if self.heard is None:
            return self._made(state, quiet, [], self._not_asked(state, quiet), ())
        loud = self._mine(self.twin.step(data, self.row, self.place, self._repeat, age_ns=self.age_ns))
        final = next((each for each in loud if isinstance(each, Emitted | Dropped | Held | ProcessorFailed)), None)
        checks: tuple[Check, ...] = ()
        if isinstance(final, Emitted | Dropped):
            self.twin.step(data, self.row, self.place, _nothing, age_ns=self.age_ns)
            checks = self._checks(final)
        return self._made(state, quiet, loud[len(quiet) :], ended(final, self.heard, checks), checks)

    # -- the two answers of the stand-in --------------------------------------------------------------------------

    def _listen(self, tick: MarketTick, history: History) -> None:
        self.asked = tick
        late = self.twin.stand_ins[self.place].missed
        self.heard = hear(self.executor.processor, policy_of(self.executor), tick, history, late=late)

    def _repeat(self, tick: MarketTick, history: History) -> Any:  # noqa: ARG002  as a processor is asked
        assert self.heard is not None
        if self.heard.error is not None:
            raise self.heard.error
        return self.heard.answer

    # -- what came of it ------------------------------------------------------------------------------------------

    def _mine(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of this executor, and those of the tick itself."""
        key = (self.executor.strategy_id, self.executor.broker)
        kept = []
        for outcome in outcomes:
            named = outcome.signal if isinstance(outcome, Emitted) else outcome
            whose = (getattr(named, "strategy_id", None), getattr(named, "broker", None))
            if isinstance(outcome, TickDropped) or whose == key:
                kept.append(outcome)
        return kept

    def _tick_dropped(self, outcomes: Sequence[Outcome]) -> tuple[Ending, str, str]:
        (dropped,) = [each for each in outcomes if isinstance(each, TickDropped)]
        words = {
            "bad_price": f"its price is {self.row.price}",
            "out_of_order": f"it is older than the instrument's tick before it, of {moment(self._latest)}",
        }.get(dropped.reason.value, "it cannot be used")
        return Ending.TICK_DROPPED, dropped.reason.value, f"the tick was dropped: {words}"

    @property
    def _latest(self) -> int:
        return self.twin.engine.state.book.instrument.last_ts[self._instrument]

    def _not_asked(self, state: State, quiet: Sequence[Outcome]) -> tuple[Ending, str, str]:
        held, need = min(self._window.count, self.executor.need), self.executor.need
        if state in (State.WARMUP, State.ACTIVE):
            if state is State.ACTIVE and self.executor.bars is not None and held >= need:
                return Ending.BETWEEN_BARS, "", f"no bar of {self.executor.bars} closed on this tick"
            text = f"warming up: {held:,} of {need:,} {self._unit} of {self.row.instrument_token}"
            return Ending.WARMING_UP, "", text
        last = next((each for each in reversed(quiet) if isinstance(each, Transition)), None)
        if last is None:
            last = self.explainer.moves.get(self.place)
        return Ending.NOT_ACTIVE, "", why_not_active(self.twin.engine, self.twin.executor(self.place), last)

    def _checks(self, final: Emitted | Dropped) -> tuple[Check, ...]:
        signal: SignalResult = final.signal
        dropped = final.reason if isinstance(final, Dropped) else ""
        if dropped and dropped not in _REASONS:
            return ()  # a validator of the user's own came first
        engine = self.twin.engine
        row = self.row if self.executor.bars is None or self.asked is None else row_of(self.asked)
        session = engine.tick_steps.session_code(self._instrument, row.ts_ns, [])
        age = self.age_ns if engine.arrived_ns is None else engine.arrived_ns - row.ts_ns
        market = Market(row, _SESSION.get(session, Session.CLOSED), age)
        return Gauges(engine, self.twin.executor(self.place), market, signal).all(dropped)

    @property
    def _instrument(self) -> int:
        engine = self.twin.engine
        return engine.state.book.slot.instrument[self.twin.executor(self.place).slots[self.row.instrument_token]]

    @property
    def _window(self) -> Window:
        return self.twin.engine.bars.window_of(self.twin.executor(self.place), self._instrument)

    @property
    def _unit(self) -> str:
        return "ticks" if self.executor.bars is None else f"bars ({self.executor.bars})"

    def _made(
        self,
        state: State,
        before: Sequence[Outcome],
        after: Sequence[Outcome],
        ending: tuple[Ending, str, str],
        checks: tuple[Check, ...],
    ) -> Explanation:
        executor, window, heard = self.executor, self._window, self.heard
        shown = min(window.count, PRICES_SHOWN)
        emitted = next((each.signal for each in after if isinstance(each, Emitted)), None)
        slot = self.twin.executor(self.place).slots[self.row.instrument_token]
        return Explanation(
            ts_ns=self.row.ts_ns,
            instrument_token=self.row.instrument_token,
            price=_price_of(self.row),
            strategy_id=executor.strategy_id,
            broker=executor.broker,
            strategy_type=executor.config.strategy_type,
            kind=executor.kind,
            state=state.name,
            window=tuple(window.view[window.end - shown : window.end]),
            held=min(window.count, executor.need),
            need=executor.need,
            position=self.twin.engine.state.book.slot.position[slot],
            ending=ending[0],
            reason=ending[1],
            because=ending[2],
            before=tuple(happened(each) for each in before if isinstance(each, Filled | Transition)),
            after=tuple(happened(each) for each in after if isinstance(each, Filled | Transition)),
            votes=heard.votes if heard is not None else (),
            verdict=heard.verdict if heard is not None else None,
            answer=self._said(),
            sizing=self._sizing(next((each.signal for each in after if isinstance(each, Emitted | Dropped)), None)),
            checks=checks,
            signal_id=emitted.signal_id if emitted is not None else "",
            unit=self._unit,
        )

    def _said(self) -> Said | None:
        if self.heard is None or not isinstance(self.heard.answer, SignalResult):
            return None
        return said_by(self.heard.answer)

    def _sizing(self, signal: SignalResult | None) -> Sizing | None:
        answer = self.heard.answer if self.heard is not None else None
        if not isinstance(answer, SignalResult) or answer.signal_type == "HOLD":
            return None
        try:
            quantity = int(answer.quantity)
        except (TypeError, ValueError):
            return None
        executor, token = self.executor, self.row.instrument_token
        multiplier, lot = plain_text(executor.risk.risk_multiplier), executor.lots.get(token, 0)
        if (by := executor.risk.sizing) is not None and signal is not None and quantity > 0:
            return Sizing(quantity, multiplier, lot, signal.quantity, by.mode.value)
        after = sized(executor, token, quantity)
        if after == quantity:
            return None
        return Sizing(quantity, multiplier, lot, after)


def _nothing(tick: MarketTick, history: History) -> None:
    """A strategy that says nothing."""


def _price_of(row: TickRow) -> str:
    try:
        return plain_text(row.decimal)
    except (ArithmeticError, ValueError):
        return str(row.price)


def _one(engine: Engine, row: TickRow, executor: StrategyExecutor | None) -> StrategyExecutor:
    if executor is not None:
        if row.instrument_token not in executor.slots:
            raise NothingToExplain(
                f"strategy {executor.strategy_id!r} does not watch instrument {row.instrument_token} "
                f"(it watches {', '.join(map(str, executor.tokens))})"
            )
        return executor
    watching = [one for one in engine.executors if row.instrument_token in one.slots]
    if not watching:
        raise NothingToExplain(f"no strategy watches instrument {row.instrument_token}")
    if len(watching) > 1:
        names = ", ".join(f"{one.strategy_id} on {one.broker}" for one in watching)
        raise NothingToExplain(f"{len(watching)} executors watch instrument {row.instrument_token}: {names}; name one")
    return watching[0]
