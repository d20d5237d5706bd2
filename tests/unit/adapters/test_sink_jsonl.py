from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anystrat.adapters import sink_jsonl
from anystrat.adapters.offload import in_a_thread, on_the_spot
from anystrat.adapters.sink_jsonl import JsonlSink
from anystrat.domain.delivery import SinkUnavailable
from anystrat.domain.journal import OutboxSignal


def signal(number: int) -> OutboxSignal:
    signal_id = f"{number:032x}"
    return OutboxSignal(
        "out", number, signal_id, "s", 7, number, 0, b'{"n":%d,"signal_id":"%s"}' % (number, signal_id.encode())
    )


def signals(*numbers: int) -> list[OutboxSignal]:
    return [signal(number) for number in numbers]


def numbers(path: Path) -> list[int]:
    return [int(line.split(b":", 1)[1].split(b",")[0]) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signals.jsonl"


def written(path: Path, *numbers: int) -> None:
    """What an earlier process left."""

    async def main() -> None:
        sink = JsonlSink(path, offload=on_the_spot)
        await sink.open()
        await sink.send(signals(*numbers))
        await sink.close()

    asyncio.run(main())


def test_a_torn_last_line_is_cut_on_open(path) -> None:
    written(path, 1, 2)
    with path.open("ab") as file:
        file.write(b'{"n":3,"signal_id":"' + b"0" * 20)

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open()
        assert await sink.has(signals(2, 3)) == [True, False]
        await sink.send(signals(3))
        await sink.close()

    asyncio.run(main())
    assert numbers(path) == [1, 2, 3]


def test_a_file_of_one_torn_line_becomes_empty(path) -> None:
    path.write_bytes(b'{"n":1')

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open()
        await sink.close()

    asyncio.run(main())
    assert path.read_bytes() == b""


def test_a_torn_line_longer_than_what_is_read_at_once_is_cut_too(path, monkeypatch) -> None:
    monkeypatch.setattr(sink_jsonl, "_CHUNK", 16)
    written(path, 1)
    with path.open("ab") as file:
        file.write(b"x" * 100)

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open()
        assert await sink.has(signals(1)) == [True]
        await sink.close()

    asyncio.run(main())
    assert numbers(path) == [1]


def test_lines_of_others_are_left_alone(path) -> None:
    path.write_bytes(b'# a note\n[1]\n{"signal_id": 5}\n\xff\n')

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open()
        assert await sink.has(signals(1)) == [False]
        await sink.send(signals(1))
        await sink.close()

    asyncio.run(main())
    assert path.read_bytes().startswith(b"# a note\n")
    assert path.read_bytes().endswith(signal(1).body + b"\n")


def test_only_the_end_of_a_long_file_is_read(path, monkeypatch) -> None:
    monkeypatch.setattr(sink_jsonl, "_LARGEST_GROUP", 4)
    monkeypatch.setattr(sink_jsonl, "_CHUNK", 64)
    written(path, *range(1, 101))

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open()
        assert await sink.has(signals(96, 97, 98, 99, 100, 101)) == [False, True, True, True, True, False]
        await sink.close()

    asyncio.run(main())


def test_a_second_writer_is_refused(path) -> None:
    async def main() -> None:
        first, second = JsonlSink(path), JsonlSink(path)
        await first.open()
        with pytest.raises(SinkUnavailable, match="written to by somebody else"):
            await second.open()
        await first.close()
        await second.open()
        await second.close()

    asyncio.run(main())


class Disk:
    """Writes and syncs that fail when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write_error: OSError | None = None
        self.sync_error: OSError | None = None
        self.cut_error: OSError | None = None
        self.syncs = 0
        write, fsync, cut = os.write, os.fsync, os.ftruncate

        def writing(file: int, data: Any) -> int:
            if self.write_error is not None:
                write(file, data[: len(data) // 2])
                raise self.write_error
            return write(file, data[:10])  # a system call may take less than it is given

        def syncing(file: int) -> None:
            if self.sync_error is not None:
                raise self.sync_error
            self.syncs += 1
            fsync(file)

        def cutting(file: int, length: int) -> None:
            if self.cut_error is not None:
                raise self.cut_error
            cut(file, length)

        monkeypatch.setattr(os, "write", writing)
        monkeypatch.setattr(os, "fsync", syncing)
        monkeypatch.setattr(os, "ftruncate", cutting)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_full_disk_leaves_nothing_of_the_group_and_costs_nobody_an_attempt(path, disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path, offload=on_the_spot)
        await sink.open()
        await sink.send(signals(1))
        disk.write_error = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(SinkUnavailable, match="No space left"):
            await sink.send(signals(2, 3))
        disk.write_error = None
        await sink.close()
        await sink.open()
        assert await sink.has(signals(2)) == [False]
        await sink.send(signals(2, 3))
        await sink.close()

    asyncio.run(main())
    assert numbers(path) == [1, 2, 3]


def test_a_group_whose_sync_failed_is_taken_back(path, disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path, offload=on_the_spot)
        await sink.open()
        disk.sync_error = OSError(errno.EIO, "Input/output error")
        with pytest.raises(SinkUnavailable):
            await sink.send(signals(1))
        disk.sync_error = None
        await sink.close()
        await sink.open()
        await sink.send(signals(1))
        await sink.close()

    asyncio.run(main())
    assert numbers(path) == [1]


def test_what_could_not_be_taken_back_at_once_is_taken_back_on_open(path, disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path, offload=on_the_spot)
        await sink.open()
        await sink.send(signals(1))
        disk.sync_error = disk.cut_error = OSError(errno.EIO, "Input/output error")
        with pytest.raises(OSError, match="Input/output"):
            await sink.send(signals(2))
        with pytest.raises(OSError, match="Input/output"):
            await sink.close()
        disk.sync_error = disk.cut_error = None
        await sink.open()
        await sink.send(signals(2))
        await sink.close()

    asyncio.run(main())
    assert numbers(path) == [1, 2]


def test_a_group_is_synced_once(path, disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path, offload=on_the_spot)
        await sink.open()
        before = disk.syncs
        await sink.send(signals(*range(1, 51)))
        assert disk.syncs == before + 1
        await sink.close()

    asyncio.run(main())


def test_what_was_found_is_safe_before_it_is_called_taken(path, disk) -> None:
    written(path, 1)
    disk.sync_error = OSError(errno.EIO, "Input/output error")

    async def main() -> None:
        with pytest.raises(OSError, match="Input/output"):
            await JsonlSink(path, offload=on_the_spot).open()

    asyncio.run(main())


def test_a_write_that_nobody_waited_for_is_taken_back_before_the_next(path) -> None:
    go = threading.Event()

    async def slow(work: Callable[[], Any]) -> Any:
        def waits() -> Any:
            result = work()
            assert go.wait(10)
            return result

        return await in_a_thread(waits)

    async def main() -> None:
        sink = JsonlSink(path, offload=slow)
        opening = asyncio.create_task(sink.open())
        go.set()
        await opening
        go.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sink.send(signals(1, 2)), 0.05)
        closing = asyncio.create_task(sink.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        go.set()
        await closing
        assert path.read_bytes() == b""
        await sink.open()
        await sink.send(signals(1, 2))
        await sink.close()

    asyncio.run(main())
    assert numbers(path) == [1, 2]


def test_missing_folders_are_made(tmp_path) -> None:
    written(tmp_path / "a" / "b" / "signals.jsonl", 1)

    assert numbers(tmp_path / "a" / "b" / "signals.jsonl") == [1]


@pytest.mark.parametrize("gone", [Path.unlink, lambda path: path.rename(path.with_suffix(".1"))])
def test_a_file_that_was_moved_or_deleted_takes_nothing_any_more_and_a_new_one_is_made(path, gone) -> None:
    async def main() -> None:
        sink = JsonlSink(path, offload=on_the_spot)
        await sink.open()
        await sink.send(signals(1))
        gone(path)
        with pytest.raises(SinkUnavailable, match="moved, replaced or deleted"):
            await sink.send(signals(2))
        await sink.close()
        await sink.open()
        await sink.send(signals(2))
        await sink.close()

    asyncio.run(main())
    assert numbers(path) == [2]
