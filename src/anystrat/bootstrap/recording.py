"""Recordings: begun beside a run, or of a source alone."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import anystrat
from anystrat.adapters.recording import Manifest, RecordingFailed, RecordingWriter
from anystrat.adapters.recording.feed import FeedRecorder
from anystrat.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import FeedSettings
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


def _versions() -> dict[str, str]:
    found = {"anystrat": anystrat.__version__, "python": platform.python_version()}
    for package in _NAMED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


__all__ = ["FeedRecorder", "feed_recorder", "open_recorder"]
