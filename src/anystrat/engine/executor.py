"""An executor: one strategy on one broker, wired to its rows in the engine's columns."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from anystrat.domain.charges import ChargedSide
from anystrat.domain.configuration import FillTiming, PaperCosts, PortfolioState, RiskLimits, Session, StrategyConfig
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import REASONS
from anystrat.domain.protocols import (
    DeadlineAware,
    ModelSwappable,
    PriceRule,
    SignalValidator,
    StrategyProcessor,
    fulfils,
)
from anystrat.domain.signal_id import id_bases
from anystrat.engine.answers import LARGEST_QUANTITY
from anystrat.engine.sizing import sizing_of
from anystrat.engine.state import LONG_AGO, NEVER

if TYPE_CHECKING:
    from anystrat.domain.signal import EmittedSignal
    from anystrat.domain.tick import MarketTick
    from anystrat.engine.engine import Engine
    from anystrat.engine.state import Book

Kind = Literal["rules", "ml", "hybrid"]
Decide = Callable[[Sequence[float], int], "tuple[int, float, float] | None"]


class StrategyExecutor:
    """One strategy on one broker, inside an engine. Made by `StrategyFactory` or by the engine's `register`.

    Capabilities are looked up once, here: `decide` is there for processors that read nothing but prices.
    """

    __slots__ = (
        "_engine",
        "bars",
        "broker",
        "config",
        "costs",
        "deadline",
        "decide",
        "error_times",
        "held_to_account",
        "id_bases",
        "isolation",
        "kind",
        "lots",
        "models",
        "need",
        "own_drops",
        "processor",
        "risk",
        "risk_multiplier",
        "row",
        "seed",
        "slots",
        "tokens",
        "validator",
    )

    def __init__(
        self,
        engine: Engine,
        config: StrategyConfig,
        broker: str,
        processor: StrategyProcessor,
        *,
        tokens: tuple[int, ...],
        kind: Kind,
        costs: PaperCosts,
        validator: SignalValidator | None,
    ) -> None:
        self._engine = engine
        self.config = config
        self.broker = broker
        #: What its processor gets instead of ticks; None: ticks.
        self.bars = config.bars
        self.processor = processor
        self.validator = validator
        self.tokens = tokens
        self.kind: Kind = kind
        self.costs = costs
        self.risk = config.risk
        self.risk_multiplier: Decimal | None = None if config.risk.risk_multiplier == 1 else config.risk.risk_multiplier
        periods = int(sizing_of(config.risk).get("deviation_periods", 0))
        self.need = max(_history_length(config.strategy_id, processor), periods + 1)
        self.decide: Decide | None = processor.decide if fulfils(processor, PriceRule) else None
        self.deadline: DeadlineAware | None = None
        if fulfils(processor, DeadlineAware) and processor.inference_deadline_ns is not None:
            self.deadline = processor
        self.models: ModelSwappable | None = processor if fulfils(processor, ModelSwappable) else None
        #: Whether a live run asks its strategy in a process of its own, and what that may take; None: it does not.
        self.isolation = config.isolation
        #: What its processor's randomness comes from; None where it takes no seed.
        self.seed: int | None = None
        self.id_bases = id_bases(config.strategy_id, broker)
        self.error_times: list[int] = []
        #: Whether the account's limits are over it, so that it cannot be judged without all the others.
        self.held_to_account = engine.account is not None
        self.own_drops: dict[str, int] = {}
        self.lots: dict[int, int] = {}
        self.row = -1
        self.slots: dict[int, int] = {}

    def ask_elsewhere(self, processor: StrategyProcessor) -> None:
        """From now on ask `processor`, which answers what its own would, one tick at a time."""
        self.processor = processor
        self.decide = None

    @property
    def strategy_id(self) -> str:
        """The id of the row that configured it."""
        return self.config.strategy_id

    @property
    def state(self) -> State:
        """Where its lifecycle stands."""
        return State(self._engine.state.book.executor.state[self.row])

    @property
    def last_transition_ns(self) -> int:
        """Event time of the last transition."""
        return self._engine.state.book.executor.since[self.row]

    @property
    def book(self) -> Book:
        """The engine's numbers, to look at: this executor's are at `row` and `slots`."""
        return self._engine.state.book

    @property
    def portfolio(self) -> PortfolioState:
        """The paper account now."""
        book = self._engine.state.book
        held = {token: slot for token, slot in self.slots.items() if book.slot.position[slot]}
        return PortfolioState(
            positions={token: book.slot.position[slot] for token, slot in held.items()},
            average_prices={token: book.slot.average[slot] for token, slot in held.items()},
            cash=book.executor.cash[self.row],
            realised=book.executor.realised[self.row],
            fees=book.executor.fees[self.row],
            loss_streak=book.executor.loss_streak[self.row],
        )

    @property
    def unrealised(self) -> float:
        """P&L of the open positions at the instruments' last prices, before the fees of closing them."""
        book = self._engine.state.book
        return math.fsum(
            book.slot.position[slot]
            * (book.instrument.last_price[book.slot.instrument[slot]] - book.slot.average[slot])
            * book.slot.multiplier[slot]
            for slot in self.slots.values()
        )

    @property
    def market_value(self) -> float:
        """The open positions at the instruments' last prices; cash plus this is the P&L, all fees included."""
        book = self._engine.state.book
        return math.fsum(
            book.slot.position[slot]
            * book.instrument.last_price[book.slot.instrument[slot]]
            * book.slot.multiplier[slot]
            for slot in self.slots.values()
        )

    def counters(self) -> dict[str, Any]:
        """What this executor did so far: ticks, evaluations, signals, holds, drops by reason, errors, fills, trips."""
        book, e = self._engine.state.book, self.row
        width = len(REASONS)
        drops = {
            reason.value: book.drops[e * width + code]
            for code, reason in enumerate(REASONS)
            if reason is not None and book.drops[e * width + code]
        }
        # A copy: the engine may be at work on another thread.
        for label, count in dict(self.own_drops).items():
            drops[label] = drops.get(label, 0) + count
        return {
            "ticks": sum(book.instrument.ticks[book.slot.instrument[slot]] for slot in self.slots.values()),
            "evaluations": book.executor.evaluations[e],
            "signals": book.executor.signals[e],
            "holds": book.executor.holds[e],
            "drops": drops,
            "errors": book.executor.errors[e],
            "fills": book.executor.fills[e],
            "round_trips": book.executor.round_trips[e],
        }

    def on_tick(self, tick: MarketTick) -> EmittedSignal | None:
        """Push one tick through the engine that this executor lives in; its own signal, if one was emitted."""
        for signal in self._engine.on_tick(tick):
            if signal.strategy_id == self.strategy_id and signal.broker == self.broker:
                return signal
        return None

    def __repr__(self) -> str:
        return f"<StrategyExecutor {self.strategy_id} on {self.broker}: {self.state.name}>"


