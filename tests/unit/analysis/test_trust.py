"""Every trust check finds the fault that is planted for it, and lets what is clean pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.analysis import planted

from anystrat.analysis.trust.case import Case
from anystrat.analysis.trust.suite import CHECKS, trust
from anystrat.analysis.trust.verdict import Outcome, Verdict
from anystrat.bootstrap import Wiring, build_engine, default_wiring, inspect_model
from anystrat.config import configuration_from_mapping
from anystrat.domain.errors import UnknownName
from anystrat.strategies.catalog import StrategyType
from anystrat.strategies.feature_summary import METHOD, feature_bins, recorded_rows, stability_index
from anystrat.strategies.features import FEATURES, FeatureRegistry
from anystrat.testing.models import linear_model
from anystrat.testing.ticks import columns, row

NAMES = ["ret_1", "ret_5", "z_20"]


def case(
    *types: StrategyType,
    prices: list[float] | None = None,
    rows: list[dict[str, Any]] | None = None,
    fee_bps: float = 0.0,
    card: Callable[[str], Any] | None = None,
) -> Case:
    wiring = default_wiring()
    for each in types:
        wiring.catalog.register(each)
    given = rows or [{"id": each.name, "strategy_type": each.name, "instruments": [1]} for each in types]
    configuration = configuration_from_mapping(
        {"version": 1, "brokers": {"paper": {"type": "paper", "fee_bps": fee_bps}}, "strategies": given},
        wiring.catalog,
    )
    block = columns([row(1, price, second) for second, price in enumerate(prices or planted.PRICES)])
    planted.remember(block.ts_ns.tolist(), block.price.tolist())

    def build(configured: Any) -> Any:
        return build_engine(configured, Wiring(wiring.catalog, wiring.models))

    return Case(configuration, build, [block], card=card)


def verdict(check: str, made: Case) -> Verdict:
    (found,) = trust(made, [check])
    return found


def judged(check: str, planted_class: Any) -> Verdict:
    return verdict(check, case(planted.strategy(planted_class)))


@pytest.mark.parametrize("check", ["peeking", "warmup", "purity"])
def test_a_clean_strategy_passes(check: str) -> None:
    found = judged(check, planted.Clean)
    assert found.outcome is Outcome.PASS, found
    assert found.number in {0.0, 3.0}


@pytest.mark.parametrize("check", ["peeking", "warmup", "purity"])
@pytest.mark.parametrize("name", ["momentum", "mean_reversion", "breakout", "sma_crossover"])
def test_so_does_every_rule_of_ours(check: str, name: str) -> None:
    periods = {"fast_periods": 3, "slow_periods": 8} if name == "sma_crossover" else {"lookback_periods": 8}
    more = {"threshold": 0.005} if name == "momentum" else {}
    made = case(rows=[{"id": "r", "strategy_type": name, "parameters": {**periods, **more}, "instruments": [1]}])
    assert verdict(check, made).outcome is Outcome.PASS, verdict(check, made)


class TestPeeking:
    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            (planted.ByDate, "when the same prices come 364 days earlier"),
            (planted.ByPrice, "when every price is a billionth higher"),
            (planted.Centred, "change with the prices that come after them"),
            (planted.Scribbler, "it changes the history that it was handed"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_whoever_knows_more_than_the_window_is_found(self, fault: Any, words: str) -> None:
        found = judged("peeking", fault)
        assert found.outcome is Outcome.FAIL, found
        assert words in found.found
        assert "2024-01-02T" in found.found
        assert found.number is not None
        assert found.number >= 1
        assert found.advice

    def test_how_many_signals_were_looked_at_is_said(self) -> None:
        made = case(planted.strategy(planted.Clean))
        made.sample = 5
        spoken = sum(each.answer.value is not None for each in made.subject(made.rows[0]).sightings)  # type: ignore[union-attr]
        assert verdict("peeking", made).found.startswith(f"5 of {spoken:,} signals")

    def test_the_same_seed_looks_at_the_same_signals(self) -> None:
        def chosen(seed: int) -> list[int]:
            made = case(planted.strategy(planted.Clean))
            made.seed, made.sample = seed, 5
            return [each.at for each in made.subject(made.rows[0]).spoken()]  # type: ignore[union-attr]

        assert chosen(1) == chosen(1) != chosen(2)

    def test_a_strategy_without_signals_is_not_judged(self) -> None:
        made = case(planted.strategy(planted.Clean), prices=[100.0] * 50)
        assert verdict("peeking", made).outcome is Outcome.NOT_APPLICABLE


class TestWarmUp:
    def test_an_average_that_is_carried_on_needs_more_than_it_declares(self) -> None:
        found = judged("warmup", planted.Averaging)
        assert found.outcome is Outcome.FAIL
        assert found.found.startswith("it declares 3 ticks and decides as in a long run only after ")
        assert found.number is not None
        assert found.number > 3

    def test_a_strategy_that_waits_for_more_ticks_than_it_declares_never_speaks(self) -> None:
        found = judged("warmup", planted.TooShort)
        assert found.outcome is Outcome.FAIL
        assert (found.number, found.limit) == (8, 2)
        assert found.found == "on the 2 ticks that it declares it never speaks, on 8 it does"

    def test_one_that_declares_too_many_passes_and_is_told_so(self) -> None:
        found = judged("warmup", planted.Wasteful)
        assert found.outcome is Outcome.PASS
        assert (found.number, found.limit) == (3, 30)
        assert "27 ticks of warm-up are for nothing" in found.advice


class TestPurity:
    @pytest.mark.parametrize(
        ("fault", "way"),
        [
            (planted.Counting, "a restart after"),
            (planted.Averaging, "a restart after"),
            (planted.Sharing, "beside a second instance of it"),
            (planted.Clockwork, "a second run"),
            (planted.Centred, "over columns"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_hidden_state_is_found_by_the_way_that_shows_it(self, fault: Any, way: str) -> None:
        found = judged("purity", fault)
        assert found.outcome is Outcome.FAIL, found
        assert found.found.startswith(way)
        assert "instrument 1" in found.found
        assert found.advice

    def test_a_strategy_that_is_never_asked_is_not_judged(self) -> None:
        made = case(planted.strategy(planted.Clean), prices=[100.0, 101.0])
        assert verdict("purity", made).outcome is Outcome.NOT_APPLICABLE


MOMENTUM = {
    "id": "m",
    "strategy_type": "momentum",
    "parameters": {"lookback_periods": 2, "threshold": 0.004, "position_size": 10, "max_position_size": 10},
    "instruments": [1],
}
#: A wave that a follower earns on.
WAVE = [round(100 + 5 * float(np.sin(at / 9)), 2) for at in range(2_000)]


class TestMoney:
    def test_the_fee_at_which_the_edge_is_gone_is_found(self) -> None:
        found = verdict("costs", case(prices=WAVE, rows=[MOMENTUM], fee_bps=1.0))
        assert found.outcome is Outcome.PASS
        assert found.limit == 1.0
        edge = found.number
        assert edge is not None
        for fee, sign in ((edge - 0.1, 1), (edge + 0.1, -1)):
            engine = case(prices=WAVE, rows=[MOMENTUM], fee_bps=fee)
            (executor,) = engine.run(engine.engine()).executors
            pnl = executor.portfolio.cash + executor.market_value
            assert pnl * sign > 0, (fee, pnl)

    def test_a_fee_above_it_is_a_finding(self) -> None:
        found = verdict("costs", case(prices=WAVE, rows=[MOMENTUM], fee_bps=500.0))
        assert found.outcome is Outcome.FAIL
        assert found.limit == 500.0

    def test_where_fees_decide_too_it_is_bisected(self) -> None:
        row_with_streak = {**MOMENTUM, "parameters": {**MOMENTUM["parameters"], "risk": {"max_loss_streak": 3}}}  # type: ignore[dict-item]
        assert verdict("costs", case(prices=WAVE, rows=[row_with_streak], fee_bps=1.0)).outcome is Outcome.PASS

    def test_one_that_loses_without_fees_and_one_that_never_trades(self) -> None:
        late = verdict("costs", case(prices=[100.0, 101.0, 102.0, 101.0] * 50, rows=[MOMENTUM]))
        assert late.outcome is Outcome.FAIL
        assert late.found.startswith("it loses without any fee: -")
        flat = verdict("costs", case(prices=[100.0] * 50, rows=[MOMENTUM]))
        assert flat.outcome is Outcome.NOT_APPLICABLE

    def test_a_steady_winner_is_no_luck_and_noise_is(self) -> None:
        steady = verdict("monte_carlo", case(prices=WAVE, rows=[MOMENTUM]))
        assert steady.outcome is Outcome.PASS, steady
        assert steady.number == 0.0
        noise = np.round(100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.004, 2_000))), 2).tolist()
        lucky = verdict("monte_carlo", case(prices=noise, rows=[MOMENTUM]))
        assert lucky.outcome is Outcome.FAIL, lucky
        assert lucky.number is not None
        assert lucky.number > 0.05

    def test_draws_are_the_seed_s_and_few_trades_say_nothing(self) -> None:
        made = [verdict("monte_carlo", case(prices=WAVE, rows=[MOMENTUM])) for _ in range(2)]
        assert made[0] == made[1]
        few = verdict("monte_carlo", case(prices=WAVE[:200], rows=[MOMENTUM]))
        assert few.outcome is Outcome.NOT_APPLICABLE


@pytest.fixture
def trained(tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A model, and the card of its training on the planted prices."""
    path = linear_model(tmp_path / "m.onnx", NAMES, [[-90.0, 0.0, 90.0], [-40.0, 0.0, 40.0], [0.0, 0.0, 0.0]])
    features, prices = FEATURES.feature_set(NAMES), np.array(planted.PRICES)
    card = {
        "drift": {"method": METHOD, "bins": feature_bins(NAMES, features.matrix(prices))},
        "recorded": recorded_rows(features, prices),
    }
    return str(path), json.loads(json.dumps(card))


