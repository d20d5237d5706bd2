from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from itertools import pairwise

import numpy as np
import pytest
from tests.contract.source_places import StoppedClock

from anystrat.adapters.source_synthetic import CHUNK, SyntheticFeed
from anystrat.domain.columns import TickColumns, joined
from anystrat.domain.endpoints import SyntheticSource
from anystrat.domain.intake import TickBatch
from anystrat.domain.parameters import ParameterError
from anystrat.testing.loop import simulate


def made(
    options: SyntheticSource, at_least: int, after: Mapping[str, int] | None = None, tokens: tuple[int, ...] = (4, 9)
) -> TickColumns:
    async def story() -> TickColumns:
        feed = SyntheticFeed(options, tokens, StoppedClock())
        found: list[TickColumns] = []
        async with aclosing(feed.batches(after or {})) as batches:
            async for item in batches:
                assert isinstance(item, TickBatch)
                found.append(item.ticks)
                if sum(map(len, found)) >= at_least:
                    break
        return joined(found)

    return simulate(story)


def test_it_is_endless_if_wanted_and_can_be_entered_anywhere():
    options = SyntheticSource(ticks="endless", seed=5)
    whole = made(options, 3 * CHUNK)
    part = made(options, 100, {"synthetic": 2 * CHUNK + 17})
    n = min(len(part), len(whole) - 2 * CHUNK - 17)
    for name in ("ts_ns", "instrument_token", "price", "volume"):
        assert (getattr(part, name)[:n] == getattr(whole, name)[2 * CHUNK + 17 :][:n]).all(), name
    far = made(options, 1, {"synthetic": 10**10})
    assert far.ts_ns[0] == options.start_ns() + 10**10 * 100_000_000


def test_another_seed_makes_other_ticks():
    one, other = (made(SyntheticSource(ticks=1_000, seed=seed), 1_000) for seed in (1, 2))
    assert (one.price != other.price).any()


def test_every_instrument_begins_at_the_start_price_and_stays_near_it():
    options = SyntheticSource(ticks=20 * CHUNK, start_price=250.0)
    ticks = made(options, 20 * CHUNK)
    for token in (4, 9):
        price = ticks.price[ticks.instrument_token == token]
        assert price[0] == 250.0
        steps = np.diff(np.log(price))
        assert 0.0008 < steps.std() < 0.0012
        assert np.abs(np.log(price / 250.0)).max() < 0.7


def test_no_volatility_however_wild_leads_to_a_price_that_is_none():
    ticks = made(SyntheticSource(ticks=5 * CHUNK, volatility=1.0, start_price=0.02), 5 * CHUNK)
    assert ticks.price.min() >= 0.01
    assert ticks.price.max() < 0.2


def test_prices_are_whole_ticks_and_say_so_exactly():
    from decimal import Decimal

    ticks = made(SyntheticSource(ticks=2_000, tick_size=Decimal("0.05")), 2_000)
    assert all(row.decimal % Decimal("0.05") == 0 for row in ticks.rows())


def test_times_are_even_and_begin_where_the_options_say():
    ticks = made(SyntheticSource(ticks=9_000, start="2025-05-05T00:00:00+02:00", interval_ms=2.5), 9_000)
    assert ticks.ts_ns[0] == 1_746_396_000_000_000_000
    assert set(np.diff(ticks.ts_ns).tolist()) == {2_500_000}


def test_a_live_demo_has_times_of_now_after_a_restart_too():
    options = SyntheticSource(ticks="endless", start="now", pace=1.0)
    now = StoppedClock().ns
    for after in (0, 12_345):
        assert made(options, 1, {"synthetic": after}).ts_ns[0] == now
    fixed = made(SyntheticSource(ticks="endless"), 1, {"synthetic": 12_345})
    assert made(options, 1, {"synthetic": 12_345}).price[0] == fixed.price[0]


def test_at_a_pace_twenty_thousand_a_second_come_in_portions():
    async def story() -> list[tuple[float, int]]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        feed = SyntheticFeed(SyntheticSource(ticks=60_000, interval_ms=0.05, pace=1.0), (1,), StoppedClock())
        found = []
        async for item in feed.batches({}):
            assert isinstance(item, TickBatch)
            found.append((loop.time() - start, item.last))
            await asyncio.sleep(0.002)
        return found

    found = simulate(story)
    assert found[-1] == (pytest.approx(3.0, abs=0.01), 60_000)
    assert all(last - before <= 81 for (_, before), (_, last) in pairwise(found))


@pytest.mark.parametrize("start", ["yesterday", "", "2024-13-01", "999999-01-01"])
def test_a_start_that_is_no_time_is_refused(start):
    with pytest.raises(ParameterError, match="must be now, or an ISO 8601 time"):
        SyntheticSource(start=start)
