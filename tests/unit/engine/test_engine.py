"""The engine: who is asked, with what, in which order; what is contained; what its signals carry."""

from __future__ import annotations

import hashlib
import random
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from anystrat.bootstrap import Wiring
from anystrat.domain.configuration import (
    BrokerSettings,
    InstrumentSpec,
    PaperCosts,
    RiskLimits,
    Session,
    StrategyConfig,
)
from anystrat.domain.errors import StaleHistory
from anystrat.domain.events import ModelSwapped
from anystrat.domain.outcomes import Dropped, Emitted, Noted, Outcome, ProcessorFailed, Transition
from anystrat.domain.seeds import derived_seed
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.engine.engine import Engine
from anystrat.strategies.catalog import Catalog, StrategyType
from anystrat.testing.ticks import START, START_NS
from anystrat.testing.ticks import tick as market_tick

from .scripted import MINUTE, SECOND, Rig, Scripted, at, tick


def config(name: str, *tokens: int, **fields: Any) -> StrategyConfig:
    return StrategyConfig(name, "scripted", None, tokens, **fields)


def buys(quantity: int = 1) -> Scripted:
    return Scripted(lambda tick, _: SignalResult("BUY", 0.5, quantity, tick.last_price))


# -------------------------------------------------------------------------------------------------------------- history


def during(look: Callable[[MarketTick, History], Any], length: int = 5, ticks: int = 8) -> Any:
    """What `look` gives on the last of some ticks of prices 100, 101, …"""
    found: list[Any] = []
    rig = Rig(length=length)
    rig.processor.answer = lambda tick, history: found.append(look(tick, history))
    for k in range(ticks):
        rig.step(tick(k, 100.0 + k))
        assert not [outcome for outcome in rig.out if isinstance(outcome, ProcessorFailed)]
    return found[-1]


def test_a_strategy_is_asked_once_its_window_is_full_with_exactly_its_length() -> None:
    rig = Rig(length=3)
    seen: list[list[float]] = []
    rig.processor.answer = lambda _, history: seen.append(history.prices.tolist())
    for k in range(5):
        rig.step(tick(k, 100.0 + k))
    assert seen == [[100, 101, 102], [101, 102, 103], [102, 103, 104]]


def test_a_history_is_read_as_any_sequence_is() -> None:
    def look(tick: MarketTick, history: History) -> tuple[Any, ...]:
        return (
            len(history),
            history[-1] == tick == history[4],
            [float(each.last_price) for each in history],
            float(history[0].last_price),
            float(history[-5].last_price),
            [float(each.last_price) for each in history[1:3]],
            [float(each.last_price) for each in history[::-2]],
            history[7:],
            tick in history,
            [float(each.last_price) for each in reversed(history)],
            history.prices.tolist(),
            [str(price) for price in history.exact_prices()],
            history.last(2).prices.tolist(),
        )

    assert during(look) == (
        5, True, [103, 104, 105, 106, 107], 103, 103, [104, 105], [107, 105, 103], (), True,
        [107, 106, 105, 104, 103], [103, 104, 105, 106, 107], ["103.0", "104.0", "105.0", "106.0", "107.0"],
        [106, 107],
    )  # fmt: skip


@pytest.mark.parametrize("index", [5, -6, 10**9])
def test_a_place_outside_of_the_history_is_an_index_error(index: int) -> None:
    def look(_: MarketTick, history: History) -> str:
        with pytest.raises(IndexError, match=r"history holds 5 ticks"):
            history[index]
        return "looked"

    assert during(look) == "looked"


def test_the_prices_of_a_history_are_read_only() -> None:
    def look(_: MarketTick, history: History) -> str:
        with pytest.raises(ValueError, match="read-only"):
            history.prices[0] = 1.0
        with pytest.raises(TypeError):
            history[0] = history[1]  # type: ignore[index]
        return "looked"

    assert during(look) == "looked"