def _history_length(strategy_id: str, processor: StrategyProcessor) -> int:
    found: object = processor.get_required_history_length()
    try:
        length = operator.index(found)  # type: ignore[arg-type]  # what is no whole number raises
    except TypeError:
        length = 0
    if length < 1 or isinstance(found, bool):
        raise ConfigurationError(
            [
                Problem(
                    f"{type(processor).__name__}.get_required_history_length() must answer a whole number of ticks",
                    path=f"strategy {strategy_id!r}",
                    found=f"{found!r} ({type(found).__name__})",
                    allowed="≥ 1",
                )
            ]
        )
    return length


def limits_of(risk: RiskLimits, costs: PaperCosts) -> dict[str, float]:
    """A strategy's risk settings as the numbers that the checks compare with; what is off becomes unreachable."""
    return {
        "min_confidence": _or(risk.min_confidence, -math.inf),
        "max_quantity": min(_or(risk.max_quantity, LARGEST_QUANTITY), LARGEST_QUANTITY),
        "band": risk.band_pct / 100.0 if risk.band_pct is not None else math.inf,
        "slippage_budget": _or(risk.slippage_budget, math.inf),
        "min_flip": _or(risk.min_flip_ns, LONG_AGO),
        "max_position": min(int(risk.max_position_size), NEVER) if risk.max_position_size else NEVER,
        "long_only": int(risk.long_only),
        "max_exposure": _or(risk.max_exposure, math.inf),
        "max_loss_streak": min(_or(risk.max_loss_streak, NEVER), NEVER),
        "resume_after": _or(risk.resume_after_ns, -1),
        "cooldown": _or(risk.cooldown_ns, LONG_AGO),
        "dedupe": risk.dedupe_window_ns,
        "min_interval": _or(risk.min_signal_interval_ns, LONG_AGO),
        "per_minute": _or(risk.max_signals_per_min, 0),
        "pause_on_throttle": int(risk.pause_on_throttle),
        "throttle_pause": risk.throttle_pause_ns,
        "allow_preopen": int(Session.PREOPEN in risk.allow_sessions),
        "allow_closed": int(Session.CLOSED in risk.allow_sessions),
        "max_age": _or(risk.max_tick_age_ns, NEVER),
        "fee_bps": costs.fee_bps,
        "slippage_bps": costs.slippage_bps,
        "same_tick": int(costs.fill is FillTiming.SAME_TICK),
        **sizing_of(risk),
    }


def charges_of(costs: PaperCosts) -> list[tuple[float, ...]]:
    """The parts of what fills are charged, as rows of `state.ChargeColumns`."""
    parts = costs.parts
    names = [part.name for part in parts]
    sides = {ChargedSide.BUY: 1, ChargedSide.SELL: 2, ChargedSide.BOTH: 3}
    return [
        (
            sides[part.side],
            part.per_trade,
            part.per_unit,
            part.bps,
            sum(1 << names.index(name) for name in set(part.of)),
            part.percent / 100.0,
            part.minimum,
            _or(part.maximum, math.inf),
            _or(part.max_bps, math.inf),
            0.0,
        )
        for part in parts
    ]


def _or(value: float | None, off: float) -> float:
    return off if value is None else value
