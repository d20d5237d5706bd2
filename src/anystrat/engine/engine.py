"""The engine: `step(event) -> outcomes`, in the contract's order of steps.

A tick goes through a compiled lane (`live`, `lanes`) or through `tick_steps`, which lead to the same; all else goes through
`other_events`. Drivers (the synchronous service, replay, the live runner)
feed events in and read outcomes; nothing else reaches the engine, so that the same events give the same outcomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.compiling import Binder
from anystrat.domain.configuration import InstrumentSpec, PaperCosts, StrategyConfig
from anystrat.domain.events import (
    Arrived,
    Event,
)
from anystrat.domain.lifecycle import State as Life
from anystrat.domain.lifecycle import Trigger
from anystrat.domain.outcomes import Emitted, Outcome
from anystrat.domain.protocols import CompilerAware, fulfils
from anystrat.domain.seeds import derived_seed
from anystrat.domain.tick import MarketTick, TickRow, row_of
from anystrat.domain.window import Rings, Window
from anystrat.engine.account import AccountGuard
from anystrat.engine.bar_steps import Bars
from anystrat.engine.deadlines import Deadlines
from anystrat.engine.decision import Decisions
from anystrat.engine.executor import Kind, StrategyExecutor, charges_of, limits_of
from anystrat.engine.lane_tables import ARRIVED, BUCKET_TICK, CONTROLS, KILLED, STEPS, TICKS
from anystrat.engine.live import Lane, Live
from anystrat.engine.live_blocks import Blocks
from anystrat.engine.other_events import OtherEvents
from anystrat.engine.state import LONG_AGO, NEVER, State, view_of
from anystrat.engine.supervision import Supervision
from anystrat.engine.tick_steps import TickSteps
from anystrat.engine.watched import Evaluation, WatchedDecisions

if TYPE_CHECKING:
    from anystrat.domain.account import AccountLimits
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.protocols import Compiler, InferencePort, SessionClock, SignalValidator, StrategyProcessor
    from anystrat.domain.signal import EmittedSignal
    from anystrat.engine.taken import TakenBlock
    from anystrat.engine.to_come import ToCome

_WARMUP, _ACTIVE = int(Life.WARMUP), int(Life.ACTIVE)


class Engine:
    """Every executor, every window, every gate and paper account of one shard; nothing outside of it is touched.

    `instruments` say lots, multipliers and calendars; an instrument that is not among them has one unit a lot, a
    multiplier of one and no calendar. `sessions` is asked only for instruments with a calendar. With an `account`,
    everything goes tick by tick: whoever comes first on a tick takes from what the next may still do.
    """

    def __init__(
        self,
        instruments: Mapping[int, InstrumentSpec] | None = None,
        *,
        sessions: SessionClock | None = None,
        rng_seed: int = 0,
        seeded_as: Mapping[str, str] | None = None,
        account: AccountLimits | None = None,
    ) -> None:
        self.instruments = dict(instruments or {})
        self.sessions = sessions
        self.rng_seed = rng_seed
        #: Strategies whose seeds are made with another's name: variants of one, which draw the same numbers.
        self.seeded_as = dict(seeded_as or {})
        self._compiler: Compiler | None = None
        #: The compiled side; None without a compiler.
        self.live: Live | None = None
        self.control_array = np.zeros(CONTROLS, np.int64)
        #: See `engine.lane_tables`.
        self.control: MutableSequence[int] = view_of(self.control_array)
        self.state = State(self._moved)
        self.rings = Rings(self._moved)
        self._supervision = Supervision(self.state)
        #: What all executors together are held to; None: nothing.
        self.account = AccountGuard(account, self.state, self.control) if account is not None else None
        self.decisions = Decisions(self.state, self._supervision, self.account)
        #: The bars that some strategy gets.
        self.bars = Bars(self, self._supervision)
        self.tick_steps = TickSteps(self, self._supervision)
        self._events = OtherEvents(self, self._supervision)
        self.executors: list[StrategyExecutor] = []
        self.strategy_ids: set[str] = set()
        self.windows: list[Window] = []
        self.tokens: list[int] = []
        self.arrived_ns = None
        self._feed_stale = False
        self.outside_calendar: set[int] = set()
        self.tick_drops: Counter[str] = Counter()
        #: An instrument's row, by its token.
        self.rows: dict[int, int] = {}
        #: An instrument's executors, each with its slot there, in the order of rows and brokers.
        self.watchers: list[list[tuple[StrategyExecutor, int]]] = []
        self._lender: Callable[[], None] | None = None
        #: The instruments whose ticks compiled code can be given just so, for `take`.
        self.lanes: dict[int, Lane] = {}
        self._blocks = Blocks(self, None, None)

    # -- registration ---------------------------------------------------------------------------------------------

    def register(
        self,
        config: StrategyConfig,
        broker: str,
        processor: StrategyProcessor,
        *,
        kind: Kind = "rules",
        costs: PaperCosts | None = None,
        validator: SignalValidator | None = None,
        tokens: tuple[int, ...] | None = None,
    ) -> StrategyExecutor:
        """Add an executor for `config` on `broker`, after those that are there; it goes from INIT to WARMUP.

        `tokens` are its instruments where they are not the row's (one each, with `per_instrument`).
        """
        self.settle()
        if self.live is not None:
            self.live.forget(watchers=True)
        watched = config.instrument_tokens if tokens is None else tokens
        executor = StrategyExecutor(
            self,
            config,
            broker,
            processor,
            tokens=watched,
            kind=kind,
            costs=costs or PaperCosts(),
            validator=validator,
        )
        set_seed = getattr(processor, "set_seed", None)
        if set_seed is not None:
            name = self.seeded_as.get(config.strategy_id, config.strategy_id)
            executor.seed = derived_seed(self.rng_seed, name, broker, watched if config.per_instrument else ())
            set_seed(executor.seed)
        rows = [self._instrument_row(token, executor.need if executor.bars is None else 1) for token in watched]
        specs = [self.instruments.get(token) for token in watched]
        slots = [(row, float(spec.multiplier) if spec else 1.0) for row, spec in zip(rows, specs, strict=True)]
        first = self.state.slots
        executor.row = self.state.add_executor(
            limits_of(executor.risk, executor.costs) | {"need": executor.need}, slots, charges_of(executor.costs)
        )
        for k, (token, row, spec) in enumerate(zip(watched, rows, specs, strict=True)):
            executor.slots[token] = first + k
            if spec is not None and spec.round_to_lot and spec.lot_size > 1:
                executor.lots[token] = spec.lot_size
                self.state.book.slot.lot[first + k] = spec.lot_size
            self.watchers[row].append((executor, first + k))
            if executor.bars is not None:
                self.bars.watch(row, token, executor, first + k)
        self.executors.append(executor)
        if self.account is not None:
            self.account.watch(executor)
        self._hand_compiler(processor)
        self.deadlines.prepare(executor)
        self.strategy_ids.add(executor.strategy_id)
        self._supervision.move(executor, Trigger.REGISTERED, LONG_AGO, [])
        return executor

    def _instrument_row(self, token: int, need: int) -> int:
        row = self.rows.get(token)
        if row is None:
            row = self.state.add_instrument()
            self.rows[token] = row
            self.tokens.append(token)
            self.windows.append(self.rings.window(need, token))
            self.watchers.append([])
            spec = self.instruments.get(token)
            timed = spec is not None and spec.calendar is not None and self.sessions is not None
            self.tick_steps.add_instrument(row, timed=timed)
        elif self.windows[row].capacity < need:
            self.windows[row] = self.rings.widened(self.windows[row], need)
        return row

    def use_compiler(self, compiler: Compiler | None) -> None:
        """From the next tick on, take ticks through all of an instrument's strategies in one compiled call.

        What comes out is the same. The first tick then waits for the compiler, some seconds on a machine that has not
        compiled it before.
        """
        self._compiler = compiler
        able: object = compiler
        binder = able if isinstance(able, Binder) else None
        # Lanes take an instrument's ticks without the other instruments: an account has to see all of them.
        self.live = Live(self, binder) if binder is not None and self.account is None else None
        self.lanes = self.live.lanes if self.live is not None else {}
        self._blocks = Blocks(self, self.live, binder)
        for executor in self.executors:
            self._hand_compiler(executor.processor)

    def _hand_compiler(self, processor: StrategyProcessor) -> None:
        if self._compiler is not None and fulfils(processor, CompilerAware):
            processor.use_compiler(self._compiler)

    def use_inference(self, inference: InferencePort | None) -> None:
        """From the next tick on, models with a deadline are asked through this port, and what is late is noted.

        For live drivers alone, once what they recover from is behind them. Without a port nothing is measured: what was
        late is told by `InferenceMissed` events, before the ticks that it was late on.
        """
        self.deadlines.measure(inference, self.executors)

    def ask_elsewhere(self, processor_of: Callable[[StrategyExecutor], StrategyProcessor]) -> None:
        """From the next tick on, ask the isolated strategies through the processors that `processor_of` gives for them.

        For live drivers alone. What they lose (`ProcessLost`) is noted, to be recorded as `EvaluationLost` events.
        """
        isolated = [executor for executor in self.executors if executor.isolation is not None]
        for executor in isolated:
            executor.ask_elsewhere(processor_of(executor))
        if isolated and self.live is not None:
            self.live.forget(watchers=True)

    def waiting_for_process(self) -> set[str]:
        """The strategies of which an executor is in ERROR until a `ProcessReady` event."""
        return {each.strategy_id for each in self.executors if self._supervision.waits_for_process(each)}

    @property
    def losses(self) -> ToCome:
        """Evaluations that were lost with a strategy's process, as a replay is told of them."""
        return self.decisions.losses

    @property
    def deadlines(self) -> Deadlines:
        """What is known of inferences that come too late."""
        return self.decisions.deadlines

    def look_again(self) -> None:
        """Tables and windows were written to from outside: what compiled code knows of them no longer holds."""
        self._moved()

    def _moved(self) -> None:
        """Some table's memory is elsewhere now, or others wrote to it: what compiled code knows of it no longer holds."""
        self.control[STEPS] += 1
        if self.live is not None:
            self.live.forget(watchers=False)

    @property
    def killed(self) -> bool:
        """Whether the kill switch is on."""
        return self.control[KILLED] != 0

    @killed.setter
    def killed(self, on: bool) -> None:
        self.control[KILLED] = int(on)

    @property
    def ticks(self) -> int:
        """How many ticks were accepted."""
        return self.control[TICKS]

    @ticks.setter
    def ticks(self, count: int) -> None:
        self.control[TICKS], self.control[BUCKET_TICK] = count, 0

    @property
    def arrived_ns(self) -> int | None:
        """When the latest ticks arrived (wall time, ns); None: ticks have no age."""
        arrived = self.control[ARRIVED]
        return None if arrived == LONG_AGO else arrived

    @arrived_ns.setter
    def arrived_ns(self, wall_ns: int | None) -> None:
        self.control[ARRIVED] = LONG_AGO if wall_ns is None else wall_ns

    @property
    def feed_stale(self) -> bool:
        """Whether the feed is silent for too long, and signals are dropped for it."""
        return self._feed_stale

    @feed_stale.setter
    def feed_stale(self, stale: bool) -> None:
        self._feed_stale = stale
        self._moved()

    # -- the front door -------------------------------------------------------------------------------------------

    @property
    def waits_for_feed(self) -> bool:
        """Whether a silent feed holds back signals, or keeps an executor paused."""
        return self.feed_stale or self._supervision.waits_for_feed(self.executors)

    def step(self, event: Event, *, age_ns: int = 0) -> list[Outcome]:
        """Take one event and say everything that it led to, in order. `age_ns`: how old a live tick was on arrival."""
        if self._lender is not None:
            self._lender()
        out: list[Outcome] = []
        if isinstance(event, TickRow):
            lane = self._lane_of(event.instrument_token)
            if lane is not None:
                assert self.live is not None
                return self.live.step(event, lane, age_ns)
        self.control[STEPS] += not isinstance(event, Arrived)
        if isinstance(event, TickRow):
            self.tick_steps.take(event, self.decisions, out, age_ns)
        else:
            self._events.take(event, self.decisions, out)
        return out

    def take(self, tick: MarketTick | TickRow, *, fills: bool = True) -> Sequence[Outcome]:
        """Push one public tick through: `step`, but for the paper fills where `fills` says that nobody wants them."""
        row = tick if isinstance(tick, TickRow) else row_of(tick)
        lane = self.lanes.get(row.instrument_token)
        if lane is None or self.live is None:
            return self.step(row)
        return self.live.step(row, lane, fills=fills)

    def step_block(self, block: TickColumns, *, fills: bool = True) -> TakenBlock:
        """Take many ticks, in one compiled call where there is a compiler: what `step` says to each, made when asked for.

        With `fills=False` paper fills are booked and not told of, which is quicker.
        """
        self.settle()
        return self._blocks.take(block, fills=fills)

    def in_lanes(self, block: TickColumns) -> bool:
        """Whether `step_block` takes the block in compiled calls alone, whatever it is compared with the quickest way."""
        return self._blocks.suffice(block)

    def step_watched(
        self, row: TickRow, clock: Callable[[], int], *, age_ns: int = 0
    ) -> tuple[list[Outcome], list[Evaluation]]:
        """`step` for a tick, with a look at every evaluation. `clock` is read for its times, and decides nothing.

        One strategy after the other is asked, whatever compiled code there is for many: only so is each seen.
        """
        self.settle()
        self.control[STEPS] += 1
        watched = WatchedDecisions(self.state, self._supervision, self.account, clock)
        out: list[Outcome] = []
        self.tick_steps.take(row, watched, out, age_ns)
        return out, watched.evaluations

    @property
    def evaluations(self) -> int:
        """How many times any strategy was asked so far."""
        return int(self.state.tables["executor"]["evaluations"].sum())

    def on_tick(self, tick: MarketTick) -> list[EmittedSignal]:
        """Push one public tick through; the signals that it led to, in the order of rows and brokers."""
        return [outcome.signal for outcome in self.take(tick, fills=False) if isinstance(outcome, Emitted)]

    def _lane_of(self, token: int) -> Lane | None:
        """The compiled lane of an instrument; None without a compiler, or where no strategy of it can be compiled."""
        if self.live is None or not self.executors or self._feed_stale:
            return None
        self.find_lanes()
        return self.live.rows.get(token)

    def find_lanes(self) -> bool:
        """Find the compiled lanes again, and open their doors, if something moved; whether that was done."""
        live = self.live
        if live is None or live.ready or not self.executors or self._feed_stale:
            return False
        live.refresh()
        return True

    def latest_ts(self) -> int:
        """The latest time that any instrument's accepted tick had; 0 before the first."""
        return max([ts for ts in self.state.tables["instrument"]["last_ts"].tolist() if ts != LONG_AGO], default=0)

    @property
    def judges_age(self) -> bool:
        """Whether the age of ticks decides anything now; block evaluation knows no ages."""
        if self.feed_stale:
            return True
        return self.arrived_ns is not None and bool((self.state.tables["limits"]["max_age"] < NEVER).any())

    # -- for drivers of blocks ------------------------------------------------------------------------------------

    def borrow_windows(self, give_back: Callable[[], None] | None) -> None:
        """A driver keeps the windows in columns for a while; `give_back` is called before anyone else needs them."""
        self._lender = give_back
        self._moved()

    def settle(self) -> None:
        """Have the windows back from whoever borrowed them."""
        if self._lender is not None:
            self._lender()

    def step_row(self, row: TickRow) -> list[Outcome]:
        """`step` for a tick by whoever may hold the windows."""
        self.control[STEPS] += 1
        out: list[Outcome] = []
        self.tick_steps.take(row, self.decisions, out, 0)
        return out

    @contextmanager
    def watched_only_by(self, executors: Sequence[StrategyExecutor]) -> Generator[None]:
        """Let ticks reach these executors alone; windows of all instruments go on."""
        chosen = set(map(id, executors))
        everyone = self.watchers
        self.watchers = [[(one, slot) for one, slot in watching if id(one) in chosen] for watching in everyone]
        try:
            yield
        finally:
            self.watchers = everyone
