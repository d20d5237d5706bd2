"""A study file: what was kept is there, and a file of something else is refused untouched."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from anystrat.adapters.study_file import StudyError, StudyFile, StudyRow

FACTS = {"ticks": "a", "cash": "1"}
ROW = StudyRow('{"x":1}', '{"x": 1}', "{}", 1.0, b"12345678", "")


def test_what_was_kept_is_there_after_another_opening(tmp_path: Path):
    first = StudyFile(tmp_path / "s.db", FACTS)
    first.keep([ROW])
    second = StudyFile(tmp_path / "s.db", FACTS)  # the first was never closed, as after a crash
    assert second.rows() == [ROW]
    second.keep([ROW._replace(start=2.0)])
    assert second.rows() == [ROW]
    first.close()
    second.close()


def test_other_facts_are_refused_by_name(tmp_path: Path):
    StudyFile(tmp_path / "s.db", FACTS).close()
    with pytest.raises(StudyError, match=r"something else \(cash was 1, is 2\)"):
        StudyFile(tmp_path / "s.db", {**FACTS, "cash": "2"})


def test_a_database_of_something_else_is_left_alone(tmp_path: Path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE orders (id INTEGER)")
    other.close()
    with pytest.raises(StudyError, match="a database of something else"):
        StudyFile(path, FACTS)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]
    other.close()


def test_what_is_no_database_or_no_place_says_so(tmp_path: Path):
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one" * 20)
    with pytest.raises(StudyError, match="is no study"):
        StudyFile(tmp_path / "text.db", FACTS)
    with pytest.raises(StudyError, match="make it first: mkdir -p"):
        StudyFile(tmp_path / "none" / "s.db", FACTS)
    with pytest.raises(StudyError, match="is a directory"):
        StudyFile(tmp_path, FACTS)


def test_a_newer_version_is_refused(tmp_path: Path):
    StudyFile(tmp_path / "s.db", FACTS).close()
    with sqlite3.connect(tmp_path / "s.db") as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(StudyError, match="a newer anystrat"):
        StudyFile(tmp_path / "s.db", FACTS)
