"""Tick files as a live source: a recording played at a multiple of real time, or as fast as it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from anystrat.adapters.offload import Offload, in_a_thread
from anystrat.adapters.pacing import Pacer
from anystrat.adapters.tick_files.decode import columns_of_rows
from anystrat.adapters.tick_files.merge import sliced
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import TickFileError
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, TickBatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PARTITION: Final = "file"
#: Rows read at once. Offsets of rows that follow a malformed one depend on it: it is not to be changed lightly.
BLOCK_ROWS: Final = 16_384


class Recording(Protocol):
    """Ticks in blocks, always the same; see `adapters.tick_files.TickReader`."""

    @property
    def paths(self) -> Sequence[Path]:
        """The files."""
        ...

    @property
    def malformed(self) -> int:
        """How many rows of the current iteration could not be decoded so far."""
        ...

    @property
    def first_malformed(self) -> list[str]:
        """Where the first few of them are."""
        ...

    def __iter__(self) -> Iterator[TickColumns]: ...


class FileFeed:
    """A recording as a `LiveSource`. It goes on after an offset by reading up to there.

    A tick's offset is the number of its row in the merged order, from 1; malformed rows are numbered behind the good ones
    of the block that they were read with. Blocks are read beside the loop, one ahead.
    """

    resumable = True

    def __init__(
        self, recording: Recording, *, pace: float | Literal["max"] = "max", offload: Offload = in_a_thread
    ) -> None:
        self._recording = recording
        self._pace: float | Literal["max"] = pace
        self._offload = offload
        self._blocks: Iterator[TickColumns] | None = None
        self._malformed = 0
        self._shown = 0

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        wanted = after.get(PARTITION, 0)
        pacer = Pacer(self._pace)
        last = 0
        reading = asyncio.ensure_future(self._offload(self._read))
        try:
            while True:
                # Shielded: a thread that reads cannot be called back, and the files are open as long as it does.
                block, malformed, places = await asyncio.shield(reading)
                if block is not None:
                    reading = asyncio.ensure_future(self._offload(self._read))
                start, last = last, last + len(block or ()) + malformed
                if last > max(start, wanted):
                    for place in places:
                        yield SourceNotice(NoticeKind.QUARANTINED, PARTITION, {"what": place})
                    ticks, offsets = _after(wanted, block, start)
                    schedule = pacer.schedule(ticks.ts_ns)
                    done = 0
                    while done < len(ticks):
                        due = await schedule.after(done)
                        if due == len(ticks):
                            break
                        yield TickBatch(PARTITION, sliced(ticks, done, due), offsets[done:due], int(offsets[due - 1]))
                        done = due
                    yield TickBatch(PARTITION, sliced(ticks, done, len(ticks)), offsets[done:], last, malformed)
                if block is None:
                    break
            if last < wanted:
                raise SourceFailed(
                    f"{', '.join(map(str, self._recording.paths))}: {last} rows; {wanted} were read before. "
                    "It is not the recording that was begun with: name that one, or begin anew with another journal."
                )
        except TickFileError as error:
            raise SourceFailed(str(error)) from error
        finally:
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.exception()  # looked at, so that nothing says it never was
            close = getattr(self._blocks, "close", None)
            if close is not None:
                close()

    async def acknowledge(self, partition: str, offset: int) -> None:
        pass  # files forget nothing

    async def close(self) -> None:
        pass  # files are open only while they are read

    def _read(self) -> tuple[TickColumns | None, int, list[str]]:
        """The next block, None at the end; how many malformed rows were met on the way there, and where."""
        if self._blocks is None:
            self._blocks = iter(self._recording)
        block = next(self._blocks, None)
        malformed, places = self._recording.malformed - self._malformed, self._recording.first_malformed[self._shown :]
        self._malformed += malformed
        self._shown += len(places)
        return block, malformed, places


def _after(wanted: int, block: TickColumns | None, start: int) -> tuple[TickColumns, NDArray[np.int64]]:
    """The ticks of a block that come after offset `wanted`, and their offsets; the block begins after offset `start`."""
    if block is None or wanted - start >= len(block):
        return columns_of_rows((), (), ()), np.empty(0, np.int64)
    done = max(0, wanted - start)
    offsets = np.arange(start + done + 1, start + len(block) + 1, dtype=np.int64)
    return block if not done else sliced(block, done, len(block)), offsets
