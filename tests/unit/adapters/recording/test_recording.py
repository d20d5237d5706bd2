from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.adapters.recording.recorded import (
    INPUTS,
    Clock,
    blocks,
    one_by_one,
    recorded,
    take_all,
    writer,
)

from anystrat.adapters.recording import (
    Manifest,
    Missing,
    RecordingFailed,
    RecordingReader,
    RecordingRefused,
    RecordingWriter,
    log_file,
    read_recording,
    shard_writer,
)
from anystrat.adapters.tick_files import open_ticks
from anystrat.domain.columns import TickColumns
from anystrat.domain.events import TimerDue
from anystrat.domain.inputs import count_of
from anystrat.testing.ticks import columns, row, tick

FORMATS = ("parquet", "jsonl")


def ticks(first: int, count: int) -> TickColumns:
    return columns([tick(1 + i % 3, f"{100 + i}.5", i) for i in range(first, first + count)])


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
@pytest.mark.parametrize("pieces", FORMATS)
def test_every_file_of_a_recording_is_for_its_owner_alone(tmp_path, pieces):
    before = os.umask(0)
    try:
        with writer(tmp_path / "r", pieces, 5) as recording:
            take_all(recording, [ticks(0, 12), TimerDue(1), ticks(12, 3)])
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "r").rglob("*") if path.is_file()}
    assert len(found) >= 4
    assert set(found.values()) == {0o600}, found


class TestRoundTrip:
    @pytest.mark.parametrize("pieces", FORMATS)
    @given(inputs=INPUTS, limit=st.integers(1, 30), restart=st.integers(0, 12))
    @settings(max_examples=40)
    def test_what_was_taken_is_read_again_to_the_last_bit(self, tmp_path_factory, pieces, inputs, limit, restart):
        directory = tmp_path_factory.mktemp("r")
        with writer(directory, pieces, limit) as recording:
            take_all(recording, inputs[:restart])
        with writer(directory, pieces, limit) as recording:
            take_all(recording, inputs[restart:], at=count_of(inputs[:restart]))
            assert recorded(directory) == one_by_one(inputs)  # while it is written
        assert recorded(directory) == one_by_one(inputs)

    @pytest.mark.parametrize("pieces", FORMATS)
    @given(inputs=st.lists(blocks(), min_size=1, max_size=6))
    @settings(max_examples=20)
    def test_other_commands_read_its_ticks_as_a_tick_file(self, tmp_path_factory, pieces, inputs):
        directory = tmp_path_factory.mktemp("r")
        with writer(directory, pieces, 5) as recording:
            take_all(recording, inputs)
            assert one_by_one(open_ticks(directory, block_rows=4)) == one_by_one(inputs)
        reader = open_ticks(directory, block_rows=3)
        assert one_by_one(reader) == one_by_one(inputs)
        assert reader.malformed == 0
        assert reader.bytes_read == reader.total_bytes

    def test_each_shard_has_its_own_and_ticks_of_all_merge_by_time(self, tmp_path):
        whole = ticks(0, 30)
        parts = [whole.taken((whole.instrument_token == 1 + shard).nonzero()[0]) for shard in range(3)]
        with writer(tmp_path, ticks=4, shards=3) as recording:
            for shard in (2, 0, 1):
                take_all(recording, [TimerDue(shard), parts[shard]], shard)
        for shard in range(3):
            assert recorded(tmp_path, shard) == one_by_one([TimerDue(shard), parts[shard]])
        assert one_by_one(open_ticks(tmp_path)) == one_by_one([whole])

    def test_a_recording_that_was_only_begun_is_empty(self, tmp_path):
        writer(tmp_path).close()
        assert recorded(tmp_path) == []
        assert one_by_one(open_ticks(tmp_path)) == []


