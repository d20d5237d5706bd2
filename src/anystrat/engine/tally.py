"""What an engine's executors did, as a service reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anystrat.domain.health import ExecutorTally

if TYPE_CHECKING:
    from anystrat.engine.executor import StrategyExecutor


def tally_of(executor: StrategyExecutor) -> ExecutorTally:
    """The counters of one executor, now; some microseconds."""
    counted = executor.counters()
    return ExecutorTally(
        executor.strategy_id,
        executor.broker,
        executor.kind,
        executor.state,
        counted["ticks"],
        counted["evaluations"],
        counted["holds"],
        counted["drops"],
        counted["errors"],
        counted["fills"],
        _inferences(executor, counted["evaluations"]),
        counted["signals"],
    )


def _inferences(executor: StrategyExecutor, evaluations: int) -> int:
    """As the strategy counts them, a hybrid's ML part for it; one an evaluation where it does not.

    An answer that two executors share (of one strategy for two brokers, say) is one inference, of the first that asked.
    """
    if executor.kind == "rules":
        return 0
    parts: tuple[Any, ...] = (executor.processor, getattr(executor.processor, "ml", None))
    counts = (getattr(part, name, None) for part in parts for name in ("asked", "inferences"))
    return next((count for count in counts if isinstance(count, int)), evaluations)
