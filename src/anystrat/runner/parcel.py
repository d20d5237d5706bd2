"""What travels from the source to a shard: ticks with their place in the source, or an event."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.events import RecordedEvent


@dataclass(slots=True, eq=False)
class Ticket:
    """A batch of the source under way: `open_parts` shards have yet to commit their part of it."""

    partition: str
    last: int
    open_parts: int


class Tickets:
    """The batches under way, by partition; says up to where everything is committed."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Ticket]] = {}

    def issue(self, partition: str, last: int, parts: int) -> Ticket:
        """A ticket for a batch that goes to so many shards (none: it is committed once those before it are)."""
        ticket = Ticket(partition, last, parts)
        self._waiting.setdefault(partition, deque()).append(ticket)
        return ticket

    def committed(self, ticket: Ticket) -> None:
        """One shard has committed its part."""
        ticket.open_parts -= 1

    def acknowledgeable(self) -> dict[str, int]:
        """For each partition that moved: the offset up to which every batch is committed. Each is said once."""
        moved: dict[str, int] = {}
        for partition, waiting in self._waiting.items():
            while waiting and waiting[0].open_parts == 0:
                moved[partition] = waiting.popleft().last
        return moved


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
    tickets: list[Ticket] = field(default_factory=list)
    malformed: int = 0
    duplicates: int = 0

    def __len__(self) -> int:
        return 0 if self.ticks is None else len(self.ticks)
