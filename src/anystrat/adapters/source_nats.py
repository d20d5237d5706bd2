"""Ticks from a NATS JetStream stream, each message once, in order, with the gaps that there are told of."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.adapters.nats_connection import connect, servers_of
from anystrat.adapters.nats_pull import Delivered, Pull, PullLost
from anystrat.adapters.nats_stream import DurableConsumer, StreamState
from anystrat.adapters.tick_files.decode import columns_of_rows
from anystrat.adapters.tick_messages import MessageDecoder
from anystrat.domain.errors import AnystratError
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, SourceUnauthorised, TickBatch

if TYPE_CHECKING:
    from nats.aio.client import Client

    from anystrat.domain.endpoints import NatsSource

#: How often it is looked whether the stream or the consumer say something else than the messages do.
_CHECK_SEC: Final = 10.0
_FIRST_WAIT_SEC: Final = 0.1
_LONGEST_WAIT_SEC: Final = 10.0
_CLOSE_SEC: Final = 2.0
#: JetStream's codes for what no waiting mends: not enabled, not enabled for this account.
_FINAL_CODES: Final = frozenset({10039, 10076})


class NatsFeed:
    """A `LiveSource` over one stream. A tick's offset is its message's number in the stream; the partition is the stream.

    The place to go on from is this source's own: the consumer is made anew from there after every lost connection,
    whenever a delivery is missing, and whenever the server falls silent. What comes again is left out. Acknowledging lets
    a work queue forget; a lost or late acknowledgement does no harm.
    """

    resumable = True

    def __init__(self, options: NatsSource, random: Random) -> None:
        self._options = options
        self._random = random
        self._servers = servers_of(options)
        self._owner = f"{random.getrandbits(64):016x}"
        self._decoder = MessageDecoder()
        self._client: Client | None = None
        self._pull: Pull | None = None
        self._consumer: DurableConsumer | None = None
        self._whole = self._one_by_one = False
        # The number of the last message that was handed on, of the last one that is committed.
        self._seen: int | None = None
        self._committed: int | None = None
        self._next_delivery = 1
        self._replies: deque[tuple[int, str]] = deque()
        #: Messages that came again, and were left out.
        self.duplicates = 0

    @property
    def partition(self) -> str:
        """The name of the stream."""
        return self._options.stream

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        self._seen = self._committed = after.get(self.partition)
        failures = connections = 0
        while True:
            try:
                gap = await self._open(
                    self._servers[(failures + connections) % len(self._servers)], first_time=not connections
                )
                connections += 1
                if connections > 1:
                    yield self._notice(NoticeKind.RECONNECTED, {"connections": connections})
                if gap is not None:
                    yield gap
                assert self._pull is not None
                loop = asyncio.get_running_loop()
                checked = came = loop.time()
                while True:
                    messages = await self._pull.messages(_CHECK_SEC)
                    failures = 0
                    for item in self._handed_on(messages):
                        yield item
                    now = loop.time()
                    came = now if messages else came
                    if now - checked >= _CHECK_SEC:
                        checked = now
                        for item in await self._checked(idle=now - came >= _CHECK_SEC):
                            yield item
            except PullLost:
                pass  # and from the last message on, at once
            except Exception as error:  # noqa: BLE001  a client's errors are of many kinds; what is none of them is raised
                self._must_be_passing(error)
                failures += 1
            finally:
                await self._stop_listening()
            if failures:
                await asyncio.sleep(self._wait(failures))

    async def acknowledge(self, partition: str, offset: int) -> None:
        if partition != self.partition:
            return
        self._committed = max(offset, self._committed or 0)
        replies: list[str] = []
        while self._replies and self._replies[0][0] <= offset:
            replies.append(self._replies.popleft()[1])
        if replies and self._client is not None and self._client.is_connected:
            with suppress(Exception):  # it comes again then, and is known
                # In a work queue each message is acknowledged by itself, elsewhere the last one answers for all.
                for reply in replies if self._one_by_one else replies[-1:]:
                    await self._client.publish(reply, b"+ACK")

    async def close(self) -> None:
        await self._disconnect()

    # -- the connection

    async def _open(self, server: str, *, first_time: bool) -> SourceNotice | None:
        """Connect, make the consumer anew, and listen; a gap where the stream has forgotten what comes next."""
        await self._disconnect()
        lost: list[Pull] = []

        def connection_lost() -> None:
            for each in lost:
                each.lose("the connection was lost")

        client = await connect(self._options, server, connection_lost)
        self._client = client
        self._consumer = DurableConsumer(client.jetstream(timeout=5), self._options, self._owner)
        state = await self._consumer.stream()
        if self._seen is None and self._options.start == "new":
            self._seen = self._committed = state.last
        self._must_be_the_same(state)
        await self._consumer.make(state, self._seen, self._committed, first_time=first_time)
        self._whole = state.whole
        self._one_by_one = state.retention == "workqueue"
        self._next_delivery = 1
        # An acknowledgement names a delivery; those of the old consumer mean nothing to the new one.
        self._replies.clear()
        self._pull = Pull(client, self._options.stream, self._options.durable, self._options.batch)
        lost.append(self._pull)
        await self._pull.open()
        return self._forgotten(state)

    async def _stop_listening(self) -> None:
        """The connection stays, for acknowledgements."""
        pull, self._pull = self._pull, None
        if pull is not None:
            with suppress(Exception):  # where the connection is lost, so is the subscription
                await pull.close()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # a server that does not answer keeps nobody from going
                await asyncio.wait_for(client.close(), _CLOSE_SEC)

    def _wait(self, failures: int) -> float:
        longest = min(_LONGEST_WAIT_SEC, _FIRST_WAIT_SEC * 2.0 ** min(failures - 1, 20))
        return longest * (0.5 + 0.5 * self._random.random())

    def _must_be_passing(self, error: Exception) -> None:
        """Raise what trying again would not mend."""
        if isinstance(error, AnystratError):
            raise error
        from nats.errors import Error as NatsError
        from nats.js.errors import APIError

        if isinstance(error, APIError) and error.err_code in _FINAL_CODES:
            raise SourceFailed(f"NATS: {error.description}") from error
        if not isinstance(error, NatsError | OSError | TimeoutError):
            raise error
        said = str(error)
        if "uthoriz" in said or "uthentic" in said:
            raise SourceUnauthorised(f"NATS refuses the login of the source: {said.removeprefix('nats: ')}") from error

    def _must_be_the_same(self, state: StreamState) -> None:
        if self._seen is not None and state.last < self._seen:
            raise SourceFailed(
                f"the stream {self.partition!r} ends with message {state.last}, and this run has read up to {self._seen}: "
                "it was made anew. Name a new journal to begin with it, or put the old stream back."
            )

    # -- what came

    def _handed_on(self, messages: Sequence[Delivered]) -> list[TickBatch | SourceNotice]:
        """The ticks of these messages, and what is to be said of them. Raises `PullLost` for a missing delivery, later."""
        items: list[TickBatch | SourceNotice] = []
        fresh: list[Delivered] = []
        for message in messages:
            if message.consumer_seq != self._next_delivery:
                # A delivery was lost on the way. What is here already is handed on; the rest comes again.
                assert self._pull is not None
                self._pull.lose(f"delivery {self._next_delivery} is missing")
                break
            self._next_delivery += 1
            number = message.stream_seq
            if self._committed is None or number > self._committed:
                self._replies.append((number, message.reply))
            if self._seen is not None and number <= self._seen:
                self.duplicates += 1
                continue
            if self._whole and self._seen is not None and number > self._seen + 1:
                items += self._decoded(fresh)
                fresh = []
                items.append(self._gap(self._seen + 1, number - 1))
            self._seen = number
            fresh.append(message)
        return items + self._decoded(fresh)

    def _decoded(self, messages: Sequence[Delivered]) -> list[TickBatch | SourceNotice]:
        if not messages:
            return []
        numbers = np.array([message.stream_seq for message in messages], np.int64)
        found = self._decoder.decoded([message.data for message in messages], numbers.tolist())
        offsets = np.repeat(numbers, found.counts)
        bad = np.repeat(numbers, found.malformed)
        batch = TickBatch(self.partition, found.ticks, offsets, int(numbers[-1]), len(bad), bad)
        if not found.tally.malformed:
            return [batch]
        details = {"what": found.tally.first[0], "count": found.tally.malformed}
        return [self._notice(NoticeKind.QUARANTINED, details), batch]

    async def _checked(self, *, idle: bool) -> list[TickBatch | SourceNotice]:
        """Ask whether the stream has outrun the reading, whether messages are withheld, or whether there are no more."""
        assert self._consumer is not None
        assert self._pull is not None
        state, info = await self._consumer.stream(), await self._consumer.info()
        if self._pull.behind:
            return []
        received = max(self._pull.received, self._seen or 0)
        delivered = (info.delivered.stream_seq if info.delivered else 0) or 0
        if delivered > received or info.num_pending:
            if idle:
                self._pull.lose("the consumer has messages and sends none")
            return []
        items: list[TickBatch | SourceNotice] = []
        if (gap := self._forgotten(state)) is not None:
            items.append(gap)
        if state.last > (self._seen or 0):
            # The rest of the stream is on other subjects: this far, nothing of ours is left, whatever is forgotten later.
            self._seen = state.last
            items.append(TickBatch(self.partition, columns_of_rows((), (), ()), np.empty(0, np.int64), state.last))
        return items

    def _forgotten(self, state: StreamState) -> SourceNotice | None:
        """A gap where the stream begins after what comes next; whether ticks of ours were in it, only a whole one tells."""
        if self._seen is None or state.first <= self._seen + 1:
            return None
        gap = self._gap(self._seen + 1, state.first - 1)
        self._seen = state.first - 1
        return gap

    def _gap(self, first: int, last: int) -> SourceNotice:
        details = {"first": first, "last": last, "certain": self._whole}
        return self._notice(NoticeKind.GAP, details)

    def _notice(self, kind: NoticeKind, details: dict[str, Any]) -> SourceNotice:
        return SourceNotice(kind, self.partition, details)