def test_a_history_is_stale_after_its_call_and_what_was_copied_is_not() -> None:
    rig = Rig(length=2)
    kept: list[Any] = []
    rig.processor.answer = lambda _, history: kept.append((history, tuple(history), history.prices.copy()))
    for k in range(3):
        rig.step(tick(k, 100.0 + k))
    history, ticks, prices = kept[0]
    for read in (lambda: history[0], lambda: history.prices, lambda: len(history), lambda: list(history),
                 lambda: history.last(1), history.exact_prices, lambda: history.memo):  # fmt: skip
        with pytest.raises(StaleHistory, match="copy what you need"):
            read()
    assert repr(history) == "<History: stale>"
    assert [float(each.last_price) for each in ticks] == prices.tolist() == [100.0, 101.0]


def test_a_strategy_that_reads_a_stale_history_has_an_error_of_its_own_and_no_one_elses() -> None:
    rig = Rig()
    kept: list[History] = []

    def look(_: MarketTick, history: History) -> None:
        kept.append(history)
        return kept[0].prices[0] and None

    rig.processor.answer = look
    rig.step(tick(0))
    assert rig.step(tick(1)) == "failed"
    (failed,) = [outcome for outcome in rig.out if isinstance(outcome, ProcessorFailed)]
    assert failed.error.startswith("StaleHistory: this history was handed to an earlier call")


def test_windows_are_per_instrument() -> None:
    rig = Rig(length=2, tokens=(1, 2))
    seen: list[tuple[int, list[float]]] = []
    rig.processor.answer = lambda tick, history: seen.append((tick.instrument_token, history.prices.tolist()))
    for second, token, price in ((0, 1, 10.0), (1, 2, 20.0), (2, 1, 11.0), (3, 2, 21.0)):
        rig.step(tick(second, price, token))
    assert seen == [(1, [10, 11]), (2, [20, 21])]


def test_strategies_share_a_window_and_each_sees_its_own_length_of_it() -> None:
    engine = Engine()
    lengths: list[tuple[int, list[float]]] = []
    for length in (2, 4, 3):
        engine.register(
            config(f"s{length}", 1),
            "paper",
            Scripted(lambda _, history, n=length: lengths.append((n, history.prices.tolist())), length),
        )
    for k in range(4):
        engine.step(tick(k, float(k + 1)))
    assert lengths == [(2, [1, 2]), (2, [2, 3]), (3, [1, 2, 3]), (2, [3, 4]), (4, [1, 2, 3, 4]), (3, [2, 3, 4])]
    assert len(engine.windows) == 1


# ------------------------------------------------------------------------------------------------------------ containing


def failures(outcomes: list[Outcome]) -> list[str]:
    return [outcome.error for outcome in outcomes if isinstance(outcome, ProcessorFailed)]


@pytest.mark.parametrize("answer", ["BUY", ("BUY", 0.5), 1, object(), SignalResult("UP", 0.5, 1, Decimal(1))])
def test_an_answer_that_is_no_signal_is_an_error_like_an_exception(answer: Any) -> None:
    rig = Rig()
    rig.processor.answer = lambda *_: answer
    assert rig.step(tick(0)) == "failed"
    assert rig.executor.counters()["errors"] == 1
    assert rig.executor.counters()["evaluations"] == 1


def test_a_crash_in_one_strategy_is_its_own() -> None:
    engine = Engine()

    def crash(*_: Any) -> None:
        raise RuntimeError("boom")

    for name, processor in (("a", buys()), ("b", Scripted(crash)), ("c", buys())):
        engine.register(config(name, 1), "paper", processor)
    outcomes = engine.step(tick(0, 123.5))
    assert [outcome.signal.strategy_id for outcome in outcomes if isinstance(outcome, Emitted)] == ["a", "c"]
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, ProcessorFailed)]
    assert (failed.strategy_id, failed.broker, failed.instrument_token, failed.ts_ns) == ("b", "paper", 1, at(0))
    assert failed.error == "RuntimeError: boom"
    assert "in crash" in failed.traceback
    assert failed.last_prices == (123.5,)


def test_an_error_shows_the_last_prices_oldest_first() -> None:
    rig = Rig(length=8)
    rig.processor.answer = lambda *_: 1 / 0
    for k in range(8):
        rig.step(tick(k, 100.0 + k))
    (failed,) = [outcome for outcome in rig.out if isinstance(outcome, ProcessorFailed)]
    assert failed.last_prices == (103.0, 104.0, 105.0, 106.0, 107.0)


