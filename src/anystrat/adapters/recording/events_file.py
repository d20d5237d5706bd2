"""`events.jsonl`: what reached an engine beside ticks, each with its place among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from anystrat.adapters.recording.manifest import RecordingRefused
from anystrat.domain.events import RecordedEvent

FILE: Final = "events.jsonl"


class Missing(msgspec.Struct, frozen=True, tag="missing"):
    """Inputs number `first` to `last` are not in the recording: it was not running, and the journal had them no more."""

    first: int
    last: int


class EventLine(msgspec.Struct, frozen=True):
    """One line: an event after the first `position` ticks that were recorded of the shard."""

    position: int
    event: RecordedEvent | Missing


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(EventLine).decode


def event_line(position: int, event: RecordedEvent | Missing) -> bytes:
    """One line, with its end."""
    return _encode(EventLine(position, event)) + b"\n"


def read_events(path: Path, size: int | None) -> Iterator[EventLine]:
    """The lines of the file's first `size` bytes (None: of all of it), without a last one that was cut short."""
    if size == 0 or not path.exists():
        return
    read = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            read += len(line)
            if (size is not None and read > size) or not line.endswith(b"\n"):
                return
            try:
                yield _decode(line)
            except msgspec.MsgspecError as error:
                raise RecordingRefused(f"{path}:{number}: is no event: {error}") from error
