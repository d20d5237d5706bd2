"""What is known of the source's partitions, for those who ask how the feed is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anystrat.domain.health import FeedHealth, FeedState
from anystrat.domain.intake import NoticeKind, SourceNotice


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

    def health(self, read: Mapping[str, int]) -> tuple[FeedHealth, ...]:
        """Each partition that spoke, or was spoken of."""
        found = []
        for partition in sorted({*self._known, *read}):
            feed = self._known.get(partition, _Feed())
            state = FeedState.ENDED if self._ended else FeedState.STALE if feed.stale else FeedState.FRESH
            found.append(
                FeedHealth(partition, state, gaps=feed.gaps, reconnects=feed.reconnects, quarantined=feed.quarantined)
            )
        return tuple(found)
