"""The folder of compiled kernels: its user's alone, since loading a kernel runs what is in its file."""

from __future__ import annotations

import importlib
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

# Elsewhere no kernel is kept, and nobody waits for one.
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

# A kernel that was compiled longer ago is compiled anew: what no version needs any more is not kept for ever.
_KEPT_SECONDS: Final = 90 * 86_400
# Longer than the largest kernel takes on a slow machine; who waited that long compiles it himself.
_PATIENCE_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.05


def private_folder() -> Path | None:
    """The folder for compiled kernels, made if need be, mode 0700; None where it cannot be this user's alone.

    None too where files have no POSIX owners.
    """
    if not hasattr(os, "geteuid"):
        return None
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The specification of XDG_CACHE_HOME: a relative path is invalid, and ignored.
        parent = Path(home) if os.path.isabs(home) else Path.home() / ".cache"  # noqa: PTH117  an empty text is no path
        folder = parent / "anystrat" / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve(strict=True)
        if folder.stat().st_uid != os.geteuid():
            return None
        folder.chmod(0o700)
        if stat.S_IMODE(folder.stat().st_mode) != 0o700:
            return None
        return folder if all(_guarded(above) for above in folder.parents) else None
    except (OSError, RuntimeError):
        return None


def _guarded(folder: Path) -> bool:
    """Whether nobody but this user and root can put another folder in the place of one that is in this one."""
    found = folder.stat()
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # In a sticky folder, such as /tmp, only the owner of an entry can move it.
    return found.st_uid in {0, os.geteuid()} and (not shared or bool(found.st_mode & stat.S_ISVTX))


def read_private(path: Path) -> bytes | None:
    """The content of a file that this user alone can write; None for any other, and for a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not mine or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Put a file, mode 0600, in its place whole. Raises `OSError`."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(name, path)  # noqa: PTH105  both are plain names here
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


def forget_old(folder: Path) -> None:
    """Remove what no version needs any more. Raises `OSError`."""
    oldest = time.time() - _KEPT_SECONDS
    for file in folder.iterdir():
        if file.suffix in {".kernel", ".part"} and file.lstat().st_mtime < oldest:
            file.unlink(missing_ok=True)


class Turns:
    """Whose turn it is to compile: processes that start together would all compile the same kernels.

    A turn is a lock on one byte of a file beside the folder, which ends with its process at the latest. The system
    counts such locks by process and lets all of them go with the first descriptor that is closed: so a process has one.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder.with_name(f"{folder.name}.turns")
        self._descriptor: int | None = None
        self._process = 0

    def take(self, name: str) -> bool:
        """Wait until no other process compiles what has this name, a hexadecimal number; False where there are no locks.

        Whoever has taken a turn calls `give_back`. A process that waits longer than any compilation takes goes on.
        """
        descriptor = self._opened()
        if descriptor is None:
            return False
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
            except (BlockingIOError, PermissionError):  # which of them, is left to the system
                if time.monotonic() > until:
                    return False
                time.sleep(_PAUSE_SECONDS)
            except OSError:
                return False
            else:
                return True

    def give_back(self, name: str) -> None:
        """Let others have their turn; nothing happens if this process has none."""
        if self._descriptor is not None and self._process == os.getpid():
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _place(name))

    def _opened(self) -> int | None:
        if self._process != os.getpid():  # a fork has none of its parent's locks
            self._descriptor, self._process = None, os.getpid()
        if self._descriptor is None and fcntl is not None:
            with suppress(OSError):
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor


def _place(name: str) -> int:
    return int(name[:15], 16)
