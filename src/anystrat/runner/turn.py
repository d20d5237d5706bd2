"""One turn of a shard: parcels pushed through its engine, and what they led to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from anystrat.domain.columns import TickColumns, joined
from anystrat.domain.events import ModelReverted, ModelSwapped, TickQuarantined, TimerDue, measured

if TYPE_CHECKING:
    import asyncio

    from anystrat.domain.events import RecordedEvent
    from anystrat.domain.inputs import Input
    from anystrat.domain.outcomes import Outcome
    from anystrat.runner.driver import EngineDriver
    from anystrat.runner.parcel import Parcel
    from anystrat.runner.quarantine import Quarantine


class Turn:
    """`inputs` are what the engine took, in order, and `outcomes` what came of them, once `finish` was called.

    Ticks that follow on each other are evaluated together. `moved` are the offsets of the partitions that moved, `kept`
    who waits for the commit; `swapped`: a model was put in place, so that a checkpoint is due. `measures`: outcomes may say
    what only a live run finds out.
    """

    def __init__(
        self,
        shard: int,
        driver: EngineDriver,
        watermarks: Mapping[str, int],
        *,
        measures: bool,
        quarantine: Quarantine | None,
    ) -> None:
        self.inputs: list[Input] = []
        self.outcomes: list[Outcome] = []
        self.moved: dict[str, int] = {}
        self.kept: list[asyncio.Future[None]] = []
        self.swapped = False
        self._shard = shard
        self._driver = driver
        self._watermarks = watermarks
        self._measures = measures
        self._quarantine = quarantine
        self._waiting: list[TickColumns] = []

    def event(self, event: RecordedEvent) -> None:
        """Push an event, behind all ticks before it."""
        self.finish()
        self.swapped |= isinstance(event, ModelSwapped | ModelReverted)
        quarantine = self._quarantine if isinstance(event, TimerDue) else None
        if quarantine is not None and not quarantine.begins(self._shard, {**self._watermarks, **self.moved}):
            return
        self._took(event, self._driver.event(event))
        if quarantine is not None:
            quarantine.ended()

    def ticks(self, parcel: Parcel) -> None:
        """Push a parcel's ticks, or have them wait for more."""
        assert parcel.ticks is not None
        quarantine, partition = self._quarantine, parcel.partition
        suspects = () if quarantine is None else quarantine.suspects(self._shard, partition, self._watermarks)
        if quarantine is None or not suspects:
            if len(parcel):
                self._waiting.append(parcel.ticks)
            self.moved[partition] = parcel.last
            return
        self.finish()
        self.moved[partition] = parcel.last
        for each in quarantine.one_by_one(self._shard, parcel.ticks, partition, self.moved, suspects):
            if isinstance(each, TickQuarantined):
                self.event(each)
            else:
                self._push(each)

    def finish(self) -> None:
        """Push the ticks that wait."""
        if not self._waiting:
            return
        block = joined(self._waiting)
        self._waiting.clear()
        if self._quarantine is None:
            self._push(block)
            return
        for each in self._quarantine.watched(self._shard, block, self.moved):
            self._push(each)

    def _push(self, block: TickColumns) -> None:
        self._took(block, self._driver.ticks(block))

    def _took(self, taken: Input, said: list[Outcome]) -> None:
        if self._measures:
            # Before what they happened on: there a replay needs to know.
            self.inputs.extend(measured(said))
        self.inputs.append(taken)
        self.outcomes += said
