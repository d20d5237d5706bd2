"""What of a directory is on the medium, and what only the machine's memory knows: what a power cut may leave of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from anystrat.testing.simulate.dice import Dice

_SECTOR = 512
_DIRECTORY = -1  # in the place of a file's number


@dataclass
class _File:
    safe: bytes = b""
    #: What was in it when its last name was taken away; None while it has one.
    last: bytes | None = None
    mode: int = 0o600


@dataclass
class _Names:
    """A directory's names, each with a file's number: those on the medium, and the changes since, in their order."""

    safe: dict[str, int] = field(default_factory=dict)
    changes: list[list[tuple[str, int | None]]] = field(default_factory=list)


class Medium:
    """The disk under `root`, for as long as all changes to its names come through here or are seen by `look`.

    What is promised is what POSIX promises: a file's bytes are safe once it was synced, a name once its directory was. What
    was not may be there, or not, or in any mixture of old sectors, new ones and zeros. The changes of one directory's
    names reach the medium in their order, as on every file system with a journal; those of two directories do not wait for
    each other. `moment` is called before each change and each sync: there the power may be cut.
    """

    def __init__(self, root: Path, moment: Callable[[Medium], object] = lambda _: None) -> None:
        self.root = root
        self._moment = moment
        self._files: list[_File] = []
        self._names: dict[str, _Names] = {"": _Names()}
        self._live: dict[str, tuple[int, int]] = {}  # path: (number, inode)

    # -- what happens ----------------------------------------------------------------------------------------------

    def before(self) -> None:
        """Something is about to be done to a file."""
        self.look()
        self._moment(self)

    def look(self) -> None:
        """Take notice of names that have come or gone."""
        found: dict[str, os.DirEntry[str]] = {}
        self._scan(self.root, "", found)
        for path in [each for each in self._live if each not in found]:
            self._gone(path)
        for path, entry in found.items():
            inode = entry.inode()
            known = self._live.get(path)
            if known is not None and known[1] == inode:
                continue
            if known is not None:
                self._gone(path)
            self._came(path, inode, directory=entry.is_dir())

    def replace(self, old: Path, new: Path) -> None:
        """Give a file another name, whatever had it; in one step."""
        self.before()
        here, there = self._path(old), self._path(new)
        if there in self._live:
            self._keep_last(there)
        os.rename(old, new)  # noqa: PTH104  the one that is behind what is watched
        self._live[there] = self._live.pop(here)
        (parent, name), (other, was) = _split(there), _split(here)
        if parent != other:
            raise NotImplementedError("files move within their directory")
        self._names[parent].changes.append([(was, None), (name, self._live[there][0])])

    def remove(self, path: Path) -> None:
        """Take a file's name away."""
        self.before()
        self._keep_last(self._path(path))
        path.unlink()
        self.look()

    def sync(self, path: Path) -> None:
        """Make a file's bytes safe, or a directory's names."""
        self.before()
        name = self._path(path)
        if path.is_dir():
            names = self._names[name]
            names.safe = _after(names, len(names.changes))
            names.changes.clear()
        else:
            self._files[self._live[name][0]].safe = path.read_bytes()

    def path_of(self, descriptor: int) -> Path | None:
        """The path of what is open under this number; None where it is not of this directory."""
        self.look()
        status = os.fstat(descriptor)
        for path in [self.root, *(self.root / each for each in self._live)]:
            if path.exists() and os.path.samestat(path.stat(), status):
                return path
        return None

    def holds(self, path: object) -> bool:
        """Whether a path is in this directory."""
        return isinstance(path, str | os.PathLike) and Path(path).absolute().is_relative_to(self.root)

    # -- what is left ----------------------------------------------------------------------------------------------

    def cut(self, target: Path, dice: Dice) -> None:
        """Make in `target`, which is not there yet, a directory as a power cut may leave this one."""
        self._cut("", target, dice, dice.one_of(["nothing", "everything", "torn", "torn"]))

    def _cut(self, directory: str, target: Path, dice: Dice, mode: str) -> None:
        target.mkdir()
        names = self._names[directory]
        changes = len(names.changes)
        reached = {"nothing": 0, "everything": changes}.get(mode, dice.integer(0, changes))
        for name, number in sorted(_after(names, reached).items()):
            path = f"{directory}/{name}" if directory else name
            if number == _DIRECTORY:
                self._cut(path, target / name, dice, mode)
                continue
            safe, now = self._files[number].safe, self._now(number)
            (target / name).write_bytes(_torn(safe, now, dice, mode))
            (target / name).chmod(self._files[number].mode)

    def _now(self, number: int) -> bytes:
        file = self._files[number]
        if file.last is not None:
            return file.last
        return next((self.root / path).read_bytes() for path, (each, _) in self._live.items() if each == number)

    # -- names -----------------------------------------------------------------------------------------------------

    def _scan(self, directory: Path, prefix: str, found: dict[str, os.DirEntry[str]]) -> None:
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                path = f"{prefix}{entry.name}"
                found[path] = entry
                if entry.is_dir():
                    self._scan(directory / entry.name, f"{path}/", found)

    def _came(self, path: str, inode: int, *, directory: bool) -> None:
        number = _DIRECTORY
        if directory:
            self._names[path] = _Names()
        else:
            number = len(self._files)
            self._files.append(_File(mode=(self.root / path).stat().st_mode & 0o777))
        self._live[path] = (number, inode)
        parent, name = _split(path)
        self._names[parent].changes.append([(name, number)])

    def _gone(self, path: str) -> None:
        number, _ = self._live.pop(path)
        if number >= 0 and self._files[number].last is None:
            self._files[number].last = self._files[number].safe
        parent, name = _split(path)
        self._names[parent].changes.append([(name, None)])

    def _keep_last(self, path: str) -> None:
        number, _ = self._live[path]
        self._files[number].last = (self.root / path).read_bytes()

    def _path(self, path: Path) -> str:
        found = Path(path).absolute().relative_to(self.root)
        return "" if found == Path() else str(found)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, name


