"""What may happen between a JetStream server and a reader, with a real server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from random import Random
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy

from anystrat.adapters import nats_history, nats_pull, nats_stream, source_nats
from anystrat.adapters.nats_history import NatsTicks
from anystrat.adapters.nats_pull import Pull
from anystrat.adapters.source_nats import NatsFeed
from anystrat.domain.configuration import Secret
from anystrat.domain.endpoints import NatsSource
from anystrat.domain.errors import HistoryRefused
from anystrat.domain.intake import SourceFailed, SourceNotice, SourceUnauthorised, TickBatch
from anystrat.testing.messages import json_message
from anystrat.testing.servers import NatsServer
from anystrat.testing.ticks import columns, tick

pytestmark = pytest.mark.server

_names = itertools.count()
LONG_ENOUGH = 30.0


class Stream:
    """A stream of one's own on a server, and what a feed of it says."""

    def __init__(self, server: NatsServer, **options: Any) -> None:
        self.server = server
        self.name = f"S{next(_names)}"
        self.options = options

    def options_of(self, **options: Any) -> NatsSource:
        chosen = {"stream": self.name, "subject": f"{self.name}.ticks.>", "durable": "d", "batch": 8, **options}
        return NatsSource(Secret(self.server.url), **chosen)

    def feed(self, seed: int = 1, **options: Any) -> NatsFeed:
        return NatsFeed(self.options_of(**options), Random(seed))

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[JetStreamContext]:
        client = await nats.connect(self.server.url, allow_reconnect=False)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def make(self) -> None:
        async with self.client() as js:
            await js.add_stream(name=self.name, subjects=[f"{self.name}.>"], **self.options)

    async def publish(self, *numbers: int, subject: str = "ticks.x") -> None:
        """A message with one tick each, whose price is the number."""
        async with self.client() as js:
            for number in numbers:
                await js.publish(f"{self.name}.{subject}", json_message(columns([tick(1, number, number)])))


Items = AsyncGenerator[TickBatch | SourceNotice, None]


async def prices(items: Items, count: int) -> list[int]:
    """The prices of the next so many ticks; notices are left out."""
    found: list[int] = []
    async with asyncio.timeout(LONG_ENOUGH):
        while len(found) < count:
            item = await anext(items)
            if isinstance(item, TickBatch):
                found += map(int, item.ticks.price.tolist())
    return found


async def everything(items: Items, count: int) -> list[int | tuple[str, dict[str, Any]]]:
    """The next so many ticks, and the notices among them, in order."""
    found: list[int | tuple[str, dict[str, Any]]] = []
    async with asyncio.timeout(LONG_ENOUGH):
        while sum(isinstance(each, int) for each in found) < count:
            item = await anext(items)
            if isinstance(item, TickBatch):
                found += map(int, item.ticks.price.tolist())
            else:
                found.append((item.kind.value, item.details))
    return found


@asynccontextmanager
async def reading(feed: NatsFeed, after: Mapping[str, int] | None = None) -> AsyncGenerator[Items]:
    try:
        async with aclosing(feed.batches(after or {})) as items:
            yield items
    finally:
        await feed.close()


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def told() -> None:
        await story()
        assert asyncio.all_tasks() - {asyncio.current_task()} == set()

    asyncio.run(told())


@pytest.fixture
def stream(nats_server: NatsServer) -> Stream:
    return Stream(nats_server)


