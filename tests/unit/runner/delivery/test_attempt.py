"""One call of a sink at a time: whatever it does is an answer, and one that failed is closed and opened anew."""

from __future__ import annotations

import asyncio

import pytest

from anystrat.domain.delivery import TAKEN, SendResult, SinkUnavailable, Verdict
from anystrat.runner.delivery.attempt import SinkCalls, SinkFailed
from anystrat.testing.loop import simulate

GROUP = ("a", "b")


class Told:
    """A sink that does in each call what it is told; `log` has the calls."""

    def __init__(self, *, open_=None, send=None, has=None, close=None):
        self.does = {"open": open_, "send": send, "has": has, "close": close}
        self.log = []

    async def _do(self, name):
        self.log.append(name)
        what = self.does[name]
        if isinstance(what, BaseException):
            raise what
        if what == "hangs":
            await asyncio.sleep(1_000)
        return what

    async def open(self):
        await self._do("open")

    async def send(self, group):
        return await self._do("send")

    async def has(self, group):
        return await self._do("has")

    async def close(self):
        await self._do("close")


def answered(sink, *names):
    """What the last of these calls answers, and how long they took."""

    async def story():
        calls = SinkCalls(sink, 5.0)
        answer = None
        for name in names:
            answer = await (getattr(calls, name)() if name in {"open", "close"} else getattr(calls, name)(GROUP))
        return answer, asyncio.get_running_loop().time()

    return simulate(story)


def test_it_is_opened_once_until_it_is_closed():
    sink = Told()
    assert answered(sink, "open", "open", "close", "open") == (None, 0.0)
    assert sink.log == ["open", "close", "open"]


FAILURES = [
    (SinkUnavailable("nobody listens"), "nobody listens", False),
    (ValueError("broken"), "ValueError: broken", True),
    (TimeoutError("the server was too slow"), "TimeoutError: the server was too slow", True),
    (asyncio.CancelledError("inside"), "CancelledError: inside", True),
]


@pytest.mark.parametrize(("error", "reason", "sent"), FAILURES, ids=[type(error).__name__ for error, _, _ in FAILURES])
@pytest.mark.parametrize("call", ["open_", "send", "has"])
def test_whatever_a_sink_raises_is_an_answer_and_it_is_closed(call, error, reason, sent):
    sink = Told(**{call: error})
    name = call.rstrip("_")
    failed, _ = answered(sink, *(["open"] if name == "open" else ["open", name]))
    assert failed == SinkFailed(reason, sent=sent and name == "send")
    assert sink.log[-2:] == [name, "close"]
    sink.does[name] = None
    assert failed.results(3) == [SendResult(Verdict.UNKNOWN, reason)] * 3


@pytest.mark.parametrize("name", ["open", "send", "has"])
def test_a_sink_that_hangs_is_left_after_its_time(name):
    sink = Told(**{"open_" if name == "open" else name: "hangs"})
    failed, seconds = answered(sink, name)
    what = "open" if name == "open" else "answer"
    assert failed == SinkFailed(f"the sink did not {what} within 5 s", sent=name == "send")
    assert (seconds, sink.log) == (5.0, [name, "close"])


def test_after_a_failure_it_is_opened_again():
    sink = Told(send=ValueError())
    answered(sink, "open", "send", "open")
    assert sink.log == ["open", "send", "close", "open"]


@pytest.mark.parametrize("close", [ValueError("broken"), "hangs"])
def test_closing_ends_whatever_the_sink_does(close):
    sink = Told(close=close)
    answer, seconds = answered(sink, "open", "close", "open")
    assert answer is None
    assert seconds == (5.0 if close == "hangs" else 0.0)
    assert sink.log == ["open", "close", "open"]


def test_an_answer_is_one_result_a_signal_or_it_is_none():
    assert answered(Told(send=[TAKEN, TAKEN]), "send")[0] == [TAKEN, TAKEN]
    sink = Told(send=[TAKEN])
    failed = SinkFailed("the sink answered 1 results for 2 signals")
    assert answered(sink, "send")[0] == failed
    assert failed.sent
    assert sink.log == ["send", "close"]
    assert answered(Told(has=[True, None]), "has")[0] == [True, None]
    assert answered(Told(has=[True]), "has")[0] == [None, None]


@pytest.mark.parametrize("name", ["open", "send", "has"])
def test_who_is_cancelled_from_outside_is_cancelled(name):
    async def story():
        sink = Told(**{"open_" if name == "open" else name: "hangs"})
        calls = SinkCalls(sink, 5.0)
        task = asyncio.ensure_future(calls.open() if name == "open" else getattr(calls, name)(GROUP))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled(), sink.log

    assert simulate(story) == (True, [name])
