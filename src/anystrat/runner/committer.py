"""Between the shards and the journal: what waits is committed together, and only then acknowledged and sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from anystrat.domain.inputs import Input
    from anystrat.domain.intake import LiveSource
    from anystrat.domain.journal import Journal, OutboxSignal
    from anystrat.runner.acknowledging import Acknowledgements
    from anystrat.runner.shard import Work

#: Inputs that may wait for the disk before the shards are held back.
_ROOM: Final = 131_072
_STEPS: Final = 256


class Taker(Protocol):
    """Where committed signals go on: a broker's delivery."""

    async def accept(self, signals: Sequence[OutboxSignal]) -> None:
        """Take over signals that are durable; in order."""
        ...


class Recorder(Protocol):
    """Keeps what the engines took, in order, for a replay."""

    def next_input(self, shard: int) -> int | None:
        """The number of the first input that the recording does not have; None where it has none of this shard."""
        ...

    def begin(self, shard: int, first: int) -> None:
        """The shard's recording begins with input number `first`."""
        ...

    def take(self, shard: int, first: int, inputs: Sequence[Input], marks: Mapping[str, int] | None = None) -> None:
        """The shard's inputs from number `first` on, in order; what the recording has already is left out.

        `marks` are the source's offsets after them, where they moved.
        """
        ...

    def close(self) -> None:
        """Finish the files."""
        ...


class Committer:
    """One task commits; shards go on meanwhile, as far as there is room. Order is kept."""

    def __init__(
        self,
        journal: Journal,
        takers: Mapping[str, Taker],
        acknowledgements: Acknowledgements,
        *,
        recorder: Recorder | None = None,
        on_commit: Callable[[float, int, int], object] | None = None,
    ) -> None:
        self._journal = journal
        self._takers = takers
        self._acknowledgements = acknowledgements
        self._recorder = recorder
        self._on_commit = on_commit
        self._waiting: deque[Work] = deque()
        self._inputs = 0
        self._closed = False
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()

    async def put(self, work: Work) -> None:
        """Queue a step, at once; then wait while too much waits.

        Steps are queued in the order in which they were made, whoever waits: so their signals were numbered.
        """
        self.add(work)
        while self._inputs >= _ROOM or len(self._waiting) >= _STEPS:
            self._room.clear()
            await self._room.wait()

    def add(self, work: Work) -> None:
        """Queue a step at once: a small one, by whoever must not wait."""
        self._waiting.append(work)
        self._inputs += work.step.count
        self._something.set()

    @property
    def waiting(self) -> int:
        """How many steps wait for their commit."""
        return len(self._waiting)

    async def idle(self) -> None:
        """Wait until everything that was queued is committed, and handed on."""
        while self._waiting or not self._idle.is_set():
            self._idle.clear()
            await self._idle.wait()

    def close(self) -> None:
        """Nothing more will be queued: `run` ends once all is committed."""
        self._closed = True
        self._something.set()

    async def run(self, source: LiveSource | None) -> None:
        """Commit, acknowledge, hand on; until closed and empty. An error of the journal is final, and raised."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                if self._closed:
                    return
                self._something.clear()
                self._idle.set()
                await self._something.wait()
            self._idle.clear()
            group = list(self._waiting)
            self._waiting.clear()
            inputs = sum(work.step.count for work in group)
            began = loop.time()
            await self._journal.commit([work.step for work in group])
            if self._on_commit is not None:
                signals = sum(len(work.step.signals) for work in group)
                self._on_commit(loop.time() - began, len(group), signals)
            self._inputs -= inputs
            self._room.set()
            await self._after(group, source)

    async def _after(self, group: Sequence[Work], source: LiveSource | None) -> None:
        by_broker: dict[str, list[OutboxSignal]] = {}
        for work in group:
            self._acknowledgements.committed(work.step.shard, work.step.watermarks)
            for waiting in work.kept:
                if not waiting.done():  # whoever waited may have been cancelled
                    waiting.set_result(None)
            for signal in work.step.signals:
                by_broker.setdefault(signal.broker, []).append(signal)
            if self._recorder is not None and work.inputs:
                self._recorder.take(work.step.shard, work.step.first, work.inputs, work.step.watermarks)
        for broker, signals in by_broker.items():
            await self._takers[broker].accept(signals)
        if source is not None:
            for partition, last in self._acknowledgements.acknowledgeable().items():
                await source.acknowledge(partition, last)
