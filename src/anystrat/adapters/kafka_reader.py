"""A Kafka consumer that decides for itself where to begin, and commits nothing but what it is told is durable.

Everything here waits in the kernel: it runs beside the event loop, one call at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.kafka_client import LOG, library, reason, refused, settings
from anystrat.domain.intake import SourceFailed, SourceUnauthorised

if TYPE_CHECKING:
    from anystrat.domain.endpoints import KafkaSource

#: How long one round waits for a first message: so long may a stop take, and a commit.
_POLL_SEC: Final = 0.1
_ASK_SEC: Final = 10.0
_MOST_BYTES: Final = 4 << 20


@dataclass(slots=True)
class Round:
    """What one round brought: messages of each partition in order, and what is to be said of the partitions."""

    messages: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    #: (partition, first, last) of messages that will not come: forgotten by the topic, or read by somebody else.
    missed: list[tuple[int, int, int]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    trouble: str = ""


class KafkaReader:
    """Reads one topic. A position is the offset of the message that comes next, as Kafka commits it.

    `positions` are this run's own, by partition, and go before the group's. A partition that is revoked is fenced: nothing of it is
    handed on or committed any more, until it is assigned again.
    """

    def __init__(
        self,
        options: KafkaSource,
        positions: Mapping[int, int],
        make: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self._options = options
        self._kafka = library()
        self.positions = dict(positions)
        self.owned: set[int] = set()
        self._committed: dict[int, int] = {}
        self._durable: dict[int, int] = {}
        #: What became durable since the last round: told by the event loop, read by the round.
        self._told: deque[tuple[int, int]] = deque()
        #: Partitions that somebody else may have read since.
        self._away: set[int] = set()
        self._now = Round()
        self._failed: Exception | None = None
        ours = {
            "group.id": options.group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": False,
            "error_cb": self._said,
        }
        conf = settings(options.bootstrap_servers, options.options, ours)
        try:
            self._consumer = make(conf) if make is not None else self._kafka.Consumer(conf, logger=LOG)
        except (self._kafka.KafkaException, ValueError, TypeError) as error:
            raise refused(error) from None
        self._begun = False

    def durable(self, partition: int, position: int) -> None:
        """Everything before `position` is safe; it is committed with the next round, if the partition is still ours.

        The one call that is made from the event loop, also while a round is under way.
        """
        self._told.append((partition, position))

    def round(self) -> Round:
        """Commit what is durable, and take what comes next. Raises `SourceFailed`."""
        self._now = found = Round()
        if not self._begun:
            self._begun = True
            self._begin()
        self._commit(wait=False)
        message = self._consumer.poll(_POLL_SEC)
        several = [] if message is None else [message]
        if message is not None and self._options.batch > 1:
            several += self._consumer.consume(self._options.batch - 1, 0)
        for each in several:
            self._take(each, found)
        if self._failed is not None:
            raise self._failed
        return found

    def close(self) -> None:
        """Commit the last of what is durable, and leave the group."""
        try:
            self._commit(wait=True)
        finally:
            self._consumer.close()

    # -- partitions

    def _begin(self) -> None:
        options = self._options
        topics = self._asked(lambda: self._consumer.list_topics(options.topic, timeout=_ASK_SEC)).topics
        topic = topics.get(options.topic)
        if topic is not None and topic.error is not None and topic.error.code() in self._unknown:
            raise SourceFailed(
                f"Kafka has no topic {options.topic!r}; make it: kafka-topics.sh --create --topic {options.topic} "
                f"--bootstrap-server {options.bootstrap_servers}"
            )
        if options.partitions:
            self._assigned(self._consumer, [self._place(each) for each in options.partitions])
        else:
            self._consumer.unsubscribe()  # where it is not the first time, it joins anew
            self._consumer.subscribe(
                [options.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._given_up
            )

    @property
    def _unknown(self) -> frozenset[int]:
        error = self._kafka.KafkaError
        return frozenset({error.UNKNOWN_TOPIC_OR_PART, error._UNKNOWN_TOPIC, error._UNKNOWN_PARTITION})  # noqa: SLF001  the library's names

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """An answer of the cluster's; where there is none, the next round asks again."""
        try:
            return ask()
        except self._kafka.KafkaException as error:
            self._begun = False
            raise self._failed or _Away(reason(error.args[0])) from error

    def _place(self, partition: int, offset: int | None = None) -> Any:
        if offset is None:
            return self._kafka.TopicPartition(self._options.topic, partition)
        return self._kafka.TopicPartition(self._options.topic, partition, offset)

    def _assigned(self, consumer: Any, places: list[Any]) -> None:
        """Begin each partition where this run was; else where the group was; else where the options say."""
        try:
            found = consumer.committed([self._place(each.partition) for each in places], timeout=_ASK_SEC)
            group = {each.partition: each.offset for each in found if each.error is None and each.offset >= 0}
            for partition in (each.partition for each in places):
                low, high = consumer.get_watermark_offsets(self._place(partition), timeout=_ASK_SEC)
                self.positions[partition] = self._start(partition, group.get(partition), low, high)
        except self._kafka.KafkaException as error:
            # Without an answer there is no place to begin: nothing of it is taken, and it is asked for again.
            self._now.trouble = reason(error.args[0])
            self._begun = False
            return
        self.owned.update(each.partition for each in places)
        self._away -= self.owned
        # What is committed is never set back: it may be somebody else's.
        self._committed.update(group)
        self._now.taken += [each.partition for each in places]
        consumer.assign([self._place(each, self.positions[each]) for each in sorted(self.owned)])

    def _start(self, partition: int, group: int | None, low: int, high: int) -> int:
        mine = self.positions.get(partition, group)
        if mine is None:
            return low if self._options.start == "all" else high
        if mine > high:
            self._failed = SourceFailed(
                f"partition {partition} of the topic {self._options.topic!r} ends at {high}, and this run has read up to {mine}: "
                "the topic was made anew. Name a new journal and a new group to begin with it."
            )
            return high
        if partition in self._away and group is not None and group > mine:
            # Somebody else has decided on these: they are not decided on twice.
            self._now.missed.append((partition, mine, group - 1))
            mine = group
        if mine < low:
            self._now.missed.append((partition, mine, low - 1))
            return low
        return mine

    def _revoked(self, _consumer: Any, places: list[Any]) -> None:
        """Somebody else reads these from now on: what is durable is committed, while it still may be."""
        self._commit(wait=True)
        self._fence({each.partition for each in places})

    def _given_up(self, _consumer: Any, places: list[Any]) -> None:
        """Somebody else reads these already: nothing may be committed any more."""
        self._fence({each.partition for each in places})

    def _fence(self, going: set[int]) -> None:
        self.owned -= going
        self._away |= going
        self._now.lost += sorted(going)
        for each in going:
            self._now.messages.pop(each, None)
            self._durable.pop(each, None)
            self._committed.pop(each, None)

    def _commit(self, *, wait: bool) -> None:
        while self._told:
            partition, position = self._told.popleft()
            if partition in self.owned:
                self._durable[partition] = max(position, self._durable.get(partition, 0))
        new = {each: at for each, at in self._durable.items() if at > self._committed.get(each, 0)}
        if not new:
            return
        places = [self._place(each, at) for each, at in new.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=not wait)
        except self._kafka.KafkaException:
            return  # a late commit does no harm: the place to go on from is this run's own
        self._committed.update(new)

    # -- messages

    def _take(self, message: Any, found: Round) -> None:
        partition, error = message.partition(), message.error()
        if error is not None:
            self._wrong(partition, error, found)
            return
        at = message.offset()
        # A partition that went within this round, or what comes again.
        if partition not in self.owned or at < self.positions[partition]:
            return
        self.positions[partition] = at + 1
        found.messages.setdefault(partition, []).append((at + 1, message.value() or b""))

    def _wrong(self, partition: int, error: Any, found: Round) -> None:
        code = error.code()
        if code == self._kafka.KafkaError._AUTO_OFFSET_RESET and partition in self.owned:  # noqa: SLF001  the library's name
            self._outrun(partition, found)
        elif code in self._unknown:
            self._failed = SourceFailed(f"Kafka has no topic {self._options.topic!r} any more: {reason(error)}")
        else:
            self._said(error)
            found.trouble = reason(error)

    def _outrun(self, partition: int, found: Round) -> None:
        """The topic has forgotten what comes next: go on with what there is."""
        try:
            low, high = self._consumer.get_watermark_offsets(self._place(partition), timeout=_ASK_SEC)
        except self._kafka.KafkaException as error:
            found.trouble = reason(error.args[0])
            return
        self.positions[partition] = self._start(partition, None, low, high)
        self._consumer.seek(self._place(partition, self.positions[partition]))

    def _said(self, error: Any) -> None:
        """What the library says of itself; most of it mends by waiting."""
        kafka = self._kafka.KafkaError
        final: dict[int, str] = {
            kafka._AUTHENTICATION: "login",  # noqa: SLF001  the library's name
            kafka.SASL_AUTHENTICATION_FAILED: "login",
            kafka.TOPIC_AUTHORIZATION_FAILED: f"topic {self._options.topic!r}",
            kafka.GROUP_AUTHORIZATION_FAILED: f"group {self._options.group_id!r}",
        }
        if error.code() in final:
            self._failed = SourceUnauthorised(f"Kafka refuses the {final[error.code()]} of the source")
        elif error.fatal():
            self._failed = SourceFailed(f"Kafka: {reason(error)}")
        else:
            self._now.trouble = reason(error)


class _Away(Exception):
    """The cluster does not answer."""


#: What the next round may mend.
Away: Final = _Away
