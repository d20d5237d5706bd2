"""Isolated strategies in a run: asked in their own processes, from before the recovery on; see `parts.Processes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from anystrat.domain.events import ProcessReady

if TYPE_CHECKING:
    from anystrat.domain.protocols import StrategyProcessor
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.runner.parts import RunnerParts
    from anystrat.runner.shard import Shard


async def isolate(parts: RunnerParts, engines: Sequence[Engine]) -> None:
    """Have the isolated strategies of these engines asked in processes of their own. Before drivers are made of the engines."""
    processes = parts.processes
    if processes is None:
        return
    found: list[Callable[[StrategyExecutor], StrategyProcessor]] = []
    await _aside(parts, lambda: found.append(processes.prepare(engines)))
    for engine in engines:
        engine.ask_elsewhere(found[0])


async def settle(parts: RunnerParts) -> None:
    """What was prepared serves from now on, under its deadline."""
    if parts.processes is not None:
        await _aside(parts, parts.processes.settle)


def let_go_on(parts: RunnerParts, shards: Sequence[Shard]) -> None:
    """After a restart: strategies that waited for a process when the run ended have one now."""
    for shard in shards if parts.processes is not None else ():
        for strategy_id in sorted(shard.driver.engine.waiting_for_process()):
            shard.mailbox.put_event(ProcessReady(parts.clock.now_ns(), strategy_id))


async def close(parts: RunnerParts) -> None:
    """End all processes."""
    if parts.processes is not None:
        await _aside(parts, parts.processes.close)


async def _aside(parts: RunnerParts, work: Callable[[], None]) -> None:
    """Do what may take long, beside the loop if there is a way to."""
    if parts.offload is None:
        work()
    else:
        await parts.offload(work)
