"""Power cuts in small: whatever was not synced is gone or torn, and everything that was promised is there."""

from __future__ import annotations

import os

import apsw
import pytest

from anystrat.adapters.recording.log_file import Head, LogReader, begin_log, frame_bytes
from anystrat.adapters.sqlite_journal import files
from anystrat.testing.simulate.dice import Dice

from .power.file_cuts import KINDS, cut_power
from .power.journal_cuts import Run
from .power.medium import Medium, Watched

#: What a VFS written in Python raises is told twice.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("seed", range(4))
def test_no_power_cut_takes_what_the_journal_acknowledged(tmp_path, seed):
    run = Run(tmp_path, seed, 20, most=60).run()
    assert run.lost == []
    assert run.cuts > 20


def test_a_power_cut_while_a_journal_is_made_leaves_one_that_opens(tmp_path):
    run = Run(tmp_path, 118, 0, most=1_000).run()
    assert run.lost == []
    assert run.cuts > 30


@pytest.mark.parametrize("kind", KINDS)
def test_no_power_cut_takes_what_a_file_promised(tmp_path, kind):
    found = []
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        cuts, lost = cut_power(tmp_path / str(seed), kind, seed)
        assert cuts > 8
        found += lost
    assert found == []


def test_a_journal_that_syncs_less_is_found_out(tmp_path, monkeypatch):
    connect = files.connect

    def hasty(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    monkeypatch.setattr("anystrat.adapters.sqlite_journal.writer.connect", hasty)
    assert Run(tmp_path, 1, 20, most=60).run().lost


@pytest.mark.parametrize("kind", ["jsonl", "audit", "recording", "owned"])
def test_a_file_that_is_not_synced_is_found_out(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(Watched, "__enter__", lambda self: None)
    _, lost = cut_power(tmp_path, kind, 1)
    assert lost


def test_what_was_synced_is_whole_and_what_was_not_is_any_mixture_of_sectors(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    medium = Medium(root)
    path = root / "file"
    path.write_bytes(b"a" * 1_024)
    medium.sync(path)
    medium.sync(root)
    path.write_bytes(b"b" * 2_048)
    seen = set()
    for seed in range(60):
        medium.cut(tmp_path / str(seed), Dice(seed, "cut"))
        seen.add((tmp_path / str(seed) / "file").read_bytes())
    assert b"a" * 1_024 in seen
    assert b"b" * 2_048 in seen
    assert b"a" * 512 + b"b" * 512 in {each[:1_024] for each in seen}
    assert any(b"\0" in each for each in seen)


def test_names_reach_the_medium_in_their_order_and_with_their_directory(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    medium = Medium(root)
    with Watched(medium):
        (root / "first").write_bytes(b"1")
        medium.sync(root / "first")
        (root / "second").write_bytes(b"2")
        medium.sync(root / "second")
        (root / "second").replace(root / "first")
    found = set()
    for seed in range(40):
        medium.cut(tmp_path / str(seed), Dice(seed, "cut"))
        found.add(tuple((each.name, each.read_bytes()) for each in sorted((tmp_path / str(seed)).iterdir())))
    assert found == {(), (("first", b"1"),), (("first", b"1"), ("second", b"2")), (("first", b"2"),)}


def test_zeros_behind_the_last_frame_of_a_recording_are_its_end(tmp_path):
    path = begin_log(tmp_path, Head(1, 0))
    with path.open("ab") as stream:
        stream.write(frame_bytes(0, 1, b"", {}) + bytes(700))
    assert [each.first for each in LogReader(path).frames()] == [0]


def test_a_hot_journal_of_somebody_elses_database_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE theirs (a)")
    other.execute("BEGIN IMMEDIATE; INSERT INTO theirs VALUES (1)")
    other.cache_flush()
    hot = path.with_name("other.db-journal").read_bytes()
    other.execute("ROLLBACK")
    other.close()
    beside = path.with_name("other.db-journal")
    beside.write_bytes(hot)
    before = path.read_bytes()
    files.put_back_unfinished(path, vfs=None, busy_timeout_sec=1)
    assert (path.read_bytes(), beside.read_bytes()) == (before, hot)