def models(path: str, card: Any, prices: list[float] | None = None) -> Case:
    model = {"id": "ml", "strategy_type": "ml_momentum", "parameters": {"model_path": path}, "instruments": [1]}
    return case(rows=[model], prices=prices, card=lambda _path: card)


class TestModels:
    def test_a_model_that_is_served_as_it_was_trained_passes(self, trained: tuple[str, dict[str, Any]]) -> None:
        made = models(*trained)
        assert [verdict(name, made).outcome for name in CHECKS if name not in {"costs", "monte_carlo"}] == [
            Outcome.PASS
        ] * 5

    def test_a_feature_that_was_computed_otherwise_in_training_is_found(
        self, trained: tuple[str, dict[str, Any]]
    ) -> None:
        path, card = trained
        card["recorded"][2]["features"]["z_20"] *= 1.02
        found = verdict("skew", models(path, card))
        assert found.outcome is Outcome.FAIL
        assert found.number == 1.0
        assert found.found.startswith("1 of 8 rows of the training have other features now: z_20 was ")

    def test_a_feature_whose_column_differs_from_its_formula_is_found(self, tmp_path: Path) -> None:
        registry = FeatureRegistry()
        registry.register_feature("half", lambda prices, end: prices[end - 1] / 2, 1, lambda prices: prices / 2.001)
        path = linear_model(tmp_path / "skewed.onnx", ["half"])
        FEATURES.fixed["half"] = registry.fixed["half"]
        try:
            found = verdict("skew", models(str(path), {}))
        finally:
            del FEATURES.fixed["half"]
        assert found.outcome is Outcome.FAIL
        assert found.found.startswith("half is ")

    def test_another_market_is_a_drift(self, trained: tuple[str, dict[str, Any]]) -> None:
        path, card = trained
        wild = [100 + 40 * (at % 2) for at in range(500)]
        found = verdict("drift", models(path, card, [float(price) for price in wild]))
        assert found.outcome is Outcome.FAIL
        assert found.limit == 0.25
        assert found.number is not None
        assert found.number > 0.25
        calm = verdict("drift", models(path, card))
        assert calm.number is not None
        assert calm.number < 0.01

    @pytest.mark.parametrize("card", [None, {}, "a text", {"drift": []}, {"drift": {"bins": [1, {}]}, "recorded": [1]}])
    def test_old_and_odd_cards_are_no_error(self, trained: tuple[str, dict[str, Any]], card: Any) -> None:
        made = models(trained[0], card)
        assert verdict("drift", made).outcome is Outcome.NOT_APPLICABLE
        assert verdict("skew", made).outcome is Outcome.PASS
        assert "recorded_rows" in verdict("skew", made).advice

    def test_rules_have_no_model(self) -> None:
        made = case(planted.strategy(planted.Clean))
        assert verdict("skew", made).outcome is verdict("drift", made).outcome is Outcome.NOT_APPLICABLE

    def test_a_card_beside_a_file_is_read_from_there(self, trained: tuple[str, dict[str, Any]]) -> None:
        path, card = trained
        Path(path).with_name("m.card.json").write_text(json.dumps(card))
        made = models(path, None)
        made.card = lambda name: inspect_model(name)["card"]
        assert verdict("drift", made).outcome is Outcome.PASS


