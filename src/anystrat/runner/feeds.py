"""What is known of the source's partitions, for those who ask how the feed is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anystrat.domain.health import FeedHealth, FeedState
from anystrat.domain.intake import NoticeKind, SourceNotice

if TYPE_CHECKING:
    from anystrat.runner.intake import Heard


@dataclass(slots=True)
class _Feed:
    stale: bool = False
    gaps: int = 0
    reconnects: int = 0
    quarantined: int = 0


class Feeds:
    """Counts what the source said of each partition."""

    def __init__(self) -> None:
        self._known: dict[str, _Feed] = {}
        self._ended = False

    def noticed(self, notice: SourceNotice) -> None:
        """Take one notice in."""
        feed = self._known.setdefault(notice.partition, _Feed())
        match notice.kind:
            case NoticeKind.GAP:
                feed.gaps += 1
            case NoticeKind.RECONNECTED:
                feed.reconnects += 1
            case NoticeKind.QUARANTINED:
                feed.quarantined += 1
            case NoticeKind.STALE | NoticeKind.FRESH:
                feed.stale = notice.kind is NoticeKind.STALE

    def ended(self) -> None:
        """The source has no more."""
        self._ended = True

    def health(self, heard: Mapping[str, Heard], now_ns: int) -> tuple[FeedHealth, ...]:
        """Each partition that was heard, or spoken of."""
        found = []
        for partition in sorted({*self._known, *heard}):
            feed, said = self._known.get(partition, _Feed()), heard.get(partition)
            state = FeedState.ENDED if self._ended else FeedState.STALE if feed.stale else FeedState.FRESH
            found.append(
                FeedHealth(
                    partition,
                    state,
                    # A wall clock may be set back.
                    None if said is None else max(0.0, (now_ns - said.at_ns) / 1e9),
                    0 if said is None else said.received,
                    0 if said is None else said.duplicates,
                    0 if said is None else said.malformed,
                    feed.gaps,
                    feed.reconnects,
                    feed.quarantined,
                )
            )
        return tuple(found)
