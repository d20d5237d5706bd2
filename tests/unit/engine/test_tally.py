"""A tally says what the engine counted, and asks a model's owner for its inferences."""

from __future__ import annotations

from typing import Any

from anystrat import MarketTick, SignalResult, StrategyRunnerService
from anystrat.domain.configuration import StrategyConfig
from anystrat.domain.lifecycle import State
from anystrat.engine.executor import Kind
from anystrat.engine.tally import tally_of
from anystrat.testing import ticks


class Answering:
    def __init__(self, *answers: str) -> None:
        self.answers = iter(answers)

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        answer = next(self.answers, "")
        if answer == "raise":
            raise ValueError
        return SignalResult(answer, 1.0, 1, tick.last_price, "", None) if answer else None

    def get_required_history_length(self) -> int:
        return 1

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "answering"


class Asking(Answering):
    inferences = 41


class Hybrid(Answering):
    ml = Asking()


def tallied(processor: Answering, kind: Kind, pushed: int) -> Any:
    engine = StrategyRunnerService().engine
    executor = engine.register(StrategyConfig("s", "own", None, (1,)), "paper", processor, kind=kind)
    for n in range(pushed):
        engine.on_tick(ticks.tick(1, 100.0, n))
    return tally_of(executor)


def test_it_is_what_the_executor_did() -> None:
    tally = tallied(Answering("BUY", "BUY", "HOLD", "raise"), "rules", 5)
    assert (tally.strategy_id, tally.broker, tally.kind, tally.state) == ("s", "paper", "rules", State.ACTIVE)
    assert (tally.ticks, tally.evaluations, tally.holds, tally.errors, tally.fills) == (5, 5, 1, 1, 1)
    assert tally.drops == {"duplicate": 1}
    assert tally.inferences == 0


def test_inferences_are_those_of_the_model_s_owner_or_one_an_evaluation() -> None:
    assert tallied(Asking(), "ml", 2).inferences == 41
    assert tallied(Hybrid(), "hybrid", 2).inferences == 41
    assert tallied(Answering(), "ml", 2).inferences == 2
