"""One `.inputs` file: inputs as they came, each frame with its length and its checksum."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final
from zlib import crc32

import msgspec

from anystrat.adapters.recording.manifest import RecordingRefused, write_whole
from anystrat.domain.inputs import Input, decoded_inputs

SUFFIX: Final = ".inputs"
_PREFIX: Final = struct.Struct("<II")
_LONGEST: Final = 1 << 30


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What was before this file: the piece's number, the next input's, and how much had come until then."""

    piece: int
    next_input: int
    ticks: int = 0
    event_bytes: int = 0
    marks: dict[str, int] = {}


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """Inputs number `first` up to `first + count`, and the source's offsets that were read with them."""

    first: int
    count: int
    inputs: bytes
    marks: dict[str, int] = {}

    def decoded(self) -> Iterator[Input]:
        """The inputs themselves."""
        return decoded_inputs(self.inputs)


_encoder: Final = msgspec.msgpack.Encoder()
_head_of: Final = msgspec.msgpack.Decoder(Head).decode
_frame_of: Final = msgspec.msgpack.Decoder(Frame).decode


def log_path(directory: Path, piece: int) -> Path:
    """Where the inputs of a piece are before it is one."""
    return directory / f"{piece:06d}{SUFFIX}"


def log_paths(directory: Path) -> list[Path]:
    """The `.inputs` files of a shard, in order."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def begin_log(directory: Path, head: Head) -> Path:
    """A file with its head alone; durable on return."""
    path = log_path(directory, head.piece)
    write_whole(path, _framed(_encoder.encode(head)))
    return path


def frame_bytes(first: int, count: int, inputs: bytes, marks: Mapping[str, int]) -> bytes:
    """One frame as it is appended."""
    return _framed(_encoder.encode(Frame(first, count, inputs, dict(marks))))


class LogReader:
    """The frames of a file up to its end, or up to where it was cut short: what follows there was never promised."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = path.open("rb")
        #: How many bytes of the file are whole, as far as it was read.
        self.sound_bytes = 0
        try:
            self.head = self._head()
        except BaseException:
            self._stream.close()
            raise

    def frames(self) -> Iterator[Frame]:
        """Each whole frame, in order; the file is closed after the last one."""
        with self._stream:
            while (payload := self._payload()) is not None:
                try:
                    frame = _frame_of(payload)
                except msgspec.MsgspecError as error:
                    raise RecordingRefused(f"{self._path}: holds what this version cannot read: {error}") from error
                self.sound_bytes = self._stream.tell()
                yield frame

    def close(self) -> None:
        """Let go of the file before its end."""
        self._stream.close()

    def _head(self) -> Head:
        payload = self._payload()
        if payload is None:
            raise RecordingRefused(f"{self._path}: is no file of inputs: it does not begin with a whole head")
        try:
            head = _head_of(payload)
        except msgspec.MsgspecError as error:
            raise RecordingRefused(f"{self._path}: is no file of inputs: {error}") from error
        self.sound_bytes = self._stream.tell()
        return head

    def _payload(self) -> bytes | None:
        prefix = self._stream.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            return None
        length, checksum = _PREFIX.unpack(prefix)
        if not length:
            return None  # zeros, which a power cut leaves where bytes did not reach the disk: their checksum is 0, too
        payload = self._stream.read(length) if length <= _LONGEST else b""
        return payload if len(payload) == length and crc32(payload) == checksum else None


def _framed(payload: bytes) -> bytes:
    return _PREFIX.pack(len(payload), crc32(payload)) + payload
