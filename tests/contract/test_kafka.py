"""What the Kafka source and sink do beside the contract: groups, fences, commits, and what a record looks like."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from random import Random
from typing import Any, Self

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from tests.contract.sink_cases import signal, signals
from tests.kafka_cluster import KafkaCluster

from anystrat.adapters import kafka_history
from anystrat.adapters.kafka_client import KafkaSettingsRefused
from anystrat.adapters.kafka_history import KafkaTicks
from anystrat.adapters.offload import on_the_spot
from anystrat.adapters.sink_kafka import KafkaSink
from anystrat.adapters.source_kafka import KafkaFeed
from anystrat.domain.configuration import Secret
from anystrat.domain.delivery import SinkUnavailable, Verdict
from anystrat.domain.endpoints import KafkaBroker, KafkaSource
from anystrat.domain.errors import HistoryRefused
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, SourceUnauthorised, TickBatch
from anystrat.domain.journal import OutboxSignal
from anystrat.domain.parameters import ParameterError
from anystrat.testing.loop import simulate

pytestmark = pytest.mark.server

CANARY = "s3cr3t-canary"
#: Members hear of a rebalance with their next heartbeat; the cluster gives them as long as their session to join.
QUICK = {"heartbeat.interval.ms": Secret("100"), "session.timeout.ms": Secret("6000")}


def tick(number: int, token: int = 1) -> bytes:
    return json.dumps({"ts_ns": number, "instrument_token": token, "price": 100 + number}).encode()


class Reading:
    """A feed that is read beside the test; a place in it is waited for."""

    def __init__(self, options: KafkaSource, after: dict[str, int] | None = None) -> None:
        self.feed = KafkaFeed(options, Random(1))
        self.offsets: dict[str, list[int]] = {}
        self.notices: list[SourceNotice] = []
        self._after = after or {}
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.feed.close()

    @property
    def count(self) -> int:
        return sum(map(len, self.offsets.values()))

    async def until(self, there: Callable[[], object]) -> None:
        async with asyncio.timeout(90):
            while not there():
                assert self._task is not None
                if self._task.done():
                    await self._task
                self._moved.clear()
                try:
                    async with asyncio.timeout(0.05):  # a rebalance brings no item
                        await self._moved.wait()
                except TimeoutError:
                    pass

    async def _read(self) -> None:
        async with aclosing(self.feed.batches(self._after)) as items:
            async for item in items:
                if isinstance(item, TickBatch):
                    self.offsets.setdefault(item.partition, []).extend(item.offsets.tolist())
                else:
                    self.notices.append(item)
                self._moved.set()


def test_a_partition_that_goes_to_somebody_else_is_fenced_and_nothing_of_it_is_lost(kafka_server) -> None:
    """Two runs of one group: what the first had and did not commit is the second one's, whatever the first says later."""
    topic, group = kafka_server.name(), kafka_server.name()
    kafka_server.publish(topic, {each: [tick(number, each) for number in range(5)] for each in range(4)})
    options = KafkaSource(kafka_server.servers, topic, group_id=group, options=QUICK)

    async def main() -> None:
        async with Reading(options) as first:
            await first.until(lambda: first.count == 20)
            every = {f"{topic}[{each}]" for each in range(4)}
            assert first.feed.owned == every
            async with Reading(options) as second:
                await second.until(lambda: len(second.feed.owned) == 2 and len(first.feed.owned) == 2)
                gone, kept = second.feed.owned, first.feed.owned
                assert gone | kept == every
                await second.until(lambda: second.count == 10)
                assert set(second.offsets) == set(gone)
                # Late: these were committed to the first one's journal, and belong to the second one now.
                for partition in every:
                    await first.feed.acknowledge(partition, 5)
                await first.until(lambda: len(kafka_server.committed(topic, group)) == 2)
                assert {f"{topic}[{each}]" for each in kafka_server.committed(topic, group)} == set(kept)
            # The second one has left: its partitions come back, and go on where the first was.
            await first.until(lambda: first.feed.owned == every)
            kafka_server.publish(topic, {each: [tick(9, each)] for each in range(4)})
            await first.until(lambda: first.count == 24)
            assert all(offsets == [1, 2, 3, 4, 5, 6] for offsets in first.offsets.values())

    asyncio.run(main())


def prices(history: KafkaTicks, token: int, count: int) -> list[int]:
    return [int(each.last_price) - 100 for each in history.last_ticks(token, count)]


