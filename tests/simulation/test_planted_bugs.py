"""The simulator's own test: a bug that is put into the service is found, and what falls is named."""

from __future__ import annotations

from typing import Any

from anystrat.runner import runner as runner_module
from anystrat.runner.committer import Committer
from anystrat.runner.delivery.broker import BrokerDelivery
from anystrat.runner.intake import Intake
from anystrat.testing.simulate import Seams, history
from anystrat.testing.simulate.minimise import minimised

WITHIN = 1_000


class Through:
    """Another object, but for what a subclass does otherwise."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def caught(*invariants, seams=None, ticks=120):
    """The first history in which one of these falls."""
    for seed in range(WITHIN):
        found = history(seed, ticks=ticks, seams=seams)
        if any(each.invariant in invariants for each in found.violations):
            return found
    raise AssertionError(f"not caught within {WITHIN} seeds")


def test_acknowledging_before_the_commit(monkeypatch):
    run = Committer.run

    async def ack_first(self, source):
        class AckFirst(Through):
            async def commit(self, steps):
                for step in steps:
                    for partition, last in step.watermarks.items():
                        await source.acknowledge(partition, last)
                await self.inner.commit(steps)

        self._journal = AckFirst(self._journal)
        await run(self, source)

    monkeypatch.setattr(Committer, "run", ack_first)
    assert caught("I4")


def test_sending_without_writing_the_intent_down():
    class NoIntent(Through):
        async def sending(self, broker, first, last):
            pass

    assert caught("I4", seams=Seams(journal=NoIntent))


def test_signals_that_an_earlier_process_left_are_not_taken_up(monkeypatch):
    async def forgetful(self, *, first):
        self._recall = False
        self._window.forget(0)

    monkeypatch.setattr(BrokerDelivery, "_count", forgetful)
    assert caught("I8")


def test_ticks_that_come_again_are_taken_again(monkeypatch):
    def parts(self, batch, handed):
        return before(self, batch, [-1] * len(handed))

    before = Intake._parts
    monkeypatch.setattr(Intake, "_parts", parts)
    assert caught("I1")


def test_the_inputs_since_the_checkpoint_are_not_pushed_through_again(monkeypatch):
    recover = runner_module.recover

    def short(shard, record):
        if record is None or not record.since:
            return recover(shard, record)
        import msgspec

        return recover(shard, msgspec.structs.replace(record, since=record.since[:-1]))

    monkeypatch.setattr(runner_module, "recover", short)
    assert caught("I5", "I2")


def test_a_failing_history_is_made_small():
    class NoIntent(Through):
        async def sending(self, broker, first, last):
            pass

    seams = Seams(journal=NoIntent)
    found = caught("I4", seams=seams)
    small = minimised(found, lambda ticks, only: history(found.seed, ticks=ticks, only=only, seams=seams, keep=True))
    assert {each.invariant for each in small.violations} >= {"I4"}
    assert not small.faults, "nothing has to go wrong for this one to show"
    assert small.ticks < 40
    assert len(small.lines) < 80
