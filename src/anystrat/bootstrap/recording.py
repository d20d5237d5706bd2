"""Recordings: begun beside a run, or of a source alone."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anystrat
from anystrat.adapters.recording import (
    Manifest,
    Missing,
    RecordingFailed,
    RecordingReader,
    RecordingWriter,
    is_recording,
)
from anystrat.adapters.recording.feed import FeedRecorder
from anystrat.adapters.system_clock import SystemClock
from anystrat.domain.events import FeedGap

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.configuration import FeedSettings
    from anystrat.domain.events import RecordedEvent
    from anystrat.domain.intake import LiveSource, SourceNotice

_NAMED: Final = ("numpy", "numba", "onnxruntime", "pyarrow")


def open_recorder(
    directory: str | os.PathLike[str],
    *,
    shards: int = 1,
    fingerprint: str = "",
    name: str = "",
    models: Mapping[str, str] | None = None,
    pieces: str = "parquet",
    clock: Clock | None = None,
    on_failure: Callable[[RecordingFailed], object] | None = None,
) -> RecordingWriter:
    """A recording of a run with so many shards: begun, or gone on with where `fingerprint` is the same.

    With `on_failure`, a disk that is full ends the recording and not the run. Raises `RecordingRefused`, `MissingExtra`.
    """
    manifest = Manifest(shards, pieces, fingerprint, name, dict(models or {}), _versions())
    return RecordingWriter(directory, manifest, clock or SystemClock(), on_failure=on_failure)


def feed_recorder(
    source: LiveSource,
    recording: RecordingWriter,
    feed: FeedSettings,
    on_notice: Callable[[SourceNotice], object] | None = None,
) -> FeedRecorder:
    """What records a source alone; see its `run`."""
    return FeedRecorder(source, recording, feed, on_notice=on_notice)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A recording of a run, to be replayed: `shards` engines, each with inputs of its own."""

    shards: int
    fingerprint: str
    _reader: RecordingReader

    def inputs(self, shard: int, *, block_rows: int) -> Iterator[TickColumns | RecordedEvent]:
        """What the shard's engine took, in order. Where inputs are missing, an event says so."""
        for each in self._reader.inputs(shard, block_rows=block_rows):
            if isinstance(each, Missing):
                yield FeedGap(0, None, rewarm=False, details={"missing_inputs": each.last - each.first + 1})
            else:
                yield each


def open_recording(directory: str | os.PathLike[str]) -> RecordedRun | None:
    """The recording in a directory; None where there is none. Raises `RecordingRefused` for one that cannot be read."""
    path = Path(directory)
    if not is_recording(path):
        return None
    reader = RecordingReader(path)
    return RecordedRun(reader.manifest.shards, reader.manifest.configuration, reader)


def _versions() -> dict[str, str]:
    found = {"anystrat": anystrat.__version__, "python": platform.python_version()}
    for package in _NAMED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


__all__ = ["FeedRecorder", "RecordedRun", "feed_recorder", "open_recorder", "open_recording"]
