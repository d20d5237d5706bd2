"""What a replay was told of single evaluations that it has not come to yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anystrat.engine.executor import StrategyExecutor


class ToCome:
    """By executor (strategy and broker), instrument and number of the instrument's tick: a text, said once."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], dict[tuple[int, int], str]] = {}

    def tell(self, strategy_id: str, broker: str, token: int, tick: int, text: str = "") -> None:
        """Of the evaluation on the instrument's `tick`-th tick this is to be known."""
        self._told.setdefault((strategy_id, broker), {})[token, tick] = text

    def take(self, executor: StrategyExecutor, token: int, tick: int) -> str | None:
        """What was told of this evaluation, which is not told again; None: nothing."""
        if not self._told:
            return None
        key = (executor.strategy_id, executor.broker)
        mine = self._told.get(key)
        if mine is None:
            return None
        text = mine.pop((token, tick), None)
        if not mine:
            del self._told[key]
        return text

    def any_of(self, executor: StrategyExecutor) -> bool:
        """Whether something was told of an evaluation of this executor."""
        return (executor.strategy_id, executor.broker) in self._told

    def dump(self) -> list[tuple[str, str, int, int, str]]:
        """All of it, for a snapshot."""
        return sorted((*key, *place, text) for key, places in self._told.items() for place, text in places.items())

    def load(self, dumped: Iterable[tuple[str, str, int, int, str]]) -> None:
        """Take over what `dump` gave, and nothing else."""
        self._told.clear()
        for entry in dumped:
            self.tell(*entry)
