"""Shards: which instrument goes where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.configuration import Sharding, StrategyConfig
from anystrat.domain.isolation import Isolation
from anystrat.runner.plan import in_shard, named_shards, plan_shards, spread_over_workers

TOKENS = st.lists(st.integers(0, 60), min_size=1, max_size=6, unique=True).map(tuple)
ROWS = st.lists(st.tuples(TOKENS, st.booleans(), st.booleans()), max_size=8)


def rows_of(drawn):
    return [
        StrategyConfig(f"s{k}", "momentum", None, tokens, per_instrument=each, enabled=enabled)
        for k, (tokens, each, enabled) in enumerate(drawn)
    ]


@given(ROWS, st.integers(1, 8), st.sampled_from(Sharding))
def test_instruments_that_one_executor_watches_share_a_shard(drawn, count, sharding):
    rows = rows_of(drawn)
    plan = plan_shards(rows, count, sharding)
    for row in rows:
        if row.enabled and not row.per_instrument:
            assert len({plan.shard_of[token] for token in row.instrument_tokens}) == 1


@given(ROWS, st.integers(1, 8), st.permutations(range(8)))
def test_a_shard_does_not_depend_on_the_order_of_rows(drawn, count, order):
    rows = rows_of(drawn)
    shuffled = [rows[k] for k in order if k < len(rows)]
    assert plan_shards(rows, count).shard_of == plan_shards(shuffled, count).shard_of


@given(ROWS, st.integers(1, 8))
def test_every_watched_instrument_is_evaluated_in_exactly_one_shard(drawn, count):
    rows = [row for row in rows_of(drawn) if row.enabled]
    plan = plan_shards(rows, count)
    for row in rows:
        taken = [in_shard(row, plan.tokens_of(shard)) for shard in range(count)]
        assert sorted(token for part in taken for token in part) == sorted(row.instrument_tokens)
        if not row.per_instrument:
            assert sum(bool(part) for part in taken) == 1


@given(ROWS, st.integers(1, 8), st.lists(st.integers(0, 2**62), max_size=10))
def test_tokens_are_looked_up_by_the_column(drawn, count, strangers):
    plan = plan_shards(rows_of(drawn), count)
    tokens = np.array([*plan.shard_of, *strangers], np.int64)
    found = plan.of(tokens)
    assert ((found >= 0) & (found < count)).all()
    assert found[: len(plan.shard_of)].tolist() == list(plan.shard_of.values())


def test_a_whole_exchange_of_tokens_that_are_alike_modulo_256_spreads():
    rows = [StrategyConfig(f"s{k}", "momentum", None, (k << 8 | 1,)) for k in range(400)]
    assert plan_shards(rows, 8).skew < 1.5
    assert plan_shards(rows, 8, Sharding.MODULO).skew == 8.0


def test_modulo_stays_as_an_option():
    rows = [StrategyConfig("a", "momentum", None, (7,)), StrategyConfig("b", "momentum", None, (12,))]
    assert plan_shards(rows, 5, Sharding.MODULO).shard_of == {7: 2, 12: 2}


@given(ROWS, st.integers(2, 8), st.sets(st.integers(0, 7), min_size=1, max_size=2))
def test_what_isolated_strategies_watch_is_in_the_last_shard_and_nothing_else_is(drawn, count, apart):
    rows = [replace(row, isolation=Isolation()) if k in apart else row for k, row in enumerate(rows_of(drawn))]
    plan = plan_shards(rows, count)
    connected = {token for row in rows if row.enabled and row.isolation for token in row.instrument_tokens}
    if not connected:
        assert plan.shard_of == plan_shards(rows_of(drawn), count).shard_of
        return
    for _ in rows:  # whoever shares an instrument is there with all of its own
        for row in rows:
            if row.enabled and not row.per_instrument and connected & set(row.instrument_tokens):
                connected |= set(row.instrument_tokens)
    assert {token for token, shard in plan.shard_of.items() if shard == count - 1} == connected
    assert set(plan_shards(rows, 1).shard_of.values()) <= {0}
    assert len(set(plan_shards(rows, count, together=True).shard_of.values())) == 1


SHARDS = {1: 1, 2: 2, 3: 1, 4: 2, 5: 2, 6: 0, 7: 3, 8: 2}
WORKERS = {1: 1, 2: 0, 3: 1, 4: 2, 5: 1, 6: 0, 7: 2, 8: 1}


def singles(*tokens):
    return [StrategyConfig(f"s{token}", "momentum", None, (token,)) for token in tokens]


def test_a_shard_is_the_same_in_every_version_for_journals_hold_what_each_has_had():
    assert plan_shards(singles(*range(1, 9)), 4).shard_of == SHARDS
    assert spread_over_workers(singles(*range(1, 9)), 3) == WORKERS


def test_rows_of_single_instruments_connect_nothing_and_others_all_of_theirs():
    tokens = tuple(range(1, 9))
    together = plan_shards([StrategyConfig("s", "momentum", None, tokens)], 4)
    assert set(together.shard_of.values()) == {plan_shards(singles(1), 4).shard_of[1]}
    alone = plan_shards([StrategyConfig("s", "momentum", None, tokens, per_instrument=True)], 4)
    assert alone.shard_of == plan_shards(singles(*tokens), 4).shard_of


def test_with_limits_over_the_whole_account_isolation_moves_nothing_apart():
    rows = [*singles(*range(1, 9)), StrategyConfig("x", "momentum", None, (3,), isolation=Isolation())]
    assert plan_shards(rows, 4, together=True).shard_of == dict.fromkeys(range(1, 9), SHARDS[1])
    assert set(plan_shards(rows, 1).shard_of.values()) == {0}
    two = plan_shards(rows, 2)
    assert two.shard_of == {token: int(token == 3) for token in range(1, 9)}


def test_what_nobody_watches_has_a_shard_too_beside_what_somebody_does():
    plan = plan_shards(singles(2, 4), 4)
    every = np.arange(1, 9)
    assert plan.of(every).tolist() == [SHARDS[token] for token in range(1, 9)]
    assert plan_shards([], 4).of(every).tolist() == plan.of(every).tolist()
    assert plan_shards(singles(2), 1).of(every).tolist() == [0] * 8


def test_a_plan_tells_of_its_sizes():
    plan = plan_shards(singles(*range(1, 9)), 4)
    sizes = [list(SHARDS.values()).count(shard) for shard in range(4)]
    assert plan.sizes == tuple(sizes)
    assert plan.skew == max(sizes) / 2
    assert plan_shards([], 4).skew == 1.0
    assert named_shards(plan) == [f"{shard}: {size} instruments" for shard, size in enumerate(sizes)]
    assert "_tokens" not in repr(plan)
    assert "_shards" not in repr(plan)
