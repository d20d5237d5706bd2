"""Accounts against a plain ledger in exact fractions, at every tick, at either speed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.unit.backtest.backtest_case import CONFIG, engine_of, one_block, recorded, ticks

from anystrat.backtest.accounts import Account
from anystrat.backtest.recorder import Recorder
from anystrat.backtest.replay import Speed
from anystrat.domain.outcomes import Filled, TickDropped
from anystrat.engine.columns.block import fresh
from anystrat.engine.raw_signals import FillLog

DAY_NS = 86_400_000_000_000
CASH = 1_000_000.0
MULTIPLIER = {1: Fraction(5, 2), 2: Fraction(1), 3: Fraction(1)}


@dataclass
class Ledger:
    """An account the slow way: every fill and every price, as fractions."""

    start: Fraction
    cash: Fraction = Fraction(0)
    held: dict[tuple[str, int], int] = field(default_factory=dict)
    marks: list[tuple[int, Fraction]] = field(default_factory=list)
    market_time: int = 0

    def __post_init__(self) -> None:
        self.cash = self.start

    def worth(self, last: dict[int, float]) -> Fraction:
        return self.cash + sum(
            quantity * Fraction(last[token]) * MULTIPLIER[token] for (_, token), quantity in self.held.items()
        )


def ledgers(blocks: list[Any], config: dict[str, Any] = CONFIG) -> dict[str, Ledger]:
    engine = engine_of(config)
    names = [row["id"] for row in config["strategies"]]
    kept = {name: Ledger(Fraction(CASH)) for name in names}
    kept["portfolio"] = Ledger(Fraction(CASH) * len(names))
    hold, units = Ledger(Fraction(CASH) * len(names)), {}
    last: dict[int, float] = {}
    now = before = None
    for row in itertools.chain.from_iterable(block.rows() for block in blocks):
        outcomes = engine.step(row)
        if outcomes and isinstance(outcomes[0], TickDropped):
            continue
        now = row.ts_ns if now is None else max(now, row.ts_ns)
        for ledger in kept.values():
            if before is not None and any(ledger.held.values()):
                ledger.market_time += now - before
        before = now
        last[row.instrument_token] = row.price
        if row.instrument_token not in units:
            units[row.instrument_token] = hold.start / 3 / Fraction(row.price)
            hold.cash -= hold.start / 3
        for one in outcomes:
            if isinstance(one, Filled):
                for ledger in (kept[one.strategy_id], kept["portfolio"]):
                    key = one.strategy_id, one.instrument_token
                    ledger.held[key] = ledger.held.get(key, 0) + one.quantity
                    ledger.cash -= one.quantity * Fraction(one.price) * MULTIPLIER[one.instrument_token]
                    ledger.cash -= Fraction(one.fee)
        for ledger in kept.values():
            ledger.marks.append((now, ledger.worth(last)))
        hold.marks.append((now, hold.cash + sum(units[token] * Fraction(last[token]) for token in units)))
    return kept | {"buy and hold": hold}


@pytest.fixture(scope="module")
def expected() -> dict[str, Ledger]:
    return ledgers(ticks(ticks_per_day=700))


def _speed(name: str) -> dict[str, Any]:
    return {
        "scalar": {"speed": Speed.SCALAR},
        "columns": {"speed": Speed.COLUMNS},
        "compiled": {"speed": Speed.COLUMNS, "compiled": True},
    }[name]


@pytest.fixture(scope="module", params=["scalar", "columns", "compiled"])
def found(request: pytest.FixtureRequest) -> dict[str, Account]:
    _, recorder, _ = recorded(ticks(ticks_per_day=700, block_rows=257), cash=CASH, **_speed(request.param))
    return {account.name: account for account in recorder.accounts.accounts()}


NAMES = ["trend", "fade", "portfolio", "buy and hold"]


@pytest.mark.parametrize("name", NAMES)
def test_the_end_is_cash_and_positions_at_the_last_price(name: str, found: Any, expected: Any):
    assert found[name].end == pytest.approx(float(expected[name].marks[-1][1]), rel=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_a_day_ends_with_the_mark_of_its_last_tick(name: str, found: Any, expected: Any):
    days: dict[int, float] = {}
    for ts, worth in expected[name].marks:
        days[ts // DAY_NS] = float(worth)
    assert found[name].days.tolist() == list(days)
    assert len(days) > 3
    assert found[name].marks == pytest.approx(list(days.values()), rel=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_the_drawdown_is_that_of_all_marks(name: str, found: Any, expected: Any):
    peak, deepest, amount, at = expected[name].start, Fraction(0), Fraction(0), 0
    for ts, worth in expected[name].marks:
        peak = max(peak, worth)
        if 1 - worth / peak > deepest:
            deepest, at = 1 - worth / peak, ts
        amount = max(amount, peak - worth)
    account = found[name]
    assert account.drawdown == pytest.approx(float(deepest), rel=1e-9)
    assert account.drawdown_amount == pytest.approx(float(amount), rel=1e-9)
    assert account.drawdown_to == at
    assert account.drawdown == max(account.curve.worst)


@pytest.mark.parametrize("name", NAMES)
def test_the_longest_time_below_a_peak_is_from_the_first_tick_below_it(name: str, found: Any, expected: Any):
    peak, since, longest, recovered = expected[name].start, None, 0, True
    for ts, worth in expected[name].marks:
        if float(worth) >= float(peak):
            if since is not None and ts - since > longest:
                longest = ts - since
            peak, since = max(worth, peak), None
        elif since is None:
            since = ts
    end = expected[name].marks[-1][0]
    if since is not None and end - since >= longest:
        longest, recovered = end - since, False
    assert (found[name].longest, found[name].recovered) == (longest, recovered)


@pytest.mark.parametrize("name", ["trend", "fade", "portfolio"])
def test_time_in_the_market_is_the_share_of_time_with_a_position(name: str, found: Any, expected: Any):
    ledger = expected[name]
    span = ledger.marks[-1][0] - ledger.marks[0][0]
    assert 0.01 < found[name].time_in_market < 1.0
    assert found[name].time_in_market == pytest.approx(ledger.market_time / span, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_spike_is_lost_in_a_curve(name: str, found: Any, expected: Any):
    curve = found[name].curve
    worths = [float(worth) for _, worth in expected[name].marks] + [float(expected[name].start)]
    assert min(curve.low) == pytest.approx(min(worths), rel=1e-15)
    assert max(curve.high) == pytest.approx(max(worths), rel=1e-15)
    assert curve.last[-1] == pytest.approx(worths[-2], rel=1e-15)
    assert (np.diff(curve.ts) >= 0).all()
    assert (curve.low <= curve.last).all()
    assert (curve.last <= curve.high).all()


def test_the_engine_says_the_same_of_its_paper_accounts():
    engine, recorder, _ = recorded(ticks(), cash=CASH)
    by_strategy: dict[str, float] = {}
    for executor in engine.executors:
        worth = executor.portfolio.cash + executor.market_value
        by_strategy[executor.strategy_id] = by_strategy.get(executor.strategy_id, 0.0) + worth
    accounts = {account.name: account for account in recorder.accounts.accounts()}
    for name, earned in by_strategy.items():
        assert accounts[name].end - CASH == pytest.approx(earned, rel=1e-9)
    assert accounts["portfolio"].end == pytest.approx(2 * CASH + sum(by_strategy.values()), rel=1e-14)


def test_a_shared_account_starts_once_and_adds_up_what_all_earn():
    apart = recorded(ticks(), cash=CASH)[1].accounts.accounts()
    shared = recorded(ticks(), cash=CASH, shared=True)[1].accounts.accounts()
    assert (apart[-2].start, shared[-2].start) == (2 * CASH, CASH)
    assert shared[-2].end - CASH == pytest.approx(apart[-2].end - 2 * CASH, rel=1e-9)
    assert [one.end for one in shared[:-2]] == [one.end for one in apart[:-2]]


@pytest.mark.parametrize("speed", ["columns", "compiled"])
def test_both_speeds_keep_the_very_same_books(speed: str):
    blocks = ticks(count=6_000, ticks_per_day=1_500, block_rows=500)
    _, one, _ = recorded(blocks, **_speed("scalar"))
    _, other, _ = recorded(blocks, **_speed(speed))
    for (name, column), theirs in zip(one.fills().items(), other.fills().values(), strict=True):
        assert column.tolist() == theirs.tolist(), name
    for (name, column), theirs in zip(one.signals().items(), other.signals().values(), strict=True):
        assert column.tolist() == theirs.tolist(), name
    assert len(one.fills()["price"]) > 100
    assert [column.tolist() for column in one.drops.rows()] == [column.tolist() for column in other.drops.rows()]
    for mine, theirs in zip(one.accounts.accounts(), other.accounts.accounts(), strict=True):
        assert (mine.end, mine.drawdown, mine.longest) == (theirs.end, theirs.drawdown, theirs.longest)
        assert mine.marks.tolist() == theirs.marks.tolist()
        assert mine.curve.last.tolist() == theirs.curve.last.tolist()


def test_a_million_price_moves_leave_no_trace_in_the_account():
    engine = engine_of()
    recorder = Recorder(engine, cash=CASH)
    price = np.round(np.random.default_rng(3).uniform(0.01, 9_999.0, 40_000), 2)
    price[-1] = price[0] = 100.0
    block = one_block(range(len(price)), [1] * len(price), price)
    fills = fresh(FillLog, 1)
    fills["quantity"], fills["price"], fills["position"], fills["average"] = 7, 100.0, 7, 100.0
    recorder.accounts.take(block, np.zeros(len(price), np.int64), fills)
    assert recorder.accounts.accounts()[0].end == CASH


@pytest.mark.parametrize("speed", ["columns", "compiled"])
def test_an_account_of_one_instrument_among_several_is_marked_at_its_ticks_alone(speed: str):
    alone = {**CONFIG["strategies"][1], "id": "alone", "instruments": [2]}
    config = {**CONFIG, "strategies": [*CONFIG["strategies"], alone]}
    blocks = ticks(seed=6, count=1_500, ticks_per_day=400, block_rows=257)
    _, recorder, _ = recorded(blocks, config, cash=CASH, **_speed(speed))
    wanted = ledgers(blocks, config)
    for account in recorder.accounts.accounts():
        days = {ts // DAY_NS: float(worth) for ts, worth in wanted[account.name].marks}
        assert account.marks == pytest.approx(list(days.values()), rel=1e-15)
        assert account.time_in_market == pytest.approx(
            wanted[account.name].market_time / (recorder.accounts.now - recorder.accounts.first_ts)
            if account.name != "buy and hold"
            else 1.0
        )
    slots = recorder.engine.state.tables["slot"]
    assert recorder.accounts.positions.tolist() == slots["position"].tolist()


def test_without_the_portfolio_the_strategies_accounts_are_the_same():
    blocks = ticks(count=1_500)
    _, whole, _ = recorded(blocks, cash=CASH)
    engine = engine_of()
    alone = Recorder(engine, cash=CASH, accounts_alone=True)
    for block in blocks:
        found = [(k, outcomes) for k, row in enumerate(block.rows()) if (outcomes := engine.step(row))]
        alone.stepped(block, found)
    for one, other in zip(whole.accounts.accounts()[:-2], alone.accounts.accounts()[:-2], strict=True):
        assert (one.end, one.drawdown, one.marks.tolist()) == (other.end, other.drawdown, other.marks.tolist())


def test_without_a_tick_nothing_has_happened():
    account = Recorder(engine_of(), cash=CASH).accounts.accounts()[-2]
    assert (account.end, account.drawdown, len(account.days), len(account.curve.ts)) == (2 * CASH, 0.0, 0, 0)
