"""The audit log: any change of a line that was written shows."""

from __future__ import annotations

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.control.audit import AuditLog, AuditRefused, verified


@pytest.fixture
def log(tmp_path):
    made = AuditLog(tmp_path / "audit.jsonl")
    for k in range(5):
        made.append(k, "ada", "127.0.0.1", "pause", {"strategy": f"s{k}", "broker": None})
    return made


def test_lines_follow_on_each_other_over_restarts_in_a_file_for_its_owner_alone(log):
    again = AuditLog(log.path)
    again.append(9, "bob", "127.0.0.1", "kill", {"on": True})
    assert [each.number for each in verified(log.path)] == [1, 2, 3, 4, 5, 6]
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


@given(place=st.integers(0, 10**6), byte=st.integers(1, 255))
def test_no_byte_can_be_changed_unseen(tmp_path_factory, place, byte):
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    log = AuditLog(path)
    for k in range(3):
        log.append(k, "ada", "127.0.0.1", "pause", {"k": k})
    before = list(verified(path))
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= byte
    path.write_bytes(bytes(data))
    try:
        after = list(verified(path))
    except AuditRefused:
        return
    # What is left unseen says the same: white space, or the last line's end.
    assert after == before


@pytest.mark.parametrize("change", ["drop", "swap", "edit", "cut the first"])
def test_lines_cannot_be_taken_out_moved_or_edited(log, change):
    lines = log.path.read_text().splitlines()
    if change == "drop":
        del lines[2]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "edit":
        lines[1] = json.dumps(json.loads(lines[1]) | {"actor": "eve"})
    else:
        del lines[0]
    log.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(AuditRefused, match=r"audit.jsonl:\d"):
        list(verified(log.path))
    with pytest.raises(AuditRefused):
        AuditLog(log.path).append(9, "ada", "", "kill", {})


def test_a_line_that_a_power_cut_left_half_written_does_not_swallow_the_next(log):
    with log.path.open("ab") as file:
        file.write(b'{"number": 6, "at')
    AuditLog(log.path).append(9, "ada", "", "kill", {})
    assert [each.action for each in verified(log.path)] == ["pause"] * 5 + ["kill"]
