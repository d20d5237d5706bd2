"""What a runner does now and then.

It looks at the journal's room, models, timers of silent instruments and idle shards, and has the journal compacted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from anystrat.domain.events import ProcessReady, TimerDue
from anystrat.domain.journal import JournalFailed
from anystrat.domain.notices import JournalGoesOn, JournalWaits, Notice, PartFailed, ProcessReplaced
from anystrat.engine.state import NEVER

if TYPE_CHECKING:
    from anystrat.runner.committer import Committer
    from anystrat.runner.intake import Intake
    from anystrat.runner.parts import RunnerParts
    from anystrat.runner.shard import Shard

#: Event time that lies further from the wall clock than this belongs to a recording, whose timers its ticks run.
LIVE_NS: Final = 3_600 * 1_000_000_000
_EVERY_SEC: Final = 1.0
_BAR_GRACE_NS: Final = 1_000_000_000
_COMPACT_EVERY: Final = 60


class Housekeeping:
    """Looks after a runner's shards."""

    def __init__(
        self,
        parts: RunnerParts,
        shards: Sequence[Shard],
        intake: Intake,
        committer: Committer,
        say: Callable[[Notice], object],
    ) -> None:
        self._parts = parts
        self._shards = shards
        self._intake = intake
        self._committer = committer
        self._say = say
        self._waits_since: float | None = None
        self._compacting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Keep house once a second, until cancelled. Raises what a compaction of the journal failed of."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._keep(group)
        except* JournalFailed as failed:
            raise failed.exceptions[0] from failed

    async def _keep(self, group: asyncio.TaskGroup) -> None:
        turn = 0
        while True:
            await asyncio.sleep(_EVERY_SEC)
            turn += 1
            self.watch_journal()
            await self.watch_models()
            self.watch_processes()
            self.run_timers()
            for shard in self._shards:
                shard.report_executors()
            if len(self._shards) > 1:
                self.move_idle()
            if turn % _COMPACT_EVERY == 0 and (self._compacting is None or self._compacting.done()):
                self._compacting = group.create_task(self._compact(), name="compaction")

    async def _compact(self) -> None:
        """Forget what is not needed any more, beside everything else: with a long journal it takes many pieces."""
        parts = self._parts
        await parts.journal.compact(keep_inputs=parts.keep_inputs, keep_settled=parts.keep_settled)

    def watch_journal(self) -> None:
        """While the journal has no room, nothing is taken in: it would only wait in memory."""
        problem, now = self._parts.journal.problem, asyncio.get_running_loop().time()
        if problem and self._waits_since is None:
            self._waits_since = now
            self._intake.pause()
            self._say(JournalWaits(problem))
        elif not problem and self._waits_since is not None:
            self._say(JournalGoesOn(now - self._waits_since))
            self._waits_since = None
            self._intake.go_on()

    async def watch_models(self) -> None:
        """Swap in model files that changed, before all ticks that wait: they serve from now on."""
        parts = self._parts
        if parts.models is None:
            return
        if parts.offload is None:
            parts.models.look()
        else:
            await parts.offload(parts.models.look)
        # The last of them ends up first in a queue, so that they are put there from the last to the first.
        for event in reversed(parts.models.events(parts.clock.now_ns())):
            for shard in self._shards:
                shard.mailbox.put_first(event)

    def watch_processes(self) -> None:
        """Isolated strategies whose process was lost go on once they have another: an event says when that was."""
        parts = self._parts
        for strategy_id, ready, text in parts.processes.news() if parts.processes is not None else ():
            if not ready:
                self._say(PartFailed(f"process of {strategy_id}", text, "the strategy waits; resuming it tries again"))
                continue
            self._say(ProcessReplaced(strategy_id, text))
            for shard in self._shards:
                shard.mailbox.put_event(ProcessReady(parts.clock.now_ns(), strategy_id))

    def run_timers(self) -> None:
        """Executors of silent instruments go on by the wall clock, where event time follows it."""
        now = self._parts.clock.now_ns()
        for shard in self._shards:
            engine = shard.driver.engine
            due = engine.state.tables["executor"]["due"]
            waits = bool((due <= now).any()) and bool((due != NEVER).any())
            # A tick of a bar's last moment may still be on its way when the bar ends.
            waits = waits or engine.bars.end_by(now - _BAR_GRACE_NS)
            if waits and abs(now - engine.latest_ts()) < LIVE_NS:
                shard.mailbox.put_event(TimerDue(now))

    def move_idle(self) -> None:
        """Shards that the feed leaves alone keep up with it, so that a restart need not read everything again."""
        for shard in self._shards:
            work = shard.idle_step(self._intake.read)
            if work is not None:
                self._committer.add(work)
