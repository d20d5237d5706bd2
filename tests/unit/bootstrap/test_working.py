"""A worker in its own process and the kill switch of the run: told by the parent, and told to it."""

from __future__ import annotations

import asyncio

from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.bootstrap import default_catalog
from anystrat.bootstrap.working import Spread, WorkerPart, was_killed
from anystrat.config import load_configuration
from anystrat.domain.health import Phase


class Line:
    """The worker's end, and what it said."""

    def __init__(self) -> None:
        self.killed = False
        self.said: list[str] = []
        self.on_switch = lambda _on: None

    def say(self, word: str) -> None:
        self.said.append(word)

    def turn(self, on: bool) -> None:  # as the thread that listens does it
        self.killed = on
        self.on_switch(on)


class Runner:
    """Remembers how its kill switch was turned, which takes a moment to be durable."""

    def __init__(self) -> None:
        self.phase, self.killed = Phase.RUNNING, False
        self.turned: list[bool] = []
        self.on_switch = lambda _on: None

    async def kill(self, *, on: bool) -> None:
        self.killed = on
        self.on_switch(on)
        self.turned.append(on)
        await asyncio.sleep(0.001)


def lived(story, *, killed=False, runner_killed=False):
    async def live():
        line, runner = Line(), Runner()
        line.killed, runner.killed = killed, runner_killed
        following = asyncio.ensure_future(WorkerPart(1, line, lambda source: source).follow(runner))
        await asyncio.sleep(0.01)
        await story(line, runner)
        await asyncio.sleep(0.01)
        following.cancel()
        return line, runner

    return asyncio.run(live())


def test_what_is_turned_elsewhere_is_turned_here_and_not_told_back():
    async def story(line, _runner):
        line.turn(True)
        await asyncio.sleep(0.01)
        line.turn(False)

    line, runner = lived(story)
    assert runner.turned == [True, False]
    assert line.said == ["running"]


def test_what_is_turned_here_is_told():
    async def story(_line, runner):
        await runner.kill(on=True)
        await runner.kill(on=False)

    assert lived(story)[0].said == ["running", "killed", "unkilled"]


def test_a_worker_begins_as_the_run_stands_and_not_as_its_own_journal_says():
    async def nothing(_line, _runner): ...

    assert lived(nothing, killed=True)[1].turned == [True]
    assert lived(nothing, runner_killed=True)[1].turned == [False]


def test_a_run_begins_killed_where_one_of_its_journals_was(tmp_path):
    path = tmp_path / "live.yaml"
    path.write_text("version: 1\njournal: {type: sqlite, path: j.db}\nstrategies: []\n")
    configured = load_configuration(path, default_catalog(), strategies_required=False)
    spread = Spread(2, {1: 0, 2: 1})

    async def press(on):
        journal = SqliteFileJournal(tmp_path / "j.worker-1-of-2.db", inline=True)
        await journal.open("config")
        await journal.set_killed(on)
        await journal.close()

    assert not was_killed(configured, spread)
    for on in (True, False):
        asyncio.run(press(on))
        assert was_killed(configured, spread) is on
