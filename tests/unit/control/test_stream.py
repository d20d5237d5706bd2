"""The stream of outcomes: in order, resumable, in bounded memory, and no brake for anybody."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest

from anystrat.control.sse import EventStream
from anystrat.control.stream import OutcomeStream, body_of
from anystrat.domain.outcomes import Dropped, Noted, TickDrop, TickDropped
from anystrat.domain.signal import SignalResult
from anystrat.testing.ticks import row

from .desk import Desk, told


def note(k):
    return Noted(f"n{k}", k)


def events(text):
    """(kind, id, data) of each."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found


def test_outcomes_are_numbered_and_only_the_latest_are_kept():
    stream = OutcomeStream("boot", 10)
    for k in range(0, 30, 3):
        stream.take([note(k), note(k + 1), note(k + 2)])
    kept = list(stream.after(0))
    assert [each.number for each in kept] == list(range(stream.first, 31))
    assert 8 <= len(kept) <= 12
    assert [each.what.kind for each in stream.after(28)] == ["n28", "n29"]
    assert list(stream.after(30)) == []
    stream.take([note(k) for k in range(100)])
    assert [each.what.kind for each in stream.after(0)] == [f"n{k}" for k in range(90, 100)]


def test_what_the_stream_does_not_tell_of_still_has_its_number():
    stream = OutcomeStream("boot", 10)
    stream.take([TickDropped(TickDrop.UNROUTED, row(1)), note(1)])
    assert [(each.number, each.kind) for each in stream.after(0)] == [(2, "note")]


@pytest.mark.parametrize("event_id", ["", "x", "other-5", "boot-", "boot--1", "boot-x", "boot-" + "9" * 30, "boot-٣"])
def test_the_id_of_another_process_or_none_at_all_is_no_place(event_id):
    stream = OutcomeStream("boot", 10)
    stream.take([note(1)])
    assert stream.place_of(event_id) is None
    assert stream.place_of("boot-1") == 1
    assert stream.place_of("boot-77") == 1


def test_whatever_a_strategy_says_becomes_one_line_of_json():
    stream = OutcomeStream("boot", 10)
    odd = SignalResult("BUY", float("nan"), 3, Decimal("NaN"), "a\r\nevent: signal\u2028\ndata: <script>")
    stream.take([Dropped(odd, "own\nreason", "s\r\nid: 9", "b", 1, 5)])
    (event,) = stream.after(0)
    assert body_of(event)["confidence"] is None
    from anystrat.control.sse import _event

    text = _event("drop", "boot-1", body_of(event)).decode()
    assert len(text.splitlines()) == 4
    assert events(text)[0][2]["reasoning"] == odd.reasoning


def test_a_reader_goes_on_behind_the_event_that_it_saw_last(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101, 102)
            asked = {"recent": 1000, "follow": "false"}
            first = events((await desk.api.get("/v1/events", params=asked)).text)
            assert {"transition", "signal", "drop"} <= {kind for kind, _, _ in first}
            assert [data["id"] for _, _, data in first] == sorted(data["id"] for _, _, data in first)
            middle = first[len(first) // 2][1]
            rest = await desk.api.get("/v1/events", params={"follow": "false"}, headers={"last-event-id": middle})
            assert events(rest.text) == first[len(first) // 2 + 1 :]
            only = await desk.api.get("/v1/events", params={**asked, "kind": ["signal"]})
            assert {kind for kind, _, _ in events(only.text)} == {"signal"}

    told(story)


def test_what_is_not_kept_any_more_is_said_to_be_missing(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            await desk.ticks(100, 101)
            for known in ("before-7", "nonsense"):
                answer = await desk.api.get("/v1/events", params={"follow": "false"}, headers={"last-event-id": known})
                found = events(answer.text)
                assert found[0][0] == "gap"
                assert [kind for kind, _, _ in found[1:]].count("signal") == 2

    told(story)


class Reader:
    """Takes `at_most` parts of an answer, and then nothing more."""

    def __init__(self, at_most=10**9):
        self.parts, self.at_most = [], at_most
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if len(self.parts) >= self.at_most:
            await asyncio.Event().wait()
        self.parts.append(message.get("body", b""))

    @property
    def text(self):
        return b"".join(self.parts).decode()


def test_a_reader_that_takes_nothing_is_let_go_and_one_that_falls_behind_is_told_so():
    async def story():
        stream, ended = OutcomeStream("boot", 100), []
        stuck, slow, quick = Reader(3), Reader(), Reader()
        following = [
            asyncio.create_task(
                EventStream(stream, 0, patience=0.05, on_end=lambda: ended.append(1))({}, each.receive, each.send)
            )
            for each in (stuck, quick)
        ]
        stream.take([note(1)])
        await asyncio.sleep(0.12)
        stream.take([note(2)])
        await asyncio.sleep(0.12)
        assert following[0].done()
        assert not following[1].done()
        quick.gone.set()
        await following[1]
        assert ended == [1, 1]
        assert [kind for kind, _, _ in events(quick.text)] == ["note", "note"]
        stream.take([note(k) for k in range(500)])
        await EventStream(stream, 2)({}, slow.receive, slow.send)
        assert events(slow.text)[-1][0] == "cut"

    told(story)


def test_silence_is_broken_so_that_both_sides_know_of_each_other():
    async def story():
        reader = Reader()
        following = asyncio.create_task(
            EventStream(OutcomeStream("boot", 100), 0, heartbeat=0.02)({}, reader.receive, reader.send)
        )
        await asyncio.sleep(0.1)
        reader.gone.set()
        await following
        assert ": nothing new" in reader.text

    told(story)


def test_readers_are_so_many_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr("anystrat.control.api.MOST_READERS", 0)

    async def story():
        async with Desk(tmp_path) as desk:
            assert (await desk.api.get("/v1/events")).status_code == 503

    told(story)
