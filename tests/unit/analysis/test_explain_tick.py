"""`explain_tick`: what it says in each of the ways in which a tick can end, and that it only reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.unit.engine.scripted import SECOND, Rig, at, tick

from anystrat import StrategyRunnerService, rule
from anystrat.analysis.explaining.explanation import Ending, Explanation, Status
from anystrat.analysis.explaining.telling import page
from anystrat.analysis.explaining.tick import NothingToExplain, explain_all, explain_tick
from anystrat.domain.configuration import InstrumentSpec, PaperCosts, RiskLimits, Session
from anystrat.domain.events import Command, EvaluationLost, FeedStale, InferenceMissed, Operation
from anystrat.domain.measurement import Measurement
from anystrat.domain.outcomes import Emitted, Transition
from anystrat.domain.signal import SignalResult
from anystrat.domain.sizing import Sizing, SizingMode
from anystrat.domain.tick import TickRow
from anystrat.engine.snapshot import snapshot
from anystrat.testing.models import linear_model
from anystrat.testing.ticks import START_NS


def service(**parameters: Any) -> StrategyRunnerService:
    made = StrategyRunnerService(observers=[])
    made.register("momentum", instruments=[1], id="mom", lookback_periods=3, threshold=0.01, **parameters)
    return made


def pushed(made: StrategyRunnerService, *prices: float) -> StrategyRunnerService:
    for place, price in enumerate(prices):
        made.handle(row(place, price))
    return made


def row(second: int, price: float, token: int = 1) -> TickRow:
    return TickRow(token, START_NS + second * SECOND, price)


def told(rig: Rig, said: str | None = "BUY", *, second: float = 0, **fields: Any) -> Explanation:
    """What is said of the next tick of a scripted strategy, which would answer so."""
    quantity = fields.pop("quantity", 10)
    confidence = fields.pop("confidence", 0.8)
    metadata = fields.pop("metadata", None)
    rig.processor.answer = said and (
        lambda market, _: SignalResult(said, confidence, quantity, market.last_price, "so", metadata)
    )
    return explain_tick(rig.engine, tick(second, **fields), rig.executor)


def check(explained: Explanation, reason: str) -> Any:
    (found,) = [each for each in explained.checks if each.reason == reason]
    return found


class TestEndings:
    def test_a_window_that_fills_says_how_far_it_is(self) -> None:
        explained = explain_tick(pushed(service(), 100.0).engine, row(1, 100.0))
        assert explained.ending is Ending.WARMING_UP
        assert explained.because == "warming up: 2 of 3 ticks of 1"
        assert (explained.held, explained.need) == (2, 3)
        assert explained.votes == ()

    def test_a_rule_that_does_not_fire_says_what_it_measured_and_what_it_needs(self) -> None:
        explained = explain_tick(pushed(service(), 100.0, 100.0).engine, row(2, 100.31))
        assert explained.ending is Ending.NO_SIGNAL
        assert explained.because == "change is 0.0031; BUY needs > 0.01, SELL needs < -0.01"
        (vote,) = explained.votes
        assert vote.values == {"start": 100.0, "now": 100.31}
        assert [each.met for each in vote.conditions] == [False, False]

    def test_a_number_that_rounds_to_its_limit_is_shown_with_all_its_digits(self) -> None:
        explained = explain_tick(pushed(service(), 100.0, 100.0).engine, row(2, 100.9999999999))
        assert "change is 0.0099999999" in explained.because

    def test_a_signal_that_would_go_out_has_its_id_and_every_check_passed(self) -> None:
        made = pushed(service(), 100.0, 100.0)
        explained = explain_tick(made.engine, row(2, 102.0))
        (signal,) = [outcome.signal for outcome in made.handle(row(2, 102.0)) if hasattr(outcome, "signal")]
        assert explained.ending is Ending.EMITTED
        assert explained.signal_id == signal.signal_id
        assert explained.answer is not None
        assert explained.answer.side == "BUY"
        assert all(each.status in {Status.PASSED, Status.OFF} for each in explained.checks)

    def test_a_drop_names_the_check_with_its_measure_and_its_limit(self) -> None:
        made = pushed(service(risk={"cooldown_sec": 60}), 100.0, 100.0, 102.0)
        explained = explain_tick(made.engine, TickRow(1, START_NS + 14_400_000_000, 105.0))
        assert explained.ending is Ending.DROPPED
        assert explained.because == "cooldown: 12.4 s since the last signal on 1; it needs 60 s"
        found = check(explained, "cooldown")
        assert (found.measured, found.limit, found.setting, found.decisive) == (12.4, 60.0, "risk.cooldown_sec", True)

    def test_hold_and_an_error_say_what_was_said(self) -> None:
        assert told(Rig(), "HOLD").because == "the strategy said HOLD: so"
        explained = told(Rig(), "BUY", quantity=1.5)
        assert explained.ending is Ending.FAILED
        assert "quantity is 1.5" in explained.because

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            (TickRow(1, START_NS, -1.0), "bad_price its price is -1.0"),
            (TickRow(1, START_NS - 1, 1.0), "out_of_order it is older than"),
        ],
    )
    def test_a_tick_that_is_not_taken_says_why(self, bad: TickRow, words: str) -> None:
        explained = explain_tick(pushed(service(), 100.0).engine, bad)
        reason, text = words.split(" ", 1)
        assert explained.ending is Ending.TICK_DROPPED
        assert explained.reason == reason
        assert text in explained.because

    def test_a_paused_strategy_says_since_when_and_why(self) -> None:
        made = pushed(service(), 100.0, 100.0, 100.0)
        made.handle(Command(Operation.PAUSE, START_NS + 2 * SECOND, "mom"))
        explained = explain_tick(made.engine, row(3, 102.0))
        assert explained.ending is Ending.NOT_ACTIVE
        assert explained.because.startswith("PAUSED since 2024-01-02T09:15:02Z: an operator paused it, ")
        assert explained.because.endswith("it goes on when an operator resumes it")

    def test_whoever_kept_the_last_transition_is_told_the_very_cause(self) -> None:
        made = pushed(service(), 100.0, 100.0, 100.0)
        outcomes = made.handle(Command(Operation.PAUSE, START_NS + 2 * SECOND, "mom"))
        (move,) = [each for each in outcomes if isinstance(each, Transition)]
        explained = explain_tick(made.engine, row(3, 102.0), moves={0: move})
        assert "an operator paused it;" in explained.because

    def test_a_tick_whose_answer_went_with_the_process_says_so_and_nobody_is_asked(self) -> None:
        made = StrategyRunnerService(observers=[])
        asked = {"id": "own", "strategy_type": "momentum", "parameters": {"lookback_periods": 2}, "isolate": "process"}
        made.register_from_config({**asked, "instruments": [1]})
        pushed(made, 100.0)
        made.handle(EvaluationLost(START_NS, "own", "paper", 1, 2, "it hung"))
        explained = explain_tick(made.engine, row(1, 120.0))
        assert (explained.ending, explained.votes) == (Ending.NOT_ACTIVE, ())
        assert "the process that it has to itself was lost; it goes on when another one is ready" in explained.because

    def test_a_silent_feed_an_open_circuit_and_a_throttle_are_told_apart(self) -> None:
        feed = Rig()
        feed.tick(0)
        feed.step(FeedStale(at(1), pause=True))
        assert "the feed is silent" in told(feed, second=2).because

        throttled = Rig(risk=RiskLimits(max_signals_per_min=1, pause_on_throttle=True))
        throttled.tick(0, 100.0, "BUY")
        throttled.tick(1, 101.0, "BUY")
        explained = told(throttled, second=2)
        assert "more than max_signals_per_min (1); it goes on at 2024-01-02T09:16:01Z" in explained.because

        losing = Rig(risk=RiskLimits(max_loss_streak=1), costs=PaperCosts(fee_bps=50))
        losing.tick(0, 100.0, "BUY")
        losing.tick(1, 100.0, "SELL")
        losing.tick(2, 100.0)
        losing.tick(3, 100.0, "BUY")
        assert "1 losing fills in a row (max_loss_streak)" in told(losing, second=4).because

    def test_a_validator_of_ones_own_is_named(self) -> None:
        class Refusing:
            def validate(self, signal: SignalResult, *_: Any) -> SignalResult | str:
                return "too_round"

        explained = told(Rig(validator=Refusing()))
        assert explained.because == "the strategy's own validator refused it: too_round"
        assert explained.checks == ()


class TestChecks:
    """Each check's measured value against its limit; that the first that fails is the engine's is a parity test's."""

    def test_position_and_exposure(self) -> None:
        rig = Rig(risk=RiskLimits(max_position_size=15, max_exposure=2_000.0))  # type: ignore[arg-type]  # whole units
        rig.tick(0, 100.0, "BUY")
        rig.tick(1, 100.0)
        explained = told(rig, second=10)
        assert explained.position == 10
        assert explained.because == "position_limit: +10 to +20; it takes at most 15"
        beyond = check(explained, "exposure")
        assert (beyond.status, beyond.text) == (Status.PASSED, "1,000 to 2,000; it takes at most 2,000")
        nearer = told(rig, "SELL", second=10)
        assert check(nearer, "position_limit").text == "+10 to +0 is nearer zero, which passes"

    def test_what_stands_behind_the_first_refusal_is_measured_too(self) -> None:
        rig = Rig(risk=RiskLimits(max_position_size=15, cooldown_ns=60 * SECOND))  # type: ignore[arg-type]  # whole units
        rig.tick(0, 100.0, "BUY")
        rig.tick(1, 100.0)
        explained = told(rig, second=10)
        assert [each.reason for each in explained.checks if each.status is Status.FAILED] == [
            "position_limit",
            "cooldown",
        ]
        assert [each.reason for each in explained.checks if each.decisive] == ["position_limit"]

    def test_prices_confidence_and_the_market(self) -> None:
        rig = Rig(risk=RiskLimits(band_pct=1.0, slippage_budget=0.5, min_confidence=0.9))
        rig.tick(0, 100.0)
        explained = told(rig, second=1, price=103.0, metadata={"ref_price": 102.0})
        assert explained.because == "below_min_confidence: 0.8; it needs 0.9"
        assert check(explained, "price_band").text == "3.0000% from the minute's open 100; it takes at most 1%"
        assert check(explained, "slippage").text == "1 from the reference 102; it takes at most 0.5"
        assert check(explained, "session_closed").status is Status.OFF
        assert told(rig, second=1, halted=True).because == "halted: the tick says halted"

    def test_the_session_and_the_kill_switch(self) -> None:
        closed = Rig(sessions={0: Session.PREOPEN})
        assert told(closed).because == "session_closed: the session is preopen; it takes regular"
        killed = Rig()
        killed.command(Operation.KILL)
        assert told(killed).because == "killed: the kill switch is on"

    def test_sizing_is_shown_where_it_changed_something(self) -> None:
        lots = {1: InstrumentSpec(1, lot_size=75, round_to_lot=True)}
        explained = told(Rig(instruments=lots), quantity=100)
        assert explained.sizing is not None
        assert (explained.sizing.quantity, explained.sizing.lot, explained.sizing.sized) == (100, 75, 75)
        assert told(Rig(), quantity=100).sizing is None
        nothing = told(Rig(instruments=lots), quantity=74)
        assert nothing.because.startswith("invalid_quantity: 0 after sizing")

    def test_sizing_by_the_account_is_shown_with_its_mode(self) -> None:
        risk = RiskLimits(sizing=Sizing(SizingMode.EQUITY, capital=10_000.0, fraction=0.5))
        explained = told(Rig(risk=risk), price=100.0, quantity=7)
        assert explained.sizing is not None
        assert (explained.sizing.mode, explained.sizing.quantity, explained.sizing.sized) == ("equity", 7, 50)
        assert dict(page(explained))["sizing"] == "by equity, not 7 = 50"

    def test_rate_interval_duplicates_and_flips(self) -> None:
        risk = RiskLimits(max_signals_per_min=2, min_signal_interval_ns=5 * SECOND, min_flip_ns=60 * SECOND)
        rig = Rig(risk=risk)
        rig.tick(0, 100.0, "BUY")
        rig.tick(1, 100.0)
        explained = told(rig, second=2, price=100.0)
        assert explained.because == "duplicate: 2 s since a BUY in the bucket of 100; it needs 3 s"
        assert check(explained, "min_interval").text == "2 s since the last signal on any instrument; it needs 5 s"
        assert check(explained, "rate_limited").text == "1 signals in the last 60 s; it takes 2 a minute"
        flips = told(rig, "SELL", second=10, quantity=30)
        assert flips.because == "position_guard: +10 to -20 flips, 9 s after its last change; it needs 60 s"


