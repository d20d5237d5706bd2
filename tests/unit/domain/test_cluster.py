"""Where an instrument belongs, and how many parts each member ought to have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.cluster import (
    Assignment,
    ClusterSettings,
    ClusterView,
    Partitioner,
    PartLease,
    PartState,
    kafka_partition,
    nats_partition,
)
from anystrat.domain.parameters import ParameterError


@pytest.mark.parametrize(
    ("key", "hashed"),
    # Apache Kafka, UtilsTest.testMurmur2
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)],
)
def test_a_key_is_where_kafka_would_put_it(key, hashed):
    assert kafka_partition(key, 1 << 31) == hashed & 0x7FFFFFFF
    assert kafka_partition(key, 7) == (hashed & 0x7FFFFFFF) % 7


def test_a_key_is_where_fnv_1a_puts_it():
    # The reference values of the hash's authors, for the empty text, "a" and "foobar".
    assert [nats_partition(key, 1 << 32) for key in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_assigned_instruments_are_where_they_are_assigned_and_all_others_where_the_server_puts_them():
    settings = ClusterSettings(4, assign=(Assignment(3, (1, 2)),))
    places = settings.places((1, 2, 1001), Partitioner.NATS)
    assert places == {1: 3, 2: 3, 1001: nats_partition("1001", 4)}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"subject": "ticks.>"}, "must hold {part}"),
        ({"assign": (Assignment(4, (1,)),)}, "parts are numbered from 0 to 3"),
        ({"assign": (Assignment(0, (1,)), Assignment(1, (1,)))}, "the instrument 1 is in part 0 and in part 1"),
    ],
)
def test_what_cannot_be_is_refused(given, says):
    with pytest.raises(ParameterError, match=says):
        ClusterSettings(4, **given)


def view(*owners: str, members: tuple[str, ...]) -> ClusterView:
    leases = (PartLease(part, owner, 1, 5.0 if owner else -1.0, PartState.RUNNING) for part, owner in enumerate(owners))
    return ClusterView(tuple(leases), members)


def test_whoever_has_most_keeps_the_odd_parts():
    found = view("a", "a", "b", "b", "b", "", "", members=("a", "b", "c"))
    assert [found.share(name) for name in "abc"] == [2, 3, 2]
    assert found.share("newcomer") == 1


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=1, max_size=40))
def test_the_shares_add_up_and_differ_by_one_at_most(owners):
    members = ("a", "b", "c", "d")
    shares = [view(*owners, members=members).share(name) for name in members]
    assert sum(shares) == len(owners)
    assert max(shares) - min(shares) <= 1
