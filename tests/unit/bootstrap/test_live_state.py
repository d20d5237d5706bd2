"""A run that goes on is explained from its journal, beside it, as it decided."""

from __future__ import annotations

import pytest
from tests.unit.control.desk import Desk, configured, told

from anystrat.analysis.explaining.explanation import Ending
from anystrat.analysis.explaining.moments import Moments, explain
from anystrat.bootstrap.journals import journal_in
from anystrat.bootstrap.live_state import live_state
from anystrat.domain.journal import JournalRefused

PRICES = (100, 101, 102, 103, 104, 105, 106)


def state_of(folder, rows=None):
    journal = {"type": "sqlite", "path": str(folder / "journal.db")}
    configuration, wiring = configured(folder, rows, journal=journal)
    return live_state(configuration, wiring, journal_in(folder / "journal.db"), None)


def last(state, inputs):
    (found,) = explain(state.engines[0], inputs, Moments(last=1), strategy="calm", instrument=1).explanations
    return found.price, found.ending, found.because


@pytest.mark.parametrize("checkpoint_inputs", [3, 1_000])
def test_the_last_tick_is_explained_from_the_checkpoint_and_from_the_beginning(tmp_path, checkpoint_inputs):
    async def story():
        async with Desk(tmp_path, journal={"type": "sqlite", "path": str(tmp_path / "journal.db")}) as desk:
            desk.runner.shards[0]._checkpoint_inputs = checkpoint_inputs
            for price in PRICES:
                await desk.ticks(price)
            state = state_of(tmp_path)
            assert state.runs()
            since, whole = state.since_checkpoint(0), None
            assert (sum(map(len, since)) < len(PRICES)) is (checkpoint_inputs == 3)
            from_checkpoint = last(state, since)
            whole = state.from_the_beginning(0)
            assert from_checkpoint == last(state, whole)
            price, ending, because = from_checkpoint
            assert (str(price), ending) == ("106", Ending.DROPPED)
            assert because.startswith("cooldown: 5 s since the last signal on 1")

    told(story)
    assert not state_of(tmp_path).runs()


def test_another_configuration_than_the_runs_is_refused(tmp_path):
    async def story():
        async with Desk(tmp_path, journal={"type": "sqlite", "path": str(tmp_path / "journal.db")}) as desk:
            await desk.ticks(*PRICES)

    told(story)
    other = [{"id": "calm", "strategy_type": "momentum", "parameters": {"lookback_periods": 3}, "instruments": [1]}]
    with pytest.raises(JournalRefused, match="another configuration"):
        state_of(tmp_path, other).since_checkpoint(0)
