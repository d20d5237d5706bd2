"""The stream and its durable consumer: found, checked, and made anew from a place on without losing a message."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from anystrat.adapters.nats_pull import EXPIRES_SEC
from anystrat.domain.errors import nearest_name
from anystrat.domain.intake import SourceFailed

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerInfo, StreamInfo

    from anystrat.domain.endpoints import NatsSource

#: How many messages may be delivered and not yet committed.
_PENDING: Final = 500_000
_ACK_WAIT_SEC: Final = 60.0
_LOOK_SEC: Final = 0.5
_STREAM_NOT_FOUND: Final = 10059
#: What the description of a consumer begins with; the rest says whose it is.
_OWNER: Final = "anystrat "


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the stream holds now. `whole`: every message in it is one that is asked for."""

    first: int
    last: int
    retention: str
    whole: bool


class DurableConsumer:
    """One durable pull consumer, which is this source's alone. `owner` tells it from that of another process."""

    def __init__(self, js: JetStreamContext, options: NatsSource, owner: str) -> None:
        self._js = js
        self._options = options
        self._description = _OWNER + owner

    async def stream(self) -> StreamState:
        """The stream as it is. Raises `SourceFailed` where there is none."""
        from nats.js.errors import NotFoundError

        options = self._options
        try:
            info: StreamInfo = await self._js.stream_info(options.stream)
        except NotFoundError as error:
            if error.err_code != _STREAM_NOT_FOUND:
                raise
            there = [each.config.name or "" for each in await self._js.streams_info()]
            near = nearest_name(options.stream, there)
            hint = f"; did you mean {near!r}?" if near else ""
            raise SourceFailed(
                f"NATS has no stream {options.stream!r}{hint} (found: {', '.join(sorted(there)) or 'none'}). "
                "It has to be made by who publishes."
            ) from error
        subjects = info.config.subjects or []
        # Another stream that this one copies, or a transform, may bring subjects that it does not name.
        copies = bool(info.config.mirror or info.config.sources or info.config.subject_transform)
        if not copies and not any(overlap(options.subject, subject) for subject in subjects):
            raise SourceFailed(
                f"the stream {options.stream!r} has no subject that {options.subject!r} fits (found: {', '.join(subjects)})"
            )
        whole = not copies and all(covers(options.subject, subject) for subject in subjects)
        kept = info.config.retention or "limits"
        retention = str(getattr(kept, "value", kept))
        return StreamState(info.state.first_seq, info.state.last_seq, retention, whole)

    async def make(self, state: StreamState, after: int | None, committed: int | None, *, first_time: bool) -> None:
        """Put a new consumer in the place of the old one: it delivers from after `after` on, or from earlier.

        Where the stream forgets what nobody waits for, it delivers from after `committed` on, and there is never a moment
        without a consumer that waits. Raises `SourceFailed` where another program uses the same name.
        """
        await self._must_be_ours(first_time=first_time)
        if state.retention == "interest":
            after = committed
        name = self._options.durable
        if state.retention == "interest":
            await self._add(f"{name}-hold", state, after)
        await self._delete(name)
        await self._add(name, state, after)
        if state.retention == "interest":
            await self._delete(f"{name}-hold")

    async def info(self) -> ConsumerInfo:
        """How far the consumer is."""
        found: ConsumerInfo = await self._js.consumer_info(self._options.stream, self._options.durable)
        return found

    async def _must_be_ours(self, *, first_time: bool) -> None:
        from nats.js.errors import NotFoundError

        deadline = asyncio.get_running_loop().time() + EXPIRES_SEC + 1.0
        while True:
            try:
                info = await self.info()
            except NotFoundError:
                return
            if info.config.description == self._description:
                return
            if not first_time:
                break
            # The requests of a process that is gone end by themselves.
            if not info.num_waiting:
                return
            if asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(_LOOK_SEC)
        raise SourceFailed(
            f"another program reads the stream {self._options.stream!r} as {self._options.durable!r}: "
            "end it, or give this run a `durable` of its own"
        )

    async def _add(self, name: str, state: StreamState, after: int | None) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
        from nats.js.errors import BadRequestError

        # A work queue holds only what was not acknowledged, and delivers nothing but all of it.
        everything = after is None or state.retention == "workqueue"
        config = ConsumerConfig(
            durable_name=name,
            description=self._description,
            deliver_policy=DeliverPolicy.ALL if everything else DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if everything else max(1, (after or 0) + 1),
            # A work queue takes no acknowledgement for several messages.
            ack_policy=AckPolicy.EXPLICIT if state.retention == "workqueue" else AckPolicy.ALL,
            ack_wait=_ACK_WAIT_SEC,
            max_ack_pending=_PENDING,
            filter_subject=self._options.subject,
        )
        try:
            await self._js.add_consumer(self._options.stream, config)
        except BadRequestError as error:
            raise SourceFailed(
                f"NATS refuses a consumer of {self._options.subject!r} on the stream {self._options.stream!r}: "
                f"{error.description or error}"
            ) from error

    async def _delete(self, name: str) -> None:
        from nats.js.errors import NotFoundError

        try:
            await self._js.delete_consumer(self._options.stream, name)
        except NotFoundError:
            return


def covers(pattern: str, subject: str) -> bool:
    """Whether every subject that `subject` stands for is one that `pattern` stands for; both may have wildcards."""
    wanted, given = pattern.split("."), subject.split(".")
    for at, word in enumerate(wanted):
        if word == ">":
            return len(given) > at
        if at >= len(given) or given[at] == ">" or word not in {"*", given[at]}:
            return False
    return len(wanted) == len(given)


def overlap(one: str, other: str) -> bool:
    """Whether there is a subject that both patterns stand for."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in {a, b}:
            return True
        if "*" not in {a, b} and a != b:
            return False
    return len(left) == len(right)
