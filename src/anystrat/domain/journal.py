"""The journal's port: inputs, state and accepted signals of a run, kept together.

An engine is a function of its inputs. So its state is kept as a checkpoint now and then, and the inputs since: both with
the signals that they led to, in one transaction. A restart loads the checkpoint and pushes those inputs through again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import IntEnum
from typing import Protocol

import msgspec

from anystrat.domain.errors import AnystratError


class JournalRefused(AnystratError):
    """The journal cannot be used as it is: damaged, newer, another configuration's, or in use. It was left untouched."""


class JournalFailed(AnystratError):
    """The store failed under a journal that was open. It is final: the process must stop, and begin anew from what is kept.

    Nothing but a lack of room is waited out: a sync that failed once may answer "done" the next time without having written anything.
    """


class Fate(IntEnum):
    """What became of an accepted signal. The last five are final, though an operator may send a DEAD one again."""

    PENDING = 0
    SENDING = 1
    ACKED = 2
    REJECTED = 3
    EXPIRED = 4
    DEAD = 5
    UNKNOWN = 6


class OutboxSignal(msgspec.Struct, frozen=True, array_like=True):
    """An accepted signal on its way out.

    `number` counts a broker's signals, from 1, without gaps, in the order of acceptance over all shards. `body` is the
    signal as the sink gets it: one JSON object, without a line end (as in a signal file, with reasoning and metadata).
    `expires_ns` is wall time; 0: never.
    """

    broker: str
    number: int
    signal_id: str
    strategy_id: str
    instrument_token: int
    ts_ns: int
    expires_ns: int
    body: bytes


class Step(msgspec.Struct, frozen=True):
    """What one shard did with its next inputs: all of it is committed, or none.

    `inputs` (opaque; see `domain.inputs`) are the shard's inputs number `first` up to but not including `first + count`;
    empty where `count` is 0. `watermarks` are the source's offsets that the shard has consumed, those that moved. `tally` is the shard's counters
    after these inputs, `checkpoint` its engine's state after them, where it is time for one. `fingerprint` names the
    configuration that the journal is bound to from this step on; None: as before.
    """

    shard: int
    first: int
    count: int
    inputs: bytes
    watermarks: dict[str, int]
    signals: tuple[OutboxSignal, ...]
    tally: bytes
    checkpoint: bytes | None = None
    fingerprint: str | None = None


class ShardRecord(msgspec.Struct, frozen=True):
    """A shard as it was committed last. `since` are the inputs after the checkpoint: (first, count, inputs) each."""

    watermarks: dict[str, int]
    next_input: int
    tally: bytes
    checkpoint: bytes | None
    checkpoint_input: int
    since: tuple[tuple[int, int, bytes], ...]


class Settled(msgspec.Struct, frozen=True):
    """The fate of a broker's signals `first..last`, both included, and why where that needs words.

    PENDING says that they were surely not taken and may be sent again: `attempts` is then how often it was tried so far.
    """

    broker: str
    first: int
    last: int
    fate: Fate
    reason: str = ""
    attempts: int = 0


class OutboxEntry(msgspec.Struct, frozen=True):
    """An accepted signal and what became of it so far."""

    signal: OutboxSignal
    fate: Fate
    reason: str = ""
    attempts: int = 0


class Journal(Protocol):
    """One writer's view of a journal. Every coroutine returns once what it says is durable; calls may overlap.

    Writes take effect in the order of the calls; one whose awaiting is cancelled still does. Raises `JournalRefused` from
    `open`, and `ValueError`, with nothing written, for what does not follow on what is kept. After an error of the store
    (a failed sync, another runner that took the journal over) this and every later call raise
    `JournalFailed`: the runner stops, and nothing that was not returned from was promised. A store without room for more
    is no such error until `give_up`: calls wait for room.
    """

    async def open(self, fingerprint: str | None) -> None:
        """Take the journal over: lock it, raise its epoch, check schema and content. Before anything else, once.

        `fingerprint` names the configuration. Another one's state is refused unless the outbox alone is in it. None, for
        tools that touch the outbox alone, takes the journal as it is.
        """
        ...

    @property
    def epoch(self) -> int:
        """How many times this journal was taken over, this time included. A writer of an older epoch can commit nothing."""
        ...

    @property
    def problem(self) -> str:
        """Why calls wait at present, and what would help; empty where nothing is in their way."""
        ...

    def give_up(self) -> None:
        """Wait for room no longer: calls that do, and later ones that would, raise `JournalFailed`."""
        ...

    async def shard(self, shard: int) -> ShardRecord | None:
        """What was committed last for a shard; None before its first commit."""
        ...

    async def commit(self, steps: Sequence[Step]) -> None:
        """Keep these steps, whole. Durable on return: only then acknowledge the source, and send the signals.

        A shard's inputs begin where its last ones ended, a broker's signals are numbered on; else `ValueError`.
        """
        ...

    async def sending(self, broker: str, first: int, last: int) -> None:
        """A broker's signals `first..last` are about to be sent. Durable on return: call before the send.

        They are PENDING or SENDING; `ValueError` where one is settled. Their attempts and reasons stay.
        """
        ...

    async def settle(self, outcomes: Sequence[Settled]) -> None:
        """Write down what became of signals that are PENDING or SENDING, all of it or, with `ValueError`, nothing."""
        ...

    async def last_number(self, broker: str) -> int:
        """The number of the broker's last accepted signal; 0 before its first."""
        ...

    async def unsettled(self, broker: str, after: int, limit: int) -> Sequence[OutboxEntry]:
        """The broker's signals that are PENDING or SENDING, with a number above `after`, in order, at most `limit`."""
        ...

    async def fates(self) -> Mapping[str, Mapping[Fate, int]]:
        """How many signals of each broker are in each fate, those forgotten by `compact` included; no zeros."""
        ...

    async def dead_letters(self, broker: str | None = None) -> Sequence[OutboxEntry]:
        """Signals that are DEAD or UNKNOWN, in order."""
        ...

    async def revive(self, broker: str, numbers: Sequence[int], expires_ns: int) -> int:
        """Make DEAD or UNKNOWN signals PENDING again, with their ids and numbers, no attempts, and this expiry.

        Of `numbers` those that are neither are left as they are; the result counts those that are PENDING now.
        """
        ...

    async def killed(self) -> bool:
        """Whether the kill switch was on when it was last set."""
        ...

    async def set_killed(self, killed: bool) -> None:  # noqa: FBT001  a switch is on or off
        """Keep the kill switch's position over restarts."""
        ...

    async def compact(self, *, keep_inputs: int, keep_settled: int) -> None:
        """Forget what is not needed any more, in small pieces: commits go on in between.

        Of the inputs before a shard's checkpoint the last `keep_inputs` stay (and the rest of their step), of a broker's
        ACKED, REJECTED and EXPIRED signals the last `keep_settled`; those that are DEAD or UNKNOWN all stay.
        """
        ...

    def inputs(self, shard: int, first: int = 0) -> AsyncIterator[tuple[int, int, bytes]]:
        """The kept inputs of a shard from the step that holds input `first` on, in order: (first, count, inputs)."""
        ...

    async def close(self) -> None:
        """Finish what was begun, give the lock back."""
        ...