def test_what_ends_a_program_is_not_contained() -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    rig = Rig()
    rig.processor.answer = stop
    with pytest.raises(KeyboardInterrupt):
        rig.step(tick(0))


def test_hold_is_kept_as_an_outcome_and_changes_nothing() -> None:
    rig = Rig(risk=RiskLimits(cooldown_ns=MINUTE, risk_multiplier=Decimal("0.5"), min_confidence=0.9))
    assert rig.tick(0, 100, "HOLD", 7, confidence=9.9) == "held"
    held = rig.out[-1]
    assert held.signal.quantity == 7  # type: ignore[union-attr]
    assert rig.executor.counters()["holds"] == 1
    assert rig.executor.counters()["drops"] == {}
    assert rig.tick(1, 100, "BUY", confidence=0.9) == "emitted"


# ------------------------------------------------------------------------------------------------------------ validators


class Judge:
    def __init__(self, verdict: Callable[..., Any]) -> None:
        self.verdict = verdict

    def validate(self, signal: Any, tick: Any, history: Any, context: Any) -> Any:
        return self.verdict(signal, tick, history, context)


def judged(verdict: Callable[..., Any], **fields: Any) -> Rig:
    return Rig(validator=Judge(verdict), **fields)


def test_a_validator_sees_the_sized_signal_the_tick_the_history_and_the_context() -> None:
    seen: list[Any] = []

    def look(signal: SignalResult, tick: MarketTick, history: History, context: Any) -> SignalResult:
        seen.append((signal.quantity, tick.last_price, history.prices.tolist(), context))
        return signal

    risk = RiskLimits(risk_multiplier=Decimal("0.5"))
    rig = judged(look, risk=risk, length=2, sessions={1: Session.REGULAR})
    rig.tick(0, 100)
    assert rig.tick(1, 101, "BUY", 21) == "emitted"
    quantity, price, prices, context = seen[0]
    assert (quantity, price, prices) == (10, Decimal("101.0"), [100.0, 101.0])
    assert (context.strategy_id, context.broker, context.ts_ns) == ("s", "paper", at(1))
    assert context.market_session is Session.REGULAR
    assert context.risk_limits is risk
    assert context.portfolio_state.positions == {}
    rig.tick(2, 102, "BUY", 21)
    assert seen[1][3].portfolio_state.positions == {1: 10}


