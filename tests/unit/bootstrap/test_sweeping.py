"""A sweep's trials, together or alone, in one process or several, at once or after an interruption: always the same."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anystrat
from anystrat.adapters.ray_pool import RayPool, RayRefused
from anystrat.adapters.study_file import StudyError
from anystrat.bootstrap import Wiring, default_catalog, default_wiring
from anystrat.bootstrap.sweep_trials import Setup, TrialRunner
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.parameters import Doc, Ge
from anystrat.sweeps.space import SpaceError
from anystrat.sweeps.trial import Trial
from anystrat.testing.ticks import synthetic_ticks

TICKS = list(synthetic_ticks(5, [1, 2], 4_000, ticks_per_day=200, halts=0.0))
CONFIG: dict[str, Any] = {
    "version": 1,
    "run": {"name": "swept", "rng_seed": 3},
    "brokers": {"paper": {"type": "paper", "fee_bps": 1, "slippage_bps": 1}},
    "strategies": [
        {
            "id": "trend",
            "strategy_type": "sma_crossover",
            "parameters": {"fast_periods": 3, "slow_periods": 9},
            "instruments": [1, 2],
        },
        {
            "id": "fade",
            "strategy_type": "mean_reversion",
            "parameters": {"lookback_periods": 8, "risk": {"cooldown_sec": 900}},
            "instruments": [1, 2],
            "per_instrument": True,
        },
    ],
}


@dataclass(frozen=True)
class Odds:
    """Parameters of `dice`."""

    odds: Annotated[float, Ge(0), Doc("How likely a trade is on a tick.")] = 0.1


class Dice:
    """Trades by chance: the seed that it is given is all that it knows."""

    def __init__(self, odds: float) -> None:
        self._odds = odds
        self._random = Random(0)

    def set_seed(self, seed: int) -> None:
        self._random = Random(seed)

    def get_required_history_length(self) -> int:
        return 1

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "dice"

    def process_tick(self, tick: Any, history: Any) -> Any:
        if self._random.random() > self._odds:
            return None
        side = "BUY" if self._random.random() < 0.5 else "SELL"
        return anystrat.SignalResult(side, 1.0, 1, tick.last_price, "")


def same(one: Trial, other: Trial) -> bool:
    return one.settings == other.settings and one.figures == other.figures and bool(np.all(one.marks == other.marks))


def runner(config: dict[str, Any] = CONFIG, *, only: tuple[str, ...] = ()) -> TrialRunner:
    return TrialRunner(Setup(config, only), blocks=TICKS)


@settings(max_examples=12)
@given(
    trials=st.lists(
        st.fixed_dictionaries(
            {"parameters.lookback_periods": st.integers(2, 30), "parameters.z_entry": st.sampled_from([0.5, 1.0, 1.7])}
        ),
        min_size=2,
        max_size=5,
        unique_by=lambda each: tuple(each.values()),
    )
)
def test_a_trial_among_others_is_the_trial_alone_to_the_last_bit(trials: list[dict[str, Any]]):
    together = runner().run(trials)
    assert any(trial.figure("trades") > 0 for trial in together)
    for found, settings_ in zip(together, trials, strict=True):
        (alone,) = runner().run([settings_])
        assert same(found, alone)


@settings(max_examples=4)
@given(fasts=st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True))
def test_a_trial_is_what_a_backtest_of_its_settings_is_to_the_last_bit(fasts: list[int]):
    trials = runner(only=("trend",)).run([{"parameters.fast_periods": fast} for fast in fasts])
    for fast, found in zip(fasts, trials, strict=True):
        row = CONFIG["strategies"][0] | {"parameters": {"fast_periods": fast, "slow_periods": 9}}
        result = anystrat.backtest(CONFIG | {"strategies": [row]}, anystrat.TickColumns(*_columns()))
        assert found.figures == result.stats.to_dict()
        assert found.marks.tolist() == result.portfolio.marks.tolist()


def test_variants_of_a_strategy_of_chance_draw_the_same_numbers():
    kind = anystrat.StrategyType("dice", "rules", Odds, lambda odds, _context: Dice(odds.odds), "By chance.")
    row = {"id": "dice", "strategy_type": "dice", "instruments": [1]}
    wiring = Wiring(default_catalog(), default_wiring().models)
    wiring.catalog.register(kind)
    config = {"version": 1, "run": {"rng_seed": 9}, "strategies": [row]}
    trials = [{"parameters.odds": odds} for odds in (0.05, 0.1, 0.2)]
    together = TrialRunner(Setup(config), wiring, TICKS).run(trials)
    alone = [TrialRunner(Setup(config), wiring, TICKS).run([each])[0] for each in trials]
    assert all(map(same, together, alone))
    assert len({trial.figure("fills") for trial in together}) == 3


def test_strategies_that_do_not_vary_are_not_run_and_those_that_do_are_summed_up():
    (one,) = runner().run([{"parameters.lookback_periods": 8}])
    assert one.start == 1_000_000.0  # of the two, `fade` alone has such a parameter
    (both,) = runner().run([{"risk.cooldown_sec": 0}])
    assert both.start == 2_000_000.0


def test_what_the_configuration_refuses_is_told_and_the_rest_is_run():
    result = anystrat.sweep(CONFIG, _frame(), over={"parameters.fast_periods": [3, 9, 4]})
    assert [trial.settings["parameters.fast_periods"] for trial in result.refused] == [9]
    assert "must be less than slow_periods" in result.refused[0].refused
    assert len(result.ranked) == 2


def test_a_setting_that_nobody_knows_is_said_with_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'fast_periods'"):
        anystrat.sweep(CONFIG, _frame(), over={"parameters.fast_period": [3, 4]})
    with pytest.raises(SpaceError, match="did you mean 'trend'"):
        anystrat.sweep(CONFIG, _frame(), over={"parameters.fast_periods": [3, 4]}, only=["trent"])
    with pytest.raises(SpaceError, match="did you mean random"):
        anystrat.sweep(CONFIG, _frame(), over={"parameters.fast_periods": [3]}, search="randon")
    with pytest.raises(SpaceError, match="how many trials"):
        anystrat.sweep(CONFIG, _frame(), over={"parameters.fast_periods": [3]}, search="random")
    with pytest.raises(SpaceError, match="as many trials as it has combinations"):
        anystrat.sweep(CONFIG, _frame(), over={"parameters.fast_periods": [3]}, trials=3)


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path):
    over = {"parameters.lookback_periods": range(2, 132)}

    def stop(done: int, total: int | None) -> None:
        assert total == 130
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anystrat.sweep(CONFIG, _frame(), over=over, study=tmp_path / "s.db", on_progress=stop)
    counted: list[int] = []
    resumed = anystrat.sweep(
        CONFIG, _frame(), over=over, study=tmp_path / "s.db", on_progress=lambda done, _: counted.append(done)
    )
    assert counted[0] > 64  # the first batch was there already
    whole = anystrat.sweep(CONFIG, _frame(), over=over)
    assert all(map(same, resumed.all, whole.all))
    again = anystrat.sweep(CONFIG, _frame(), over=over, study=tmp_path / "s.db")
    assert all(map(same, again.all, whole.all))
    assert again.days.tolist() == whole.days.tolist()
    with pytest.raises(StudyError, match="cash was"):
        anystrat.sweep(CONFIG, _frame(), over=over, study=tmp_path / "s.db", cash=5.0)


def test_draws_and_optuna_are_made_again_by_their_seed():
    over = {"parameters.z_entry": anystrat.Span(0.5, 2.5), "parameters.lookback_periods": "4..40:log"}
    for search in ("random", "optuna"):
        first, second = (
            anystrat.sweep(CONFIG, _frame(), over=over, search=search, trials=20, seed=4, by="total_return")
            for _ in range(2)
        )
        assert [trial.settings for trial in first.all] == [trial.settings for trial in second.all]
        assert len(first.all) == 20
        assert first.best.figure("total_return") == max(trial.figure("total_return") for trial in first.all)


def test_several_processes_find_what_one_does(tmp_path: Path):
    files, over = _files(tmp_path), {"parameters.lookback_periods": range(2, 20)}
    one, two = (anystrat.sweep(*files, over=over, workers=workers) for workers in (1, 2))
    assert all(map(same, one.all, two.all))
    assert one.days.tolist() == two.days.tolist()


def test_a_ray_cluster_finds_what_one_process_does(tmp_path: Path):
    files, over = _files(tmp_path), {"parameters.lookback_periods": range(2, 10)}
    alone = anystrat.sweep(*files, over=over)
    spread = anystrat.sweep(*files, over=over, ray="local", workers=1)
    assert all(map(same, alone.all, spread.all))


def test_a_start_of_ray_that_took_too_long_is_tried_again_and_then_said(monkeypatch: pytest.MonkeyPatch):
    ray, tried = pytest.importorskip("ray"), []

    def init(**_: object) -> None:
        tried.append(True)
        raise Exception("The current node timed out during startup.")  # noqa: TRY002  as Ray does

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RayRefused, match=r"--ray local: Ray did not start .*timed out.*; leave --ray out"):
        RayPool("local", 1, print, print, None)
    assert len(tried) == 2


def test_a_cluster_that_is_not_there_is_said_at_once(tmp_path: Path):
    over = {"parameters.lookback_periods": [2, 3]}
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(RayRefused, match=r"no cluster answers there .* start one with `ray start --head`"):
            anystrat.sweep(*_files(tmp_path), over=over, ray=address)
    with pytest.raises(SpaceError, match="a cluster reads files"):
        anystrat.sweep(CONFIG, _frame(), over=over, ray="local")


def _files(directory: Path) -> tuple[Path, Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    pq.write_table(pa.table(_frame()), directory / "t.parquet")
    (directory / "a.yaml").write_text(yaml.safe_dump(CONFIG))
    return directory / "a.yaml", directory / "t.parquet"


def _columns() -> tuple[Any, ...]:
    return tuple(
        np.concatenate([getattr(block, name) for block in TICKS]) for name in ("ts_ns", "instrument_token", "price")
    )


def _frame() -> dict[str, Any]:
    return dict(zip(("ts_ns", "instrument_token", "price"), _columns(), strict=True))