class TestPieces:
    def test_a_full_piece_is_a_tick_file_that_everybody_reads(self, tmp_path):
        with writer(tmp_path, ticks=10) as recording:
            take_all(recording, [ticks(0, 6), TimerDue(5), ticks(6, 6), TimerDue(9), ticks(12, 2)])
        names = sorted(path.name for path in (tmp_path / "shard-0").iterdir())
        assert names == ["000003.inputs", "events.jsonl", "ticks-000001.parquet", "ticks-000002.parquet"]
        table = pq.read_table(tmp_path / "shard-0" / "ticks-000001.parquet")
        assert table.num_rows == 12
        assert table.column_names == ["ts_ns", "instrument_token", "price"]
        lines = [json.loads(line) for line in (tmp_path / "shard-0" / "events.jsonl").read_text().splitlines()]
        assert lines == [
            {"position": 6, "event": {"type": "timer", "ts_ns": 5}},
            {"position": 12, "event": {"type": "timer", "ts_ns": 9}},
        ]

    def test_a_piece_that_has_been_open_for_long_ends_with_the_next_tick(self, tmp_path):
        clock = Clock()
        with writer(tmp_path, ticks=1_000, clock=clock) as recording:
            recording.take(0, 0, [ticks(0, 5)])
            clock.ns += 301_000_000_000
            assert not list(tmp_path.glob("*/ticks-*"))
            recording.take(0, 5, [ticks(5, 1)])
            assert len(list(tmp_path.glob("*/ticks-000001.parquet"))) == 1

    def test_prices_that_no_double_holds_are_text_in_their_piece_alone(self, tmp_path):
        exact = columns([row(1, "0.1000000000000000000001", 0)])
        with writer(tmp_path, ticks=1) as recording:
            take_all(recording, [ticks(0, 1), exact, ticks(1, 1)])
        kinds = [str(pq.read_schema(path).field("price").type) for path in sorted(tmp_path.glob("*/ticks-*"))]
        assert kinds == ["double", "string", "double"]
        assert [str(each.decimal) for block in open_ticks(tmp_path) for each in block.rows()][1][-1] == "1"

    def test_pieces_are_made_beside_the_run_and_waited_for_at_the_end(self, tmp_path):
        with RecordingWriter(tmp_path, Manifest(1), Clock()) as recording:
            for i in range(10):
                recording.take(0, 1_000 * i, [ticks(1_000 * i, 1_000)])
            recording.flush()
        assert len(recorded(tmp_path)) == 10_000


class TestNumbers:
    def test_what_is_there_already_is_left_out(self, tmp_path):
        with writer(tmp_path) as recording:
            assert recording.next_input(0) is None
            recording.begin(0, 40)
            assert recording.next_input(0) == 40
            recording.take(0, 40, [ticks(0, 4), TimerDue(1)])
            recording.take(0, 42, [ticks(2, 2), TimerDue(1), TimerDue(2), ticks(4, 1)])
            recording.take(0, 0, [TimerDue(7)])
            assert recording.next_input(0) == 47
            assert recording.ticks(0) == 5
        assert recorded(tmp_path) == one_by_one([ticks(0, 4), TimerDue(1), TimerDue(2), ticks(4, 1)])

    def test_inputs_that_are_missing_are_marked(self, tmp_path):
        with writer(tmp_path, ticks=3) as recording:
            recording.take(0, 0, [ticks(0, 2)])
            recording.take(0, 9, [ticks(2, 1)])  # which ends the piece
            recording.take(0, 20, [TimerDue(1)])
            assert recording.next_input(0) == 21
        want = one_by_one([ticks(0, 2), Missing(2, 8), ticks(2, 1), Missing(10, 19), TimerDue(1)])
        assert recorded(tmp_path) == want

    def test_offsets_of_the_source_are_kept_over_restarts(self, tmp_path):
        with writer(tmp_path, ticks=2) as recording:
            recording.take(0, 0, [ticks(0, 3)], {"a": 5, "b": 1})
            recording.take(0, 3, [], {"a": 6})
        with writer(tmp_path, ticks=2) as recording:
            assert recording.marks(0) == {"a": 6, "b": 1}