def test_the_history_of_partitions_is_read_backwards_and_the_run_begins_where_it_ends(
    kafka_server, monkeypatch
) -> None:
    monkeypatch.setattr(kafka_history, "_FIRST", 4)
    monkeypatch.setattr(kafka_history, "_PAGE", 3)
    topic, group = kafka_server.name(), kafka_server.name()
    first = [tick(number, 2 if number in {3, 38} else 1) for number in range(1, 41)]
    kafka_server.publish(topic, {0: first, 2: [tick(number, 5) for number in range(7)], 3: [tick(1, 9)]})
    options = KafkaSource(kafka_server.servers, topic, group_id=group, partitions=(0, 1, 2), start="new", options=QUICK)
    history = KafkaTicks(options, {1: 6, 2: 2, 5: 3, 9: 1}, 1_000)

    async def main() -> None:
        # Within a loop that runs, as the runner asks it.
        assert prices(history, 1, 6) == [34, 35, 36, 37, 39, 40]
        assert prices(history, 2, 2) == [3, 38]
        assert prices(history, 5, 2) == [5, 6]
        assert prices(history, 9, 1) == []
        assert history.position() == {f"{topic}[0]": 40, f"{topic}[1]": 0, f"{topic}[2]": 7}
        kafka_server.publish(topic, {0: [tick(50)], 1: [tick(51, 3)]})
        async with Reading(options, dict(history.position())) as run:
            await run.until(lambda: run.count == 2)
            assert run.offsets == {f"{topic}[0]": [41], f"{topic}[1]": [1]}
            await run.feed.acknowledge(f"{topic}[0]", 41)
            await run.until(lambda: kafka_server.committed(topic, group) == {0: 41})
        # Another run of the group decides on what comes after that: no more of it is history.
        kafka_server.publish(topic, {0: [tick(60), tick(61)]})
        later = KafkaTicks(options, {1: 3}, 1_000)
        assert (prices(later, 1, 2), later.position()[f"{topic}[0]"]) == ([40, 50], 41)
        assert prices(KafkaTicks(options, {1: 9, 5: 9}, 6), 1, 9) == [39, 40, 50]

    asyncio.run(main())


def test_a_history_that_cannot_be_read_is_refused_in_words(kafka_server, monkeypatch) -> None:
    monkeypatch.setattr(kafka_history, "_ASK_SEC", 0.3)
    nowhere = KafkaSource("127.0.0.1:1", "ticks", partitions=(0,), start="new", options={"log_level": Secret("0")})
    with pytest.raises(HistoryRefused, match=r"history: Kafka, topic ticks: .*see to the cluster"):
        KafkaTicks(nowhere, {1: 1}, 10).position()
    wrong = KafkaSource(kafka_server.servers, "ticks", partitions=(0,), options={"nonsense": Secret(CANARY)})
    with pytest.raises(KafkaSettingsRefused, match="'nonsense'"):
        KafkaTicks(wrong, {1: 1}, 10).position()


def test_what_another_run_decided_on_meanwhile_is_not_decided_on_twice(kafka_server) -> None:
    topic, group = kafka_server.name(), kafka_server.name()
    kafka_server.publish(topic, {each: [tick(1, each)] for each in range(4)})
    options = KafkaSource(kafka_server.servers, topic, group_id=group, options=QUICK)

    async def main() -> None:
        async with Reading(options) as first:
            await first.until(lambda: first.count == 4)
            async with Reading(options) as second:
                await second.until(lambda: len(second.feed.owned) == 2 and len(first.feed.owned) == 2)
                gone = second.feed.owned
                kafka_server.publish(topic, {each: [tick(2, each), tick(3, each)] for each in range(4)})
                await second.until(lambda: second.count == 6)
                for partition in gone:
                    await second.feed.acknowledge(partition, 3)
            await first.until(lambda: len(first.feed.owned) == 4)
            kafka_server.publish(topic, {each: [tick(4, each)] for each in range(4)})
            await first.until(lambda: all(offsets[-1] == 4 for offsets in first.offsets.values()))
            assert all(first.offsets[partition] == [1, 4] for partition in gone)
            gaps = [notice for notice in first.notices if notice.kind is NoticeKind.GAP]
            assert {notice.partition for notice in gaps} == set(gone)
            assert {(notice.details["first"], notice.details["last"]) for notice in gaps} == {(1, 2)}

    asyncio.run(main())


@asynccontextmanager
async def alone(cluster: KafkaCluster, topic: str, group: str, **more: Any) -> AsyncIterator[Reading]:
    after = more.pop("after", None)
    options = KafkaSource(cluster.servers, topic, group_id=group, partitions=(0,), **more)
    async with Reading(options, after) as reading:
        yield reading


