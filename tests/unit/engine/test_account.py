"""The account's limits: what all strategies together may hold, lose and send, and what comes after that."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from anystrat.bootstrap import build_engine, default_wiring
from anystrat.config import configuration_from_mapping
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.events import Command, Operation
from anystrat.domain.outcomes import Dropped, Emitted, Noted, Outcome
from anystrat.domain.tick import TickRow
from anystrat.engine.carrying import carry_over
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from anystrat.runner.plan import plan_shards

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOON = 19_700 * DAY + DAY // 2


def row(name: str, tokens: list[int], quantity: int = 10, **more: Any) -> dict[str, Any]:
    parameters = {"lookback_periods": 2, "threshold": 0.001, "position_size": quantity}
    return {"id": name, "strategy_type": "momentum", "parameters": parameters, "instruments": tokens, **more}


def mapping(account: dict[str, Any] | None, *rows: dict[str, Any]) -> dict[str, Any]:
    plain = {"strategies": list(rows or [row("a", [1]), row("b", [1])]), "brokers": {"other": {"type": "log"}}}
    return plain if account is None else {**plain, "account": account}


def engine(account: dict[str, Any] | None, *rows: dict[str, Any]) -> Engine:
    wiring = default_wiring()
    return build_engine(configuration_from_mapping(mapping(account, *rows), wiring.catalog), wiring)


class Feed:
    """Ticks of an engine, five seconds apart where nothing else is said; `said` has what came of the signals."""

    def __init__(self, to: Engine) -> None:
        self.engine = to
        self.now = NOON

    def tick(self, price: float, token: int = 1, after: int = 5 * SECOND) -> list[str]:
        self.now += after
        return told(self.engine.step(TickRow(token, self.now, price, Decimal(str(price)))))


def told(outcomes: list[Outcome]) -> list[str]:
    said = []
    for one in outcomes:
        if isinstance(one, Emitted):
            said.append(f"{one.signal.strategy_id} {one.signal.signal_type}")
        elif isinstance(one, Dropped):
            said.append(f"{one.strategy_id} {one.reason}")
        elif isinstance(one, Noted):
            said.append(one.kind)
    return said


def test_gross_exposure_is_that_of_all_strategies_and_counts_what_waits() -> None:
    feed = Feed(engine({"max_gross_exposure": 2_500}))
    feed.tick(100)
    assert feed.tick(110) == ["a BUY", "b BUY"]  # 1,100 each, none of it filled yet
    assert feed.tick(120) == ["a account_gross_exposure", "b account_gross_exposure"]


def test_the_second_strategy_of_a_tick_has_what_the_first_one_left() -> None:
    feed = Feed(engine({"max_gross_exposure": 1_100}))
    feed.tick(100)
    assert feed.tick(110) == ["a BUY", "b account_gross_exposure"]


def test_net_exposure_lets_one_strategy_hold_against_another() -> None:
    rows = row("a", [1]), row("b", [2])
    feed = Feed(engine({"max_net_exposure": 1_200}, *rows))
    feed.tick(100, 1)
    feed.tick(100, 2)
    assert feed.tick(110, 1) == ["a BUY"]
    assert feed.tick(90, 2) == ["b SELL"]
    assert feed.tick(80, 2) == ["b SELL"]  # 1,100 - 900 - 800
    assert feed.tick(70, 2) == ["b SELL"]  # 1,100 - 1,400 - 700
    assert feed.tick(60, 2) == ["b account_net_exposure"]  # 1,100 - 1,800 - 600


def test_what_reduces_a_position_passes_exposure_loss_and_reduce_only() -> None:
    feed = Feed(engine({"max_gross_exposure": 1_500}, row("a", [1])))
    feed.tick(100)
    assert feed.tick(110) == ["a BUY"]
    assert feed.tick(200) == ["a account_gross_exposure"]
    assert feed.tick(190) == ["a SELL"]


def test_reduce_only_opens_nothing() -> None:
    feed = Feed(engine({"reduce_only": True}, row("a", [1])))
    feed.tick(100)
    assert feed.tick(110) == ["a account_reduce_only"]
    assert feed.tick(100) == ["a account_reduce_only"]


def test_an_operator_lets_only_what_reduces_pass_and_a_restored_engine_goes_on_so() -> None:
    limits: dict[str, Any] = {}
    feed = Feed(engine(limits, row("a", [1])))
    feed.tick(100)
    assert feed.tick(110) == ["a BUY"]
    assert told(feed.engine.step(Command(Operation.REDUCE_ONLY, feed.now))) == ["reduce_only"]
    assert feed.tick(120) == ["a account_reduce_only"]
    other = engine(limits, row("a", [1]))
    restore(other, snapshot(feed.engine))
    changed = engine(limits, row("a", [1]), row("b", [2]))
    carry_over(other, changed)
    for went_on in (other, changed):
        again = Feed(went_on)
        again.now = feed.now
        assert again.tick(130) == ["a account_reduce_only"]
        assert again.tick(90) == ["a SELL"]
    assert told(feed.engine.step(Command(Operation.OPEN_AGAIN, feed.now))) == ["open_again"]
    assert feed.tick(130) == ["a BUY"]


def test_an_operator_cannot_open_what_the_configuration_closes() -> None:
    feed = Feed(engine({"reduce_only": True}, row("a", [1])))
    feed.engine.step(Command(Operation.OPEN_AGAIN, feed.now))
    feed.tick(100)
    assert feed.tick(110) == ["a account_reduce_only"]


def test_after_the_days_loss_signals_must_reduce_until_the_next_day() -> None:
    rows = row("a", [1]), row("b", [2])
    feed = Feed(engine({"max_daily_loss": 100}, *rows))
    feed.tick(100, 1)
    feed.tick(100, 2)
    assert feed.tick(110, 1) == ["a BUY"]
    assert feed.tick(110, 1) == []  # filled at 110
    assert feed.tick(100, 1) == ["a SELL"]  # 100 lost, but it reduces
    assert feed.tick(110, 2) == ["b account_daily_loss"]
    assert feed.tick(120, 2, after=DAY) == ["b BUY"]


def test_a_loss_that_is_made_good_again_opens_the_account_again() -> None:
    feed = Feed(engine({"max_daily_loss": 100}, row("a", [1]), row("b", [2])))
    feed.tick(100, 1)
    feed.tick(100, 2)
    assert feed.tick(110, 1) == ["a BUY"]
    feed.tick(110, 1)
    feed.tick(109.9, 1)
    feed.tick(99.9, 1)
    feed.tick(99.9, 2)
    assert feed.tick(110, 2) == ["b account_daily_loss"]


def test_orders_per_second_are_those_of_all_strategies() -> None:
    feed = Feed(engine({"max_orders_per_sec": 2}))
    feed.tick(100)
    assert feed.tick(110) == ["a BUY", "b BUY"]
    assert feed.tick(120, after=SECOND - 1) == ["a account_order_rate", "b account_order_rate"]
    assert feed.tick(130, after=1) == ["a BUY", "b BUY"]


def test_signals_per_day_hold_for_what_reduces_as_well() -> None:
    feed = Feed(engine({"max_signals_per_day": 1}, row("a", [1])))
    feed.tick(100)
    assert feed.tick(110) == ["a BUY"]
    assert feed.tick(100) == ["a account_signals_per_day"]
    assert feed.tick(90, after=DAY) == ["a SELL"]


def test_instruments_and_brokers_have_limits_of_their_own() -> None:
    account = {"per_instrument": {"max_signals_per_day": 2}, "per_broker": {"other": {"max_signals_per_day": 1}}}
    feed = Feed(engine(account, row("a", [1, 2], brokers=["paper", "other"])))
    feed.tick(100, 1)
    feed.tick(100, 2)
    assert feed.tick(110, 1) == ["a BUY", "a BUY"]
    assert feed.tick(110, 2) == ["a BUY", "a account_signals_per_day"]  # the broker's
    assert feed.tick(120, 1) == ["a account_signals_per_day", "a account_signals_per_day"]  # the instrument's, and both
    assert feed.tick(120, 2) == ["a BUY", "a account_signals_per_day"]


def test_the_account_comes_after_halts_and_before_a_strategys_own_checks() -> None:
    own = row("a", [1])
    own["parameters"]["risk"] = {"min_confidence": 1.0}
    feed = Feed(engine({"reduce_only": True}, own))
    feed.tick(100)
    assert feed.tick(100.2) == ["a account_reduce_only"]
    halted = TickRow(1, feed.now, 101.0, None, halted=True)
    assert told(feed.engine.step(halted)) == ["a halted"]


def test_a_signal_that_is_no_order_is_left_to_the_strategys_own_checks() -> None:
    nothing = row("a", [1])
    nothing["parameters"]["risk_multiplier"] = 0
    feed = Feed(engine({"reduce_only": True}, nothing))
    feed.tick(100)
    assert feed.tick(110) == ["a invalid_quantity"]


def test_the_last_step_of_a_loss_is_the_kill_switch() -> None:
    feed = Feed(engine({"max_daily_loss": 50, "kill_daily_loss": 100}, row("a", [1]), row("b", [1])))
    feed.tick(100)
    assert feed.tick(110) == ["a BUY", "b BUY"]
    feed.tick(110)
    assert feed.tick(104) == ["a account_daily_loss", "killed", "b killed"]  # although both would reduce
    assert feed.tick(120) == ["a killed", "b killed"]
    assert feed.tick(130, after=DAY) == ["a killed", "b killed"]
    feed.engine.step(Command(Operation.UNKILL, feed.now))
    assert feed.tick(140) == ["a BUY", "b BUY"]


def test_a_strategy_that_runs_away_ends_at_the_kill_switch() -> None:
    feed = Feed(engine({"max_signals_per_day": 1, "kill_drops_per_min": 3}, row("a", [1])))
    feed.tick(100)
    assert feed.tick(101) == ["a BUY"]
    assert feed.tick(102) == ["a account_signals_per_day"]
    assert feed.tick(103, after=60 * SECOND) == ["a account_signals_per_day"]
    assert feed.tick(104) == ["a account_signals_per_day"]
    assert feed.tick(105) == ["a account_signals_per_day", "killed"]


def test_drops_are_counted_by_their_reasons() -> None:
    feed = Feed(engine({"reduce_only": True}, row("a", [1])))
    for price in (100, 110, 120):
        feed.tick(price)
    assert feed.engine.executors[0].counters()["drops"] == {"account_reduce_only": 2}


def test_a_restored_engine_judges_as_the_one_before_it() -> None:
    account = {"max_daily_loss": 100, "max_orders_per_sec": 2, "max_signals_per_day": 5}
    prices = [100, 110, 110, 104, 108, 99, 120, 90, 95, 99, 80]
    whole, first, second = (Feed(engine(account)) for _ in range(3))
    expected = [whole.tick(price) for price in prices]
    said = [first.tick(price) for price in prices[:5]]
    restore(second.engine, snapshot(first.engine))
    second.now = first.now
    said += [second.tick(price) for price in prices[5:]]
    assert said == expected


def test_an_account_that_is_new_counts_the_days_loss_from_there() -> None:
    before, after = Feed(engine(None)), Feed(engine({"max_daily_loss": 100}))
    for price in (100, 110, 110, 100):
        before.tick(price)
    restore(after.engine, snapshot(before.engine))
    after.now = before.now
    assert after.engine.account is not None
    assert after.engine.account.figures()["account"]["daily_loss"] == 0.0


def test_another_configuration_goes_on_with_what_the_day_has_cost() -> None:
    account = {"max_daily_loss": 100}
    before, after = Feed(engine(account)), Feed(engine(account, row("c", [1]), row("b", [1])))
    for price in (100, 110, 110, 104):
        before.tick(price)
    carry_over(before.engine, after.engine)
    assert before.engine.account is not None
    assert after.engine.account is not None
    assert before.engine.account.figures()["account"]["daily_loss"] == 120.0
    assert after.engine.account.figures()["account"]["daily_loss"] == 120.0


def test_what_shares_an_account_shares_a_shard() -> None:
    rows = [row(f"s{token}", [token]) for token in range(1, 20)]
    configured = configuration_from_mapping(mapping({}, *rows), default_wiring().catalog)
    plan = plan_shards(configured.strategies, 4, together=configured.account is not None)
    assert sorted(plan.sizes) == [0, 0, 0, 19]


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"max_gros_exposure": 1}, "max_gross_exposure"),
        ({"per_broker": {"othr": {}}}, "other"),
        ({"max_daily_loss": 2, "kill_daily_loss": 1}, "must not be below max_daily_loss"),
        ({"max_daily_loss": 0}, "account.max_daily_loss"),
        ({"per_instrument": {"max_net": 1}}, "max_net_exposure"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(account: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configuration_from_mapping(mapping(account), default_wiring().catalog)


def test_positions_that_hold_against_each_other_are_gross_twice() -> None:
    feed = Feed(engine({"max_gross_exposure": 1_900}, row("a", [1]), row("b", [2])))
    feed.tick(100, 1)
    feed.tick(100, 2)
    assert feed.tick(110, 1) == ["a BUY"]
    assert feed.tick(90, 2) == ["b account_gross_exposure"]  # 1,100 + 900
