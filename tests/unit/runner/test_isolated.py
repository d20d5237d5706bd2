"""Isolated strategies in a run: processes that are lost at any moment, and runs that are killed meanwhile."""

from __future__ import annotations

import asyncio
import random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from anystrat.bootstrap import build_engine
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import ProcessLost
from anystrat.domain.events import EvaluationLost, ProcessReady
from anystrat.domain.health import ProcessHealth, ProcessState
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.lifecycle import State
from anystrat.domain.notices import PartFailed, ProcessReplaced, Recovered
from anystrat.domain.outcomes import Emitted
from anystrat.runner.driver import EngineDriver
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import synthetic_ticks

from .rig import Fence, ListSource, Rig, configured

# Shrinking takes minutes, and the first difference is shown without it.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
RISK = {"retry_backoff_sec": 1, "max_retries": 32}
ROWS = [
    {
        "id": "apart",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 3, "threshold": 0.0003, "risk": RISK},
        "instruments": [1, 2],
        "isolate": "process",
    },
    {
        "id": "beside",
        "strategy_type": "breakout",
        "parameters": {"lookback_periods": 3},
        "instruments": [2, 3],
    },
]


class Fragile:
    """What may be lost with every answer, but for those of a restart: these were there before."""

    def __init__(self, rng, often):
        self.rng, self.often = rng, often
        self.patient = True
        self.lost = 0
        self.closed = False
        self.untold = []

    def prepare(self, engines):
        self.patient = True

        def processor(executor):
            local = executor.processor

            class Asked:
                get_required_history_length = local.get_required_history_length

                @staticmethod
                def process_tick(tick, history):
                    if not self.patient and self.rng.random() < self.often:
                        self.lost += 1
                        self.untold.append((executor.strategy_id, True, "another one"))
                        raise ProcessLost(f"loss {self.lost}")
                    return local.process_tick(tick, history)

            return Asked()

        return processor

    def settle(self):
        self.patient = False

    def news(self):
        said, self.untold = self.untold, []
        return said

    def health(self):
        return (ProcessHealth("apart", ProcessState.READY),)

    def close(self):
        self.closed = True


def kept(rig, shards):
    """Every input that the journal holds, by shard."""
    return {
        shard: [each for _, _, data in rig.store.inputs.get(shard, ()) for each in decoded_inputs(data)]
        for shard in range(shards)
    }


@settings(max_examples=3, deadline=None, phases=PHASES)
@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.lists(st.floats(0.05, 4), max_size=3),
    st.sampled_from([7, 65_536]),
)
def test_a_replay_of_a_run_that_lost_processes_decides_as_the_run_did_however_often_it_was_killed(
    seed, shards, lives, checkpoint_inputs
):
    (block,) = synthetic_ticks(seed, [1, 2, 3, 9], 200, block_rows=200)
    rng = random.Random(seed)
    rig = Rig(ROWS, block, shards=shards, checkpoint_inputs=checkpoint_inputs)

    def live(life):
        fence = Fence()
        rig.options["processes"] = processes = Fragile(rng, 0.1)

        async def main():
            # So slow that a process is there again before the next ticks are, now and then.
            source = ListSource(block, [rng.randint(1, 9) for _ in range(4)], fence=fence, rng=Slow(rng), again=0.1)
            runner = rig.start(source, fence=fence, rng=rng)
            task = asyncio.ensure_future(runner.run())
            done, _ = await asyncio.wait({task}, timeout=life)
            fence.down = True
            if done:
                task.result()
                assert processes.closed
                assert runner.health().processes == processes.health()
                return runner
            return None

        try:
            return simulate(main)
        finally:
            rig.store.crash()

    for life in lives:
        live(life)
    runner = live(None)
    assert not any(each.diverged for each in rig.heard if isinstance(each, Recovered))
    inputs = kept(rig, shards)
    configuration, wiring = configured(ROWS)
    replayed, states = {}, {}
    for mine in inputs.values():
        driver = EngineDriver(build_engine(configuration, wiring))
        for each in mine:
            for outcome in driver.ticks(each) if isinstance(each, TickColumns) else driver.event(each):
                if isinstance(outcome, Emitted):
                    replayed.setdefault(outcome.signal.broker, set()).add(outcome.signal.signal_id)
        if any(isinstance(each, EvaluationLost) for each in mine):
            states = {one.strategy_id: one.counters()["errors"] for one in driver.engine.executors}
    assert replayed == {broker: set(ids) for broker, ids in rig.accepted().items()}
    if states:
        counted = {one.strategy_id: one.errors for one in runner.executors()}
        assert counted["apart"] == states["apart"] > 0
        assert counted["beside"] == 0


class Slow:
    """Waits of a source that are up to half a second."""

    def __init__(self, rng):
        self.rng = rng

    def random(self):
        return self.rng.random() * 100


def test_a_process_that_is_there_again_is_told_and_one_that_is_given_up_too():
    (block,) = synthetic_ticks(1, [1, 2, 3], 60, block_rows=60)
    processes = Fragile(random.Random(1), 0.2)
    rig = Rig(ROWS, block, processes=processes)
    processes.untold.append(("apart", False, "it does not get ready"))

    async def main():
        runner = rig.start(ListSource(block, [1], rng=Slow(random.Random(2))))
        await runner.run()

    simulate(main)
    assert processes.lost > 1
    told = [each for each in rig.heard if isinstance(each, ProcessReplaced)]
    assert len(told) == processes.lost - len(processes.untold)
    ready = [each for each in kept(rig, 1)[0] if isinstance(each, ProcessReady)]
    assert len(ready) >= len(told)
    (failed,) = [each for each in rig.heard if isinstance(each, PartFailed)]
    assert (failed.part, failed.error) == ("process of apart", "it does not get ready")


def test_after_a_restart_a_strategy_that_waited_for_a_process_has_one_and_goes_on():
    (block,) = synthetic_ticks(1, [1, 2, 3], 60, block_rows=60)
    rig = Rig(ROWS, block)

    def live(often, life):
        fence = Fence()
        rig.options["processes"] = Fragile(random.Random(1), often)

        async def main():
            runner = rig.start(ListSource(block, [9], fence=fence, rng=Slow(random.Random(3))), fence=fence)
            task = asyncio.ensure_future(runner.run())
            await asyncio.wait({task}, timeout=life)
            fence.down = True
            return runner

        try:
            return next(each for each in simulate(main).executors() if each.strategy_id == "apart")
        finally:
            rig.store.crash()

    # Less than a second: nobody has looked for news yet.
    assert live(1.0, 0.9).state is State.ERROR
    assert not any(isinstance(each, ProcessReady) for each in kept(rig, 1)[0])
    after = live(0.0, None)
    assert (after.state, after.errors) == (State.ACTIVE, 1)
    assert sum(isinstance(each, ProcessReady) for each in kept(rig, 1)[0]) == 1
