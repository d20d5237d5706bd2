"""From a configuration to a runner that is ready to go: engines by shard, and what stands at their ends."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anystrat._version import __version__
from anystrat.bootstrap import Wiring, kernel_compiler, session_clock
from anystrat.domain.configuration import BrokerSettings, Configuration, JournalSettings, SourceSettings
from anystrat.domain.endpoints import MemoryJournal
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import fingerprint
from anystrat.runner.plan import ShardPlan, in_shard, plan_shards
from anystrat.runner.runner import Runner, RunnerParts
from anystrat.runner.shard import Observer

if TYPE_CHECKING:
    from anystrat.domain.notices import Listener
    from anystrat.domain.protocols import Compiler


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is asked for beside its configuration."""

    record: Path | None = None
    compiled: bool = True
    drain_sec: float = 10.0
    observers: Sequence[Observer] = ()
    listener: Listener | None = None
    on_cold: Callable[[str], None] | None = None


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
