"""The SQLite journal on a medium whose power is cut: what was acknowledged is there, and what was being written whole or not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw

from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.domain.journal import Fate, Journal, Settled
from anystrat.testing.simulate.dice import Dice
from tests.contract.journal_places import QUICK, signal, step
from tests.torture.power.medium import Medium, Watched

# ruff: noqa: N802  the names are those of SQLite

_NEW_LOG = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_SHARDS = 2
Call = Callable[[Journal], Coroutine[Any, Any, object]]


class MediumDisk(apsw.VFS):
    """A SQLite VFS whose files are on a medium; nothing is synced for real."""

    def __init__(self, name: str, medium: Medium) -> None:
        self.name, self.medium = name, medium
        super().__init__(name, "")

    def excepthook(self, *_: object) -> bool:
        return True

    def xOpen(self, name, flags):
        self.medium.before()
        return _File(self.medium, name, flags)

    def xDelete(self, filename, syncdir):
        self.medium.remove(Path(filename))
        if syncdir:
            self.medium.sync(Path(filename).parent)


class _File(apsw.VFSFile):
    def __init__(self, medium: Medium, name, flags) -> None:
        super().__init__("", name, flags)
        self._medium = medium
        self._path = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        # As SQLite's own: the first sync of a log that it made is one of its name, too.
        self._new = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _NEW_LOG)

    def excepthook(self, *_: object) -> bool:
        return True

    def xWrite(self, data, offset):
        self._medium.before()
        super().xWrite(data, offset)

    def xTruncate(self, newsize):
        self._medium.before()
        super().xTruncate(newsize)

    def xSync(self, flags):
        self._medium.sync(self._path)
        if self._new:
            self._medium.sync(self._path.parent)
            self._new = False


def story(seed: int, length: int) -> list[tuple[str, Call | None]]:
    """Calls that a run may make of its journal, one after the other; None: it is closed, and opened again."""
    dice = Dice(seed, "journal")
    first = [0] * _SHARDS
    numbers = 0
    open_: list[int] = []
    calls: list[tuple[str, Call | None]] = []
    for _ in range(length):
        kind = dice.one_of(["commit"] * 5 + ["sending", "settle", "settle", "switch", "revive", "compact", "reopen"])
        if kind == "commit":
            steps = []
            for shard in range(_SHARDS):
                fresh = [numbers + k + 1 for k in range(dice.integer(0, 3))]
                numbers += len(fresh)
                open_ += fresh
                body = b"x" * dice.integer(20, 1_500)
                checkpoint = bytes([dice.integer(0, 255)]) * dice.integer(10, 9_000) if dice.chance(0.3) else None
                marks = {f"p{shard}": first[shard]}
                given = [signal(each, body=body) for each in fresh]
                steps.append(step(first[shard], 1, shard=shard, signals=given, watermarks=marks, checkpoint=checkpoint))
                first[shard] += 1
            calls.append((kind, lambda journal, steps=steps: journal.commit(steps)))
        elif kind == "sending" and open_:
            at = open_[: dice.integer(1, len(open_))]
            calls.append((kind, lambda journal, at=at: journal.sending("out", at[0], at[-1])))
        elif kind == "settle" and open_:
            at, open_ = open_[:2], open_[2:]
            fate = dice.one_of([Fate.ACKED, Fate.DEAD, Fate.REJECTED])
            outcome = [Settled("out", at[0], at[-1], fate, "why")]
            calls.append((kind, lambda journal, outcome=outcome: journal.settle(outcome)))
        elif kind == "switch":
            on = dice.chance(0.5)
            calls.append((kind, lambda journal, on=on: journal.set_killed(on)))
        elif kind == "compact":
            keep = dice.integer(0, 4)
            calls.append((kind, lambda journal, keep=keep: journal.compact(keep_inputs=keep, keep_settled=keep)))
        elif kind == "reopen":
            calls.append((kind, None))
    return calls


async def contents(journal: Journal) -> dict[str, Any]:
    """Everything that the port tells of a journal."""
    return {
        "shards": [await journal.shard(each) for each in range(_SHARDS)],
        "unsettled": list(await journal.unsettled("out", 0, 10_000)),
        "last": await journal.last_number("out"),
        "killed": await journal.killed(),
        "dead": list(await journal.dead_letters()),
        "fates": await journal.fates(),
        "inputs": [[each async for each in journal.inputs(shard)] for shard in range(_SHARDS)],
    }


#: What clearing up forgets bit by bit.
_FORGOTTEN = ("dead", "fates", "inputs")


def _at_once(work: Coroutine[Any, Any, str]) -> str:
    """The answer of what waits for nothing: a journal that works inline, asked within another's work."""
    try:
        work.send(None)
    except StopIteration as done:
        return str(done.value)
    raise AssertionError("a journal that works inline waits for nothing")


