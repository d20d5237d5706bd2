"""A restart: a fresh shard is brought to where it was committed last, and goes on as if nothing had happened."""

from __future__ import annotations

import msgspec
import pytest

from anystrat.domain.events import Command, Operation
from anystrat.domain.journal import JournalRefused, ShardRecord
from anystrat.engine.snapshot import snapshot
from anystrat.runner.parcel import Parcel
from anystrat.runner.recovery import Restored, recover
from anystrat.runner.shard import Checkpoint
from anystrat.testing.ticks import START_NS

from .test_shard import handled, parcel, rows, shard_of, tally_of, ticks

PRICES = [(100, 101), (101, 99, 99.5), (99, 99.7), (99.9, 98, 98.5, 99)]


def lived():
    """A shard and its steps: ticks that lead to signals, and a command among them."""
    shard = shard_of()
    steps = [handled(shard, parcel(ticks(*prices, at=60 * at), at)).step for at, prices in enumerate(PRICES)]
    steps.append(handled(shard, Parcel(event=Command(Operation.PAUSE, START_NS + 300_000_000_000))).step)
    assert sum(bool(step.signals) for step in steps) >= 2
    return shard, steps


def record(shard, steps, *, checkpoint_at=None):
    """What a journal has of these steps, with a checkpoint before that of this place."""
    checkpoint, at = None, 0
    if checkpoint_at is not None:
        early = shard_of()
        for number, prices in enumerate(PRICES[:checkpoint_at]):
            handled(early, parcel(ticks(*prices, at=60 * number), number))
        at = early.next_input
        checkpoint = msgspec.msgpack.encode(Checkpoint(early.tally.digest, snapshot(early.driver.engine)))
    since = tuple((step.first, step.count, step.inputs) for step in steps if step.first >= at)
    return ShardRecord(dict(shard.watermarks), shard.next_input, steps[-1].tally, checkpoint, at, since)


def test_a_shard_that_never_committed_begins_at_the_beginning():
    shard = shard_of()
    assert recover(shard, None) == Restored(0, diverged=False)
    assert (shard.next_input, shard.watermarks, shard.checkpointed_at) == (0, {}, 0)
    assert handled(shard, parcel(ticks(100))).step.first == 0


@pytest.mark.parametrize("checkpoint_at", [None, 0, 1, 3])
def test_it_is_where_it_was_with_or_without_a_checkpoint(checkpoint_at):
    shard, steps = lived()
    kept = record(shard, steps, checkpoint_at=checkpoint_at)
    again = shard_of()
    assert recover(again, kept) == Restored(shard.next_input - kept.checkpoint_input, diverged=False)
    assert again.next_input == shard.next_input
    assert again.watermarks == shard.watermarks
    assert again.watermarks is not kept.watermarks
    assert again.checkpointed_at == kept.checkpoint_input
    assert again.tally == tally_of(steps[-1])
    assert snapshot(again.driver.engine) == snapshot(shard.driver.engine)
    following = [handled(each, parcel(ticks(98, 99, at=400), 9)).step for each in (shard, again)]
    assert following[0] == following[1]


def test_inputs_that_lead_to_other_signals_than_were_accepted_are_said_to_diverge():
    shard, steps = lived()
    changed = msgspec.structs.replace(tally_of(steps[-1]), digest=b"of other signals")
    kept = msgspec.structs.replace(record(shard, steps), tally=msgspec.msgpack.encode(changed))
    assert recover(shard_of(), kept).diverged


def test_state_of_other_strategies_is_refused_with_the_shards_number():
    shard, steps = lived()
    other = shard_of(rows(instruments=(1, 2)))
    with pytest.raises(
        JournalRefused, match=r"the journal's state of shard 4 cannot be taken over: .*other strategies"
    ):
        recover(other, record(shard, steps, checkpoint_at=1))
    assert (other.next_input, other.watermarks) == (0, {})
