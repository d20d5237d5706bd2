"""kill -9 at random moments of a run, and of its server, in small; the whole is `make torture`."""

from __future__ import annotations

import pytest
from tests.torture import file_kills, nats_kills


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_delivers_what_an_undisturbed_replay_emits(tmp_path):
    tally = file_kills.torture(tmp_path, kills=4, seed=11, shards=2, life_sec=0.15)
    assert tally.kills == 4
    assert tally.expected > 50
    assert tally.clean, tally


@pytest.mark.slow
@pytest.mark.server
def test_from_nats_to_nats_too_and_while_the_server_is_restarted(tmp_path):
    tally = nats_kills.torture(tmp_path, kills=3, restarts=1, seed=5, shards=2)
    assert tally.expected > 20
    assert tally.clean, tally