def test_the_stability_index_is_zero_for_the_same_and_the_formula_by_hand() -> None:
    values = np.arange(100.0)[:, None]
    (bins,) = feature_bins(["x"], values)
    assert stability_index(bins, values[:, 0]) == pytest.approx(0.0, abs=1e-9)
    by_hand = {"edges": [0.0], "shares": [0.5, 0.5]}
    expected = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert stability_index(by_hand, np.array([-1.0] * 8 + [1.0] * 2)) == pytest.approx(expected)


def test_names_that_are_not_there_are_refused_with_the_nearest() -> None:
    made = case(planted.strategy(planted.Clean))
    with pytest.raises(UnknownName, match="did you mean 'peeking'"):
        list(trust(made, ["peaking"]))
    with pytest.raises(UnknownName, match="did you mean 'clean'"):
        list(trust(made, strategies=["claen"]))


def test_a_disabled_strategy_is_left_alone() -> None:
    made = case(planted.strategy(planted.Clean))
    made.configuration = replace(
        made.configuration, strategies=tuple(replace(each, enabled=False) for each in made.configuration.strategies)
    )
    assert list(trust(made)) == []


def test_what_is_said_of_a_file_of_bars_speaks_of_bars():
    made = case(planted.strategy(planted.Clean))
    (block,) = made.ticks
    bars = replace(made, ticks=[replace(block, open=block.price, high=block.price, low=block.price)])
    for check in ("peeking", "warmup", "purity", "costs"):
        found = verdict(check, bars)
        assert " ticks" not in f"{found.found} {found.advice}"
    assert " bars " in verdict("warmup", bars).found
    assert " ticks " in verdict("warmup", made).found
