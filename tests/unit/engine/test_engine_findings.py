"""What the engine once did against the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anystrat.domain.columns import TickColumns
from anystrat.domain.configuration import RiskLimits, StrategyConfig
from anystrat.domain.errors import InvalidTransition
from anystrat.domain.events import Command, DeliveryFailed, Operation, TimerDue
from anystrat.domain.outcomes import Emitted, ProcessorFailed
from anystrat.domain.signal import SignalResult
from anystrat.engine.engine import Engine

from .scripted import SECOND, Rig, Scripted, at, tick


class Judge:
    def __init__(self, verdict: Any) -> None:
        self.validate = verdict


class Priced(Scripted):
    """A PriceRule whose parts can be set to anything."""

    def __init__(self, decision: Any = (1, 0.5, 0.0), quantity: Any = 10, description: Any = ("", None)) -> None:
        super().__init__()
        self._decision, self._quantity, self._description = decision, quantity, description

    def decide(self, prices: Any, end: int) -> Any:
        return self._decision

    def quantity(self) -> Any:
        return self._quantity

    def describe(self, side: int, value: float) -> Any:
        return self._description


# 1. A PriceRule's answer is not checked as any other's: what is no number gets out of step() as an exception, and takes
#    every strategy after it on the tick along. SPEC: "neither None nor a SignalResult with an integer quantity is a
#    processor error, like an exception"; "a crash in one executor is isolated to it".
@pytest.mark.parametrize(
    "bad",
    [
        Priced(quantity=10.5),
        Priced(quantity="10"),
        Priced(quantity=None),
        Priced(quantity=True),
        Priced(quantity=2**60),  # beyond 2^53, which checked_answer refuses
        Priced(decision=(1, None, 0.0)),
        Priced(decision=(1, "sure", 0.0)),
    ],
    ids=["fraction", "text", "none", "bool", "too-large", "no-confidence", "text-confidence"],
)
def test_what_a_price_rule_answers_is_checked_like_any_answer(bad: Priced) -> None:
    engine = Engine()
    engine.register(StrategyConfig("bad", "x", None, (1,)), "paper", bad)
    engine.register(
        StrategyConfig("good", "x", None, (1,)),
        "paper",
        Scripted(lambda tick, _: SignalResult("BUY", 0.5, 1, tick.last_price)),
    )
    outcomes = engine.step(tick(0))
    assert [o.strategy_id for o in outcomes if isinstance(o, ProcessorFailed)] == ["bad"]
    assert [o.signal.strategy_id for o in outcomes if isinstance(o, Emitted)] == ["good"]


# 2. The metadata of describe() is the signal's, and its ref_price is what check 5 measures from.
def test_a_price_rules_reference_price_counts() -> None:
    rig = Rig(processor=Priced(description=("", {"ref_price": 50})), risk=RiskLimits(slippage_budget=1.0))
    assert rig.step(tick(0, 100.0)) == "slippage"


# 3. An amended signal that says HOLD is emitted as a HOLD, and filled as a SELL. SPEC: HOLD "is never returned,
#    published or written to a signal file".
def test_a_validators_hold_is_never_emitted() -> None:
    rig = Rig(validator=Judge(lambda signal, *_: SignalResult("HOLD", 0.5, 1, signal.price)))
    assert rig.tick(0, 100, "BUY") != "emitted"


# 4. A command for a strategy on several brokers stops half way: the first is moved, the next one raises, the outcomes of
#    the first are lost. With PAUSED on one broker and ACTIVE on the other nobody can resume the strategy by name.
def two_brokers() -> Engine:
    engine = Engine()
    for broker in ("out", "paper"):
        engine.register(StrategyConfig("a", "x", None, (1,)), broker, Scripted())
    engine.step(tick(0))
    engine.step(Command(Operation.PAUSE, at(1), "a", "paper"))
    return engine


def test_a_command_that_raises_has_changed_nothing() -> None:
    engine = two_brokers()
    try:
        engine.step(Command(Operation.PAUSE, at(2), "a"))
    except InvalidTransition:
        assert engine.executors[0].state.name == "ACTIVE"


def test_a_strategy_can_be_resumed_where_it_is_paused() -> None:
    engine = two_brokers()
    engine.step(Command(Operation.RESUME, at(2), "a"))
    assert [executor.state.name for executor in engine.executors] == ["ACTIVE", "ACTIVE"]


# 5. A pause with a timer (throttling, open circuit) goes on by itself although an operator paused everything, or a
#    signal went to the dead letters, meanwhile. The kill switch holds; the operator's pause should too.
def throttled() -> Rig:
    rig = Rig(risk=RiskLimits(max_signals_per_min=1, pause_on_throttle=True))
    rig.tick(0, 100, "BUY")
    rig.tick(1, 101, "BUY")
    assert rig.state == "PAUSED"
    return rig


def test_an_operators_pause_of_all_outlasts_a_timer_that_was_running() -> None:
    rig = throttled()
    rig.command(Operation.PAUSE, 2)
    rig.step(TimerDue(at(1000)))
    assert rig.state == "PAUSED"


def test_dead_letters_keep_a_throttled_strategy_paused() -> None:
    rig = throttled()
    rig.step(DeliveryFailed(at(2), "s", "paper", "00" * 16))
    rig.step(TimerDue(at(1000)))
    assert rig.state == "PAUSED"


# 6. A validator's own label that is also a standard reason hides the standard count instead of adding to it.
def test_drops_of_one_label_add_up() -> None:
    judge = Judge(lambda signal, *_: "cooldown" if signal.quantity > 5 else signal)
    rig = Rig(validator=judge, risk=RiskLimits(cooldown_ns=SECOND))
    rig.tick(0, 100, "BUY", 1)
    rig.tick(0.5, 100, "BUY", 1)
    rig.tick(0.6, 100, "BUY", 9)
    assert rig.executor.counters()["drops"]["cooldown"] == 2


# 7. An exception whose text cannot be made gets out of step().
def test_an_error_whose_text_raises_is_contained() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def crash(*_: Any) -> None:
        raise Nasty

    rig = Rig()
    rig.processor.answer = crash
    assert rig.step(tick(0)) == "failed"


# 8. A command that names nobody leaves no trace: an operator's typo looks like a success.
def test_a_command_for_nobody_is_noted() -> None:
    rig = Rig()
    rig.tick(0)
    assert rig.engine.step(Command(Operation.PAUSE, at(1), "nobody"))


# A block of which every tick is the engine's own step (nothing compiled, or a stale feed) gave all its signals to the last
# strategy, with ids of that one's.
def test_columns_of_a_block_that_was_stepped_through_say_whose_each_signal_is() -> None:
    engine = Engine()
    for name in ("first", "second"):
        engine.register(StrategyConfig(name, "x", None, (1, 2)), "paper", Priced(decision=(1, 0.5, 0.0)))
    ticks = TickColumns(10 * SECOND * np.arange(4), np.array([1, 2, 1, 2]), np.array([100.0, 50.0, 100.1, 50.1]))
    taken = engine.step_block(ticks)
    kept = taken.columns()
    assert kept.executor.tolist() == [0, 1] * 4
    ids = [half.tobytes().hex() for half in kept.ids().astype(">u8")]
    assert ids == [signal.signal_id for signal in taken.signals()]
