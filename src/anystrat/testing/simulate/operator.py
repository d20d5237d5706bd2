"""The operator, and the machine: what comes from outside while the service runs, at moments drawn by the seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from anystrat.bootstrap.models import ModelWatch
from anystrat.domain.errors import AnystratError
from anystrat.domain.events import Command, Operation, Reconfigured
from anystrat.testing.simulate.dice import Dice
from anystrat.testing.simulate.faults import Fault
from anystrat.testing.simulate.scenario import engines_of

if TYPE_CHECKING:
    from anystrat.runner.runner import Runner
    from anystrat.testing.simulate.process import Process
    from anystrat.testing.simulate.world import World

_ACTIONS: Final = (
    "kill -9",
    "kill -9",
    "stop",
    "freeze",
    "kill switch",
    "pause",
    "resume",
    "jump",
    "revive",
    "reload",
    "new model",
    "second runner",
    "take over",
)
_LONGEST_FREEZE_SEC: Final = 4.0


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that happens at one moment."""

    name: str
    second: float
    what: str


def planned(seed: int, last_second: float) -> list[Action]:
    """What happens from outside in the history of a seed: in one of three nothing does."""
    dice = Dice(seed, "operator")
    if dice.chance(1 / 3):
        return []
    kinds = dice.some_of(sorted(set(_ACTIONS)), 0.5)
    wanted = [each for each in _ACTIONS if each in kinds]
    count = dice.integer(1, 10) if wanted else 0
    moments = sorted(dice.between(0.0, last_second) for _ in range(count))
    actions = []
    for number, second in enumerate(moments):
        what = dice.one_of(wanted)
        actions.append(Action(f"operator #{number}: {what} at {second:.3f} s", second, what))
    return actions


class Others(Protocol):
    """Whoever can start another runner on the same journal."""

    def second(self) -> None:
        """Start one while the first one runs: it has to be refused."""
        ...

    def take_over(self) -> None:
        """The first one stands still and is taken for dead; it wakes up once another has its journal."""
        ...


class Operator:
    """Does what is planned, to whichever process runs then."""

    def __init__(self, world: World, current: Callable[[], tuple[Process, Runner] | None], others: Others) -> None:
        self._world = world
        self._current = current
        self._others = others
        self._dice = Dice(world.scenario.seed, "operator's choices")

    async def run(self) -> None:
        """All of it, in order; then everything is put back so that the service can finish."""
        world = self._world
        for action in planned(world.scenario.seed, world.scenario.last_second):
            await asyncio.sleep(max(0.0, action.second - world.loop.time()))
            choice = self._dice.random()
            current = self._current()
            fault = Fault.CRASH_BEFORE if action.what == "kill -9" else None
            if current is None or world.faults.healed or not world.faults.allowed(action.name, fault):
                continue
            world.trace.say(f"operator: {action.what}")
            world.trace.happened(f"operator: {action.what}")
            await self._do(action.what, *current, choice)

    async def _do(self, what: str, process: Process, runner: Runner, choice: float) -> None:
        world = self._world
        match what:
            case "kill -9":
                process.kill("kill -9")
            case "stop":
                runner.stop("asked to")
            case "freeze":
                process.freeze()
                world.loop.call_later(choice * _LONGEST_FREEZE_SEC, process.thaw)
            case "jump":
                world.clock.jump((choice - 0.5) * 7_200)
            case "pause" | "resume":
                rows = world.setting.configuration.strategies
                row = rows[int(choice * len(rows))]
                if runner.open:
                    runner.command(Command(Operation(what), runner.now_ns, row.strategy_id))
            case "new model":
                world.trace.say(f"the model's file holds version {world.model_file.replace(choice)}")
            case "second runner":
                self._others.second()
            case "take over":
                self._others.take_over()
            case "reload":
                _within(process, self._reload(runner, choice))
            case "kill switch":
                _within(process, self._switch(process, runner, on=choice < 0.7))
            case _:
                _within(process, self._revive(runner))

    async def _switch(self, process: Process, runner: Runner, *, on: bool) -> None:
        if runner.open:
            self._world.switching(process, on=on)
            await runner.kill(on=on)
            self._world.switch_returned(process, on=on)

    async def _reload(self, runner: Runner, choice: float) -> None:
        world = self._world
        settings = world.scenario.settings
        setting = settings[int(choice * len(settings))]
        if not runner.open or not runner.shards or setting.fingerprint == runner.fingerprint:
            return
        engines, wiring = engines_of(setting, world.model_file)
        if not {one.broker for engine in engines for one in engine.executors} <= set(runner.deliveries):
            return  # refused, as by the control API: a broker that nothing is sent to yet needs a restart
        event = Reconfigured(runner.now_ns, before=runner.fingerprint, after=setting.fingerprint)
        await runner.reconfigure(setting.plan, engines, event, ModelWatch(wiring.models, engines))

    async def _revive(self, runner: Runner) -> None:
        if not runner.open:
            return
        by_broker: dict[str, list[int]] = {}
        for letter in await runner.dead_letters():
            by_broker.setdefault(letter.signal.broker, []).append(letter.signal.number)
        for broker, numbers in by_broker.items():
            await runner.revive(broker, numbers, 0)

    async def tidy_up(self) -> None:
        """At the end, so that everything can be finished: go on, and release the kill switch until it stays released."""
        current = self._current()
        if current is None:
            return
        process, runner = current
        process.thaw()
        if runner.open and (runner.killed or self._world.ledger.killed):
            _within(process, self._switch(process, runner, on=False))


def _within(process: Process, work: Coroutine[Any, Any, None]) -> None:
    """Do it as a task of the process; what ends that ends it."""

    async def contained() -> None:
        with suppress(AnystratError, ValueError):
            await work

    process.begin(contained())
