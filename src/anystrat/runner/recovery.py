"""After a restart: an engine's state from its checkpoint and the inputs since, as it was when they were committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import SnapshotRefused
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.journal import JournalRefused, ShardRecord
from anystrat.domain.outcomes import Emitted
from anystrat.engine.snapshot import restore
from anystrat.runner.shard import Checkpoint, Shard, chained
from anystrat.runner.tally import Tally

if TYPE_CHECKING:
    from anystrat.runner.driver import EngineDriver


class Restored(NamedTuple):
    """What a restart did for a shard. `diverged`: the inputs since the checkpoint led to other signals than were accepted."""

    inputs: int
    diverged: bool


def recover(shard: Shard, record: ShardRecord | None) -> Restored:
    """Bring a fresh shard to where it was committed last. Raises `JournalRefused` for state that does not fit."""
    if record is None:
        return Restored(0, diverged=False)
    digest = b""
    if record.checkpoint is not None:
        checkpoint = msgspec.msgpack.decode(record.checkpoint, type=Checkpoint)
        digest = checkpoint.digest
        try:
            restore(shard.driver.engine, checkpoint.state)
        except SnapshotRefused as error:
            raise JournalRefused(
                f"the journal's state of shard {shard.number} cannot be taken over: {error}"
            ) from error
    for _, _, data in record.since:
        ids = _ids_of(shard.driver, data)
        if ids:
            digest = chained(digest, ids)
    shard.tally = msgspec.msgpack.decode(record.tally, type=Tally)
    shard.watermarks = dict(record.watermarks)
    shard.next_input = record.next_input
    shard.checkpointed_at = record.checkpoint_input
    return Restored(sum(count for _, count, _ in record.since), diverged=digest != shard.tally.digest)


def _ids_of(driver: EngineDriver, data: bytes) -> list[str]:
    """Push one step's inputs through; the ids of the signals that they lead to."""
    return [
        outcome.signal.signal_id
        for each in decoded_inputs(data)
        for outcome in (driver.ticks(each) if isinstance(each, TickColumns) else driver.event(each))
        if isinstance(outcome, Emitted)
    ]
