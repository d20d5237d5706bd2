"""The paper accounts of a backtest: one a strategy and broker, their sum, and buy-and-hold beside them.

An account is moved by fills alone, whatever made them and whatever they cost, and marked at every tick. So it knows
neither fee models nor sizes nor bars; those are the engine's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from anystrat.backtest.curves import BucketColumns, Curve, CurveColumns, curve_of, tables_of
from anystrat.backtest.marking import (
    AccountColumns,
    Books,
    Clock,
    FillsIn,
    HoldingColumns,
    MarketColumns,
    mark_block,
)
from anystrat.backtest.statistics import DAY_NS
from anystrat.engine.state import LONG_AGO, table_type, view_of, views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine

#: Buckets of the portfolio's and buy-and-hold's curves; those of the others share as many again, and so do prices.
_MAIN_ROOM: Final = 4_096
_SHARED_ROOM: Final = 65_536
_LEAST_ROOM: Final = 128
_MOST_ROOM: Final = 2_048


class BlockFills(NamedTuple):
    """The fills of one block in the order of its ticks; `tick` is a place in the block. Every column of shape (n,)."""

    tick: NDArray[np.int64]
    slot: NDArray[np.int64]
    quantity: NDArray[np.int64]
    price: NDArray[np.float64]
    fee: NDArray[np.float64]
    realised: NDArray[np.float64]
    position: NDArray[np.int64]
    average: NDArray[np.float64]
    round_trip: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Account:
    """One account at the end, with what every tick left in it. Money in doubles, times and durations in nanoseconds.

    `drawdown` is the deepest fall from a peak, as a share of the peak, over all marks; `drawdown_amount` the largest in
    money. `longest` is the longest time below a peak; `recovered` says whether it ended. `days` and `marks` are the UTC
    days with a tick and the worth at the end of each.
    """

    name: str
    start: float
    end: float
    drawdown: float
    drawdown_amount: float
    drawdown_from: int
    drawdown_to: int
    longest: int
    longest_from: int
    longest_to: int
    recovered: bool
    time_in_market: float
    exposure: float
    mean_equity: float
    days: NDArray[np.int64]
    marks: NDArray[np.float64]
    curve: Curve


class Accounts:
    """Takes blocks of ticks with their fills, and keeps every account. Memory grows with days, not with ticks.

    `cash` is what every strategy's account starts with. The portfolio is their sum; with `shared`, it starts with `cash`
    once, and what the strategies earn is added up on that.
    """

    def __init__(self, engine: Engine, *, cash: float, shared: bool = False) -> None:
        self.engine = engine
        self.names = list(dict.fromkeys((one.strategy_id, one.broker) for one in engine.executors))
        number = {name: at for at, name in enumerate(self.names)}
        self.account_of_executor = np.array([number[one.strategy_id, one.broker] for one in engine.executors], np.int64)
        self.executor_of_slot = np.zeros(engine.state.slots, np.int64)
        for one in engine.executors:
            for slot in one.slots.values():
                self.executor_of_slot[slot] = one.row
        slots = engine.state.tables["slot"]
        self.instrument_of_slot: NDArray[np.int64] = slots["instrument"].copy()
        self.multiplier_of_slot: NDArray[np.float64] = slots["multiplier"].copy()
        self.starts = [cash] * len(self.names)
        self.starts += [cash if shared else cash * max(1, len(self.names))] * 2
        self._make_tables()
        self._compiled = False
        self._mark_block: Any = mark_block
        self._days: list[NDArray[np.int64]] = []
        self._marks: list[NDArray[np.float64]] = []

    def use_compiler(self, compiler: Compiler | None) -> None:
        """From the next block on, mark in compiled code, with the same results; None: as it stands."""
        self._compiled = compiler is not None
        self._mark_block = compiler(mark_block) if compiler is not None else mark_block

    def _make_tables(self) -> None:
        accounts, markets = len(self.starts), len(self.engine.tokens)
        self._accounts = np.zeros(accounts, table_type(AccountColumns))
        for name in ("equity", "mark", "peak"):
            self._accounts[name] = self.starts
        self._accounts["under_since"] = LONG_AGO
        self._holdings = np.zeros(len(self.instrument_of_slot), table_type(HoldingColumns))
        self._holdings["account"] = self.account_of_executor[self.executor_of_slot]
        self._holdings["multiplier"] = self.multiplier_of_slot
        self._markets = np.zeros(markets, table_type(MarketColumns))
        self._clock = np.zeros(1, table_type(Clock))
        self._clock["now"] = self._clock["day"] = LONG_AGO
        self._clock["share"] = self.starts[-1] / max(1, markets)
        rooms = [_room(accounts - 2)] * (accounts - 2) + [_MAIN_ROOM] * 2 + [_room(markets)] * markets
        self._curves, self._buckets = tables_of(rooms)
        self._watchers = np.argsort(self.instrument_of_slot, kind="stable")
        counts = np.bincount(self.instrument_of_slot, minlength=markets)
        self._watch_start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def take(self, block: TickColumns, place: NDArray[np.int64], fills: BlockFills) -> None:
        """Settle and mark a block. `place` is each tick's instrument row, below zero for a dropped one."""
        turns = 2 + int(np.count_nonzero(np.diff(block.ts_ns // DAY_NS)))
        day_of, day_marks = np.zeros(turns, np.int64), np.zeros((turns, len(self.starts)))
        self._clock["days"] = 0
        table = np.zeros(len(fills.tick), table_type(FillsIn))
        for name in FillsIn._fields:
            table[name] = getattr(fills, name)
        columns = (place, block.ts_ns, block.price, self._watch_start, self._watchers, day_of, day_marks)
        if self._compiled:
            tables: Any = (
                self._accounts,
                self._holdings,
                self._markets,
                self._curves,
                self._buckets,
                table,
                self._clock,
            )
            self._mark_block(Books._make(tables), *columns)
        else:
            self._mark_block(self._views(table), *map(view_of, columns))
        written = int(self._clock["days"][0])
        self._days.append(day_of[:written])
        self._marks.append(day_marks[:written])

    def _views(self, fills: NDArray[Any]) -> Books:
        return Books(
            views(AccountColumns, self._accounts),
            views(HoldingColumns, self._holdings),
            views(MarketColumns, self._markets),
            views(CurveColumns, self._curves),
            views(BucketColumns, self._buckets),
            views(FillsIn, fills),
            views(Clock, self._clock),
        )

    @property
    def began(self) -> bool:
        """Whether there was an accepted tick."""
        return int(self._clock["day"][0]) != LONG_AGO

    @property
    def now(self) -> int:
        """The latest time of an accepted tick."""
        return int(self._clock["now"][0])

    def accounts(self) -> list[Account]:
        """Every account as it stands: the strategies', the portfolio, buy-and-hold."""
        days = np.concatenate([*self._days, np.zeros(0, np.int64)])
        marks = np.concatenate([*self._marks, np.zeros((0, len(self.starts)))])
        if self.began:
            days = np.append(days, int(self._clock["day"][0]))
            marks = np.vstack([marks, self._accounts["mark"]])
        names = [f"{strategy} on {broker}" if broker != "paper" else strategy for strategy, broker in self.names]
        return [
            self._account(a, name, days, marks[:, a].copy())
            for a, name in enumerate([*names, "portfolio", "buy and hold"])
        ]

    def _account(self, a: int, name: str, days: NDArray[np.int64], marks: NDArray[np.float64]) -> Account:
        row = {key: self._accounts[key][a].item() for key in AccountColumns._fields}
        if self.began:
            elapsed = self.now - row["since"]
            row["gross_time"] += row["gross"] * elapsed
            row["equity_time"] += row["mark"] * elapsed
            row["market_time"] += elapsed if row["open"] else 0
        span = self.now - self.first_ts if self.began else 0
        under = row["under_since"] != LONG_AGO
        if under and self.now - row["under_since"] >= row["longest"]:
            row |= {
                "longest": self.now - row["under_since"],
                "longest_from": row["under_since"],
                "longest_to": self.now,
            }
        else:
            under = False
        return Account(
            name,
            self.starts[a],
            row["mark"],
            row["drawdown"],
            row["drawdown_amount"],
            row["drawdown_from"],
            row["drawdown_to"],
            row["longest"],
            row["longest_from"],
            row["longest_to"],
            not under,
            row["market_time"] / span if span else math.nan,
            row["gross_time"] / row["equity_time"] if row["equity_time"] > 0.0 else math.nan,
            row["equity_time"] / span if span else row["mark"],
            days,
            marks,
            curve_of(self._curves, self._buckets, a),
        )

    @property
    def first_ts(self) -> int:
        """The time of the first accepted tick, 0 before there is one."""
        seen = self._markets["first_ts"][self._markets["first"] > 0.0]
        return int(seen.min()) if len(seen) else 0

    def prices(self, i: int) -> Curve:
        """The curve of prices of instrument row `i`."""
        return curve_of(self._curves, self._buckets, len(self.starts) + i)

    def first_and_last(self, i: int) -> tuple[float, float]:
        """The first and the last accepted price of instrument row `i`; zeros where it had no tick."""
        return self._markets["first"][i].item(), self._markets["last"][i].item()

    @property
    def positions(self) -> NDArray[np.int64]:
        """The position of every slot now."""
        position: NDArray[np.int64] = self._holdings["position"]
        return position

    @property
    def worths(self) -> NDArray[np.float64]:
        """What the position of every slot is worth now."""
        worth: NDArray[np.float64] = self._holdings["worth"]
        return worth


def _room(curves: int) -> int:
    return min(_MOST_ROOM, max(_LEAST_ROOM, _SHARED_ROOM // max(1, curves)))
