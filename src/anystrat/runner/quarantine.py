"""Ticks that the whole process dies of: suspected, then evaluated one by one, and left out after the third time.

What is about to be evaluated is marked where the process's end does not wipe it out, and the mark is taken away after it. A
mark that is there at the start says what the process before died of, however it ended: killed for its memory, by a fault
in a library, or by a strategy that asked for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import numpy as np

from anystrat.domain.events import TickQuarantined
from anystrat.domain.notices import DiedWithin, Quarantined

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns

#: The process may die of a tick so often.
DEATHS: Final = 3
#: Of more ticks than these a death says only where to look: killed from outside again and again, a process may by chance
#: die twice within one of so many.
_FEW: Final = 64
#: More are not remembered: each start finds one at most.
_MOST_SUSPECTS: Final = 16


class MarkStore(Protocol):
    """Keeps a few bytes over the process's end (a power cut may take them), and a list of ticks for people."""

    @property
    def kept_in(self) -> str:
        """Where `keep` keeps them."""
        ...

    def open(self) -> bytes:
        """What was written last; empty where nothing was, or where it is torn. Raises `OSError`."""
        ...

    def write(self, data: bytes) -> None:
        """Keep these bytes in the place of those before: as quick as writing to memory."""
        ...

    def keep(self, tick: TickQuarantined) -> None:
        """Write the tick down where an operator finds it."""
        ...

    def close(self) -> None:
        """Give back what is held; what is kept stays."""
        ...


class _Tick(msgspec.Struct, frozen=True, array_like=True):
    """`before`: how many that are just the same were tried before it."""

    ts_ns: int
    instrument_token: int
    price: float
    before: int = 0


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    """`ticks` ticks of a shard, from `first` to `last`, which lie at the offsets `up_to` or before. None of them: a timer.

    `deaths`: how often the process has died of them, should it die now.
    """

    shard: int
    ticks: int
    up_to: dict[str, int]
    first: _Tick
    last: _Tick
    deaths: int

    def open_in(self, partition: str, watermarks: Mapping[str, int]) -> bool:
        """Whether the partition's ticks are yet to come, where its watermark stands so."""
        return watermarks.get(partition, -1) < self.up_to.get(partition, -1)

    def over(self, watermarks: Mapping[str, int]) -> bool:
        """Whether they are behind these watermarks. A timer is once they have moved at all."""
        if not self.ticks:
            return any(last > self.up_to.get(name, -1) for name, last in watermarks.items())
        return not any(self.open_in(partition, watermarks) for partition in self.up_to)

    def counts_for(self, tick: _Tick) -> bool:
        """Whether the deaths are this one's."""
        if self.ticks == 1:
            return self.first == tick
        return self.ticks <= _FEW and self.first.ts_ns <= tick.ts_ns <= self.last.ts_ns


class _Content(msgspec.Struct, array_like=True):
    now: _Mark | None = None
    suspects: list[_Mark] = []


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Content).decode
_TIMER: Final = _Tick(0, 0, 0.0)


