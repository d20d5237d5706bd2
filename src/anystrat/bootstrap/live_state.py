"""The state of a run that goes on, from its journal: for those who ask about it beside it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from anystrat.bootstrap.clustering import part_configuration
from anystrat.bootstrap.journals import look_into_journal
from anystrat.bootstrap.running import build_engines, run_fingerprint
from anystrat.bootstrap.working import Spread, worker_configuration
from anystrat.control.places import workers_beside
from anystrat.domain.endpoints import SqliteJournal
from anystrat.domain.errors import SnapshotRefused
from anystrat.domain.events import Reconfigured
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.journal import JournalRefused
from anystrat.engine.snapshot import restore, snapshot
from anystrat.runner.plan import plan_shards, spread_over_workers
from anystrat.runner.shard import Checkpoint

if TYPE_CHECKING:
    from anystrat.bootstrap import Wiring
    from anystrat.bootstrap.journals import JournalLook, JournalPlace
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.inputs import Input
    from anystrat.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class LiveState:
    """Engines as a run, or one part of it, has them, a shard each, and the journal that says where they stand."""

    engines: list[Engine]
    begun: list[bytes]
    fingerprint: str
    place: JournalPlace

    def since_checkpoint(self, shard: int) -> list[Input]:
        """Bring the shard's engine to the last checkpoint; what was taken and committed since then.

        Raises `JournalRefused` for the journal of another configuration, and where it cannot be read.
        """
        with self._looked_into() as found:
            record = found.record(shard)
        if record is None:
            return []
        if record.checkpoint is not None:
            state = msgspec.msgpack.decode(record.checkpoint, type=Checkpoint).state
            try:
                restore(self.engines[shard], state)
            except SnapshotRefused as error:
                raise JournalRefused(f"{self.place}: {error}") from error
        return [each for _, _, data in record.since for each in decoded_inputs(data)]

    def from_the_beginning(self, shard: int) -> list[Input] | None:
        """Bring the shard's engine to where the run began; all that it took.

        None where the journal has forgotten some of it, or the configuration was another one on the way. Raises as
        `since_checkpoint`.
        """
        with self._looked_into() as found:
            if found.kept_inputs().get(shard, (0, 0))[0]:
                return None
            inputs = [each for _, each in found.inputs(shard)]
        if any(isinstance(each, Reconfigured) for each in inputs):
            return None
        restore(self.engines[shard], self.begun[shard])
        return inputs

    def runs(self) -> bool:
        """Whether somebody writes the journal now."""
        with self._looked_into() as found:
            return found.holder is not None

    @contextmanager
    def _looked_into(self) -> Generator[JournalLook]:
        with look_into_journal(self.place) as found:
            if found.meta.get("fingerprint", self.fingerprint) != self.fingerprint:
                raise JournalRefused(
                    f"{self.place}: the run has another configuration now than this one; give the one that it has, or reload it"
                )
            yield found


def live_state(configuration: Configuration, wiring: Wiring, place: JournalPlace, part: int | None) -> LiveState:
    """The engines of a run, or of one part of it, and its journal. Nothing is read yet."""
    own = _of_part(configuration, part)
    plan = plan_shards(own.strategies, own.run.shards, own.run.sharding, together=own.account is not None)
    engines = build_engines(own, wiring, plan)
    return LiveState(engines, list(map(snapshot, engines)), run_fingerprint(plan, engines), place)


def _of_part(configuration: Configuration, part: int | None) -> Configuration:
    if part is None:
        return configuration
    if configuration.cluster is not None:
        return part_configuration(configuration, part)
    options = None if configuration.journal is None else configuration.journal.options
    assert isinstance(options, SqliteJournal), "whoever found the part's journal has seen to it"
    workers = next(iter(workers_beside(options.path)))[1]
    spread = Spread(workers, spread_over_workers(configuration.strategies, workers))
    return worker_configuration(configuration, part, spread)
