"""From a history to the feed that follows on it: what both have, and how long nothing was heard in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.notices import HandedOver

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns


class HandOver:
    """Looks at the first ticks of each instrument of which a history was loaded: `last_ns` is the time of its last tick.

    A tick that is not newer than that one was in the history, or should have been. Says what it found once every
    instrument has had a newer tick, or when it is told to.
    """

    def __init__(self, last_ns: Mapping[int, int], say: Callable[[HandedOver], object]) -> None:
        self._pending = dict(last_ns)
        self._say = say
        self._seen = self._duplicates = 0
        self._gap_ns, self._gap_token = 0, 0

    def see(self, ticks: TickColumns) -> None:
        """The feed brought these, in order."""
        if not self._pending:
            return
        for token in np.unique(ticks.instrument_token).tolist():
            last = self._pending.get(token)
            if last is None:
                continue
            times = ticks.ts_ns[ticks.instrument_token == token]
            newer = times[times > last]
            if not len(newer):
                self._duplicates += len(times)
                continue
            self._duplicates += int(np.flatnonzero(times > last)[0])
            del self._pending[token]
            self._seen += 1
            gap = int(newer[0]) - last
            if gap > self._gap_ns:
                self._gap_ns, self._gap_token = gap, token
        if not self._pending:
            self._tell()

    def end(self) -> None:
        """The feed brings no more."""
        if self._pending:
            self._tell()

    def _tell(self) -> None:
        self._say(HandedOver(self._seen, len(self._pending), self._duplicates, self._gap_ns / 1e9, self._gap_token))
        self._pending.clear()
