"""What a delivery counts: what is open, since when, and what became of the rest."""

from __future__ import annotations

import pytest

from anystrat.domain.health import Breaker, BrokerHealth
from anystrat.domain.journal import Fate
from anystrat.runner.delivery import accounts as module
from anystrat.runner.delivery.accounts import DeliveryAccounts


def test_before_anything_arrives_nothing_is_open_and_nothing_waits():
    accounts = DeliveryAccounts()
    assert accounts.open == 0
    assert accounts.waited(1, 50.0) == 0.0
    assert accounts.health("out", "log", Breaker.CLOSED, 1, 50.0) == BrokerHealth("out", "log", Breaker.CLOSED)


def test_open_is_what_arrived_and_is_not_settled():
    accounts = DeliveryAccounts()
    accounts.arrived(3, 0.0)
    accounts.arrived(5, 1.0)
    accounts.settle(Fate.ACKED, 2)
    accounts.settle(Fate.DEAD, 1)
    assert accounts.open == 2
    accounts.arrived(4, 2.0)  # handed over again: nothing new
    assert accounts.open == 2
    assert accounts.settled == {Fate.ACKED: 2, Fate.DEAD: 1}


def test_what_an_earlier_process_left_is_open_too_and_counted_once():
    accounts = DeliveryAccounts()
    accounts.arrived(12, 5.0)
    accounts.settle(Fate.ACKED, 9)
    accounts.counted(10, 4, 6.0)
    assert accounts.open == 4 + 2
    accounts.settle(Fate.ACKED, 3)
    assert accounts.open == 3
    accounts.counted(20, 1, 7.0)  # beyond what has arrived here
    assert accounts.open == 1


@pytest.mark.parametrize(("unsettled", "waited"), [(4, 10.0), (0, 0.0)])
def test_what_an_earlier_process_left_has_waited_since_it_was_counted(unsettled, waited):
    accounts = DeliveryAccounts()
    accounts.counted(10, unsettled, 6.0)
    assert accounts.waited(7, 16.0) == waited


def test_a_count_changes_nothing_of_what_is_known_to_have_waited():
    accounts = DeliveryAccounts()
    accounts.arrived(3, 1.0)
    accounts.counted(3, 3, 6.0)
    assert accounts.waited(1, 16.0) == 15.0
    assert accounts.waited(4, 16.0) == 0.0


def test_who_waits_is_the_first_that_is_open_since_its_own_arrival():
    accounts = DeliveryAccounts()
    for last, now in ((3, 1.0), (5, 2.0), (9, 4.0)):
        accounts.arrived(last, now)
    assert [accounts.waited(oldest, 10.0) for oldest in (1, 3, 4, 5, 6, 9, 10)] == [9.0, 9.0, 8.0, 8.0, 6.0, 6.0, 0.0]


@pytest.mark.parametrize("many", [4, 5, 6])
def test_of_many_arrivals_those_beside_each_other_become_one_and_no_wait_looks_shorter(many, monkeypatch):
    monkeypatch.setattr(module, "_ARRIVALS", many - 1)
    accounts = DeliveryAccounts()
    for number in range(1, many + 1):
        accounts.arrived(number, float(number))
    pairs = [(2, 1.0), (4, 3.0), (6, 5.0)][: many // 2]
    assert list(accounts._arrivals) == [*pairs, *([(5, 5.0)] if many == 5 else [])]
    accounts.arrived(9, 9.0)
    assert list(accounts._arrivals)[-1] == (9, 9.0)


def test_health_tells_all_of_it():
    accounts = DeliveryAccounts()
    accounts.arrived(21, 1.0)
    for count, fate in enumerate((Fate.ACKED, Fate.REJECTED, Fate.EXPIRED, Fate.DEAD, Fate.UNKNOWN), start=1):
        accounts.settle(fate, count)
    accounts.retries, accounts.problem = 7, "it is slow"
    told = accounts.health("out", "log", Breaker.OPEN, 16, 11.0)
    assert told == BrokerHealth("out", "log", Breaker.OPEN, 6, 10.0, 1, 2, 3, 4, 5, 7, "it is slow")
    accounts.settle(Fate.ACKED, 6)
    assert accounts.health("out", "log", Breaker.OPEN, 16, 11.0).oldest_sec == 0.0
