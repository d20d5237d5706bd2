"""The bytes of a model's file, read once, and what tells one version of it from the next."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from anystrat.domain.errors import ModelRefused

#: A file above this is refused before it is read.
MAX_BYTES = 256 * 1024 * 1024


class FileStamp(NamedTuple):
    """What tells one version of a file from the next without reading it."""

    mtime_ns: int
    size: int
    inode: int


def stamp_of(path: str | os.PathLike[str]) -> FileStamp | None:
    """The file's stamp now, or None where there is no file that can be looked at."""
    try:
        return _stamp(Path(path).stat())
    except (OSError, ValueError):
        return None


def read_model_file(name: str) -> tuple[bytes, FileStamp]:
    """All bytes of a file, and its stamp at that moment. Raises `ModelRefused` for what is no file, or none of a model."""
    try:
        # Without O_NONBLOCK a named pipe would hold us until somebody writes into it.
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ModelRefused(
            f"{name}: no such file; check model_path, which is relative to the file that names it"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{name}: cannot be opened ({error}); check model_path and the file's permissions") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelRefused(f"{name}: expected a file, found {_kind(status.st_mode)}; name the .onnx file itself")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > MAX_BYTES:
            raise _too_large(name, status.st_size)
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _too_large(name, len(content))
    if not content:
        raise ModelRefused(f"{name}: the file is empty; export the model again")
    return content, _stamp(status)


def _too_large(name: str, size: int) -> ModelRefused:
    return ModelRefused(f"{name}: expected at most {MAX_BYTES:,} bytes, found {size:,}; make the model smaller")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a named pipe" if stat.S_ISFIFO(mode) else "no regular file"


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_mtime_ns, status.st_size, status.st_ino)
