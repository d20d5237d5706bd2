"""What a run must be like to be shared out among machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anystrat.config.node import Node
from anystrat.config.problems import Problems
from anystrat.domain.cluster import Partitioner
from anystrat.domain.endpoints import JsonlBroker, KafkaSource, NatsSource, PostgresJournal

if TYPE_CHECKING:
    from anystrat.domain.configuration import Configuration


def check_cluster(root: Node, configuration: Configuration, problems: Problems) -> None:
    """Add what keeps the run from being shared out to `problems`, if it is to be."""
    if configuration.cluster is None:
        return

    def add(section: str, path: tuple[str, ...], message: str, allowed: str = "") -> None:
        problems.add(root.entries.get(section, root), path, message, found="", allowed=allowed)

    source, journal = configuration.source, configuration.journal
    if source is None or not isinstance(source.options, NatsSource | KafkaSource):
        add("source", ("source",), "a cluster shares out a stream that a server keeps", "nats, kafka")
    elif isinstance(source.options, KafkaSource) and source.options.partitions:
        add("source", ("source", "partitions"), "a cluster shares the partitions out itself: leave them out")
    if journal is None or not isinstance(journal.options, PostgresJournal):
        message = "whoever takes a part over needs its journal, and leases are kept beside it"
        add("journal", ("journal",), message, "postgres")
    if configuration.account is not None:
        add(
            "account",
            ("account",),
            "limits over the whole account need all strategies in one process: leave `cluster` out",
        )
    for name, broker in configuration.brokers.items():
        if isinstance(broker.options, JsonlBroker):
            message = "a file on one machine cannot take the signals of all"
            add("brokers", ("brokers", name), message, "nats, kafka, webhook, log, paper, a publisher of your own")
    _check_straddling(root, configuration, problems)


def _check_straddling(root: Node, configuration: Configuration, problems: Problems) -> None:
    """One executor sees all of its instruments, so that they must be in one part."""
    cluster, source = configuration.cluster, configuration.source
    if cluster is None or source is None:
        return
    kafka = isinstance(source.options, KafkaSource)
    for row in configuration.strategies:
        if row.per_instrument or not row.enabled:
            continue
        places = cluster.places(row.instrument_tokens, Partitioner.KAFKA if kafka else Partitioner.NATS)
        if len(set(places.values())) > 1:
            first, second = _two_apart(places)
            problems.add(
                root.entries.get("cluster", root),
                ("cluster",),
                f"strategy {row.strategy_id!r} watches instruments of several parts with one executor: "
                f"{first} is in part {places[first]}, {second} in part {places[second]}",
                found="",
                allowed="`per_instrument: true` in the row, or its instruments under one part in `assign`",
            )


def _two_apart(places: dict[int, int]) -> tuple[int, int]:
    first = next(iter(places))
    return first, next(token for token, part in places.items() if part != places[first])
