"""The section `cluster`, and what cannot be shared out."""

from __future__ import annotations

import pytest

from anystrat.bootstrap.clustering import layout_of, part_configuration
from anystrat.control.places import places_of

SHARED = """\
cluster: {parts: 4, assign: [{part: 2, instruments: [1, 2]}]}
source: {type: nats, url: "nats://localhost", stream: TICKS, durable: desk}
journal: {type: postgres, url: "postgresql://localhost/x", schema: desk}
metrics: {port: 9000}
control: {listen: "127.0.0.1:8000"}
strategies:
  - {id: pair, strategy_type: momentum, instruments: [1, 2]}
  - {id: each, strategy_type: momentum, instruments: [1, 3, 4, 5], per_instrument: true}
"""


def test_a_part_is_a_run_of_its_own(load):
    whole = load(SHARED)
    parts = [part_configuration(whole, number) for number in range(4)]
    # 3, 4 and 5 are where NATS's hash puts them.
    assert [[(row.strategy_id, row.instrument_tokens) for row in each.strategies] for each in parts] == [
        [("each", (5,))],
        [],
        [("pair", (1, 2)), ("each", (1, 3))],
        [("each", (4,))],
    ]
    second = parts[2]
    assert (second.source.options.subject, second.source.options.durable) == ("ticks.2.>", "desk-2")
    assert second.journal.options.schema == "desk_2"
    assert (second.run.name, second.metrics.port, second.control.listen) == ("anystrat-2", 9002, "127.0.0.1:8002")
    assert len({places_of(each).access for each in parts} | {places_of(each).audit for each in parts}) == 8
    assert len({places_of(each).tokens for each in parts}) == 1


def test_members_with_another_layout_are_told_apart(load):
    layouts = [
        layout_of(load(SHARED.replace("[1, 2]}]", text)))
        for text in ("[1, 2]}]", "[1, 2, 9]}]", "[1, 2]}], subject: 'x.{part}'")
    ]
    assert layouts[0].startswith("4 parts of TICKS, ticks.{part}.>, 2 assigned (")
    assert len(set(layouts)) == 3


@pytest.mark.parametrize(
    ("before", "after", "path", "says"),
    [
        ("momentum, instruments: [1, 2]}", "momentum, instruments: [1, 5]}", "cluster", "strategy 'pair' watches instruments of several parts with one executor: 1 is in part 2, 5 in part 0"),
        ('type: nats, url: "nats://localhost", stream: TICKS, durable: desk', "type: stdin", "source", "a cluster shares out a stream"),
        ('type: nats, url: "nats://localhost", stream: TICKS, durable: desk', "type: kafka, bootstrap_servers: h, topic: t, partitions: [1]", "source.partitions", "leave them out"),
        ('type: postgres, url: "postgresql://localhost/x", schema: desk', "type: memory", "journal", "whoever takes a part over needs its journal"),
        ("metrics:", "account: {max_gross_exposure: 5}\nmetrics:", "account", "need all strategies in one process"),
        ("metrics:", "brokers: {out: {type: jsonl, path: x.jsonl}}\nmetrics:", "brokers.out", "a file on one machine"),
        ("parts: 4", "parts: 2", "cluster.assign", "parts are numbered from 0 to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_out_is_refused(load, refuse, before, after, path, says):
    assert before in SHARED
    problems = refuse(SHARED.replace(before, after, 1))
    assert path in {each.path for each in problems}
    assert any(says in each.message for each in problems if each.path == path), problems