def test_nothing_is_committed_before_it_is_acknowledged_and_then_it_is(kafka_server) -> None:
    topic, group = kafka_server.name(), kafka_server.name()
    kafka_server.publish(topic, {0: [tick(number) for number in range(10)]})

    async def main() -> None:
        async with alone(kafka_server, topic, group) as reading:
            await reading.until(lambda: reading.count == 10)
            assert kafka_server.committed(topic, group) == {}
            await reading.feed.acknowledge(f"{topic}[0]", 4)
            await reading.until(lambda: kafka_server.committed(topic, group) == {0: 4})
            await reading.feed.acknowledge(f"{topic}[0]", 10)
        assert kafka_server.committed(topic, group) == {0: 10}

    asyncio.run(main())


def test_a_run_goes_on_by_its_own_journal_and_one_without_by_the_groups(kafka_server) -> None:
    topic, group = kafka_server.name(), kafka_server.name()
    kafka_server.publish(topic, {0: [tick(number) for number in range(10)]})

    async def main() -> None:
        async with alone(kafka_server, topic, group) as reading:
            await reading.until(lambda: reading.count == 10)
            await reading.feed.acknowledge(f"{topic}[0]", 8)
        async with alone(kafka_server, topic, group, after={f"{topic}[0]": 3}) as reading:
            await reading.until(lambda: reading.count == 7)
            assert reading.offsets == {f"{topic}[0]": [4, 5, 6, 7, 8, 9, 10]}
        async with alone(kafka_server, topic, group) as reading:
            await reading.until(lambda: reading.count == 2)
            assert reading.offsets == {f"{topic}[0]": [9, 10]}
        async with alone(kafka_server, topic, kafka_server.name(), start="new") as reading:
            await reading.until(lambda: reading.feed.owned)
            kafka_server.publish(topic, {0: [tick(11)]})
            await reading.until(lambda: reading.count == 1)
            assert reading.offsets == {f"{topic}[0]": [11]}

    asyncio.run(main())


def test_a_topic_that_was_made_anew_ends_the_run_and_says_so(kafka_server) -> None:
    topic = kafka_server.name()
    kafka_server.publish(topic, {0: [tick(1)]})

    async def main() -> None:
        async with alone(kafka_server, topic, kafka_server.name(), after={f"{topic}[0]": 99}) as reading:
            with pytest.raises(
                SourceFailed, match="ends at 1, and this run has read up to 99: the topic was made anew"
            ):
                await reading.until(lambda: False)

    asyncio.run(main())


class Scripted:
    """A consumer that says what it is told to: for what librdkafka's own cluster cannot do."""

    def __init__(self, low: int, high: int, said: list[Any]) -> None:
        self.low, self.high, self.said = low, high, said
        self.assigned: list[int] = []
        self.sought: list[int] = []

    def list_topics(self, *_: Any, **__: Any) -> Any:
        return type("Metadata", (), {"topics": {}})

    def committed(self, places: list[Any], **_: Any) -> list[Any]:
        return places

    def get_watermark_offsets(self, _place: Any, **_: Any) -> tuple[int, int]:
        return self.low, self.high

    def assign(self, places: list[Any]) -> None:
        self.assigned += [each.offset for each in places]

    def seek(self, place: Any) -> None:
        self.sought.append(place.offset)
        self.said.append(Said(place.offset, tick(place.offset)))

    def poll(self, _timeout: float) -> Any:
        return self.said.pop(0) if self.said else None

    def consume(self, _count: int, _timeout: float) -> list[Any]:
        return []

    def close(self) -> None: ...


class Said:
    def __init__(self, offset: int, value: bytes = b"", error: Any = None) -> None:
        self.offset, self.value, self.error = (lambda: offset), (lambda: value), (lambda: error)

    def partition(self) -> int:
        return 0


def told(consumer: Scripted, after: dict[str, int], ticks: int) -> tuple[list[int], list[SourceNotice]]:
    async def main() -> tuple[list[int], list[SourceNotice]]:
        options = KafkaSource("nowhere:1", "t", partitions=(0,))
        feed = KafkaFeed(options, Random(1), make=lambda _conf: consumer)
        offsets: list[int] = []
        notices = []
        async with aclosing(feed.batches(after)) as items:
            async for item in items:
                if isinstance(item, SourceNotice):
                    notices.append(item)
                    continue
                offsets += item.offsets.tolist()
                if len(offsets) >= ticks:
                    break
        await feed.close()
        return offsets, notices

    return asyncio.run(main())


def test_what_the_topic_has_forgotten_since_the_last_run_is_a_gap() -> None:
    consumer = Scripted(7, 20, [Said(7, tick(7))])
    offsets, notices = told(consumer, {"t[0]": 3}, 1)
    assert consumer.assigned == [7]
    assert offsets == [8]
    assert [(each.kind, each.partition, each.details) for each in notices] == [
        (NoticeKind.GAP, "t[0]", {"first": 3, "last": 6, "certain": True})
    ]


