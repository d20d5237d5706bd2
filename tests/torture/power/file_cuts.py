"""The files that are written beside the journal, on a medium whose power is cut: each kind with what it promises."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from anystrat.adapters.model_store import ModelStore
from anystrat.adapters.offload import on_the_spot
from anystrat.adapters.recording import Manifest, PieceLimits, RecordingRefused, RecordingWriter, read_recording
from anystrat.adapters.recording.shard_writer import at_once
from anystrat.adapters.signal_files import open_signals
from anystrat.adapters.sink_jsonl import JsonlSink
from anystrat.adapters.table_files import write_table
from anystrat.control.audit import AuditLog, verified
from anystrat.control.places import read_owned, write_owned
from anystrat.domain.columns import TickColumns
from anystrat.domain.inputs import count_of
from anystrat.domain.journal import OutboxSignal
from anystrat.domain.signal import EmittedSignal
from anystrat.testing.simulate.dice import Dice
from tests.torture.power.medium import Medium, Watched

#: Yields whenever something was promised; before the first one, nothing is.
Story = Callable[[Path, Dice], Iterator[object]]
#: What is there after a cut, against what was promised last and what was being done; empty: as it should be.
Check = Callable[[Path, object, Dice], str]


class _Clock:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000


# -- signals in a JSONL file: what was taken is there; what was not is sent again, and then there once


def _signals(first: int, count: int, dice: Dice) -> list[OutboxSignal]:
    return [
        OutboxSignal("out", n, f"{n:032x}", "s", 1, n, 0, b'{"signal_id":"%032x","why":"%s"}' % (n, b"y" * dice.integer(0, 900)))
        for n in range(first, first + count)
    ]  # fmt: skip


def jsonl(root: Path, dice: Dice) -> Iterator[object]:
    first = 1
    with asyncio.Runner() as loop:
        for _ in range(2):
            sink = JsonlSink(root / "out" / "signals.jsonl", offload=on_the_spot)
            loop.run(sink.open())
            for _ in range(3):
                group = _signals(first, dice.integer(1, 9), dice)
                loop.run(sink.send(group))
                first += len(group)
                yield first - 1
            loop.run(sink.close())


def jsonl_holds(root: Path, promised: object, dice: Dice) -> str:
    taken = int(promised) if isinstance(promised, int) else 0
    path = root / "out" / "signals.jsonl"

    async def again() -> None:
        sink = JsonlSink(path, offload=on_the_spot)
        await sink.open()
        doubtful = _signals(taken + 1, 40, Dice(0, "again"))
        there = await sink.has(doubtful)
        await sink.send([each for each, found in zip(doubtful, there, strict=True) if not found])
        await sink.close()

    with ThreadPoolExecutor(1) as elsewhere:  # where no loop runs
        elsewhere.submit(asyncio.run, again()).result()
    lines = path.read_bytes().splitlines()
    try:
        found = Counter(int(msgspec.json.decode(line)["signal_id"], 16) for line in lines)
    except msgspec.MsgspecError as error:
        return f"a line is none: {error}"
    return "" if found == Counter(range(1, taken + 41)) else f"{taken} were taken, found {sorted(found.items())}"


# -- the audit log: every line that was written is there, and it goes on


def audit(root: Path, dice: Dice) -> Iterator[object]:
    log = AuditLog(root / "audit.jsonl")
    for number in range(1, 12):
        log.append(number, "somebody", "here", "pause", {"why": "x" * dice.integer(0, 700)})
        yield number


def audit_holds(root: Path, promised: object, dice: Dice) -> str:
    log = AuditLog(root / "audit.jsonl")
    log.open()
    log.append(99, "somebody", "here", "resume", {})
    count = sum(1 for _ in verified(root / "audit.jsonl")) - 1
    least = promised if isinstance(promised, int) else 0
    return "" if least <= count <= least + 1 else f"{least} lines were written, {count} are there"


# -- tokens: what was made or revoked stays so


def owned(root: Path, dice: Dice) -> Iterator[object]:
    for number in range(1, 8):
        write_owned(root / "tokens.json", b"%d" % number * dice.integer(1, 900))
        yield number


def owned_holds(root: Path, promised: object, dice: Dice) -> str:
    found = read_owned(root / "tokens.json")
    if found is None:
        return "" if promised is None else f"version {promised} was written, there is none"
    number = promised if isinstance(promised, int) else 0
    digits = set(found.decode())
    return "" if digits in ({str(number)}, {str(number + 1)}) else f"version {number} was written, found {digits}"


# -- models by hash


def models(root: Path, dice: Dice) -> Iterator[object]:
    store = ModelStore(root / "models")
    for number in range(4):
        content = bytes([number]) * dice.integer(1, 3_000)
        store.keep(_sha256(content), content)
        yield [path.name for path in (root / "models").glob("*.onnx")]


def models_hold(root: Path, promised: object, dice: Dice) -> str:
    store = ModelStore(root / "models")
    for name in promised if isinstance(promised, list) else ():
        if store.content(Path(name).stem) is None:
            return f"{name} was kept, and is not there"
    for path in (root / "models").glob("*.onnx") if (root / "models").is_dir() else ():
        store.content(path.stem)  # refuses one that is not whole
    return ""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- recordings: all up to the last flush is there, what comes after is whole, and it goes on


def _block(first: int, count: int) -> TickColumns:
    at = np.arange(first, first + count)
    return TickColumns(at.astype(np.int64), np.full(count, 7, np.int64), 100.0 + at)


def _recorder(root: Path) -> RecordingWriter:
    manifest = Manifest(1, "jsonl", "config")
    return RecordingWriter(root / "taken", manifest, _Clock(), limits=PieceLimits(12), submit=at_once)


def recording(root: Path, dice: Dice) -> Iterator[object]:
    at = 0
    for _ in range(2):
        with _recorder(root) as writer:
            for _ in range(7):
                block = _block(at, dice.integer(1, 5))
                writer.take(0, at, [block], {"p": at})
                at += count_of([block])
                if dice.chance(0.5):
                    writer.flush()
                    yield at
        yield at


def recording_holds(root: Path, promised: object, dice: Dice) -> str:
    least = promised if isinstance(promised, int) else 0

    def ticks() -> list[int]:
        found = [each for each in read_recording(root / "taken") if isinstance(each, TickColumns)]
        return [int(each) for block in found for each in block.ts_ns]

    try:
        found = ticks()
    except RecordingRefused:
        if least:
            raise
        found = []
    if found != list(range(len(found))) or len(found) < least:
        return f"{least} ticks were safe, found {found}"
    with _recorder(root) as writer:
        at = writer.next_input(0) or 0
        if at < least:
            return f"{least} ticks were safe, it goes on at {at}"
        writer.take(0, at, [_block(at, 3)])
    again = ticks()
    return "" if again == list(range(at + 3)) else f"it went on from {at}, found {again}"


# -- files that are written as a whole: under their name is the one before, or the new one


def _emitted(number: int) -> EmittedSignal:
    return EmittedSignal(
        "BUY", 0.5, number, Decimal(100), strategy_id="s", broker="b", instrument_token=1, ts_ns=number,
        id_bases=(1, 2), price_bucket=3, dedupe_epoch=4,
    )  # fmt: skip


def whole(root: Path, dice: Dice) -> Iterator[object]:
    for number in range(1, 5):
        size = dice.integer(1, 400)
        with open_signals(root / "signals.jsonl") as writer:
            writer.write([_emitted(number)] * size)
        write_table(root / "table.csv", {"n": np.full(size, number)})
        yield number


def whole_holds(root: Path, promised: object, dice: Dice) -> str:
    table, signals = root / "table.csv", root / "signals.jsonl"
    if table.exists():
        head, *rows = table.read_text().splitlines()
        if head != "n" or len(set(rows)) != 1:
            return f"the table is {head!r} with {set(rows)}"
    if (
        signals.exists()
        and len({msgspec.json.decode(line)["ts_ns"] for line in signals.read_bytes().splitlines()}) != 1
    ):
        return "the signal file is not whole"
    return ""


KINDS: dict[str, tuple[Story, Check]] = {
    "jsonl": (jsonl, jsonl_holds),
    "audit": (audit, audit_holds),
    "owned": (owned, owned_holds),
    "models": (models, models_hold),
    "recording": (recording, recording_holds),
    "whole": (whole, whole_holds),
}


def cut_power(folder: Path, kind: str, seed: int) -> tuple[int, list[str]]:
    """Live through a story of this kind, with the power cut at each of its moments: how many cuts, and what was lost."""
    story, check = KINDS[kind]
    dice, chances = Dice(seed, kind), Dice(seed, "cuts")
    root, after = folder / "before", folder / "after"
    root.mkdir()
    promised: object = None
    cuts, lost = 0, []

    def moment(medium: Medium) -> None:
        nonlocal cuts
        cuts += 1
        medium.cut(after, chances)
        try:
            difference = check(after, promised, chances)
        except Exception as error:
            difference = f"{type(error).__name__}: {error}"
        if difference:
            lost.append(f"{kind}, seed {seed}, cut {cuts}: {difference}")
        shutil.rmtree(after)

    medium = Medium(root, moment)
    with Watched(medium):
        for each in story(root, dice):
            promised = each
            medium.before()
    return cuts, lost
