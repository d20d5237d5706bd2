"""The processes of isolated strategies: one for each strategy of an engine, whatever its brokers and instruments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from anystrat.adapters.process_messages import Asked, Build
from anystrat.adapters.remote_processor import RemoteProcessor
from anystrat.adapters.strategy_process import START_SEC, StrategyProcess
from anystrat.bootstrap.process_parameters import packed

if TYPE_CHECKING:
    from pathlib import Path

    from anystrat.domain.health import ProcessHealth
    from anystrat.domain.protocols import StrategyProcessor
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.strategies.catalog import Catalog

#: `-P`: the directory that the service was started in is no place to import from.
COMMAND: Final = (sys.executable, "-P", "-m", "anystrat.bootstrap.strategy_process_main")


class IsolatedStrategies:
    """See `runner.parts.Processes`. `models` is the directory where versions of models are kept, if there is one."""

    def __init__(self, catalog: Catalog, models: Path | None) -> None:
        self._catalog = catalog
        self._models = models
        self._serving: list[StrategyProcess] = []
        self._prepared: list[StrategyProcess] = []

    def prepare(self, engines: Sequence[Engine]) -> Callable[[StrategyExecutor], StrategyProcessor]:
        """Raises `ProcessRefused`, with none of them left."""
        processors: dict[int, StrategyProcessor] = {}
        made: list[StrategyProcess] = []
        for engine in engines:
            by_strategy: dict[str, list[StrategyExecutor]] = {}
            for executor in engine.executors:
                if executor.isolation is not None:
                    by_strategy.setdefault(executor.strategy_id, []).append(executor)
            for executors in by_strategy.values():
                process = self._process(executors)
                made.append(process)
                for number, executor in enumerate(executors):
                    processors[id(executor)] = RemoteProcessor(process, number, executor.processor)
        self._end(self._prepared)  # of a configuration that was refused after all
        self._prepared = made
        try:
            for process in made:
                process.start()
            # One that hangs while it is built costs its strategy alone: it is lost for it until it is there.
            end = monotonic() + START_SEC
            for process in made:
                process.wait(max(0.0, end - monotonic()))
        except BaseException:
            self._end(made)
            raise
        return lambda executor: processors[id(executor)]

    def settle(self) -> None:
        """See `Processes`."""
        for process in self._prepared:
            process.patient = False
        before, self._serving, self._prepared = self._serving, self._prepared, []
        self._end(before)

    def news(self) -> list[tuple[str, bool, str]]:
        """See `Processes`."""
        return [(each.strategy_id, ready, text) for each in self._serving for ready, text in each.news()]

    def health(self) -> tuple[ProcessHealth, ...]:
        """See `Processes`."""
        return tuple(each.health() for each in self._serving)

    def close(self) -> None:
        """See `Processes`."""
        self._end([*self._serving, *self._prepared])

    @staticmethod
    def _end(processes: Sequence[StrategyProcess]) -> None:
        for each in processes:
            each.close()

    def _process(self, executors: Sequence[StrategyExecutor]) -> StrategyProcess:
        first = executors[0]
        row, isolation = first.config, first.isolation
        assert isolation is not None
        entry = self._catalog.strategy(row.strategy_type)
        build = Build(
            row.strategy_id,
            row.strategy_type,
            packed(row, self._catalog),
            tuple(Asked(each.need, each.seed) for each in executors),
            rules_only=first.kind == "rules" and entry.kind == "hybrid",
            models=None if self._models is None else str(self._models),
        )
        return StrategyProcess(COMMAND, build, isolation)
