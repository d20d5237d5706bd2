"""What a backtest keeps of a run: fills, signals and counted drops as columns, and every account at every tick.

Objects are read only where the engine made some (strategies that run tick by tick); a block over columns makes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest.accounts import Accounts, in_order
from anystrat.backtest.drop_counts import DropCounts
from anystrat.domain.outcomes import Dropped, Emitted, Filled, Outcome, TickDropped
from anystrat.domain.signal import SIDE_CODE
from anystrat.engine.columns.block import fresh
from anystrat.engine.raw_signals import FillLog
from anystrat.engine.state import table_type
from anystrat.strategies.hybrid import HybridProcessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.columns.runner import BlockResult
    from anystrat.engine.engine import Engine

#: Columns of a fill, with their types: what the engine said, the tick's price, and whose it is.
FILL_COLUMNS: Final[dict[str, Any]] = {
    "ts_ns": np.int64,
    "slot": np.int64,
    "quantity": np.int64,
    "price": np.float64,
    "fee": np.float64,
    "realised": np.float64,
    "position": np.int64,
    "average": np.float64,
    "round_trip": np.bool_,
    "tick_price": np.float64,
}
SIGNAL_COLUMNS: Final[dict[str, Any]] = {
    "ts_ns": np.int64,
    "slot": np.int64,
    "side": np.int8,
    "confidence": np.float64,
    "quantity": np.int64,
    "price": np.float64,
    "bucket": np.int64,
}

Stepped = Sequence[tuple[int, Sequence[Outcome]]]


class Recorder:
    """Reads an engine's blocks as they are done. Fills and emitted signals are kept, one row each; ticks are not.

    With `accounts_alone` nothing is kept but the strategies' accounts: neither fills, signals and drops nor a portfolio.
    """

    def __init__(
        self, engine: Engine, *, cash: float = 1_000_000.0, shared: bool = False, accounts_alone: bool = False
    ) -> None:
        self.engine = engine
        self.compiler: Compiler | None = None
        self.accounts = Accounts(engine, cash=cash, shared=shared, portfolio=not accounts_alone)
        self._accounts_alone = accounts_alone
        self.drops = DropCounts()
        for one in engine.executors:
            if isinstance(one.processor, HybridProcessor):
                one.processor.agreement = np.zeros((3, 3), np.int64)
        self._fills: list[NDArray[Any]] = []
        self._of_ticks: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._signals: list[dict[str, NDArray[Any]]] = []
        self._row_of = {token: row for row, token in enumerate(engine.tokens)}
        self._slots = {
            (one.strategy_id, one.broker, token): slot for one in engine.executors for token, slot in one.slots.items()
        }

    def use_compiler(self, compiler: Compiler | None) -> None:
        """From the next block on, mark accounts in compiled code, with the same results."""
        self.compiler = compiler
        self.accounts.use_compiler(compiler)

    def columns(self, result: BlockResult) -> None:
        """A block that went over columns, whole or in part."""
        table = result.tables.fills
        if self._accounts_alone:
            self._take(result.block, result.place, table, None, result.scalar)
            return
        order = result.order
        fired = {name: np.asarray(column)[order] for name, column in result.tables.fired._asdict().items()}
        tick = result.tables.grouped["tick"][fired.pop("position")]
        fired |= {"tick": tick, "ts_ns": result.block.ts_ns[tick], "price": result.block.price[tick]}
        self._take(result.block, result.place, table, fired, result.scalar)

    def stepped(self, block: TickColumns, outcomes: Stepped) -> None:
        """A block that went tick by tick: the outcomes, with the place of their tick in the block."""
        place = np.array([self._row_of.get(token, -1) for token in block.instrument_token.tolist()], np.int64)
        dropped = [k for k, each in outcomes if each and isinstance(each[0], TickDropped)]
        place[dropped] = -1
        self._take(block, place, fresh(FillLog, 0), None, outcomes)

    def _take(
        self,
        block: TickColumns,
        place: NDArray[np.int64],
        fills: NDArray[Any],
        fired: dict[str, NDArray[Any]] | None,
        stepped: Stepped,
    ) -> None:
        filled, judged = self._of_outcomes(stepped)
        if len(filled):
            fills = np.concatenate([fills, filled])
        self.accounts.take(block, place, fills)
        if self._accounts_alone:
            return
        if len(fills):
            order = in_order(fills["slot"], fills["tick"])
            self._fills.append(fills if order is None else fills[order])
            tick = self._fills[-1]["tick"]
            self._of_ticks.append((block.ts_ns[tick], block.price[tick]))
        self._judged(_both(fired, judged))

    def _judged(self, judged: dict[str, NDArray[Any]]) -> None:
        tick, passed = judged["tick"], judged["code"] == 0
        if not np.all(passed):
            refused = np.flatnonzero(judged["code"] > 0)
            self.drops.add(judged["ts_ns"][refused], judged["slot"][refused], judged["code"][refused])
            tick, judged = tick[passed], {name: column[passed] for name, column in judged.items()}
        if len(tick):
            order = in_order(judged["slot"], tick)
            if order is not None:
                judged = {name: column[order] for name, column in judged.items()}
            self._signals.append({name: judged[name].astype(kind) for name, kind in SIGNAL_COLUMNS.items()})

    def _of_outcomes(self, stepped: Stepped) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Fills (a table of `FillLog`) and judged signals of the strategies that made objects of them."""
        fills: list[tuple[Any, ...]] = []
        judged: list[tuple[Any, ...]] = []
        for tick, outcomes in stepped:
            for one in outcomes:
                if isinstance(one, Filled):
                    slot = self._slots[one.strategy_id, one.broker, one.instrument_token]
                    fills.append(
                        (
                            tick, self.accounts.executor_of_slot[slot], slot, 0, one.quantity, one.position, one.round_trip,
                            one.price, one.fee, one.realised, one.average_price,
                        )
                    )  # fmt: skip
                elif isinstance(one, Emitted):
                    signal = one.signal
                    slot = self._slots[signal.strategy_id, signal.broker, signal.instrument_token]
                    side = SIDE_CODE[signal.signal_type]
                    judged.append(
                        (
                            tick, slot, side, signal.confidence, signal.quantity, signal.price_bucket, 0, signal.ts_ns,
                            float(signal.price),
                        )
                    )  # fmt: skip
                elif isinstance(one, Dropped):
                    slot = self._slots[one.strategy_id, one.broker, one.instrument_token]
                    judged.append((tick, slot, 0, 0.0, 0, 0, self.drops.code(str(one.reason)), one.ts_ns, 0.0))
        return (
            np.array(fills, table_type(FillLog)),
            _columns(
                judged,
                {"tick": np.int64, "slot": np.int64, "side": np.int8, "confidence": np.float64, "quantity": np.int64,
                 "bucket": np.int64, "code": np.int64, "ts_ns": np.int64, "price": np.float64},
            ),
        )  # fmt: skip

    def fills(self) -> dict[str, NDArray[Any]]:
        """Every fill so far, in the order of ticks and rows: `FILL_COLUMNS`, each of shape (n,)."""
        table = np.concatenate([*self._fills, fresh(FillLog, 0)])
        ts, price = (np.concatenate(each) for each in zip(*self._of_ticks, strict=True)) if self._of_ticks else ((), ())
        more = {"ts_ns": ts, "tick_price": price}
        return {
            name: np.asarray(more[name] if name in more else table[name], kind) for name, kind in FILL_COLUMNS.items()
        }

    def signals(self) -> dict[str, NDArray[Any]]:
        """Every emitted signal so far, in the order of ticks and rows: `SIGNAL_COLUMNS`, each of shape (n,)."""
        return {
            name: np.concatenate([piece[name] for piece in self._signals]) if self._signals else np.zeros(0, kind)
            for name, kind in SIGNAL_COLUMNS.items()
        }


def _columns(rows: list[tuple[Any, ...]], kinds: dict[str, Any]) -> dict[str, NDArray[Any]]:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    return {name: np.array(column, kind) for (name, kind), column in zip(kinds.items(), columns, strict=True)}


def _both(one: dict[str, NDArray[Any]] | None, other: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    if one is None:
        return other
    return {name: np.concatenate([one[name], column]) if len(column) else one[name] for name, column in other.items()}