class TestReading:
    def test_a_strategy_with_state_of_its_own_is_asked_without_a_trace(self) -> None:
        class Counting:
            def __init__(self) -> None:
                self.seen: list[float] = []

            def get_required_history_length(self) -> int:
                return 1

            def supports_instrument(self, token: int) -> bool:
                return True

            def get_strategy_name(self) -> str:
                return "counting"

            def process_tick(self, market: Any, history: Any) -> None:
                self.seen.append(float(market.last_price))

        rig = Rig(processor=Counting())
        rig.tick(0, 100.0)
        before = snapshot(rig.engine)
        explain_tick(rig.engine, tick(1, 101.0), rig.executor)
        assert rig.processor.seen == [100.0]
        assert snapshot(rig.engine) == before

    def test_fills_and_the_end_of_the_warm_up_come_before_the_question(self) -> None:
        rig = Rig()
        rig.processor.answer = None
        first = told(rig, None)
        assert first.before == ("WARMUP to ACTIVE: window full",)
        rig.tick(0, 100.0, "BUY")
        explained = told(rig, None, second=1, price=101.0)
        assert explained.before == ("bought 10 at 101 (fee 0.00); the position is +10",)
        assert explained.position == 10

    def test_an_explanation_goes_through_json(self) -> None:
        explained = told(Rig(risk=RiskLimits(cooldown_ns=SECOND)))
        assert msgspec.json.decode(msgspec.json.encode(explained), type=Explanation) == explained

    def test_everybody_who_watches_is_explained_and_one_must_be_named(self) -> None:
        made = pushed(service(), 100.0, 100.0)
        made.register("breakout", instruments=[1, 2], lookback_periods=2)
        explained = explain_all(made.engine, row(2, 100.5))
        assert [each.strategy_id for each in explained] == ["mom", "breakout"]
        with pytest.raises(NothingToExplain, match="2 executors watch instrument 1: mom on paper, breakout on paper"):
            explain_tick(made.engine, row(2, 100.5))
        with pytest.raises(NothingToExplain, match="no strategy watches instrument 9"):
            explain_tick(made.engine, row(2, 100.5, 9))
        with pytest.raises(NothingToExplain, match="'mom' does not watch instrument 2"):
            explain_tick(made.engine, row(2, 100.5, 2), made.executors[0])


