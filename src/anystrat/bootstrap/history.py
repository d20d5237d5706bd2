"""Where windows are filled from, before a run's first tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from anystrat.adapters.file_history import FileHistory as TicksOfFiles
from anystrat.adapters.journal_history import JournalHistory as TicksOfJournal
from anystrat.adapters.tick_files import open_ticks
from anystrat.domain.columns import TickColumns
from anystrat.domain.endpoints import (
    FileHistory,
    FileSource,
    JournalHistory,
    KafkaSource,
    NatsSource,
    PostgresHistory,
    RedisHistory,
    SourceHistory,
    SyntheticSource,
)
from anystrat.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import HistorySettings, SourceSettings
    from anystrat.domain.inputs import Input
    from anystrat.domain.protocols import HistoryProvider
    from anystrat.domain.tick import MarketTick


def open_history(
    settings: HistorySettings, wanted: Mapping[int, int], source: SourceSettings, clock: Clock
) -> HistoryProvider:
    """The provider that the settings name, of so many ticks of each wanted instrument; nothing is read before it is asked.

    Only what is older than the source's first tick counts. Questions raise `TickFileError`, `JournalRefused`, `HistoryRefused`, `MissingExtra`.
    """
    before = _first_tick(source, clock)
    if isinstance(settings.options, FileHistory):
        return TicksOfFiles(settings.options.path, wanted, before)
    if isinstance(settings.options, JournalHistory):
        return _LateJournal(settings.options, max(wanted.values(), default=0), before)
    if isinstance(settings.options, PostgresHistory):
        from anystrat.adapters.postgres_history import PostgresTicks

        return PostgresTicks(settings.options.url.reveal(), settings.options.table, before)
    if isinstance(settings.options, RedisHistory):
        from anystrat.adapters.redis_history import RedisTicks

        return RedisTicks(settings.options.url.reveal(), settings.options.key, before)
    if isinstance(settings.options, SourceHistory):
        return _of_source(source, wanted, settings.options.messages)
    raise ConfigurationError(
        [
            Problem(
                "this version has no such history",
                path="history.type",
                found=repr(settings.type),
                allowed="file, journal, postgres, redis, source",
            )
        ]
    )


def _of_source(source: SourceSettings, wanted: Mapping[int, int], most: int) -> HistoryProvider:
    """What the source holds from before the run."""
    options = source.options
    if isinstance(options, NatsSource) and options.start == "new":
        from anystrat.adapters.nats_history import NatsTicks

        return NatsTicks(options, wanted, most)
    if isinstance(options, KafkaSource) and options.start == "new" and options.partitions:
        from anystrat.adapters.kafka_history import KafkaTicks

        return KafkaTicks(options, wanted, most)
    allowed = "a nats source with `start: new`, a kafka source with `start: new` and `partitions`"
    if isinstance(options, KafkaSource) and not options.partitions:
        message = "the group may give a partition to this run after another one has read on in it; name the source's `partitions`"
    elif isinstance(options, NatsSource | KafkaSource):
        message = (
            "a run begins with all that this source has, so that nothing is before it; give the source `start: new`"
        )
    else:
        message = f"a source of type {source.type} cannot be read before the run begins with it; take another history"
    raise ConfigurationError([Problem(message, path="history.type", found="'source'", allowed=allowed)])


def _first_tick(source: SourceSettings, clock: Clock) -> Callable[[], int | None]:
    """When the source's first tick is; now, where nobody can say before it comes."""
    options = source.options
    if isinstance(options, FileSource):

        def first_of_files() -> int | None:
            return next((int(block.ts_ns.min()) for block in open_ticks(options.path, block_rows=64)), None)

        return first_of_files
    if isinstance(options, SyntheticSource) and options.start != "now":
        return options.start_ns
    return clock.now_ns


class _LateJournal:
    """Reads another run's journal when it is asked first."""

    def __init__(self, options: JournalHistory, longest: int, before: Callable[[], int | None]) -> None:
        self._options = options
        self._longest = longest
        self._before = before
        self._history: TicksOfJournal | None = None

    def last_ticks(self, instrument_token: int, count: int) -> Sequence[MarketTick]:
        if self._history is None:
            self._history = self._read()
        return self._history.last_ticks(instrument_token, count)

    def _read(self) -> TicksOfJournal:
        from anystrat.bootstrap.journals import look_into_journal

        history, before = TicksOfJournal(self._longest), self._before()
        with look_into_journal(self._options.path) as journal:
            for shard in journal.shards:
                history.take(_older(each, before) for _, each in journal.inputs(shard))
        return history


def _older(each: Input, before: int | None) -> Input:
    if before is None or not isinstance(each, TickColumns):
        return each
    return each.taken(np.flatnonzero(each.ts_ns < before))
