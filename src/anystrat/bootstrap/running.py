"""From a configuration to a runner that is ready to go: engines by shard, and what stands at their ends."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from anystrat.bootstrap import Wiring, session_clock
from anystrat.domain.configuration import Configuration
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import fingerprint
from anystrat.runner.plan import ShardPlan, in_shard


def build_engines(configuration: Configuration, wiring: Wiring, plan: ShardPlan) -> list[Engine]:
    """One engine a shard, each with the executors of its instruments, in the order of the configuration's rows."""
    sessions = session_clock(configuration.instruments)
    instruments = {spec.token: spec for spec in configuration.instruments}
    engines = []
    for shard in range(plan.count):
        engine = Engine(instruments, sessions=sessions, rng_seed=configuration.run.rng_seed)
        mine = plan.tokens_of(shard)
        for row in configuration.strategies:
            tokens = in_shard(row, mine)
            if tokens:
                wiring.add_row(engine, row, configuration.brokers, tokens=tokens)
        engines.append(engine)
    return engines


def run_fingerprint(plan: ShardPlan, engines: Sequence[Engine]) -> str:
    """What a journal's state is bound to: the shards, and in each the executors with their parameters and limits."""
    parts = [f"{plan.count} {plan.sharding.value}", *(fingerprint(engine) for engine in engines)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
