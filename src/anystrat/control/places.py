"""Where a service keeps what belongs to its control API: beside its journal, in files that only their owner can read."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from anystrat.domain.endpoints import SqliteJournal
from anystrat.domain.errors import AnystratError

if TYPE_CHECKING:
    from anystrat.domain.configuration import Configuration

OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o077
#: Files that are read whole: more than this is none of ours.
_LARGEST: Final = 4 * 1024 * 1024
_ACCESS: Final = ".control.json"
_AUDIT: Final = ".audit.jsonl"
_PART: Final = re.compile(r"-part-(\d+)$")
_WORKER: Final = re.compile(r"\.worker-(\d+)-of-(\d+)$")


class FileRefused(AnystratError):
    """A file of the control API is not what it must be; the text says why, and what to do."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Places:
    """`access`: how this machine's own commands find a running service. `tokens`: hashes. `audit`: who did what."""

    access: Path
    tokens: Path
    audit: Path


class Access(msgspec.Struct, frozen=True):
    """How to reach the service that wrote this: its address, and a token that ends with it."""

    url: str
    token: str
    pid: int
    certificate: str | None = None


def places_of(configuration: Configuration) -> Places:
    """Where the files of a configuration's service are, whether they exist or not."""
    control, journal = configuration.control, configuration.journal
    options = None if journal is None else journal.options
    if isinstance(options, SqliteJournal):
        directory, stem = options.path.parent, options.path.stem
    else:
        directory, stem = configuration.directory, ".anystrat"
    tokens_stem = stem
    if configuration.part is not None:
        # Tokens are for all parts; each writes an audit log of its own, and is reached at an address of its own.
        stem = f"{stem}-part-{configuration.part}"
    tokens = None if control is None else control.tokens
    audit = None if control is None else control.audit
    return Places(
        access_beside(directory / f"{stem}.db"),
        tokens or directory / f"{tokens_stem}.tokens.json",
        _of_part(audit, configuration.part) or directory / f"{stem}{_AUDIT}",
    )


def worker_file(path: Path, worker: int, workers: int) -> Path:
    """The file of one worker, where a run in one process has `path`."""
    stem, suffix = _halves(path)
    return path.with_name(f"{stem}.worker-{worker}-of-{workers}{suffix}")


def workers_beside(path: Path) -> dict[tuple[int, int], Path]:
    """(worker, workers) of every file that workers have where a run in one process has `path`."""
    stem, suffix = _halves(path)
    found = {}
    for each in path.parent.glob(f"{escape(stem)}.worker-*{escape(suffix)}"):
        if match := _WORKER.search(each.name.removesuffix(suffix)):
            found[int(match[1]), int(match[2])] = each
    return found


def _halves(path: Path) -> tuple[str, str]:
    """A file's name, and the suffix that says what it is."""
    suffix = next((each for each in (_ACCESS, _AUDIT) if path.name.endswith(each)), path.suffix)
    return path.name.removesuffix(suffix), suffix


def accesses_of_parts(configuration: Configuration) -> dict[int, Path]:
    """How the parts of a run are reached that have said so on this machine: its workers, or those of a cluster's parts that are here."""
    whole = places_of(configuration).access
    found = {worker: path for (worker, _), path in workers_beside(whole).items()}
    stem = whole.name.removesuffix(_ACCESS)
    for path in whole.parent.glob(f"{escape(stem)}-part-*{_ACCESS}"):
        if (number := part_of(path)[1]) is not None:
            found[number] = path
    return dict(sorted(found.items()))


def part_of(access: Path) -> tuple[str, int | None]:
    """Of which run, by the beginning of its name, an access file is, and of which part; None: of the whole."""
    name = access.name.removesuffix(_ACCESS)
    match = _WORKER.search(name) or _PART.search(name)
    return (
        (str(access.with_name(name[: match.start()])), int(match[1])) if match else (str(access.with_name(name)), None)
    )


def audits_of_parts(configuration: Configuration) -> dict[int, Path]:
    """The audit logs of a run's parts that are on this machine, whether they run now or not."""
    whole = places_of(configuration).audit
    stem, suffix = _halves(whole)
    found = {worker: path for (worker, _), path in workers_beside(whole).items()}
    for path in whole.parent.glob(f"{escape(stem)}-part-*{escape(suffix)}"):
        if match := _PART.search(path.name.removesuffix(suffix)):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def _of_part(path: Path | None, part: int | None) -> Path | None:
    return path if path is None or part is None else path.with_name(f"{path.stem}-part-{part}{path.suffix}")


def access_beside(journal: Path) -> Path:
    """Where the service that writes this journal says how to reach it."""
    return journal.with_name(f"{journal.stem}{_ACCESS}")


def sync_directory(directory: Path) -> None:
    """Make durable which files are in a directory, where the system can."""
    if os.name == "nt":
        return  # a directory cannot be opened there
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_owned(path: Path, data: bytes) -> None:
    """Put a file in place whole, readable by its owner alone from its first moment on; durable on return."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    opened = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_directory(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_owned(path: Path) -> bytes | None:
    """A file's content; None where there is none. Raises `FileRefused` where others than its owner may read it."""
    try:
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileRefused(f"{path}: cannot be read: {error.strerror or error}") from error
    with os.fdopen(opened, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name != "nt" and mode & _OTHERS:
            raise FileRefused(f"{path}: others can read it (mode {mode & 0o777:o}): chmod 600 {path}")
        return file.read(_LARGEST)


def read_access(path: Path) -> Access | None:
    """How to reach the running service; None where none has said so. Raises `FileRefused`."""
    data = read_owned(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Access)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileRefused(
            f"{path}: no file of a control API ({error}); remove it and start the service again"
        ) from None


def forget_access(path: Path, token: str) -> None:
    """Remove the file, if it is still the one with this token."""
    try:
        found = read_access(path)
    except FileRefused:
        return
    if found is not None and found.token == token:
        path.unlink(missing_ok=True)
