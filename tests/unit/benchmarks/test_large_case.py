"""The model of the large case: what must hold whatever the costs are, and the page that says what was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from benchmarks import large_case_page
from benchmarks.large_case import Case, Costs, least_machines, simulated

COSTS = Costs(step_us=1_000, tick_us=10, commit_us=500, commit_tick_us=5, start_sec=0.5, again=1_000)
CASE = Case(instruments=20, ticks_per_sec=2_000, machines=4, cores=2, parts=8, database_cores=4, lease_sec=1.0)
EVEN = [250.0] * 8


def test_a_part_alone_lags_by_its_step_its_commit_and_the_disk():
    outcome = simulated(Case(1, 10, 1, 1, 1, 1, seconds=2.0), COSTS, [10.0])
    # One tick a step: 1,010 µs here, 505 µs there, 1,000 µs for the disk.
    assert outcome.lag(0.5) == pytest.approx(0.002515)
    assert outcome.lag(1.0) == pytest.approx(0.002515)


def test_every_tick_is_taken_once_whatever_happens():
    for case in (CASE, replace(CASE, loss_at=1.0), replace(CASE, burst=(1.0, 2.0, 9.0))):
        outcome = simulated(case, COSTS, EVEN)
        assert outcome.took == sum(count for _, count, _, _ in outcome.steps)
        assert 0 <= outcome.waiting < 100
        assert outcome.arrived == pytest.approx(2_000 * (5 + 8 * (case.burst[2] > 1)), abs=8)


def test_groups_grow_with_the_load_and_lag_with_them():
    steady, busy = (simulated(CASE, COSTS, [rate] * 8) for rate in (250.0, 40_000.0))
    assert busy.lag(0.5) > 2 * steady.lag(0.5)
    per_step = [outcome.took / len(outcome.steps) for outcome in (steady, busy)]
    assert per_step[1] > 20 * per_step[0]


def test_a_lost_machines_ticks_wait_for_its_lease_and_all_others_do_not():
    lost = simulated(replace(CASE, loss_at=1.0), COSTS, EVEN)
    # The lease, the start, and a thousand inputs again.
    assert 1.5 < lost.lag(1.0) < 1.6
    assert lost.lag(0.8) < 0.01
    assert 1.4 < lost.back_after(1.0, 0.1) < 1.7


def test_the_fewest_machines_are_found():
    assert least_machines(CASE, lambda case: case.machines >= 7) == 7
    assert least_machines(CASE, lambda case: case.machines >= 7, most=5) is None


def test_the_page_has_what_was_measured():
    results = json.loads(large_case_page.KEPT.read_text(encoding="utf-8"))
    page = large_case_page.PAGE.read_text(encoding="utf-8")
    assert large_case_page.measured(results) in page
    assert large_case_page.checked(results) in page
