"""What a recording says of itself, and the few ways in which its files are made durable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from anystrat.adapters.durable_names import sync_directory
from anystrat.domain.errors import AnystratError

FILE: Final = "manifest.json"
FORMAT: Final = 1
PIECE_FORMATS: Final = ("parquet", "jsonl")
_MODE: Final = 0o600


class RecordingRefused(AnystratError):
    """A directory holds no recording, another one than is to go on, or one that this version cannot read."""

    exit_code = 2


class RecordingFailed(AnystratError):
    """What was to be recorded could not be written; what was written before is kept."""


class Manifest(msgspec.Struct, frozen=True):
    """What was recorded.

    `configuration` is a fingerprint: a recording goes on only under the same. `models` maps the path of each model to the
    hash of its bytes at the first start. `starts` are UTC times, ISO 8601. `pieces` is the format of the tick files.
    """

    shards: int
    pieces: str = "parquet"
    configuration: str = ""
    name: str = ""
    models: Mapping[str, str] = {}
    versions: Mapping[str, str] = {}
    starts: tuple[str, ...] = ()
    format: int = FORMAT


def is_recording(directory: Path) -> bool:
    """Whether there is a recording at this path."""
    return (directory / FILE).is_file()


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a recording. Raises `RecordingRefused`."""
    path = directory / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise RecordingRefused(f"{directory}: holds no recording (there is no {FILE})") from None
    except OSError as error:
        raise RecordingRefused(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise RecordingRefused(f"{path}: is no manifest of a recording: {error}") from error
    if found.format != FORMAT:
        raise RecordingRefused(f"{path}: has the format {found.format}; this version reads {FORMAT}")
    if found.pieces not in PIECE_FORMATS or found.shards < 1:
        raise RecordingRefused(f"{path}: is no manifest of a recording: {found.shards} shards in {found.pieces!r}")
    return found


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Put a manifest in its place, whole or not at all; durable on return."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    write_whole(directory / FILE, data)


def open_private(path: Path, mode: Literal["ab", "wb"]) -> BinaryIO:
    """Open a file to write it; one that is made is for its owner alone, from its first moment on."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, _MODE))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under its name in one step; durable on return."""
    partial = path.with_name(path.name + ".partial")
    with open_private(partial, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    publish(partial, path)


def publish(partial: Path, path: Path) -> None:
    """Give a file that is synced its name, durably."""
    partial.replace(path)
    sync_directory(path.parent)
