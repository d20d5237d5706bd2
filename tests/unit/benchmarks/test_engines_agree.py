"""The benchmarks compare engines that decide the same: the loops written by hand, anystrat's speeds, the Python rules."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from functools import partial

import numpy as np
import pytest
from benchmarks import tables
from benchmarks.contest import settle
from benchmarks.own import blocks, by_block, by_built_tick, by_row, by_tick, engine_of
from benchmarks.workloads import FAST, SLOW, bars_of, python_rules, rows_of, ticks_of

from anystrat.domain.signal import EmittedSignal

COUNT = 15_000


def digest(ids: bytes) -> str:
    return hashlib.sha256(ids).hexdigest()[:16]


@pytest.mark.parametrize("workload", ["W1", "W2"])
def test_every_speed_and_the_loop_give_the_same_ids_and_cash(workload: str) -> None:
    limit = pytest.importorskip("benchmarks.limit", reason="the loops need Numba")
    ticks = ticks_of(workload, COUNT)
    hits, kept, accounts = limit.full(workload, ticks)
    wanted = limit.digest_of(workload, kept)
    assert limit.raw(workload, ticks) == hits >= len(kept.ts) > 100

    for way in (by_tick, by_built_tick, by_row, partial(by_block, size=64)):
        signals: list[EmittedSignal] = []
        _, engine = way(workload, ticks, signals.extend)
        assert digest(b"".join(bytes.fromhex(signal.signal_id) for signal in signals)) == wanted
        assert sum(one.portfolio.cash for one in engine.executors) == pytest.approx(accounts.cash.sum(), rel=1e-12)
    for size in (256, COUNT):
        engine = engine_of(rows_of(workload))
        found = [each.taken(np.flatnonzero(each.code == 0)).ids() for each in blocks(engine, ticks, size)]
        assert digest(np.concatenate(found).astype(">u8").tobytes()) == wanted


@pytest.mark.parametrize("workload", ["W1", "W2"])
def test_python_rules_fire_as_often_as_the_loop(workload: str) -> None:
    limit = pytest.importorskip("benchmarks.limit", reason="the loops need Numba")
    ticks = ticks_of(workload, COUNT)
    rules = {token: python_rules(workload) for token in set(ticks.token.tolist())}
    columns = zip(ticks.token.tolist(), ticks.price.tolist(), strict=True)
    fired = sum(rule.update(price) != 0 for token, price in columns for rule in rules[token])
    assert fired == limit.raw(workload, ticks)


def test_fewer_ticks_are_the_beginning_of_more() -> None:
    for workload in ("W1", "W2"):
        few, more = ticks_of(workload, 250), ticks_of(workload, 1_000)
        for short, long in zip(few, more, strict=True):
            assert np.array_equal(short, long[:250])


def test_no_engine_finds_the_fast_mean_above_the_slow_one_at_the_first_bar_that_has_both():
    bars = bars_of(400)
    assert bars.close[SLOW - FAST : SLOW].mean() < bars.close[:SLOW].mean()
    assert np.array_equal(bars.open[1:], bars.close[:-1])
    for short, long in zip(bars_of(200), bars, strict=True):
        assert np.array_equal(short, long[:200])


def test_an_equity_that_is_too_far_from_ours_is_said() -> None:
    found = {"vectorbt, portfolio": 100.001, "backtrader": 100.0001}
    runs = {"W3": {name: [{"bars": 9, "equities": [equity]}] for name, equity in found.items()}}
    contest = {"runs": runs, "expected": {"W3 9": {"equities": [100.0]}}}
    settle(contest)
    assert tables.disagreements({"contest": contest}) == ["W3 vectorbt, portfolio: final equity is 1.0e-05 of it apart"]


def test_prices_have_four_decimals() -> None:
    for price in ticks_of("W2", 1_000).price.tolist():
        assert int(price * 10_000.0 + 0.5) // 100 == Decimal(repr(price)) // Decimal("0.01")


def test_tables_stand_in_columns() -> None:
    assert tables.table(["a", "bb"], [["ccc", "1"]]) == "| a   | bb |\n|-----|---:|\n| ccc |  1 |"
    assert [tables.rate(value) for value in (950, 83_210, 2_040_000, 417e6)] == ["950", "83.2 k", "2.04 M", "417 M"]
    assert tables.spread((0.5, 0.25, 1200.0)) == "0.5× (0.25–1,200)"