def _after(names: _Names, changes: int) -> dict[str, int]:
    found = dict(names.safe)
    for change in names.changes[:changes]:
        for name, number in change:
            if number is None:
                found.pop(name, None)
            else:
                found[name] = number
    return found


def _torn(safe: bytes, now: bytes, dice: Dice, mode: str) -> bytes:
    if mode != "torn" or safe == now:
        return now if mode == "everything" else safe
    length = dice.one_of([len(safe), len(now), dice.integer(*sorted((len(safe), len(now))))])
    found = bytearray(length)
    share = dice.one_of([0.1, 0.5, 0.9])
    for at in range(0, length, _SECTOR):
        part = (now if dice.chance(share) else safe)[at : min(at + _SECTOR, length)]
        found[at : at + len(part)] = part
    return bytes(found)


class Watched:
    """While it is entered, what Python's own functions do to the files of a medium goes through it."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._real = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink", "remove")}

    def __enter__(self) -> None:
        medium, real = self._medium, self._real
        busy = False

        def through(name: str, ours: Callable[..., bool]) -> None:
            def call(*arguments, **options):
                nonlocal busy
                if busy:  # the medium's own, or of who looks at what a cut has left
                    return real[name](*arguments, **options)
                busy = True
                try:
                    if ours(*arguments):
                        return None
                finally:
                    busy = False
                return real[name](*arguments, **options)

            setattr(os, name, call)

        def synced(descriptor: int) -> bool:
            path = medium.path_of(descriptor)
            if path is not None:
                medium.sync(path)
            return path is not None

        def moved(old, new) -> bool:
            if not medium.holds(new):
                return False
            medium.replace(Path(old), Path(new))
            return True

        def removed(path) -> bool:
            if not medium.holds(path):
                return False
            if not Path(path).exists():
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            medium.remove(Path(path))
            return True

        through("fsync", synced)
        through("replace", moved)
        through("rename", moved)
        through("unlink", removed)
        through("remove", removed)

    def __exit__(self, *_: object) -> None:
        for name, function in self._real.items():
            setattr(os, name, function)
