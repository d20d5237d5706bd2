"""The last ticks of each instrument from the partitions that a run reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.file_history import tails_backwards
from anystrat.adapters.kafka_client import LOG, library, reason, refused, settings
from anystrat.adapters.stream_history import Found, StreamHistory
from anystrat.adapters.tick_messages import MessageDecoder
from anystrat.domain.errors import HistoryRefused

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.endpoints import KafkaSource

#: Messages of the first look back, of all partitions together; each further one is as much longer.
_FIRST: Final = 2_048
_LONGER: Final = 4
_PAGE: Final = 1_024
_ASK_SEC: Final = 10.0
#: Without a message for so long, what is there cannot be read.
_PATIENCE_SEC: Final = 30.0


class KafkaTicks(StreamHistory):
    """What the source's `partitions` hold from before its run, which begins where its group was, or at their ends.

    All partitions are read backwards side by side, stretch by stretch, until there are enough ticks; at most `most` messages.
    An instrument's ticks have to lie in one partition, as they do where its token is the key. Raises `HistoryRefused`,
    `KafkaSettingsRefused`, `MissingExtra`.
    """

    def __init__(
        self,
        options: KafkaSource,
        wanted: Mapping[int, int],
        most: int,
        make: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__(wanted)
        self._options = options
        self._most = most
        self._make = make

    def _read(self) -> Found:
        kafka, options = library(), self._options
        ours = {"group.id": options.group_id, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        conf = settings(options.bootstrap_servers, options.options, {**ours, "enable.partition.eof": True})
        try:
            consumer = self._make(conf) if self._make is not None else kafka.Consumer(conf, logger=LOG)
        except (kafka.KafkaException, ValueError, TypeError) as error:
            raise refused(error) from None
        try:
            bounds = self._bounds(consumer)
            stretches = (iter([self._stretch(consumer, places)]) for places in self._back(bounds))
            ticks = tails_backwards(stretches, self._wanted, None)
        except kafka.KafkaException as error:
            raise self._refused(reason(error.args[0])) from error
        finally:
            consumer.close()
        return Found(ticks, {f"{options.topic}[{each}]": end for each, (_, end) in bounds.items()})

    def _bounds(self, consumer: Any) -> dict[int, tuple[int, int]]:
        """The first message of each partition, and the one that the run begins with."""
        committed = consumer.committed([self._place(each) for each in self._options.partitions], timeout=_ASK_SEC)
        group = {each.partition: each.offset for each in committed if each.error is None and each.offset >= 0}
        found = {}
        for partition in self._options.partitions:
            low, high = consumer.get_watermark_offsets(self._place(partition), timeout=_ASK_SEC)
            # Where the group has been, its next message is still to be decided on. What was forgotten since is the source's to say.
            found[partition] = low, min(group.get(partition, high), high)
        return found

    def _back(self, bounds: Mapping[int, tuple[int, int]]) -> Iterator[dict[int, tuple[int, int]]]:
        """Of each partition the messages from one up to another, from the ends towards the beginnings."""
        many, left = max(_FIRST, 2 * sum(self._wanted.values())), self._most
        ends = {partition: end for partition, (low, end) in bounds.items() if end > low}
        while ends and left > 0:
            each = max(1, min(many, left) // len(ends))
            places = {partition: (max(bounds[partition][0], end - each), end) for partition, end in ends.items()}
            yield places
            left -= sum(end - begin for begin, end in places.values())
            ends = {partition: begin for partition, (begin, _) in places.items() if begin > bounds[partition][0]}
            many *= _LONGER

    def _stretch(self, consumer: Any, places: Mapping[int, tuple[int, int]]) -> TickColumns:
        """The ticks of these messages, partition by partition."""
        messages: dict[int, list[bytes]] = {partition: [] for partition in places}
        going = dict(places)
        consumer.assign([self._place(partition, begin) for partition, (begin, _) in places.items()])
        heard = time.monotonic()
        while going:
            several = consumer.consume(_PAGE, 0.1)
            if several:
                heard = time.monotonic()
            elif time.monotonic() - heard > _PATIENCE_SEC:
                raise self._refused(f"nothing came for {_PATIENCE_SEC:.0f} s")
            for message in several:
                self._take(message, going, messages)
        return MessageDecoder().decoded([each for several in messages.values() for each in several]).ticks

    def _take(self, message: Any, going: dict[int, tuple[int, int]], messages: dict[int, list[bytes]]) -> None:
        partition, error = message.partition(), message.error()
        if error is not None and error.code() != library().KafkaError._PARTITION_EOF:  # noqa: SLF001  the library's name
            raise self._refused(reason(error))
        if partition not in going:
            return
        end = going[partition][1]
        if error is None and message.offset() < end:
            messages[partition].append(message.value() or b"")
        # Offsets have holes, where the topic is compacted: the last message may be missing.
        if error is not None or message.offset() >= end - 1:
            del going[partition]

    def _place(self, partition: int, offset: int | None = None) -> Any:
        places = library().TopicPartition
        return (
            places(self._options.topic, partition) if offset is None else places(self._options.topic, partition, offset)
        )

    def _refused(self, why: str) -> HistoryRefused:
        return HistoryRefused(
            f"history: Kafka, topic {self._options.topic}: {why}. Nothing was run; see to the cluster, or leave the history out"
        )
