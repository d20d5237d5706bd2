"""Who has anything to do on a tick: one compiled call that looks at all strategies of an instrument at once.

Most strategies have nothing to say on most ticks. Their parameters are the rows of one table an instrument; the call
evaluates those rules, counts the evaluations, and lists the watchers that fired, wait for a fill, are warming up or
paused, or cannot be judged here. Only those walk through the engine's own steps, which alone change anything else.
Written in the part of Python that Numba compiles unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from anystrat.domain.lifecycle import State
from anystrat.domain.protocols import ColumnRule
from anystrat.engine.state import Floats, Ints, table_type
from anystrat.strategies.breakout import breakout_fired, breakout_kernel
from anystrat.strategies.mean_reversion import mean_reversion_fired, mean_reversion_kernel
from anystrat.strategies.momentum import momentum_fired, momentum_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.protocols import Compiler
    from anystrat.domain.window import Window
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.engine.state import ExecutorColumns, SlotColumns

_ACTIVE: Final = int(State.ACTIVE)
_OTHER: Final = 0
_MOMENTUM: Final = 1
_MEAN_REVERSION: Final = 2
_BREAKOUT: Final = 3
_KINDS: Final[dict[Any, int]] = {
    momentum_fired: _MOMENTUM,
    mean_reversion_fired: _MEAN_REVERSION,
    breakout_fired: _BREAKOUT,
}

#: With fewer watchers than this the engine's own steps are as quick.
WORTH_A_CALL: Final = 3


class WatcherColumns(NamedTuple):
    """A row a watcher of the instrument, in the engine's order. A `kind` of 0 always needs the engine's own steps."""

    executor: Ints
    slot: Ints
    need: Ints
    kind: Ints
    periods: Ints
    level: Floats


def attend(
    watchers: WatcherColumns,
    executors: ExecutorColumns,
    slots: SlotColumns,
    window: Sequence[float],
    end: int,
    count: int,
    blocked: bool,
    ts: int,
    found: NDArray[np.int64],
) -> int:
    """List in `found` the watchers that need the engine's own steps on this tick; the others are evaluated and counted.

    `window[:end]` are the instrument's prices, `count` how many ticks it holds. A watcher that is not listed has fired
    nothing, waits for nothing, and is ACTIVE with a full window.
    """
    listed = 0
    for k in range(len(watchers.kind)):
        e = watchers.executor[k]
        kind = watchers.kind[k]
        quiet = kind != _OTHER and executors.state[e] == _ACTIVE and ts < executors.due[e] and count >= watchers.need[k]
        if quiet and not blocked and slots.pending_count[watchers.slot[k]] > 0:
            quiet = False
        if quiet:
            if kind == _MOMENTUM:
                side, _, _ = momentum_kernel(window, end, watchers.periods[k], watchers.level[k])
            elif kind == _MEAN_REVERSION:
                side, _, _ = mean_reversion_kernel(window, end, watchers.periods[k], watchers.level[k])
            else:
                side, _, _ = breakout_kernel(window, end, watchers.periods[k], watchers.level[k])
            quiet = side == 0
        if quiet:
            executors.evaluations[e] += 1
        else:
            found[listed] = k
            listed += 1
    return listed


class Attention:
    """The compiled look at one instrument's watchers."""

    def __init__(self, compiler: Compiler, watchers: list[tuple[StrategyExecutor, int]]) -> None:
        self._compiler = compiler
        self._direct: Any = None
        self._watchers = watchers
        self._rows = np.zeros(len(watchers), table_type(WatcherColumns))
        self._found = np.zeros(len(watchers), np.int64)
        for k, (executor, slot) in enumerate(watchers):
            kind, periods, level = _rule_of(executor)
            self._rows[k] = (executor.row, slot, executor.need, kind, periods, level)

    def needed(
        self, tables: dict[str, NDArray[Any]], window: Window, blocked: bool, ts: int
    ) -> list[tuple[StrategyExecutor, int]]:
        """The watchers that need the engine's own steps on the window's current tick, in their order."""
        arguments = (
            self._rows,
            tables["executor"],
            tables["slot"],
            window.prices,
            window.end,
            window.count,
            blocked,
            ts,
            self._found,
        )
        if self._direct is None:
            self._direct = self._compiler.direct(attend, arguments)
        many: int = self._direct(*arguments)
        watchers = self._watchers
        return [watchers[k] for k in self._found[:many].tolist()] if many else []


def _rule_of(executor: StrategyExecutor) -> tuple[int, int, float]:
    processor = executor.processor
    if executor.validator is not None or not isinstance(processor, ColumnRule):
        return _OTHER, 0, 0.0
    kernel, arguments = processor.fired()
    kind = _KINDS.get(kernel, _OTHER)
    return (kind, int(arguments[0]), float(arguments[1])) if kind else (_OTHER, 0, 0.0)
