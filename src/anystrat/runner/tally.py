"""A shard's accounts: every tick that came in went one of four ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from anystrat.domain.health import ExecutorTally

if TYPE_CHECKING:
    from anystrat.engine.engine import Engine


class Tally(msgspec.Struct):
    """A shard's counts, committed with every step, so that the journal alone can say where every tick went.

    `processed` and `dropped` are the engine's, as after the step. `executors` are as they were when somebody last asked
    for them. `digest` runs over the ids of all signals that the shard emitted: after a restart the inputs since the
    checkpoint must lead to the same.
    """

    received: int = 0
    malformed: int = 0
    duplicates: int = 0
    shed: int = 0
    digest: bytes = b""
    processed: int = 0
    dropped: dict[str, int] = {}
    executors: tuple[ExecutorTally, ...] = ()

    def count(self, engine: Engine) -> None:
        """Take over what the engine counts by itself."""
        self.processed, self.dropped = engine.ticks, dict(engine.tick_drops)


class Accounts(msgspec.Struct, frozen=True):
    """`received == processed + duplicates + dropped + shed`, always, once nothing is under way."""

    received: int
    processed: int
    duplicates: int
    dropped: dict[str, int]
    shed: int

    @property
    def balanced(self) -> bool:
        """Whether every tick is accounted for."""
        return self.received == self.processed + self.duplicates + sum(self.dropped.values()) + self.shed


def accounts_of(tally: Tally) -> Accounts:
    """A shard's accounts."""
    dropped = dict(tally.dropped)
    if tally.malformed:
        dropped["malformed"] = dropped.get("malformed", 0) + tally.malformed
    return Accounts(tally.received, tally.processed, tally.duplicates, dropped, tally.shed)


def total(accounts: list[Accounts]) -> Accounts:
    """The accounts of several shards together."""
    dropped: dict[str, int] = {}
    for each in accounts:
        for reason, count in each.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return Accounts(
        sum(each.received for each in accounts),
        sum(each.processed for each in accounts),
        sum(each.duplicates for each in accounts),
        dropped,
        sum(each.shed for each in accounts),
    )
