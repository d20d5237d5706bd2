"""What travels from the source to a shard: ticks with their place in the source, or an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.events import RecordedEvent


@dataclass(slots=True, eq=False)
class Parcel:
    """One entry of a mailbox. With `ticks`: a shard's part of a batch, its last offset, when it arrived (wall time, ns).

    `ticks` may be of no length: the shard has then consumed the partition up to `last` all the same. `malformed` and
    `duplicates` are what intake left out of this batch, for the shard's accounts.
    """

    event: RecordedEvent | None = None
    ticks: TickColumns | None = None
    partition: str = ""
    last: int = 0
    arrived_ns: int = 0
    malformed: int = 0
    duplicates: int = 0
    #: Resolved once an event, and what it led to, is committed; None: nobody waits for that.
    kept: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return 0 if self.ticks is None else len(self.ticks)
