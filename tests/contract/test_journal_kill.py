"""A process that writes is killed at some moment: what it was told is kept is there, and the next one goes on from it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.cli_project import clean
from tests.unit.adapters.sqlite_journal import stories

from anystrat.domain.journal import JournalRefused

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.unit.adapters.sqlite_journal.stories import live
from tests.contract.journal_places import signal, step
from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.domain.journal import Fate, Settled

async def main():
    journal = SqliteFileJournal(Path(sys.argv[1]))
    await journal.open("config")
    record = await journal.shard(0)
    at = record.next_input if record else 0
    for entry in await journal.unsettled("out", 0, 100):
        number = entry.signal.number
        await journal.settle([Settled("out", number, number, Fate.ACKED)])
        print("settled", number, flush=True)
    while True:
        checkpoint = b"state" * 5_000 if at % 7 == 0 else None
        await journal.commit([step(at, 1, signals=[signal(at + 1)], checkpoint=checkpoint)])
        print("committed", at + 1, flush=True)
        await journal.sending("out", at + 1, at + 1)
        await journal.settle([Settled("out", at + 1, at + 1, Fate.ACKED)])
        print("settled", at + 1, flush=True)
        at += 1
        if at % 5 == 0:
            await journal.compact(keep_inputs=3, keep_settled=3)

asyncio.run(main())
"""


def test_what_a_killed_process_was_told_is_kept_is_there(tmp_path: Path):
    path = tmp_path / "journal.db"
    draw = random.Random(7)
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", WRITER, str(path)]
    environment = clean(PYTHONPATH=f"{root / 'src'}:{root}")
    settled = committed = 0
    for _ in range(8):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first
            time.sleep(draw.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            said = first + process.stdout.read()
        for line in said.splitlines(keepends=True):
            if line.endswith("\n"):
                word, number = line.split()
                committed, settled = (int(number), settled) if word == "committed" else (committed, int(number))
        shard, unsettled, _, fates, last, _, _ = stories.read(path, further=False)
        assert max(committed, settled) <= last <= max(committed, settled) + 1
        assert shard.next_input == last
        assert sum(fates["out"].values()) == last
        assert [each.signal.number for each in unsettled if each.signal.number <= settled] == []
    assert committed > 8


def test_a_process_that_is_stopped_keeps_its_journal_and_goes_on_with_it(tmp_path: Path):
    path = tmp_path / "journal.db"
    root = Path(__file__).resolve().parents[2]
    environment = clean(PYTHONPATH=f"{root / 'src'}:{root}")
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(JournalRefused, match=f"in use by process {process.pid}"):
                stories.read(path)
            process.send_signal(signal.SIGCONT)
            while process.stdout.readline() != "settled 20\n":
                assert process.poll() is None
        finally:
            process.kill()
    assert stories.read(path)[4] >= 20
