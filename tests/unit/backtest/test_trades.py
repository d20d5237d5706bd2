"""Round trips: what each of them is, and that together they are what the account earned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.backtest.backtest_case import recorded, ticks

from anystrat.backtest.trades import trades_of
from anystrat.bootstrap import kernel_compiler


def trades(fills: list[tuple[int, int, float, float]], multiplier: float = 1.0) -> tuple[Any, Any]:
    slot, quantity, price, fee = zip(*fills, strict=True) if fills else ((),) * 4
    slots = 1 + max(slot, default=0)
    return trades_of(
        np.array(slot, np.int64),
        np.array(quantity, np.int64),
        np.array(price, float),
        np.array(fee, float),
        np.full(slots, multiplier),
    )


def test_a_trade_bears_the_fees_of_both_its_ends():
    done, still = trades([(0, 10, 100.0, 1.0), (0, -10, 103.0, 2.0)], multiplier=2.0)
    assert done["profit"].tolist() == [10 * 3.0 * 2.0 - 3.0]
    assert (done["side"][0], done["quantity"][0], done["entry"][0], done["exit"][0]) == (1, 10, 100.0, 103.0)
    assert (done["opened"][0], done["closed"][0], done["value"][0]) == (0, 1, 2_000.0)
    assert still["position"].tolist() == [0]


def test_a_flip_ends_a_trade_and_begins_another_and_shares_its_fee_between_them():
    done, still = trades([(0, 10, 100.0, 0.0), (0, -40, 110.0, 4.0)])
    assert done["profit"].tolist() == [100.0 - 1.0]
    assert (still["position"][0], still["average"][0], still["fees"][0]) == (-30, 110.0, 3.0)


def test_what_is_added_and_taken_away_in_between_is_one_trade():
    done, _ = trades([(0, -10, 100.0, 0.0), (0, -10, 90.0, 0.0), (0, 5, 80.0, 0.0), (0, 15, 100.0, 0.0)])
    assert len(done) == 1
    assert (done["side"][0], done["quantity"][0], done["entry"][0], done["exit"][0]) == (-1, 20, 95.0, 95.0)
    assert done["profit"][0] == pytest.approx(0.0)


def test_instruments_do_not_see_each_other():
    done, still = trades([(0, 10, 100.0, 0.0), (1, -10, 50.0, 0.0), (0, -10, 101.0, 0.0)])
    assert done["slot"].tolist() == [0]
    assert still["position"].tolist() == [0, -10]


def test_nothing_filled_is_no_trade():
    done, _ = trades([])
    assert len(done) == 0


_fills = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-50, 50).filter(bool),
        st.floats(1.0, 500.0),
        st.floats(0.0, 5.0),
    ),
    max_size=60,
)


@given(_fills)
def test_trades_and_what_is_open_are_all_that_was_earned(fills: list[tuple[int, int, float, float]]):
    done, still = trades(fills, multiplier=2.5)
    paid = math.fsum(-quantity * price * 2.5 - fee for _, quantity, price, fee in fills)
    last = {slot: price for slot, _, price, _ in fills}
    worth = math.fsum(int(still["position"][slot]) * price * 2.5 for slot, price in last.items())
    opened = math.fsum(
        float(row["gross"] - row["fees"]) + int(row["position"]) * (last[slot] - float(row["average"])) * 2.5
        for slot, row in enumerate(still)
        if row["position"]
    )
    assert math.fsum(done["profit"]) + opened == pytest.approx(paid + worth, rel=1e-9, abs=1e-6)


def test_compiled_code_pairs_the_same_trades():
    _, recorder, _ = recorded(ticks(count=4_000))
    fills = recorder.fills()
    columns = [fills[name] for name in ("slot", "quantity", "price", "fee")]
    multiplier = recorder.accounts.multiplier_of_slot
    plain, compiled = (trades_of(*columns, multiplier, compiler) for compiler in (None, kernel_compiler()))
    assert len(plain[0]) > 20
    assert plain[0].tolist() == compiled[0].tolist()
    assert plain[1].tolist() == compiled[1].tolist()
    ended = int(np.count_nonzero(fills["round_trip"]))
    assert len(plain[0]) == ended