class TestConnection:
    @pytest.mark.parametrize("end", ["stop", "kill"])
    def test_a_server_that_is_started_again_in_mid_stream_costs_nothing(self, own_nats_server, end):
        stream = Stream(own_nats_server)

        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 101))
            feed = stream.feed()
            async with reading(feed) as items:
                before = await prices(items, 8)  # and what came in the same batches
                await asyncio.to_thread(getattr(own_nats_server, end))
                waiting = asyncio.create_task(everything(items, 150 - len(before)))
                await asyncio.sleep(0.3)
                await asyncio.to_thread(own_nats_server.start)
                await stream.publish(*range(101, 151))
                found = await waiting
            assert before + [each for each in found if isinstance(each, int)] == list(range(1, 151))
            assert ("reconnected", {"connections": 2}) in found

        run(story)

    def test_a_server_that_stands_still_is_noticed_by_its_silence(self, own_nats_server, monkeypatch):
        monkeypatch.setattr(nats_pull, "HEARTBEAT_SEC", 0.2)
        monkeypatch.setattr(nats_pull, "_PATIENCE_SEC", 0.6)
        stream = Stream(own_nats_server)

        async def story() -> None:
            await stream.make()
            await stream.publish(1, 2)
            async with reading(stream.feed()) as items:
                assert await prices(items, 2) == [1, 2]
                own_nats_server.freeze()
                waiting = asyncio.create_task(everything(items, 2))
                await asyncio.sleep(1.5)
                own_nats_server.thaw()
                await stream.publish(3, 4)
                found = await waiting
            assert [each for each in found if isinstance(each, int)] == [3, 4]
            assert any(isinstance(each, tuple) and each[0] == "reconnected" for each in found)

        run(story)

    def test_waits_grow_to_a_bound_and_differ(self, stream):
        feed = stream.feed()
        waits = [feed._wait(failures) for failures in range(1, 40)]
        assert max(waits) <= 10
        assert 0.05 <= waits[0] <= 0.1
        assert waits[20] >= 5
        assert waits != [stream.feed(2)._wait(failures) for failures in range(1, 40)]

    def test_a_login_that_is_refused_ends_it_in_words(self, tmp_path):
        with NatsServer(tmp_path, arguments=("--auth", "right")) as server:

            async def story() -> None:
                with pytest.raises(SourceUnauthorised, match="NATS refuses the login of the source") as refused:
                    async with reading(Stream(server).feed(token=Secret("wrong"))) as items:
                        await anext(items)
                assert refused.value.exit_code == 5
                assert "wrong" not in str(refused.value)

            run(story)

    def test_of_several_servers_one_is_enough(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(1)
            several = Secret(f"nats://127.0.0.1:1, {stream.server.url}")
            feed = NatsFeed(NatsSource(several, stream.name, f"{stream.name}.>", "d"), Random(1))
            async with reading(feed) as items:
                assert await prices(items, 1) == [1]

        run(story)


class TestStream:
    def test_a_stream_that_is_not_there_is_named_beside_the_one_that_is_near(self, own_nats_server):
        stream = Stream(own_nats_server)

        async def story() -> None:
            await stream.make()
            with pytest.raises(SourceFailed, match=f"no stream '{stream.name}0'; did you mean '{stream.name}'"):
                async with reading(stream.feed(stream=stream.name + "0")) as items:
                    await anext(items)

        run(story)

    def test_a_subject_that_the_stream_has_not_is_refused_in_words(self, stream):
        async def story() -> None:
            await stream.make()
            with pytest.raises(SourceFailed, match=r"no subject that 'elsewhere\.>' fits \(found: S"):
                async with reading(stream.feed(subject="elsewhere.>")) as items:
                    await anext(items)

        run(story)

    def test_a_run_may_begin_with_what_comes_next(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(1, 2, 3)
            async with reading(stream.feed(start="new")) as items:
                waiting = asyncio.create_task(prices(items, 2))
                await asyncio.sleep(0.3)
                await stream.publish(4, 5)
                assert await waiting == [4, 5]
            async with reading(stream.feed(start="new"), {stream.name: 2}) as items:
                assert await prices(items, 3) == [3, 4, 5]

        run(story)

    def test_a_stream_that_was_made_anew_is_not_taken_for_the_old_one(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(1, 2, 3)
            with pytest.raises(SourceFailed, match="ends with message 3, and this run has read up to 9"):
                async with reading(stream.feed(), {stream.name: 9}) as items:
                    await anext(items)

        run(story)

    def test_messages_on_other_subjects_are_no_gap_and_move_the_place_to_go_on_from(self, stream, monkeypatch):
        monkeypatch.setattr(source_nats, "_CHECK_SEC", 0.3)

        async def story() -> None:
            await stream.make()
            await stream.publish(1)
            await stream.publish(2, 3, subject="other")
            await stream.publish(4)
            await stream.publish(5, 6, 7, subject="other")
            async with reading(stream.feed()) as items:
                assert await everything(items, 2) == [1, 4]
                async with asyncio.timeout(LONG_ENOUGH):
                    item = await anext(items)
                assert isinstance(item, TickBatch)
                assert (len(item.ticks), item.last) == (0, 7)
                async with stream.client() as js:
                    await js.purge_stream(stream.name)
                await stream.publish(8)
                assert await everything(items, 1) == [8]

        run(story)


class TestHistory:
    """What the stream holds from before a run that begins with what comes next."""

    def test_it_is_read_backwards_as_far_as_it_is_needed_and_the_run_begins_where_it_ends(self, stream, monkeypatch):
        monkeypatch.setattr(nats_history, "_FIRST", 4)
        monkeypatch.setattr(nats_history, "_PAGE", 3)

        async def story() -> None:
            await stream.make()
            async with stream.client() as js:
                for number in range(1, 41):
                    token = 2 if number in {5, 38} else 1
                    block = columns([tick(token, number, number)])
                    await js.publish(f"{stream.name}.ticks.x", json_message(block))
                await js.publish(f"{stream.name}.other", b"not ours")
            history = NatsTicks(stream.options_of(start="new"), {1: 6, 2: 2, 3: 1}, 1_000)
            # Within a loop that runs, as the runner asks it.
            assert [int(each.last_price) for each in history.last_ticks(1, 6)] == [34, 35, 36, 37, 39, 40]
            assert [int(each.last_price) for each in history.last_ticks(1, 2)] == [39, 40]
            assert [int(each.last_price) for each in history.last_ticks(2, 2)] == [5, 38]
            assert history.last_ticks(3, 1) == ()
            assert history.position() == {stream.name: 41}
            await stream.publish(50, 51)
            async with reading(stream.feed(start="new"), history.position()) as items:
                assert await prices(items, 2) == [50, 51]

        run(story)

    def test_no_more_is_read_than_is_allowed(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 11))
            history = NatsTicks(stream.options_of(start="new"), {1: 9}, 4)
            assert [int(each.last_price) for each in history.last_ticks(1, 9)] == [7, 8, 9, 10]

        run(story)

    def test_what_cannot_be_read_is_refused_in_words(self, nats_server):
        async def story() -> None:
            queue = Stream(nats_server, retention="workqueue")
            await queue.make()
            with pytest.raises(HistoryRefused, match="is a work queue, which keeps nothing that was read"):
                NatsTicks(queue.options_of(start="new"), {1: 1}, 10).position()
            nowhere = NatsSource(Secret("nats://127.0.0.1:1"))
            with pytest.raises(HistoryRefused, match=r"history: NATS, stream TICKS: .*see to the server"):
                NatsTicks(nowhere, {1: 1}, 10).position()

        run(story)


class TestGaps:
    def test_what_the_stream_has_forgotten_meanwhile_is_a_gap(self, nats_server):
        stream = Stream(nats_server, max_msgs=10)

        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 31))
            feed = stream.feed(subject=f"{stream.name}.>")
            async with reading(feed, {stream.name: 5}) as items:
                found = await everything(items, 10)
            assert found == [("gap", {"first": 6, "last": 20, "certain": True}), *range(21, 31)]

        run(story)

    def test_at_the_very_beginning_nothing_is_missing(self, nats_server):
        stream = Stream(nats_server, max_msgs=10)

        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 31))
            async with reading(stream.feed(subject=f"{stream.name}.>")) as items:
                assert await everything(items, 10) == list(range(21, 31))

        run(story)

    def test_messages_that_were_deleted_in_between_are_a_gap_at_their_place(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 8))
            async with stream.client() as js:
                await js.delete_msg(stream.name, 3)
                await js.delete_msg(stream.name, 4)
            async with reading(stream.feed(subject=f"{stream.name}.>")) as items:
                found = await everything(items, 5)
            assert found == [1, 2, ("gap", {"first": 3, "last": 4, "certain": True}), 5, 6, 7]

        run(story)


