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
    from anystrat.domain.protocols import StrategyProcessor
    from anystrat.domain.tick import MarketTick, TickRow
    from anystrat.domain.window import History
    from anystrat.engine.executor import StrategyExecutor

Answering = Callable[["MarketTick", "History"], Any]


@dataclass(slots=True)
class StandIn:
    """Takes a processor's place in the twin: it needs the same history, and answers as `answering` does (None: nothing)."""

    need: int
    answering: Answering | None = None

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
        return None if self.answering is None else self.answering(tick, history)


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
        self.engine = Engine(original.instruments, sessions=original.sessions, rng_seed=original.rng_seed)
        for executor in original.executors:
            stand_in = StandIn(executor.need)
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
        name = processor.get_strategy_name()
        parts = asked_apart(processor.rules), asked_apart(processor.ml)
        return HybridProcessor(*parts, _copied(processor.policy), name)
    if isinstance(processor, MLStrategy):
        return copy.copy(processor)
    copied: StrategyProcessor = _copied(processor)
    return copied


def _copied(thing: Any) -> Any:
    try:
        return copy.deepcopy(thing)
    except Exception:  # noqa: BLE001  what a strategy holds (a lock, a file) may refuse in any way
        return copy.copy(thing)
