"""Writing a recording: appended at once, made into pieces beside the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from anystrat.adapters.recording.directory import begun, locked
from anystrat.adapters.recording.manifest import PIECE_FORMATS, Manifest, RecordingFailed, RecordingRefused
from anystrat.adapters.recording.pieces import parquet_writer
from anystrat.adapters.recording.shard_writer import PieceLimits, ShardWriter, Submit
from anystrat.domain.inputs import Input

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock


_LIMITS: Final = PieceLimits()


class RecordingWriter:
    """Records the inputs of every shard of a run, in order; one at a time on a directory.

    `take` appends: what it was given outlives the process at once, and the machine after `flush`. Pieces are made by
    `submit`, by default in a thread of this recording's own. Where writing fails, `on_failure` hears of it once and
    nothing more is recorded: a restart goes on from there. Without it, `take` raises `RecordingFailed`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        manifest: Manifest,
        clock: Clock,
        *,
        limits: PieceLimits = _LIMITS,
        submit: Submit | None = None,
        on_failure: Callable[[RecordingFailed], object] | None = None,
    ) -> None:
        """Begin a recording, or go on with one. Raises `RecordingRefused`, `MissingExtra`, `OSError`."""
        self.directory = Path(directory)
        self._threads = None if submit is not None else ThreadPoolExecutor(1, "recording")
        self._on_failure = on_failure
        self._failure: RecordingFailed | None = None
        self._shards: dict[int, ShardWriter] = {}
        if manifest.pieces not in PIECE_FORMATS:
            raise RecordingRefused(f"unknown format {manifest.pieces!r} (allowed: {', '.join(PIECE_FORMATS)})")
        if manifest.pieces == "parquet":
            parquet_writer()
        self._lock = locked(self.directory)
        try:
            self.manifest = begun(self.directory, manifest, clock)
            chosen = submit or self._in_thread
            for shard in range(self.manifest.shards):
                self._shards[shard] = ShardWriter(
                    self.directory / f"shard-{shard}", self.manifest.pieces, clock, limits, chosen
                )
        except BaseException:
            self._release()
            raise

    def next_input(self, shard: int) -> int | None:
        """The number of the first input that the recording does not have; None where it has none of this shard."""
        return self._shards[shard].next_input

    def marks(self, shard: int) -> Mapping[str, int]:
        """The source's offsets that were recorded with the shard's inputs."""
        return self._shards[shard].marks

    def ticks(self, shard: int) -> int:
        """How many ticks of the shard were recorded so far, over all starts."""
        return self._shards[shard].ticks

    def begin(self, shard: int, first: int) -> None:
        """The shard's recording begins with input number `first`."""
        self._guarded(lambda: self._shards[shard].begin(first))

    def take(self, shard: int, first: int, inputs: Sequence[Input], marks: Mapping[str, int] | None = None) -> None:
        """The shard's inputs from number `first` on, in order; what the recording has already is left out.

        Where `first` is beyond what comes next, the inputs between are marked as missing.
        """
        self._guarded(lambda: self._shards[shard].take(first, inputs, marks or {}))

    def flush(self) -> None:
        """Everything that was taken is durable on return."""
        self._guarded(self._flush)

    def close(self) -> None:
        """Make the last piece of each shard, and finish the files."""
        try:
            for shard in self._shards.values():
                self._guarded(shard.close)
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        for shard in self._shards.values():
            shard.flush()

    def _guarded(self, work: Callable[[], None]) -> None:
        if self._failure is not None and self._on_failure is not None:
            return
        try:
            if self._failure is not None:
                raise self._failure
            work()
        except (OSError, RecordingFailed) as error:
            if not isinstance(error, RecordingFailed):
                said = getattr(error, "strerror", None) or error
                self._failure = RecordingFailed(f"{self.directory}: the recording cannot be written: {said}")
            else:
                self._failure = error
            if self._on_failure is None:
                raise self._failure from error
            self._on_failure(self._failure)

    def _in_thread(self, work: Callable[[], None]) -> Future[None]:
        assert self._threads is not None
        return self._threads.submit(work)

    def _release(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()
        for shard in self._shards.values():
            shard.let_go()
        self._lock.close()