def test_a_validators_amended_signal_goes_on_to_the_standard_checks() -> None:
    def halve(signal: SignalResult, *_: Any) -> SignalResult:
        return SignalResult(signal.signal_type, signal.confidence, signal.quantity // 2, signal.price, "halved")

    rig = judged(halve, risk=RiskLimits(max_quantity=5, risk_multiplier=Decimal(1)))
    assert rig.tick(0, 100, "BUY", 10) == "emitted"
    assert (rig.signal.quantity, rig.signal.reasoning) == (5, "halved")
    assert rig.tick(1, 101, "BUY", 12) == "invalid_quantity"


def test_a_validators_quantity_is_not_sized_a_second_time() -> None:
    def ten(signal: SignalResult, *_: Any) -> SignalResult:
        return SignalResult(signal.signal_type, signal.confidence, 10, signal.price)

    rig = judged(ten, risk=RiskLimits(risk_multiplier=Decimal("0.5")))
    rig.tick(0, 100, "BUY", 100)
    assert rig.signal.quantity == 10


def test_a_validator_refuses_with_a_label_of_its_own_that_is_counted() -> None:
    rig = judged(lambda signal, *_: "too_wild" if signal.quantity > 5 else signal)
    assert rig.tick(0, 100, "BUY", 6) == "too_wild"
    dropped = rig.out[-1]
    assert isinstance(dropped, Dropped)
    assert (dropped.strategy_id, dropped.instrument_token, dropped.ts_ns) == ("s", 1, at(0))
    assert rig.executor.counters()["drops"] == {"too_wild": 1}
    assert rig.tick(0, 100, "BUY", 5) == "emitted"
    rig.reborn()
    assert rig.executor.counters()["drops"] == {"too_wild": 1}


def test_a_validator_can_tighten_the_checks_and_not_lift_them() -> None:
    rig = judged(lambda signal, *_: signal, risk=RiskLimits(cooldown_ns=SECOND))
    rig.tick(0, 100, "BUY")
    assert rig.tick(0.5, 101, "BUY") == "cooldown"


@pytest.mark.parametrize("verdict", [None, False, 3, ("no",), SignalResult("UP", 0.5, 1, Decimal(1))])
def test_a_validators_nonsense_is_an_error_of_its_strategy(verdict: Any) -> None:
    rig = judged(lambda *_: verdict)
    assert rig.tick(0, 100, "BUY") == "failed"


def test_a_validator_that_raises_is_contained_and_its_history_ends_with_the_call() -> None:
    kept: list[History] = []

    def crash(signal: Any, tick: Any, history: History, context: Any) -> Any:
        kept.append(history)
        raise RuntimeError("boom")

    rig = judged(crash)
    assert rig.tick(0, 100, "BUY") == "failed"
    assert failures(rig.out) == ["RuntimeError: boom"]
    with pytest.raises(StaleHistory):
        len(kept[0])


def test_a_validator_is_not_asked_about_hold() -> None:
    rig = judged(lambda *_: "never")
    assert rig.tick(0, 100, "HOLD") == "held"


# ----------------------------------------------------------------------------------------------------- seeds and routing


class Seeded(Scripted):
    seed: int | None = None

    def set_seed(self, seed: int) -> None:
        assert self.seed is None, "seeded twice"
        assert self.calls == 0
        self.seed = seed


def seeds_of(engine: Engine) -> list[int]:
    return [executor.processor.seed for executor in engine.executors]  # type: ignore[attr-defined]


def test_seeds_follow_from_the_runs_seed_the_strategy_and_the_broker() -> None:
    def make(rng_seed: int) -> list[int]:
        engine = Engine(rng_seed=rng_seed)
        for name in ("a", "b"):
            for broker in ("paper", "out"):
                engine.register(config(name, 1, 2), broker, Seeded())
        return seeds_of(engine)

    assert make(7) == make(7)
    assert len({*make(7), *make(8)}) == 8
    assert make(7)[0] == derived_seed(7, "a", "paper")


def test_with_an_executor_an_instrument_each_has_a_seed_of_its_own() -> None:
    engine = Engine(rng_seed=7)
    for token in (1, 2):
        engine.register(config("a", 1, 2, per_instrument=True), "paper", Seeded(), tokens=(token,))
    first, second = seeds_of(engine)
    assert first != second
    assert first == derived_seed(7, "a", "paper", (1,))


def wiring() -> Wiring:
    """A catalogue with one scripted type that buys, and no models."""
    catalog = Catalog()
    catalog.register(StrategyType("scripted", "rules", object, lambda *_: buys(), "Buys."))
    return Wiring(catalog, models=None)  # type: ignore[arg-type]  # no strategy here has a model


PAPER = {"paper": BrokerSettings("paper", "paper", PaperCosts())}


def test_per_instrument_gives_each_its_own_executor_gate_and_account() -> None:
    risk = RiskLimits(cooldown_ns=0, min_signal_interval_ns=MINUTE, max_exposure=150.0)
    one, each = Engine(), Engine()
    wiring().add_row(one, config("s", 1, 2, risk=risk), PAPER)
    wiring().add_row(each, config("s", 1, 2, risk=risk, per_instrument=True), PAPER)
    assert [executor.tokens for executor in one.executors] == [(1, 2)]
    assert [executor.tokens for executor in each.executors] == [(1,), (2,)]
    for engine, second in ((one, 0), (each, 1)):
        signals = [o for token in (1, 2) for o in engine.step(tick(0, 100.0, token)) if isinstance(o, Emitted)]
        assert len(signals) == 1 + second


def test_ids_do_not_depend_on_whether_instruments_have_executors_of_their_own() -> None:
    ids = []
    for per_instrument in (False, True):
        engine = Engine()
        wiring().add_row(engine, config("s", 1, 2, per_instrument=per_instrument), PAPER)
        ids.append([o.signal.signal_id for t in (1, 2) for o in engine.step(tick(0, 1.0, t)) if isinstance(o, Emitted)])
    assert ids[0] == ids[1]


def test_signals_come_in_the_order_of_rows_and_then_of_brokers() -> None:
    engine = Engine()
    for name in ("z", "a", "m"):
        wiring().add_row(engine, config(name, 1, active_brokers=("out", "paper")), PAPER)
    signals = engine.on_tick(market_tick(1, 100, 0))
    assert [(signal.strategy_id, signal.broker) for signal in signals] == [
        ("z", "out"), ("z", "paper"), ("a", "out"), ("a", "paper"), ("m", "out"), ("m", "paper"),
    ]  # fmt: skip
    assert len({signal.signal_id for signal in signals}) == 6


def test_a_strategy_can_be_registered_while_ticks_come_in() -> None:
    rig = Rig(length=2)
    for k in range(5):
        rig.tick(k, 100.0 + k)
    seen: list[list[float]] = []
    late = Scripted(lambda _, history: seen.append(history.prices.tolist()), 4)
    same = Scripted(lambda _, history: seen.append(history.prices.tolist()), 1)
    executors = [rig.engine.register(config(name, 1), "paper", each) for name, each in (("late", late), ("same", same))]
    assert [executor.state.name for executor in executors] == ["WARMUP", "WARMUP"]
    rig.tick(5, 105)
    assert seen == [[105.0]]  # only two ticks had been kept: the longer window is not full yet
    rig.tick(6, 106)
    assert seen[1:] == [[103.0, 104.0, 105.0, 106.0], [106.0]]
    assert rig.processor.calls == 6


def test_registering_leaves_gates_and_accounts_as_they_were() -> None:
    rig = Rig(risk=RiskLimits(cooldown_ns=MINUTE, max_signals_per_min=3))
    rig.tick(0, 100, "BUY", 10)
    rig.engine.register(config("other", 1, 2, 3, risk=RiskLimits(max_signals_per_min=5)), "paper", Scripted())
    rig.tick(1, 110)
    assert rig.position() == 10
    assert rig.tick(2, 120, "SELL", 4) == "cooldown"
    assert rig.tick(60, 120, "SELL", 4) == "emitted"
    rig.tick(61, 120)
    assert rig.executor.portfolio.realised == 40.0


def test_a_thousand_ticks_across_a_hundred_strategies_meet_no_strangers() -> None:
    rng = random.Random(4)
    engine = Engine()
    seen: dict[str, list[tuple[int, float]]] = {}
    watched: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Callable[[MarketTick, History], None]:
        def look(tick: MarketTick, history: History) -> None:
            assert history[-1] is tick
            assert {each.instrument_token for each in history} == {tick.instrument_token}
            seen[name].append((tick.instrument_token, float(tick.last_price)))

        return look

    for k in range(100):
        name = f"s{k}"
        watched[name] = tuple(rng.sample(range(30), rng.randint(1, 5)))
        seen[name] = []
        engine.register(config(name, *watched[name]), "paper", Scripted(watch(name), rng.randint(1, 4)))
    ticks = [(rng.randrange(32), float(k + 1)) for k in range(1000)]
    for k, (token, price) in enumerate(ticks):
        assert not failures(engine.step(tick(k, price, token)))

    for executor in engine.executors:
        name, need = executor.strategy_id, executor.need
        counts: Counter[int] = Counter()
        expected = []
        for token, price in ticks:
            counts[token] += token in watched[name]
            if token in watched[name] and counts[token] >= need:
                expected.append((token, price))
        assert seen[name] == expected
    assert engine.tick_drops["unrouted"] == sum(
        token not in {t for w in watched.values() for t in w} for token, _ in ticks
    )


def calls_of_a_tick(strangers: int) -> int:
    """How many Python functions one tick runs through, beside strategies that watch something else."""
    engine = Engine()
    engine.register(config("mine", 1), "paper", Scripted())
    for k in range(strangers):
        engine.register(config(f"s{k}", 1000 + k), "paper", Scripted())
    engine.step(tick(0))
    calls: list[str] = []
    row = tick(1)
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        engine.step(row)
    finally:
        sys.setprofile(None)
    return len(calls)


def test_a_tick_costs_the_same_however_many_strategies_watch_something_else() -> None:
    assert calls_of_a_tick(0) == calls_of_a_tick(500)


def test_an_instrument_that_no_one_watches_costs_one_look() -> None:
    rig = Rig()
    assert rig.step(tick(0, token=99)) == "unrouted"
    assert rig.processor.calls == 0
    assert len(rig.engine.windows) == 1


# ------------------------------------------------------------------------------------------------------------ signal ids


def id_by_hand(strategy: str, broker: str, token: int, side: int, bucket: int, epoch: int) -> str:
    """The formula, step by step, on integers of any size."""
    halves = []
    digest = hashlib.sha256(f"{strategy}|{broker}".encode()).digest()
    for base in (digest[:8], digest[8:16]):
        h = int.from_bytes(base, "big")
        for v in (token, side, bucket, epoch):
            x = ((h ^ (v % 2**64)) + 0x9E3779B97F4A7C15) % 2**64
            x ^= x >> 30
            x = x * 0xBF58476D1CE4E5B9 % 2**64
            x ^= x >> 27
            x = x * 0x94D049BB133111EB % 2**64
            h = x ^ (x >> 31)
        halves.append(f"{h:016x}")
    return "".join(halves)


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("token", [1, 256265, 2**62])
def test_a_signals_id_is_the_formulas(side: str, token: int) -> None:
    rig = Rig(tokens=(token,))
    rig.tick(7, "20123.4567", side, token=token)
    expected = id_by_hand("s", "paper", token, 1 if side == "BUY" else 2, 2012345, at(7) // (3 * SECOND))
    assert rig.signal.signal_id == expected
    assert len(expected) == 32


def test_ids_take_buckets_and_windows_as_configured() -> None:
    rig = Rig(risk=RiskLimits(price_bucket=Decimal("0.05"), dedupe_window_ns=7 * SECOND))
    rig.tick(0, "100.09", "BUY")
    assert rig.signal.signal_id == id_by_hand("s", "paper", 1, 1, 2001, START_NS // (7 * SECOND))


def test_an_id_of_a_bucket_beyond_64_bits_wraps_as_the_formula_says() -> None:
    rig = Rig(risk=RiskLimits(price_bucket=Decimal("1e-20")))
    rig.tick(0, "12.5", "BUY")
    assert rig.signal.signal_id == id_by_hand(
        "s", "paper", 1, 1, 1_250_000_000_000_000_000_000, START_NS // (3 * SECOND)
    )
    assert rig.tick(1, "12.5", "BUY") == "duplicate"


def test_no_two_signals_of_a_run_have_one_id() -> None:
    rng = random.Random(1)
    rig = Rig(risk=RiskLimits(dedupe_window_ns=SECOND), tokens=(1, 2))
    ids = []
    for k in range(2000):
        price, say, token = 100 + rng.randrange(3), rng.choice(["BUY", "SELL"]), rng.choice([1, 2])
        if rig.tick(k * Decimal("0.05"), price, say, token=token) == "emitted":
            ids.append(rig.signal.signal_id)
    assert len(ids) > 500
    assert len(set(ids)) == len(ids)


# ------------------------------------------------------------------------------------------------------ the front door


def test_public_ticks_and_rows_are_the_same_to_the_engine() -> None:
    by_row, by_tick = Rig(), Rig()
    by_row.tick(1, "100.25", "BUY")
    by_tick.processor.answer = by_row.processor.answer
    (signal,) = by_tick.engine.on_tick(market_tick(1, "100.25", 1))
    assert signal == by_row.signal
    assert signal.ts_ns == by_row.signal.ts_ns == int(START.timestamp() + 1) * SECOND


def test_a_swapped_model_is_noted() -> None:
    rig = Rig()
    rig.step(ModelSwapped(5, "m.onnx", "ab"))
    assert rig.out == [Noted("model_swapped", 5, None, {"path": "m.onnx", "sha256": "ab"})]


def test_registering_is_a_transition_of_its_own() -> None:
    engine = Engine({1: InstrumentSpec(1)})
    executor = engine.register(config("s", 1), "paper", Scripted())
    assert executor.state.name == "WARMUP"
    outcomes = engine.step(tick(0))
    assert [(o.before.name, o.after.name, o.instrument_token) for o in outcomes if isinstance(o, Transition)] == [
        ("WARMUP", "ACTIVE", 1)
    ]
