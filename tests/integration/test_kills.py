"""kill -9 at random moments of a run, in small; the whole is `python -m tests.torture.kills`."""

from __future__ import annotations

import pytest
from tests.torture.kills import torture


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_delivers_what_an_undisturbed_replay_emits(tmp_path):
    tally = torture(tmp_path, kills=6, seed=11, shards=2)
    assert tally.kills == 6
    assert tally.expected > 50
    assert tally.clean, tally
