"""Three machines share one stream, and two of them die: kill -9 in a burst, and again while the first one's parts are taken over."""

from __future__ import annotations

import pytest
from tests.torture import cluster_kills


@pytest.mark.slow
@pytest.mark.server
def test_of_three_members_two_are_killed_and_the_third_goes_on_where_they_were(tmp_path):
    tally, take_overs = cluster_kills.torture(tmp_path, rounds=1, seed=3, lease_sec=3)
    assert tally.kills == 2
    assert tally.expected > 100
    assert tally.clean, tally
    assert 0 < take_overs.longest < 2
