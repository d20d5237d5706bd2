"""The last ticks of each instrument from the NATS stream that a run reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from anystrat.adapters.file_history import tails_backwards
from anystrat.adapters.nats_connection import connect, servers_of
from anystrat.adapters.nats_stream import DurableConsumer, StreamState
from anystrat.adapters.stream_history import Found, StreamHistory
from anystrat.adapters.tick_messages import MessageDecoder
from anystrat.domain.errors import AnystratError, HistoryRefused

if TYPE_CHECKING:
    from nats.aio.client import Client

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.endpoints import NatsSource

#: Messages of the first look back; each further one is as much longer.
_FIRST: Final = 2_048
_LONGER: Final = 4
_PAGE: Final = 1_024
_WAIT_SEC: Final = 5.0


class NatsTicks(StreamHistory):
    """What the source's stream holds, read backwards from its end, stretch by stretch, until there are enough ticks.

    At most `most` messages are read. Raises `HistoryRefused`, `SourceFailed`, `MissingExtra`.
    """

    def __init__(self, options: NatsSource, wanted: Mapping[int, int], most: int) -> None:
        super().__init__(wanted)
        self._options = options
        self._most = most

    def _read(self) -> Found:
        with asyncio.Runner() as runner:
            try:
                client = runner.run(self._connected())
            except AnystratError:
                raise
            except Exception as error:
                raise self._refused(error) from error
            try:
                js = client.jetstream(timeout=_WAIT_SEC)
                state = runner.run(DurableConsumer(js, self._options, "history").stream())
                self._must_keep(state)
                stretches = (
                    iter([runner.run(self._stretch(client, first, last))]) for first, last in self._back(state)
                )
                return Found(tails_backwards(stretches, self._wanted, None), {self._options.stream: state.last})
            except AnystratError:
                raise
            except Exception as error:
                raise self._refused(error) from error
            finally:
                runner.run(client.close())

    def _must_keep(self, state: StreamState) -> None:
        if state.retention == "workqueue":
            raise HistoryRefused(
                f"history: the stream {self._options.stream!r} is a work queue, which keeps nothing that was read"
            )

    async def _connected(self) -> Client:
        failure: Exception | None = None
        for server in servers_of(self._options):
            try:
                return await connect(self._options, server, lambda: None)
            except AnystratError:
                raise
            except Exception as error:  # noqa: BLE001  the next server may take us
                failure = error
        assert failure is not None
        raise failure

    def _back(self, state: StreamState) -> Iterator[tuple[int, int]]:
        """(first, last) message of each stretch, from the stream's end towards its beginning."""
        last, many = state.last, max(_FIRST, 2 * sum(self._wanted.values()))
        oldest = max(state.first, state.last - self._most + 1)
        while last >= oldest:
            first = max(oldest, last - many + 1)
            yield first, last
            last, many = first - 1, many * _LONGER

    async def _stretch(self, client: Client, first: int, last: int) -> TickColumns:
        """The ticks of the messages `first` to `last` on the source's subject."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        js, options = client.jetstream(timeout=_WAIT_SEC), self._options
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first, ack_policy=AckPolicy.NONE
        )
        reading = await js.pull_subscribe(options.subject, stream=options.stream, config=config)
        messages: list[bytes] = []
        try:
            left = (await reading.consumer_info()).num_pending or 0
            while left > 0:
                for message in await reading.fetch(min(_PAGE, left), timeout=_WAIT_SEC):
                    left -= 1
                    if message.metadata.sequence.stream > last:
                        left = 0
                        break
                    messages.append(message.data)
        finally:
            await reading.unsubscribe()
        return MessageDecoder().decoded(messages).ticks

    def _refused(self, error: Exception) -> HistoryRefused:
        return HistoryRefused(
            f"history: NATS, stream {self._options.stream}: {type(error).__name__}: {error}. Nothing was run; see to the "
            "server, or leave the history out"
        )
