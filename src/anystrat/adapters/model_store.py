"""The bytes of every model that ever served, by their hash: what a replay needs when the file has long been replaced."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from anystrat.adapters.durable_names import make_directory, sync_directory
from anystrat.domain.errors import ModelRefused

_HASH: Final = re.compile(r"[0-9a-f]{64}")


class ModelStore:
    """A directory of models, one file each: `<sha256>.onnx`, mode 0600, put there whole and never changed.

    The directory is made, mode 0700, when the first model is kept.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def path_of(self, sha256: str) -> Path:
        """Where the model of this hash is, or would be. Raises `ModelRefused` for what is no hash."""
        if not _HASH.fullmatch(sha256):
            raise ModelRefused(f"expected the hash of a model, 64 hex digits; found {sha256!r}")
        return self.directory / f"{sha256}.onnx"

    def keep(self, sha256: str, content: bytes) -> None:
        """Have the model in the store; durable on return. Raises `ModelRefused` where it cannot be written."""
        target = self.path_of(sha256)
        if target.exists():
            return
        try:
            make_directory(self.directory, 0o700)
            descriptor, name = tempfile.mkstemp(dir=self.directory, suffix=".part")  # mode 0600
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(target)
                sync_directory(self.directory)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise ModelRefused(
                f"{target}: the model cannot be kept ({error}), and a replay could not have it then; "
                "make room, or make the directory writable"
            ) from error

    def content(self, sha256: str) -> bytes | None:
        """The bytes with this hash; None where they were never kept. Raises `ModelRefused` for a damaged file."""
        path = self.path_of(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ModelRefused(f"{path}: cannot be read ({error})") from None
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ModelRefused(f"{path}: expected the bytes that the file is named after, found others ({found})")
        return content
