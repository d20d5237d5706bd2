"""Versions of models in a run: what serves at its start, what changed since, and where their bytes are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anystrat.domain.configuration import Configuration
from anystrat.domain.endpoints import MemoryJournal, SqliteJournal
from anystrat.domain.events import ModelEvent, ModelKept, ModelReverted, ModelServing, ModelSwapped
from anystrat.strategies.catalog import ModelShelf

if TYPE_CHECKING:
    from anystrat.adapters.model_shelf import Prepared, Refused
    from anystrat.engine.engine import Engine


def models_directory(configuration: Configuration) -> Path | None:
    """Where a run keeps the models that served: `models` beside its journal; None where it keeps no state at all."""
    journal = configuration.journal
    if journal is None or isinstance(journal.options, MemoryJournal):
        return None
    if isinstance(journal.options, SqliteJournal):
        return Path(journal.options.path).parent / "models"
    return configuration.directory / "state" / "models"


class ModelWatch:
    """Says, as events, which versions of the models serve. For whoever drives engines live; a replay needs none.

    Hand every event to `step` of every engine, and record it at that place: it takes effect there, so that each engine
    has a swap at a place of its own among its ticks. All engines were built from one wiring with this shelf of models.
    """

    def __init__(self, models: ModelShelf, engines: Sequence[Engine]) -> None:
        from anystrat.adapters.model_shelf import OnnxShelf

        self._shelf = models if isinstance(models, OnnxShelf) else None
        self._engines = engines
        self._found: deque[Prepared | Refused] = deque()

    def at_start(self, ts_ns: int) -> list[ModelEvent]:
        """What serves, before the first tick of a run or of its continuation.

        Where a restored engine goes on with another version than the file holds now, that is a swap, on trial.
        """
        events: list[ModelEvent] = []
        for path, sha256 in self._shelf.serving().items() if self._shelf is not None else ():
            ids = self._ids(path)
            known = {found for engine in self._engines for found in _served(engine, path)}
            other = next(iter(sorted(known - {sha256})), None)
            if self._shelf is not None and other is not None:
                self._shelf.overtaken(path, other)
                events.append(ModelSwapped(ts_ns, path, sha256, ids))
            elif ids:
                events.append(ModelServing(path, sha256, ids))
        return events

    def look(self) -> None:
        """Look at every file once, and load what changed and is at rest. May take long, and may run beside the ticks."""
        if self._shelf is not None:
            self._found.extend(self._shelf.prepare())

    def events(self, ts_ns: int) -> list[ModelEvent]:
        """What has to be done about what was seen: versions that failed go, those that were found serve. Between two ticks.

        Quick: call it as often as you like. What is not handed to the engines serves for strategies to come alone.
        """
        from anystrat.adapters.model_shelf import Refused

        if self._shelf is None:
            return []
        events: list[ModelEvent] = [
            ModelReverted(ts_ns, each.path, each.sha256, each.failed_sha256, each.text, self._ids(each.path))
            for each in self._shelf.reverted()
        ]
        while self._found:
            found = self._found.popleft()
            if isinstance(found, Refused):
                events.append(ModelKept(ts_ns, found.path, found.text))
            else:
                swap = self._shelf.put(found)
                events.append(ModelSwapped(ts_ns, swap.path, swap.sha256, self._ids(swap.path)))
        return events

    def _ids(self, path: str) -> tuple[str, ...]:
        ids = dict.fromkeys(
            executor.strategy_id
            for engine in self._engines
            for executor in engine.executors
            if executor.models is not None and executor.models.model_path == path
        )
        return tuple(ids)


def _served(engine: Engine, path: str) -> list[str]:
    return [
        executor.models.model_sha256
        for executor in engine.executors
        if executor.models is not None
        and executor.models.model_path == path
        and executor.models.model_sha256 is not None
    ]