class TestDelivery:
    def test_what_is_delivered_again_is_left_out(self, stream, monkeypatch):
        monkeypatch.setattr(nats_stream, "_ACK_WAIT_SEC", 0.5)

        async def story() -> None:
            await stream.make()
            await stream.publish(1, 2, 3)
            feed = stream.feed()
            async with reading(feed) as items:
                assert await prices(items, 3) == [1, 2, 3]
                waiting = asyncio.create_task(prices(items, 1))
                while not feed.duplicates:  # noqa: ASYNC110  the server's time decides
                    await asyncio.sleep(0.05)
                await stream.publish(4)
                assert await waiting == [4]

        run(story)

    @pytest.mark.parametrize("lost", [1, 5, 8])
    def test_a_delivery_that_is_lost_on_the_way_comes_again_in_its_place(self, stream, monkeypatch, lost):
        came = Pull._came
        countdown = [lost]

        async def losing(self: Pull, message: Any) -> None:
            if message.data:
                countdown[0] -= 1
                if countdown[0] == 0:
                    return
            await came(self, message)

        monkeypatch.setattr(Pull, "_came", losing)

        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 41))
            async with reading(stream.feed()) as items:
                found = await everything(items, 40)
            assert [each for each in found if isinstance(each, int)] == list(range(1, 41))
            assert not any(isinstance(each, tuple) and each[0] == "gap" for each in found)

        run(story)

    def test_a_lost_delivery_that_nothing_follows_is_looked_for(self, stream, monkeypatch):
        monkeypatch.setattr(source_nats, "_CHECK_SEC", 0.3)
        came = Pull._came
        dropped = [False]

        async def losing(self: Pull, message: Any) -> None:
            if message.data and not dropped[0]:
                dropped[0] = True
                return
            await came(self, message)

        monkeypatch.setattr(Pull, "_came", losing)

        async def story() -> None:
            await stream.make()
            await stream.publish(1)
            async with reading(stream.feed()) as items:
                assert await prices(items, 1) == [1]

        run(story)

    def test_a_consumer_that_falls_mute_is_made_anew(self, stream, monkeypatch):
        """The server says that it is there, and sends nothing: here because the consumer is paused."""
        monkeypatch.setattr(source_nats, "_CHECK_SEC", 0.3)

        async def story() -> None:
            await stream.make()
            await stream.publish(1)
            async with reading(stream.feed()) as items:
                assert await prices(items, 1) == [1]
                async with stream.client() as js:
                    await js.pause_consumer(stream.name, "d", "2099-01-01T00:00:00Z")
                await stream.publish(2)
                assert await prices(items, 1) == [2]

        run(story)

    def test_a_consumer_that_somebody_deletes_is_made_anew(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(1, 2)
            async with reading(stream.feed()) as items:
                assert await prices(items, 2) == [1, 2]
                waiting = asyncio.create_task(prices(items, 1))
                async with stream.client() as js:
                    await asyncio.sleep(0.1)
                    await js.delete_consumer(stream.name, "d")
                await stream.publish(3)
                assert await waiting == [3]

        run(story)

    def test_what_cannot_be_decoded_is_set_aside_and_the_rest_goes_on(self, stream):
        async def story() -> None:
            await stream.make()
            async with stream.client() as js:
                await js.publish(f"{stream.name}.ticks.x", b"\x00" * 500_000)
                await js.publish(f"{stream.name}.ticks.x", b"[" * 100_000)
            await stream.publish(3)
            async with reading(stream.feed()) as items:
                found = await everything(items, 1)
            assert found[-1] == 3
            said = [each[1] for each in found if isinstance(each, tuple)]
            assert sum(each["count"] for each in said) == 2
            assert said[0]["what"].startswith("message 1: neither JSON nor MessagePack")

        run(story)


class TestAcknowledging:
    def test_the_server_is_told_only_what_is_committed(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 11))
            feed = stream.feed()
            async with reading(feed) as items, stream.client() as js:
                await prices(items, 10)

                async def floor() -> int:
                    await asyncio.sleep(0.1)
                    info = await js.consumer_info(stream.name, "d")
                    assert info.ack_floor is not None
                    return info.ack_floor.stream_seq or 0

                assert await floor() == 0
                await feed.acknowledge(stream.name, 4)
                assert await floor() == 4
                await feed.acknowledge(stream.name, 4)
                await feed.acknowledge(stream.name, 10)
                assert await floor() == 10

        run(story)

    def test_it_can_be_done_after_the_reading_has_ended(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(1, 2)
            feed = stream.feed()
            async with aclosing(feed.batches({})) as items:
                await prices(items, 2)
            await feed.acknowledge(stream.name, 2)
            await feed.close()
            await feed.acknowledge(stream.name, 2)
            async with stream.client() as js:
                info = await js.consumer_info(stream.name, "d")
            assert info.ack_floor is not None
            assert info.ack_floor.stream_seq == 2

        run(story)

    def test_an_acknowledgement_of_an_old_consumer_says_nothing_to_the_new_one(self, stream):
        async def story() -> None:
            await stream.make()
            await stream.publish(*range(1, 6))
            feed = stream.feed()
            async with reading(feed) as items:
                await prices(items, 5)
                waiting = asyncio.create_task(prices(items, 3))
                async with stream.client() as js:
                    await asyncio.sleep(0.1)
                    await js.delete_consumer(stream.name, "d")
                    await stream.publish(6, 7, 8)
                    assert await waiting == [6, 7, 8]
                    await feed.acknowledge(stream.name, 5)
                    await asyncio.sleep(0.1)
                    info = await js.consumer_info(stream.name, "d")
                    assert info.num_ack_pending == 3
                    await feed.acknowledge(stream.name, 7)
                    await asyncio.sleep(0.1)
                    info = await js.consumer_info(stream.name, "d")
                    assert info.num_ack_pending == 1

        run(story)

    @pytest.mark.parametrize("retention", [RetentionPolicy.WORK_QUEUE, RetentionPolicy.INTEREST])
    def test_a_stream_that_forgets_what_is_acknowledged_keeps_the_rest_over_a_crash(self, nats_server, retention):
        stream = Stream(nats_server, retention=retention)

        async def story() -> None:
            await stream.make()
            first = stream.feed()
            async with aclosing(first.batches({})) as items:
                waiting = asyncio.create_task(prices(items, 6))
                await asyncio.sleep(0.5)  # interest begins with the consumer
                await stream.publish(*range(1, 7))
                assert await waiting == list(range(1, 7))
                await first.acknowledge(stream.name, 2)
            await first.close()  # with four that were handed on and not committed
            async with stream.client() as js:
                assert (await js.stream_info(stream.name)).state.messages == 4
            async with reading(stream.feed(2), {stream.name: 2}) as items:
                assert await prices(items, 4) == [3, 4, 5, 6]
                async with stream.client() as js:
                    names = [each.name for each in await js.consumers_info(stream.name)]
                assert names == ["d"]

        run(story)

    @pytest.mark.parametrize("retention", [RetentionPolicy.WORK_QUEUE, RetentionPolicy.INTEREST])
    def test_so_it_does_where_the_consumer_is_made_anew_in_mid_stream(self, nats_server, retention):
        stream = Stream(nats_server, retention=retention)

        async def story() -> None:
            await stream.make()
            feed = stream.feed()
            async with reading(feed) as items:
                waiting = asyncio.create_task(prices(items, 4))
                await asyncio.sleep(0.5)
                await stream.publish(*range(1, 5))
                await waiting
                await feed.acknowledge(stream.name, 1)
                assert feed._pull is not None
                feed._pull.lose("as if the network had gone")
                waiting = asyncio.create_task(prices(items, 2))
                await stream.publish(5, 6)
                assert await waiting == [5, 6]
                await feed.acknowledge(stream.name, 3)
                await asyncio.sleep(0.2)
                async with stream.client() as js:
                    floor = (await js.consumer_info(stream.name, "d")).ack_floor
                assert floor is not None
                assert (floor.stream_seq, floor.consumer_seq) == (3, 2)  # the second that this consumer delivered
                await feed.acknowledge(stream.name, 6)
                await asyncio.sleep(0.2)
                async with stream.client() as js:
                    assert (await js.stream_info(stream.name)).state.messages == 0

        run(story)


class TestOthers:
    def test_a_second_program_of_the_same_name_is_refused_and_the_first_goes_on(self, stream, monkeypatch):
        monkeypatch.setattr(nats_stream, "EXPIRES_SEC", -0.5)

        async def story() -> None:
            await stream.make()
            await stream.publish(1)
            async with reading(stream.feed(1)) as items:
                assert await prices(items, 1) == [1]
                waiting = asyncio.create_task(prices(items, 1))
                await asyncio.sleep(0.1)
                with pytest.raises(SourceFailed, match=r"another program reads .* as 'd'"):
                    async with reading(stream.feed(2)) as others:
                        await anext(others)
                await stream.publish(2)
                assert await waiting == [2]

        run(story)

    def test_one_that_takes_it_away_is_noticed(self, stream, monkeypatch):
        async def story() -> None:
            await stream.make()
            await stream.publish(1)
            feed = stream.feed(1)
            opened = feed._open
            async with reading(feed) as items:
                assert await prices(items, 1) == [1]

                async def hesitating(server: str, *, first_time: bool) -> SourceNotice | None:
                    await asyncio.sleep(1)
                    return await opened(server, first_time=first_time)

                monkeypatch.setattr(feed, "_open", hesitating)
                waiting = asyncio.create_task(prices(items, 1))
                async with stream.client() as js:
                    await asyncio.sleep(0.1)
                    await js.delete_consumer(stream.name, "d")
                    await js.add_consumer(stream.name, durable_name="d", description="anystrat other")
                with pytest.raises(SourceFailed, match="another program reads"):
                    await waiting

        run(story)


@pytest.mark.parametrize(
    ("pattern", "subject", "covered"),
    [
        ("a.>", "a.b", True),
        ("a.>", "a.>", True),
        ("a.>", "a.*.c", True),
        ("a.>", "a", False),
        (">", "x", True),
        ("a.*", "a.b", True),
        ("a.*", "a.*", True),
        ("a.*", "a.>", False),
        ("a.*", "a.b.c", False),
        ("a.b", "a.*", False),
        ("a.b", "a.b", True),
        ("a.b.c", "a.b", False),
    ],
)
def test_whether_a_pattern_covers_all_of_a_subject(pattern, subject, covered):
    assert nats_stream.covers(pattern, subject) is covered


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", ">", True),
        ("a.>", "*.b.c", True),
        ("a.>", "a", False),
        ("a.*", "*.b", True),
        ("a.*", "a.b.c", False),
        ("a.b", "a.c", False),
        ("a.b", "a.b", True),
    ],
)
def test_whether_two_patterns_have_a_subject_in_common(one, other, both):
    assert nats_stream.overlap(one, other) is both
    assert nats_stream.overlap(other, one) is both