class Run:
    """One story, with the power cut at `most` of its moments or so."""

    def __init__(self, folder: Path, seed: int, length: int, *, most: int) -> None:
        self.cuts = 0
        self.lost: list[str] = []
        self._folder, self._seed = folder, seed
        self._calls = [("open", None), *story(seed, length), ("reopen", None)]
        self._dice = Dice(seed, "cuts")
        self._states: list[dict[str, Any]] = []
        self._done = 0
        self._chance = 0.0
        self._moments = 0
        self._most = most

    def run(self) -> Run:
        """All of it: once to know what is there after each call, and how many moments there are; once with cuts."""
        empty: dict[str, Any] = {}
        self._states = [empty]
        asyncio.run(self._live("dry", lambda _: self._count(), note=True))
        self._chance = min(1.0, self._most / max(1, self._moments))
        asyncio.run(self._live("wet", self._cut, note=False))
        return self

    def _count(self) -> None:
        self._moments += 1

    async def _live(self, name: str, moment: Callable[[Medium], object], *, note: bool) -> None:
        root = self._folder / name
        root.mkdir()
        self._done = 0
        disk = MediumDisk(f"medium {name} {self._seed}", Medium(root, moment))
        path = root / "state" / "journal.db"
        journal: Journal | None = None
        try:
            for _, call in self._calls:
                if call is None:
                    if journal is not None:
                        await journal.close()
                    journal = SqliteFileJournal(path, vfs=disk.name, inline=True)
                    with Watched(disk.medium):  # the file itself is made by us, and not by SQLite
                        await journal.open("config")
                else:
                    assert journal is not None
                    await call(journal)
                self._done += 1
                if note:
                    assert journal is not None
                    self._states.append(await contents(journal))
            assert journal is not None
            await journal.close()
        finally:
            disk.unregister()

    def _cut(self, medium: Medium) -> None:
        if not self._dice.chance(self._chance):
            return
        self.cuts += 1
        target = self._folder / "after"
        medium.cut(target, self._dice)
        try:
            difference = _at_once(self._difference(target / "state" / "journal.db"))
        except Exception as error:
            difference = f"{type(error).__name__}: {error}"
        if difference:
            self.lost.append(f"seed {self._seed}, cut {self.cuts}, in call {self._done}: {difference}")
        shutil.rmtree(target)

    async def _difference(self, path: Path) -> str:
        journal = SqliteFileJournal(path, vfs=QUICK, inline=True)
        await journal.open("config")
        try:
            found = await contents(journal)
            # It goes on, too.
            first = [0 if each is None else each.next_input for each in found["shards"]]
            await journal.commit([step(first[0], 1, signals=[signal(found["last"] + 1)])])
        finally:
            await journal.close()
        kind = self._calls[self._done][0] if self._done < len(self._calls) else ""
        apart = _FORGOTTEN if kind == "compact" else ()
        allowed = [each for each in self._states[self._done : self._done + 2] if each] or [self._states[1]]
        if any(all(found[key] == each[key] for key in each if key not in apart) for each in allowed):
            return ""
        return f"{kind}: found {found['shards']}, {found['fates']}"