class Quarantine:
    """The marks of one run. Its shards are evaluated by turns, so that one mark is enough."""

    def __init__(self, store: MarkStore, say: Callable[[DiedWithin | Quarantined], object]) -> None:
        self._store = store
        self._say = say
        self._content = _Content()
        self._nothing = _encode(self._content)
        self._final = False
        self._tried: Counter[tuple[int, int, int, float]] = Counter()

    def open(self, watermarks: Sequence[Mapping[str, int]]) -> None:
        """Take up what the process before was at. `watermarks` are what each shard has committed. Raises `OSError`."""
        try:
            found = _decode(self._store.open())
        except msgspec.MsgspecError:
            found = _Content()
        suspects, died = found.suspects, found.now
        if died is not None:
            suspects = [each for each in suspects if (each.shard, each.ticks, each.first) != _key(died)] + [died]
            first, last = died.first, died.last
            self._say(
                DiedWithin(
                    died.shard,
                    died.ticks,
                    died.deaths,
                    first.ts_ns,
                    first.instrument_token,
                    last.ts_ns,
                    last.instrument_token,
                )
            )
        there = [each for each in suspects if each.shard < len(watermarks) and not each.over(watermarks[each.shard])]
        # They stay until a start finds them committed: what follows on them may end the process before they are.
        self._content = _Content(None, there[-_MOST_SUSPECTS:])
        self._nothing = _encode(self._content)
        self._clear()

    def suspects(self, shard: int, partition: str, watermarks: Mapping[str, int]) -> list[_Mark]:
        """What the process died of, or may have, among the ticks that this shard takes from the partition next."""
        found = self._content.suspects
        return [each for each in found if each.shard == shard and each.open_in(partition, watermarks)]

    def watched(self, shard: int, block: TickColumns, up_to: Mapping[str, int]) -> Iterator[TickColumns]:
        """The block, marked while whoever iterates evaluates it. What that raises leaves the mark: it ends the process."""
        self._mark(_Mark(shard, len(block), dict(up_to), _tick(block, 0), _tick(block, -1), 1))
        yield block
        self._clear()

    def one_by_one(
        self, shard: int, block: TickColumns, partition: str, up_to: Mapping[str, int], suspects: Sequence[_Mark]
    ) -> Iterator[TickColumns | TickQuarantined]:
        """As `watched`, tick by tick; events in the place of those of which the process has died too often."""
        for place, row in enumerate(block.rows()):
            same = shard, row.ts_ns, row.instrument_token, row.price
            tick = _Tick(*same[1:], self._tried[same])
            self._tried[same] += 1
            deaths = max((each.deaths for each in suspects if each.counts_for(tick)), default=0)
            if deaths >= DEATHS:
                event = TickQuarantined.of(row, deaths, partition, up_to[partition])
                self._store.keep(event)
                self._say(
                    Quarantined(
                        shard,
                        row.instrument_token,
                        row.ts_ns,
                        event.price,
                        deaths,
                        partition,
                        self._store.kept_in,
                    )
                )
                yield event
                continue
            self._mark(_Mark(shard, 1, dict(up_to), tick, tick, deaths + 1))
            yield block.taken(np.array([place]))
            self._acquit(shard, tick)
            self._clear()

    def begins(self, shard: int, watermarks: Mapping[str, int]) -> bool:
        """A shard runs a timer, until `ended`; not where the process has died of that too often since the last tick."""
        found = self._content.suspects
        mine = [each for each in found if each.shard == shard and not each.ticks and not each.over(watermarks)]
        deaths = max((each.deaths for each in mine), default=0)
        if deaths >= DEATHS:
            return False
        self._mark(_Mark(shard, 0, dict(watermarks), _TIMER, _TIMER, deaths + 1))
        return True

    def ended(self) -> None:
        """The timer has run."""
        self._clear()

    def close(self) -> None:
        """Nothing more is evaluated."""
        self._store.close()

    def _acquit(self, shard: int, tick: _Tick) -> None:
        """The process has survived it: what it died of there before was something else."""
        found = self._content.suspects
        left = [each for each in found if (each.shard, each.ticks, each.first) != (shard, 1, tick)]
        if len(left) < len(found):
            self._content.suspects = left
            self._nothing = _encode(_Content(None, left))

    def _mark(self, mark: _Mark) -> None:
        if self._content.now is not None:
            # An evaluation raised what ends the process; until it does, other shards have a turn.
            self._final = True
        if not self._final:
            self._content.now = mark
            self._store.write(_encode(self._content))

    def _clear(self) -> None:
        if self._final:
            return
        self._content.now = None
        self._store.write(self._nothing)


def _key(mark: _Mark) -> tuple[int, int, _Tick]:
    return mark.shard, mark.ticks, mark.first


def _tick(block: TickColumns, place: int) -> _Tick:
    return _Tick(int(block.ts_ns[place]), int(block.instrument_token[place]), float(block.price[place]))
