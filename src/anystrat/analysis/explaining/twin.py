"""A second engine that stands where the first one does, for trying a tick on: the first is only read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from anystrat.strategies.hybrid import HybridProcessor
from anystrat.strategies.ml import MLStrategy

if TYPE_CHECKING:
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.protocols import InferencePort, StrategyProcessor
    from anystrat.domain.tick import MarketTick, TickRow
    from anystrat.domain.window import History
    from anystrat.engine.executor import StrategyExecutor

Answering = Callable[["MarketTick", "History"], Any]


@dataclass(slots=True)
class StandIn:
    """Takes a processor's place in the twin: it needs the same history, and answers as `answering` does (None: nothing).

    It is `DeadlineAware` as the processor is: `missed` says whether a recording told it to do without its model.
    """

    need: int
    inference_deadline_ns: int | None = None
    answering: Answering | None = None
    missed: bool = False
    _miss_next: bool = False

    def get_required_history_length(self) -> int:
        """As the processor that it stands for."""
        return self.need

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        """Whatever the processor supports."""
        return True

    def get_strategy_name(self) -> str:
        """What it is."""
        return "stand-in"

    def process_tick(self, tick: MarketTick, history: History) -> Any:
        """What it was told to answer."""
        self.missed, self._miss_next = self._miss_next, False
        return None if self.answering is None else self.answering(tick, history)

    def use_inference(self, inference: InferencePort | None) -> None:
        """It asks no model."""

    def miss_next(self) -> None:
        """The next tick is one on which the model's answer came too late."""
        self._miss_next = True


@dataclass(slots=True)
class Twin:
    """Everything of an engine but its processors, which stand-ins take the place of.

    Rows, slots and windows have the same places in both. `step` begins where the original stands now, each time anew.
    """

    original: Engine
    engine: Engine = field(init=False)
    stand_ins: list[StandIn] = field(default_factory=list)

    def __post_init__(self) -> None:
        original = self.original
        account = original.account.limits if original.account is not None else None
        self.engine = Engine(
            original.instruments, sessions=original.sessions, rng_seed=original.rng_seed, account=account
        )
        for executor in original.executors:
            timed = executor.deadline
            stand_in = StandIn(executor.need, timed.inference_deadline_ns if timed is not None else None)
            self.engine.register(
                executor.config,
                executor.broker,
                stand_in,
                kind=executor.kind,
                costs=executor.costs,
                validator=executor.validator,
                tokens=executor.tokens,
            )
            self.stand_ins.append(stand_in)

    def step(self, data: bytes, row: TickRow, place: int, answering: Answering, *, age_ns: int) -> list[Outcome]:
        """What the tick leads to from the snapshot `data` on, the executor at `place` answering so, the others nothing."""
        restore(self.engine, data)
        stand_in = self.stand_ins[place]
        stand_in.answering = answering
        try:
            return self.engine.step(row, age_ns=age_ns)
        finally:
            stand_in.answering = None

    def stands(self) -> bytes:
        """Where the original stands. Raises `SnapshotRefused` for ticks whose metadata cannot be written down."""
        return snapshot(self.original)

    def executor(self, place: int) -> StrategyExecutor:
        """The twin's executor at a place."""
        return self.engine.executors[place]


def asked_apart(processor: StrategyProcessor) -> StrategyProcessor:
    """A processor that answers as this one does now, and whose asking leaves no trace in this one.

    Models, shelves and registries are shared: they are read only. State that cannot be copied is shared as well.
    """
    if isinstance(processor, HybridProcessor):
        return processor.of_parts(asked_apart(processor.rules), asked_apart(processor.ml), _copied(processor.policy))
    if isinstance(processor, MLStrategy):
        apart = copy.copy(processor)
        apart.use_inference(None)  # an explanation has the time to wait for the model
        return apart
    copied: StrategyProcessor = _copied(processor)
    return copied


def _copied(thing: Any) -> Any:
    try:
        return copy.deepcopy(thing)
    except Exception:  # noqa: BLE001  what a strategy holds (a lock, a file) may refuse in any way
        return copy.copy(thing)
