"""A recording's directory: begun or gone on with, by one process at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from anystrat.adapters.durable_names import make_directory
from anystrat.adapters.recording.manifest import (
    Manifest,
    RecordingRefused,
    is_recording,
    open_private,
    read_manifest,
    write_manifest,
)
from anystrat.domain.tick import datetime_of

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock


def begun(directory: Path, manifest: Manifest, clock: Clock) -> Manifest:
    """The manifest of this start, written; that of the recording which goes on, if there is one."""
    now = datetime_of(clock.now_ns()).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = read_manifest(directory) if is_recording(directory) else None
    if found is not None:
        for what in ("shards", "pieces", "configuration"):
            mine, theirs = getattr(manifest, what), getattr(found, what)
            if mine != theirs:
                raise RecordingRefused(
                    f"{directory}: the recording there has other {what} ({theirs!r}, not {mine!r}); name a new directory"
                )
        manifest = found
    manifest = msgspec.structs.replace(manifest, starts=(*manifest.starts, now))
    write_manifest(directory, manifest)
    return manifest


def locked(directory: Path) -> BinaryIO:
    """The directory, made if need be, for this process alone until the file is closed. Raises `RecordingRefused`."""
    make_directory(directory)
    others = [path.name for path in directory.iterdir() if path.name != "lock" and not path.name.endswith(".partial")]
    if others and not is_recording(directory):
        raise RecordingRefused(f"{directory}: holds other files ({min(others)}, …); name a new directory")
    stream = open_private(directory / "lock", "ab")
    try:
        import fcntl
    except ImportError:
        return stream  # Windows has no such locks: there it is up to who starts it
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        raise RecordingRefused(f"{directory}: another process is recording there") from error
    return stream