def test_so_is_what_it_forgets_faster_than_it_is_read() -> None:
    consumer = Scripted(0, 20, [Said(3, tick(3)), Said(-1, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))])
    poll, consumer.low = consumer.poll, 0

    def forgetting(timeout: float) -> Any:
        found = poll(timeout)
        consumer.low = 3 if found is None or found.error() is None else 12
        return found

    consumer.poll = forgetting  # type: ignore[method-assign]
    offsets, notices = told(consumer, {"t[0]": 3}, 2)
    assert consumer.sought == [12]
    assert offsets == [4, 13]
    assert notices[0].details == {"first": 4, "last": 11, "certain": True}


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (KafkaError._AUTHENTICATION, SourceUnauthorised, "Kafka refuses the login of the source"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, SourceUnauthorised, "refuses the topic 't' of the source"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, SourceFailed, "Kafka has no topic 't' any more"),
    ],
)
def test_what_no_waiting_mends_ends_the_run(code, error, said) -> None:
    with pytest.raises(error, match=said):
        told(Scripted(0, 5, [Said(0, error=KafkaError(code))]), {}, 1)


def test_a_cluster_that_does_not_answer_yet_is_asked_again_and_again() -> None:
    consumer = Scripted(0, 5, [Said(0, tick(0))])
    asked, answers = [], [KafkaException(KafkaError(KafkaError._TRANSPORT))] * 5

    def list_topics(*_: Any, **__: Any) -> Any:
        asked.append(asyncio.get_running_loop().time())
        if answers:
            raise answers.pop()
        return type("Metadata", (), {"topics": {}})

    consumer.list_topics = list_topics  # type: ignore[method-assign]

    async def main() -> list[int]:
        options = KafkaSource("nowhere:1", "t", partitions=(0,))
        feed = KafkaFeed(options, Random(1), offload=on_the_spot, make=lambda _conf: consumer)
        async with aclosing(feed.batches({})) as items:
            item = await anext(items)
        await feed.close()
        assert isinstance(item, TickBatch)
        return item.offsets.tolist()

    assert simulate(main) == [1]
    waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
    for at, wait in enumerate(waits):
        assert 0.125 * 2**at <= wait <= 0.25 * 2**at + 1e-6


def test_a_partition_that_was_lost_is_committed_no_more() -> None:
    """Lost, not revoked: somebody else reads it already when this run hears of it."""
    consumer = Scripted(0, 5, [Said(0, tick(0))])
    committed: list[Any] = []
    handed: dict[str, Any] = {}
    consumer.commit = lambda offsets, **_: committed.extend(offsets)  # type: ignore[attr-defined]
    consumer.unsubscribe = lambda: None  # type: ignore[attr-defined]

    def subscribe(_topics: Any, **callbacks: Any) -> None:
        handed.update(callbacks)
        callbacks["on_assign"](consumer, [TopicPartition("t", 0)])

    consumer.subscribe = subscribe  # type: ignore[attr-defined]

    async def main() -> None:
        feed = KafkaFeed(KafkaSource("nowhere:1", "t"), Random(1), offload=on_the_spot, make=lambda _conf: consumer)
        async with aclosing(feed.batches({})) as items:
            await anext(items)
            assert feed.owned == {"t[0]"}
            poll = consumer.poll

            def losing(timeout: float) -> Any:
                handed["on_lost"](consumer, [TopicPartition("t", 0)])
                consumer.poll = poll  # type: ignore[method-assign]
                return Said(1, tick(1))  # on its way when it was lost

            consumer.poll = losing  # type: ignore[method-assign]
            consumer.said = [Said(-1, error=KafkaError(KafkaError._FATAL, fatal=True))]
            with pytest.raises(SourceFailed):
                await anext(items)
            assert feed.owned == frozenset()
            await feed.acknowledge("t[0]", 1)
        await feed.close()

    simulate(main)
    assert committed == []


def test_what_passes_does_not() -> None:
    passing = Said(0, error=KafkaError(KafkaError._TRANSPORT))
    assert told(Scripted(0, 5, [passing, Said(0, tick(0))]), {}, 1)[0] == [1]


