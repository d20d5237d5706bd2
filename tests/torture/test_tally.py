"""What the torture counts: every fault that it is there to find is found."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.torture.tally import LABELS, Tally, counted, table


def row(number: int, **other: Any) -> dict[str, Any]:
    return {"signal_id": f"{number:032x}", "strategy_id": "s", "instrument_token": 1, "ts_ns": number} | other


GOOD = [row(1), row(2), row(3)]


def tally(sink: list[dict[str, Any]], seen: list[dict[str, Any]] | None = None, accounted: int = 9) -> Tally:
    return counted(GOOD, sink, seen or [], kills=1, restarts=1, ticks=9, accounted=accounted, seconds=1.0)


def test_what_is_as_in_the_replay_is_clean():
    found = tally(GOOD)
    assert found.clean
    assert (found.expected, found.delivered) == (3, 3)


@pytest.mark.parametrize(
    ("fault", "sink", "seen", "accounted"),
    [
        ("lost", GOOD[:2], [], 9),
        ("invented", [*GOOD, row(4)], [], 9),
        ("repeated", [*GOOD, row(3)], [], 9),
        ("conflicts", [row(1), row(2), row(3, quantity=7)], [], 9),
        ("conflicts", GOOD, [row(3), row(3, quantity=7)], 9),
        ("out_of_order", [row(2), row(1), row(3)], [], 9),
        ("ticks_off", GOOD, [], 8),
    ],
)
def test_a_fault_is_counted_once_and_under_its_name(fault, sink, seen, accounted):
    found = tally(sink, seen, accounted)
    assert not found.clean
    faults = ("ticks_off", "lost", "invented", "repeated", "conflicts", "out_of_order")
    assert {name: getattr(found, name) for name in faults if getattr(found, name)} == {fault: 1}


def test_other_strategies_and_instruments_have_an_order_of_their_own():
    others = [row(2), row(1, strategy_id="t"), row(0, instrument_token=2)]
    assert counted(others, others, kills=0, restarts=0, ticks=0, accounted=0, seconds=0).clean


def test_copies_that_the_sink_left_out_are_no_fault():
    found = tally(GOOD, [*GOOD, *GOOD])
    assert found.clean
    assert found.sent_again == 3


def test_rounds_add_up_and_the_table_has_every_count():
    both = tally(GOOD) + tally(GOOD[:2])
    assert (both.kills, both.expected, both.delivered, both.lost, both.clean) == (2, 6, 5, 1, False)
    assert list(LABELS) == list(asdict(both))
    lines = table({"one": both, "two": both}).splitlines()
    assert len(lines) == len(LABELS) + 2
    assert len(set(map(len, lines))) == 1
