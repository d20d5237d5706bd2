"""The account's limits: the same at every speed, and held whatever comes."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.outcomes import Emitted, Filled
from tests.parity.engine_case import make_engine
from tests.parity.every_way import same_every_way
from tests.parity.test_columns import PHASES, columns_of
from tests.reference.generate import Case, cases

SECOND = 1_000_000_000
DAY = 86_400 * SECOND

money = st.sampled_from([None, 1.0, 500.0, 20_000.0, 1e6])
counts = st.sampled_from([None, 1, 2, 5])
SCOPE = {
    "max_gross_exposure": money,
    "max_net_exposure": money,
    "max_daily_loss": st.sampled_from([None, 0.5, 20.0, 1_000.0]),
    "max_orders_per_sec": counts,
    "max_signals_per_day": st.sampled_from([None, 3, 20]),
}
LIMITS = st.fixed_dictionaries(
    {
        **SCOPE,
        "per_instrument": st.none() | st.fixed_dictionaries(SCOPE),
        "per_broker": st.just({}) | st.fixed_dictionaries({"paper": st.fixed_dictionaries(SCOPE)}),
        "reduce_only": st.sampled_from([False, False, False, True]),
        "kill_daily_loss": st.sampled_from([None, None, 1_000.0]),
        "kill_drops_per_min": st.sampled_from([None, None, 10]),
    }
)


def with_account(case: Case, account: dict[str, Any]) -> Case:
    return case._replace(config={**case.config, "account": account})


@settings(max_examples=40, phases=PHASES)
@given(case=cases(), account=LIMITS, data=st.data())
def test_an_account_leads_to_the_same_by_ticks_in_lanes_and_over_columns(
    case: Case, account: dict[str, Any], data: st.DataObject
) -> None:
    block = columns_of(case)
    case = with_account(case, account)
    engine, one_by_one = same_every_way(case, block, data)
    assert (engine.account, one_by_one.account) != (None, None)
    assert engine.account.dump() == one_by_one.account.dump()  # type: ignore[union-attr]  # just said


@settings(max_examples=40, phases=PHASES)
@given(
    case=cases(),
    gross=st.sampled_from([5_000.0, 20_000.0, 100_000.0]),
    rate=st.integers(1, 4),
    many=st.integers(1, 20),
)
def test_nothing_that_passes_breaks_a_limit(case: Case, gross: float, rate: int, many: int) -> None:
    engine = make_engine(
        with_account(case, {"max_gross_exposure": gross, "max_orders_per_sec": rate, "max_signals_per_day": many})
    )
    multiplier = {token: float(spec.multiplier) for token, spec in engine.instruments.items()}
    last: dict[int, float] = {}
    held: Counter[tuple[str, str, int]] = Counter()
    waiting: defaultdict[tuple[str, str, int], list[tuple[int, float]]] = defaultdict(list)
    sent: list[int] = []
    days: Counter[int] = Counter()
    today = -1
    for row in columns_of(case).rows():
        accepted = engine.ticks
        outcomes = engine.step(row)
        if engine.ticks > accepted:
            last[row.instrument_token] = row.price
            today = max(today, row.ts_ns // DAY)
        for one in outcomes:
            if isinstance(one, Filled):
                key = one.strategy_id, one.broker, one.instrument_token
                held[key] += one.quantity
                waiting[key] = waiting[key][1:]
            elif isinstance(one, Emitted):
                signal = one.signal
                key = signal.strategy_id, signal.broker, signal.instrument_token
                before = held[key] + sum(quantity for quantity, _ in waiting[key])
                signed = signal.quantity if signal.signal_type == "BUY" else -signal.quantity
                waiting[key].append((signed, float(signal.price)))
                total = sum(
                    abs(held[one] * last[one[2]] + sum(q * p for q, p in waiting[one])) * multiplier.get(one[2], 1.0)
                    for one in {*held, *waiting}
                )
                reduces = abs(before + signed) < abs(before) and before * (before + signed) >= 0
                assert reduces or total <= gross * (1 + 1e-12)
                now = signal.ts_ns
                assert len(sent) - bisect_right(sorted(sent), now - SECOND) < rate
                sent.append(now)
                days[today] += 1
    assert max(days.values(), default=0) <= many