class TestTheSink:
    def test_gives_a_record_the_signals_id_and_its_instrument_as_the_key(self, kafka_server) -> None:
        async def main() -> Any:
            topic = kafka_server.name()
            sink = KafkaSink(KafkaBroker(kafka_server.servers, topic), 10.0)
            await sink.open()
            await sink.send(signals(1, 3))
            await sink.close()
            return kafka_server.records(topic)

        records = asyncio.run(main())
        assert [each.value() for each in records] == [each.body for each in signals(1, 3)]
        assert {each.key() for each in records} == {b"7"}
        assert len({each.partition() for each in records}) == 1
        assert dict(records[0].headers()) == {"id": f"{1:032x}".encode(), "content-type": b"application/json"}

    def test_writes_messagepack_where_it_is_asked_to(self, kafka_server) -> None:
        async def main() -> Any:
            topic = kafka_server.name()
            sink = KafkaSink(KafkaBroker(kafka_server.servers, topic, format="msgpack"), 10.0)
            await sink.open()
            await sink.send([signal(1)])
            await sink.close()
            return kafka_server.records(topic)

        (record,) = asyncio.run(main())
        assert msgspec.msgpack.decode(record.value()) == json.loads(signal(1).body)
        assert dict(record.headers())["content-type"] == b"application/msgpack"

    def test_refuses_what_is_too_large_and_the_rest_of_the_group_goes_on(self, kafka_server) -> None:
        async def main() -> Any:
            sink = KafkaSink(KafkaBroker(kafka_server.servers, kafka_server.name()), 10.0)
            await sink.open()
            large = OutboxSignal("out", 2, f"{2:032x}", "strat", 7, 0, 0, b"x" * 2_000_000)
            results = await sink.send([signal(1), large, signal(3)])
            await sink.close()
            return results

        results = asyncio.run(main())
        assert [each.verdict for each in results] == [Verdict.ACKED, Verdict.REJECTED, Verdict.ACKED]
        assert "Message size too large" in results[1].reason

    def test_that_reaches_nobody_costs_no_attempt(self) -> None:
        async def main() -> None:
            sink = KafkaSink(KafkaBroker("127.0.0.1:1", "t"), 1.0)
            with pytest.raises(SinkUnavailable, match="no Kafka broker can be reached"):
                await sink.open()
            with pytest.raises(SinkUnavailable, match="the connection to Kafka is lost"):
                await sink.send([signal(1)])
            await sink.close()

        asyncio.run(main())

    def test_whose_cluster_goes_away_does_not_know_and_sends_nothing_later(self) -> None:
        async def main() -> Any:
            with KafkaCluster() as cluster:
                sink = KafkaSink(KafkaBroker(cluster.servers, "t"), 2.0)
                await sink.open()
            # The cluster went with its client.
            try:
                return await sink.send([signal(1)])
            except SinkUnavailable:
                return []
            finally:
                await sink.close()

        assert all(each.verdict in {Verdict.UNKNOWN, Verdict.FAILED} for each in asyncio.run(main()))


class TestTheOptions:
    @pytest.mark.parametrize(
        "name", ["enable.auto.commit", "group.id", "acks", "bootstrap.servers", "transactional.id"]
    )
    def test_that_a_guarantee_rests_on_cannot_be_set(self, name) -> None:
        for make in (lambda o: KafkaSource("h:1", "t", options=o), lambda o: KafkaBroker("h:1", "t", options=o)):
            with pytest.raises(ParameterError, match=f"{name} cannot be set here"):
                make({name: Secret("x")})

    @pytest.mark.parametrize(
        ("name", "found"), [("security.protocol", "'security.protocol'"), ("no.such.setting", "'no.such.setting'")]
    )
    def test_that_librdkafka_refuses_are_named_without_their_values(self, name, found, caplog, capfd) -> None:
        settings = {name: Secret(CANARY)}

        async def reading() -> None:
            async with Reading(KafkaSource("127.0.0.1:1", "t", options=settings)) as one:
                await one.until(lambda: False)

        with pytest.raises(KafkaSettingsRefused, match=f"does not take the setting {found}"):
            asyncio.run(reading())
        with pytest.raises(SinkUnavailable, match=f"does not take the setting {found}"):
            asyncio.run(KafkaSink(KafkaBroker("127.0.0.1:1", "t", options=settings), 1.0).open())
        assert CANARY not in caplog.text + "".join(capfd.readouterr())

    def test_that_hold_a_password_are_in_no_log(self, caplog, capfd) -> None:
        login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "me"}
        settings = {name: Secret(text) for name, text in {**login, "sasl.password": CANARY}.items()}
        with pytest.raises(SinkUnavailable) as refused:
            asyncio.run(KafkaSink(KafkaBroker("127.0.0.1:1", "t", options=settings), 0.5).open())
        assert CANARY not in str(refused.value) + caplog.text + "".join(capfd.readouterr())
