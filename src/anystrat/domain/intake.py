"""How ticks come in live: batches with positions that a source can go on from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from anystrat.domain.errors import AnystratError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns


class SourceFailed(AnystratError):
    """A source cannot go on, and trying again would not help; the text says what to do."""


class SourceUnauthorised(SourceFailed):
    """A source's server refused who asked."""

    exit_code = 5


@dataclass(frozen=True, slots=True, eq=False)
class TickBatch:
    """Ticks of one partition of a source, in order, as they arrived together.

    `offsets` has one entry a tick: where in its partition it stands, never descending, the same for all ticks of one
    message. A batch ends at the end of a message: no later batch has ticks of an offset that this one has. `last` is the
    offset up to which everything is in this batch or before it (messages that held no tick included); it grows from batch
    to batch. `malformed` counts what could not be decoded, each once: a row of a file or a tick of a message, or a whole
    message; `malformed_at` are their offsets, ascending, from a source whose batches may end elsewhere when they come
    again. A batch may hold no tick at all.
    """

    partition: str
    ticks: TickColumns
    offsets: NDArray[np.int64]
    last: int
    malformed: int = 0
    malformed_at: NDArray[np.int64] | None = None


class NoticeKind(StrEnum):
    """What a source has to say beside ticks."""

    GAP = "gap"
    RECONNECTED = "reconnected"
    STALE = "stale"
    FRESH = "fresh"
    QUARANTINED = "quarantined"


class SourceNotice(msgspec.Struct, frozen=True):
    """Something about the feed itself, at its place among the batches.

    GAP: ticks are missing that will not come (`details` says from where to where). RECONNECTED: the connection was made
    anew, nothing is missing. STALE and FRESH: the feed fell silent for longer than it may, and speaks again.
    QUARANTINED: a message that cannot be handled was set aside.
    """

    kind: NoticeKind
    partition: str
    details: dict[str, Any] = {}


class LiveSource(Protocol):
    """Where the runner gets ticks from. Reconnecting, with backoff, is the source's own business."""

    @property
    def resumable(self) -> bool:
        """Whether `batches` can go on after a position; False where what was missed is gone (standard input)."""
        ...

    def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        """Batches from after the given offset of each partition (none: from the source's beginning), until it ends.

        A source that is not resumable begins with what comes next, and numbers it from after the given offset. At least once: a batch may come again, with the same offsets. Called once. Raises `SourceFailed` where the
        source cannot go on.
        """
        ...

    async def acknowledge(self, partition: str, offset: int) -> None:
        """Everything up to `offset` is durable: the source may forget it. Called in ascending order, after the commit."""
        ...

    async def close(self) -> None:
        """Give back what is held; `batches` was closed before."""
        ...