@pytest.fixture
def model(tmp_path: Any) -> str:
    # p(BUY) grows with the last return.
    weights = [[-400.0, 0.0, 400.0]]
    return str(linear_model(tmp_path / "m.onnx", ["ret_1"], weights, (0.0, 0.5, 0.0)))


def hybrid(model: str, policy: Any) -> StrategyRunnerService:
    made = StrategyRunnerService(observers=[])
    made.register(
        "hybrid",
        instruments=[1],
        id="both",
        rules={"type": "momentum", "lookback_periods": 2, "threshold": 0.01},
        ml={"type": "ml_momentum", "model_path": model},
        policy=policy,
    )
    return made


class TestVoices:
    def test_a_model_shows_what_it_read_and_what_it_made_of_it(self, model: str) -> None:
        made = StrategyRunnerService(observers=[])
        (executor,) = made.register("ml_momentum", instruments=[1], model_path=model, min_conf=0.9)
        explained = explain_tick(pushed(made, 100.0).engine, row(1, 100.3))
        (vote,) = explained.votes
        assert list(vote.features) == ["ret_1"]
        assert vote.features["ret_1"] == pytest.approx(0.003, rel=1e-6)
        assert sum(vote.probabilities.values()) == pytest.approx(1.0)
        assert explained.because.startswith("not sure enough: SELL 0.")
        assert explained.because.endswith("BUY needs >= 0.9")
        assert getattr(executor.processor, "inferences") == 0  # noqa: B009  of a processor in general

    def test_a_model_that_holds_says_so(self, model: str) -> None:
        made = StrategyRunnerService(observers=[])
        made.register("ml_momentum", instruments=[1], model_path=model)
        assert explain_tick(pushed(made, 100.0).engine, row(1, 100.0)).because.startswith("HOLD is the likeliest: ")

    def test_a_hybrid_shows_both_votes_and_the_verdict(self, model: str) -> None:
        explained = explain_tick(pushed(hybrid(model, "confirm"), 100.0).engine, row(1, 102.0))
        assert [(vote.part, vote.said.side) for vote in explained.votes] == [("rules", "BUY"), ("ml", "BUY")]
        assert explained.verdict is not None
        assert (explained.verdict.policy, explained.verdict.said.side) == ("confirm", "BUY")

    @pytest.mark.parametrize(
        ("policy", "price", "words"),
        [
            ("confirm", 100.5, "confirm let nothing through: rules silent (change is 0.005; BUY needs > 0.01"),
            (
                {"type": "guardrail", "rsi_periods": 1, "overbought": 60},
                102.0,
                "guardrail let nothing through: rules say BUY 0.1, ml say BUY 0.999; rsi is 100; BUY needs < 60",
            ),
            (
                {"type": "threshold_escalation", "vol_threshold": 0.001, "high_vol_conf": 1.0, "min_conf": 0.9},
                100.5,
                "ml_confidence is 0.805512; BUY needs >= 1",
            ),
            ({"type": "majority", "min_conf": 0.999}, 100.5, "ml_confidence is 0.805512; BUY needs >= 0.999"),
            ("sizer", 100.0, "rules: change is 0; BUY needs > 0.01, SELL needs < -0.01; ml: HOLD is the likeliest"),
            ("probability_weighted", 100.5, "probability_weighted let nothing through: rules silent"),
        ],
        ids=lambda value: value["type"] if isinstance(value, Mapping) else str(value)[:24],
    )
    def test_a_policy_says_what_it_lacked(self, model: str, policy: Any, price: float, words: str) -> None:
        made = hybrid(model, policy)
        need = made.executors[0].need
        explained = explain_tick(pushed(made, *[100.0] * (need - 1)).engine, row(need, price))
        assert explained.ending is Ending.NO_SIGNAL
        assert words in explained.because

    def test_a_rule_of_ones_own_says_nothing_unless_it_measures(self) -> None:
        @rule(history=1)
        def quiet(prices: Any) -> None: ...

        made = StrategyRunnerService(observers=[])
        made.register(quiet, instruments=[1])
        assert explain_tick(made.engine, row(0, 1.0)).because == "it does not say what it measured"

        class Measuring:
            def get_required_history_length(self) -> int:
                return 1

            def supports_instrument(self, token: int) -> bool:
                return True

            def get_strategy_name(self) -> str:
                return "mine"

            def process_tick(self, *_: Any) -> None: ...

            def measure(self, prices: Any, end: int) -> Measurement:
                return Measurement({"mine": prices[end - 1]}, note="mine is what it is")

        explained = told(Rig(processor=Measuring()), None)
        assert explained.votes[0].values == {"mine": 100.0}
        assert explained.because == "mine is what it is"


@pytest.mark.parametrize("on_deadline", ["drop", "rules_only"])
def test_an_inference_that_was_too_late_is_told_as_the_recording_has_it(model: str, on_deadline: str) -> None:
    made = StrategyRunnerService(observers=[])
    made.register(
        "hybrid_momentum",
        instruments=[1],
        id="both",
        lookback_periods=2,
        model_path=model,
        inference_deadline_ms=5,
        on_deadline=on_deadline,
    )
    pushed(made, 100.0)
    made.handle(InferenceMissed(START_NS, "both", "paper", 1, 2))
    explained = explain_tick(made.engine, row(1, 102.0))
    assert [(vote.said.side, vote.note) for vote in explained.votes][1] == ("", "the model's answer came too late")
    (_, *rest) = made.handle(row(1, 102.0))
    assert any(isinstance(each, Emitted) for each in rest) is (explained.ending is Ending.EMITTED)
    assert explained.ending is (Ending.EMITTED if on_deadline == "rules_only" else Ending.NO_SIGNAL)
