"""`StrategyFactory`: executors for rules, ML or hybrid strategies, made the way the service makes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anystrat.bootstrap import Wiring, default_wiring
from anystrat.config import row_from_mapping
from anystrat.domain.configuration import BrokerSettings, Configuration, PaperCosts, StrategyConfig
from anystrat.domain.errors import ModelRefused
from anystrat.engine.engine import Engine
from anystrat.engine.executor import StrategyExecutor


class StrategyFactory:
    """Makes executors, each in an engine of its own: for trying one strategy, without a service around it."""

    def __init__(self, wiring: Wiring | None = None, *, directory: str | Path = ".") -> None:
        self._wiring = wiring or default_wiring()
        self._directory = Path(directory)

    def create_executor(
        self, config: StrategyConfig | Mapping[str, Any], *, broker: str | None = None, costs: PaperCosts | None = None
    ) -> StrategyExecutor:
        """The executor of a row on one broker (its first, if none is named).

        `config` is a checked `StrategyConfig`, or a row as in a configuration file. Raises `ConfigurationError` for a
        row that is refused, `ModelRefused` for a model that does not load.
        """
        brokers = dict(Configuration().brokers)
        if costs is not None:
            brokers["paper"] = BrokerSettings("paper", "paper", costs)
        row = (
            config
            if isinstance(config, StrategyConfig)
            else row_from_mapping(config, self._wiring.catalog, base_dir=self._directory, brokers=brokers)
        )
        chosen = broker or row.active_brokers[0]
        executors = self._wiring.add_row(Engine(), row, brokers)
        for executor in executors:
            if executor.broker == chosen:
                return executor
        if self._wiring.left_out:
            raise ModelRefused(self._wiring.left_out[-1].reason)
        raise ValueError(f"strategy {row.strategy_id!r} is not enabled on broker {chosen!r}")
