"""How a run is spread over workers: what each has of its own, and what cannot be spread."""

from __future__ import annotations

from pathlib import Path

import pytest

from anystrat.bootstrap import default_catalog
from anystrat.bootstrap.working import SpreadRefused, refuse_single, spread, was_killed, worker_configuration
from anystrat.control.places import accesses_of_parts, audits_of_parts, places_of
from anystrat.domain.errors import ConfigurationError

RUN = """\
source: {type: nats, url: "nats://localhost", durable: desk}
brokers:
  out: {type: jsonl, path: out.jsonl, rate_per_sec: 10}
journal: {type: sqlite, path: state/journal.db}
metrics: {port: 9000}
control: {listen: "127.0.0.1:8000"}
strategies:
  - {id: pair, strategy_type: momentum, instruments: [1, 2], brokers: [out]}
  - {id: each, strategy_type: momentum, instruments: [3, 4, 5, 6], per_instrument: true, brokers: [out]}
"""


def test_a_worker_has_instruments_files_ports_and_a_share_of_the_rate_of_its_own(load):
    whole = load(RUN)
    found = spread(whole, 2, default_catalog())
    workers = [worker_configuration(whole, number, found) for number in found.started]
    assert len(workers) == 2
    rows = [{token for row in each.strategies for token in row.instrument_tokens} for each in workers]
    assert rows[0] | rows[1] == {1, 2, 3, 4, 5, 6}
    assert not rows[0] & rows[1]
    assert any({1, 2} <= each for each in rows)
    second = workers[1]
    assert second.source.options.durable == "desk-worker-1"
    assert second.brokers["out"].options.path.name == "out.worker-1-of-2.jsonl"
    assert second.brokers["out"].delivery.rate_per_sec == 5
    assert second.journal.options.path.name == "journal.worker-1-of-2.db"
    assert (second.metrics.port, second.control.listen) == (9001, "127.0.0.1:8001")
    assert len({places_of(each).access for each in workers} | {places_of(each).audit for each in workers}) == 4
    assert {places_of(each).tokens for each in workers} == {places_of(whole).tokens}


def test_commands_find_the_files_of_all_workers(load):
    whole = load(RUN)
    found = spread(whole, 2, default_catalog())
    for number in (0, 1):
        places = places_of(worker_configuration(whole, number, found))
        places.access.parent.mkdir(exist_ok=True)
        places.access.touch()
        places.audit.touch()
    assert {number: path.name for number, path in accesses_of_parts(whole).items()} == {
        0: "journal.worker-0-of-2.control.json",
        1: "journal.worker-1-of-2.control.json",
    }
    assert [path.name for path in audits_of_parts(whole).values()] == [
        "journal.worker-0-of-2.audit.jsonl",
        "journal.worker-1-of-2.audit.jsonl",
    ]


def test_all_workers_make_the_same_synthetic_ticks(load):
    whole = load(RUN.replace('{type: nats, url: "nats://localhost", durable: desk}', "{type: synthetic}"))
    found = spread(whole, 2, default_catalog())
    assert {worker_configuration(whole, each, found).source.options.instruments for each in (0, 1)} == {
        (1, 2, 3, 4, 5, 6)
    }


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('type: nats, url: "nats://localhost", durable: desk', "type: stdin", "stdin cannot be read twice"),
        ("metrics:", "account: {max_gross_exposure: 5}\nmetrics:", "need all strategies in one process"),
        ("type: sqlite, path: state/journal.db", 'type: postgres, url: "postgresql://h/x"', "`cluster` spreads a run"),
        (", per_instrument: true", "", "there is work for 2"),
    ],
)
def test_what_cannot_be_spread_is_refused_and_says_why(load, before, after, says):
    with pytest.raises(ConfigurationError, match=says):
        spread(load(RUN.replace(before, after)), 3, default_catalog())


@pytest.mark.parametrize("begun", ["journal.db", "journal.worker-0-of-4.db"])
def test_a_journal_that_was_begun_in_another_way_is_not_left_behind(load, begun):
    whole = load(RUN)
    path: Path = whole.journal.options.path.with_name(begun)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(ConfigurationError, match=f"the journal {begun} was begun "):
        spread(whole, 2, default_catalog())
    if "worker" in begun:
        with pytest.raises(ConfigurationError, match="begun with 4 workers"):
            refuse_single(whole)


def test_a_reading_that_would_move_an_instrument_or_bring_one_is_refused_by_every_worker(load):
    whole = load(RUN)
    found = spread(whole, 2, default_catalog())
    apart = next(token for token in (3, 4, 5, 6) if found.of[token] != found.of[1])
    for changed, says in (("[1, 2]", f"[1, 2, {apart}]"), ("[3, 4, 5, 6]", "[3, 4, 5, 6, 7]")):
        again = load(RUN.replace(changed, says))
        for number in (0, 1):
            with pytest.raises(SpreadRefused, match="only a restart can"):
                worker_configuration(again, number, found)


def test_without_journals_no_kill_switch_was_on(load):
    whole = load(RUN)
    assert not was_killed(whole, spread(whole, 2, default_catalog()))