class TestRefusals:
    def test_another_configuration_another_number_of_shards_or_another_format_is_refused(self, tmp_path):
        writer(tmp_path).close()
        for options in ({"configuration": "other"}, {"shards": 2}, {"pieces": "jsonl"}):
            with pytest.raises(RecordingRefused, match=f"other {next(iter(options))} .*name a new directory"):
                writer(tmp_path, **options)

    def test_two_at_once_are_refused(self, tmp_path):
        with writer(tmp_path), pytest.raises(RecordingRefused, match="another process is recording"):
            writer(tmp_path)
        writer(tmp_path).close()

    def test_a_directory_with_other_things_in_it_is_left_alone(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("x")
        with pytest.raises(RecordingRefused, match=r"holds other files \(thesis.txt"):
            writer(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    @pytest.mark.parametrize("text", ["", "{}", "[1]", '{"shards":0}', '{"shards":1,"format":9}', "\x00"])
    def test_what_is_no_manifest_is_refused_in_words(self, tmp_path, text):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(RecordingRefused, match=r"manifest\.json"):
            RecordingReader(tmp_path)

    def test_a_directory_without_one_is_no_recording(self, tmp_path):
        with pytest.raises(RecordingRefused, match="holds no recording"):
            read_recording(tmp_path)

    def test_a_piece_that_is_missing_is_noticed(self, tmp_path):
        with writer(tmp_path, ticks=2) as recording:
            take_all(recording, [ticks(0, 2), ticks(2, 2)])
        (tmp_path / "shard-0" / "ticks-000001.parquet").unlink()
        with pytest.raises(RecordingRefused, match="the pieces hold 2 ticks; 4 were recorded"):
            recorded(tmp_path)


class Killed(BaseException):
    """The process is gone."""


class TestCrashes:
    def test_a_last_frame_that_was_cut_short_anywhere_is_cut_off_and_comes_again(self, tmp_path):
        inputs = [ticks(0, 3), TimerDue(3), ticks(3, 5), TimerDue(8), ticks(8, 2)]
        recording = writer(tmp_path / "whole", ticks=8)
        take_all(recording, inputs)
        recording._release()
        (log,) = (tmp_path / "whole").glob("*/*.inputs")
        whole = log.read_bytes()
        head = log_file.LogReader(log)
        start = head.sound_bytes
        head.close()
        flat = one_by_one(inputs)
        for size in range(start, len(whole)):
            log.write_bytes(whole[:size])
            found = recorded(tmp_path / "whole")
            assert found == flat[: len(found)]
            with writer(tmp_path / "whole", ticks=100) as again:
                at = again.next_input(0)
                assert at == len(found)
                assert log.stat().st_size <= size
                take_all(again, inputs)
                assert again.next_input(0) == len(flat)
                assert recorded(tmp_path / "whole") == flat
                for stream in again._shards.values():
                    stream._piece_ticks = 0  # so that no piece is made of it, and the file can be cut elsewhere
            log.write_bytes(whole)

    def test_bytes_that_changed_end_what_is_read_there(self, tmp_path):
        recording = writer(tmp_path, ticks=100)
        take_all(recording, [ticks(0, 3), ticks(3, 3)])
        recording._release()
        (log,) = tmp_path.glob("*/*.inputs")
        data = bytearray(log.read_bytes())
        data[-5] ^= 1
        log.write_bytes(data)
        assert recorded(tmp_path) == one_by_one([ticks(0, 3)])

    @pytest.mark.parametrize("pieces", FORMATS)
    def test_it_may_be_killed_at_any_step_and_goes_on(self, tmp_path, monkeypatch, pieces):
        """At the k-th call that makes something durable or final, the process is gone; then it is started again."""
        inputs = [
            TimerDue(0),
            ticks(0, 3),
            TimerDue(3),
            ticks(3, 4),
            TimerDue(7),
            TimerDue(8),
            ticks(7, 6),
            ticks(13, 1),
        ]
        flat = one_by_one(inputs)
        kills = 0
        for k in range(1_000):
            directory = tmp_path / str(k)
            with monkeypatch.context() as patch:
                countdown = [k]

                def dying(real: Callable[..., object], after: bool, countdown: list[int] = countdown) -> object:
                    def call(*args: object, **options: object) -> object:
                        countdown[0] -= 1
                        if countdown[0] == 0 and not after:
                            raise Killed
                        result = real(*args, **options)
                        if countdown[0] == 0:
                            raise Killed
                        return result

                    return call

                patch.setattr(os, "fsync", dying(os.fsync, after=False))
                patch.setattr(Path, "replace", dying(Path.replace, after=True))
                patch.setattr(Path, "unlink", dying(Path.unlink, after=False))
                patch.setattr(shard_writer, "_write_all", dying(shard_writer._write_all, after=False))
                recording = None
                try:
                    recording = writer(directory, pieces, 4)
                    take_all(recording, inputs)
                    recording.close()
                except Killed:
                    kills += 1
                    if recording is not None:
                        recording._release()
            begun = (directory / "manifest.json").exists()
            found = recorded(directory) if begun else []
            assert found == flat[: len(found)]
            with writer(directory, pieces, 4) as again:
                assert (again.next_input(0) or 0) == len(found)
                take_all(again, inputs)
            assert recorded(directory) == flat, k
            assert not list(directory.glob("**/*.partial"))
            if k > 0 and countdown[0] > 0:
                break
        assert kills > 20

    def test_what_was_said_after_a_file_that_lost_its_end_goes_too(self, tmp_path):
        """Power went: of two files the second was synced, the first was not."""
        waiting: list[Callable[[], None]] = []

        def later(work: Callable[[], None]) -> Future[None]:
            waiting.append(work)
            return Future()

        recording = writer(tmp_path, ticks=4, submit=later)
        take_all(recording, [ticks(0, 2), ticks(2, 3), ticks(5, 2)])
        recording._release()
        first, second = sorted(tmp_path.glob("*/*.inputs"))
        first.write_bytes(first.read_bytes()[:-3])
        with writer(tmp_path, ticks=4) as again:
            assert again.next_input(0) == 2
            assert not second.exists()
            take_all(again, [ticks(0, 2), ticks(2, 3), ticks(5, 2)])
        assert recorded(tmp_path) == one_by_one([ticks(0, 7)])

    def test_a_full_disk_is_told_of_once_and_a_restart_goes_on(self, tmp_path, monkeypatch):
        told: list[str] = []
        recording = writer(tmp_path, on_failure=lambda error: told.append(str(error)))
        recording.take(0, 0, [ticks(0, 2)])

        def full(stream: object, data: bytes) -> None:
            stream.write(data[:10])  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(shard_writer, "_write_all", full)
            recording.take(0, 2, [ticks(2, 2)])
            recording.take(0, 4, [ticks(4, 2)])
        recording.take(0, 6, [ticks(6, 2)])
        recording.close()
        assert told == [f"{tmp_path}: the recording cannot be written: No space left on device"]
        with writer(tmp_path) as again:
            assert again.next_input(0) == 2
            again.take(0, 2, [ticks(2, 6)])
        assert recorded(tmp_path) == one_by_one([ticks(0, 8)])

    def test_without_anybody_to_tell_it_raises(self, tmp_path, monkeypatch):
        def full(_stream: object, _data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        recording = writer(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(shard_writer, "_write_all", full)
            with pytest.raises(RecordingFailed, match="No space left"):
                recording.take(0, 0, [ticks(0, 1)])
        with pytest.raises(RecordingFailed, match="No space left"):
            recording.take(0, 0, [ticks(0, 1)])
        with pytest.raises(RecordingFailed):
            recording.close()
