"""The paper accounts of a backtest: one a strategy and broker, their sum, and buy-and-hold beside them.

An account is moved by fills alone, whatever made them and whatever they cost, and marked at every tick. So it knows
neither fee models nor sizes nor bars; those are the engine's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest.curves import BucketColumns, Curve, CurveColumns, curve_of, tables_of
from anystrat.backtest.figures import Dealings
from anystrat.backtest.marking import (
    AccountColumns,
    Books,
    HoldingColumns,
    Passes,
    StakeColumns,
    TicksIn,
    mark_accounts,
    push_prices,
)
from anystrat.backtest.statistics import DAY_NS
from anystrat.backtest.trades import DealingColumns, OpenTrade
from anystrat.engine.columns.grouping import by_tick
from anystrat.engine.raw_signals import FillLog
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
#: Of what an account did: where it is in a row of `DealingColumns`, and where the rest of the sum is.
_DEALT: Final = tuple(
    (each.name, names.index(each.name), names.index(error) if (error := f"{each.name}_error") in names else None)
    for names in (DealingColumns._fields,)
    for each in fields(Dealings)
)


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
    dealings: Dealings


class Accounts:
    """Takes blocks of ticks with their fills, and keeps every account. Memory grows with days, not with ticks.

    `cash` is what every strategy's account starts with. The portfolio is their sum; with `shared`, it starts with `cash`
    once, and what the strategies earn is added up on that. Without `portfolio` the strategies' accounts alone are kept, and neither
    their sum nor buy-and-hold nor prices.
    """

    def __init__(self, engine: Engine, *, cash: float, shared: bool = False, portfolio: bool = True) -> None:
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
        self.began = False
        #: The times of the first and the latest accepted tick.
        self.first_ts = self.now = 0
        self._portfolio = portfolio
        # The sum of one account is that account.
        self._sums_up = portfolio and len(self.names) != 1
        self._make_tables()
        self._make_passes()
        self._compiled = False
        self._mark_accounts: Any = mark_accounts
        self._push_prices: Any = push_prices
        self._by_tick: Any = by_tick
        self._days: list[NDArray[np.int64]] = []
        self._marks: list[NDArray[np.float64]] = []

    def use_compiler(self, compiler: Compiler | None) -> None:
        """From the next block on, mark in compiled code, with the same results; None: as it stands."""
        self._compiled = compiler is not None
        self._mark_accounts = compiler(mark_accounts) if compiler else mark_accounts
        self._push_prices = compiler(push_prices) if compiler else push_prices
        self._by_tick = compiler(by_tick) if compiler else by_tick

    def _make_tables(self) -> None:
        accounts, markets = len(self.starts), len(self.engine.tokens)
        self._accounts = np.zeros(accounts, table_type(AccountColumns))
        for name in ("rest", "mark", "peak"):
            self._accounts[name] = self.starts
        self._accounts["under_since"] = self._accounts["since"] = LONG_AGO
        self._accounts["stake"] = -1
        self._dealings = np.zeros(accounts, table_type(DealingColumns))
        #: The first and the last price of every instrument, 0 before it has one.
        self._first, self._last = np.zeros(markets), np.zeros(markets)
        strategies = _MAIN_ROOM if accounts == 3 else _room(accounts - 2)
        if not self._portfolio:
            strategies = _LEAST_ROOM
        rooms = [strategies] * (accounts - 2) + [_MAIN_ROOM] * 2 + [_room(markets)] * markets
        self._curves, self._buckets = tables_of(rooms)

    def _make_passes(self) -> None:
        """Lay out who holds what: each strategy's account its slots, the portfolio all of them, buy-and-hold every instrument."""
        instrument, slots = self.instrument_of_slot, len(self.instrument_of_slot)
        names, markets = len(self.names), len(self.engine.tokens)
        self._account_of_slot = owner = self.account_of_executor[self.executor_of_slot]
        by_owner, by_market = np.lexsort((instrument, owner)), np.argsort(instrument, kind="stable")
        # Of each slot in its own account, then of each in the portfolio.
        self._holding_of = np.empty(2 * slots, np.int64)
        self._holding_of[by_owner], self._holding_of[slots + by_market] = range(slots), range(slots, 2 * slots)
        self._stake_of = np.full(markets, -1, np.int64)
        account = np.concatenate([owner[by_owner], np.full(slots, names), np.full(markets, names + 1)])
        market = np.concatenate([instrument[by_owner], instrument[by_market], np.arange(markets)])
        first = np.flatnonzero(np.diff(account, prepend=-1) | np.diff(market, prepend=-1))
        self._stakes = np.zeros(len(first), table_type(StakeColumns))
        self._stakes["instrument"], self._stakes["first_holding"] = market[first], first
        self._stakes["last_holding"] = [*first[1:], len(market)]
        self._holdings = np.zeros(len(market), table_type(HoldingColumns))
        self._holdings["stake"] = np.repeat(np.arange(len(first)), np.diff(first, append=len(market)))
        multipliers = self.multiplier_of_slot
        self._holdings["multiplier"] = np.concatenate([multipliers[by_owner], multipliers[by_market], np.ones(markets)])
        self._trades = np.zeros(len(market), table_type(OpenTrade))
        passes = np.zeros(names + 2, table_type(Passes))
        passes["account"] = np.arange(names + 2)
        passes["first_slot"][names] = slots
        passes["share"][names + 1] = self.starts[-1] / max(1, markets)
        passes["first_stake"] = np.searchsorted(account[first], range(names + 2), side="left")
        passes["last_stake"] = np.searchsorted(account[first], range(names + 2), side="right")
        kept = [True] * names + [self._sums_up, self._portfolio]
        self._passes = passes[kept]
        # An account of one instrument looks at no others' ticks.
        self._alone = np.flatnonzero(self._passes["last_stake"] - self._passes["first_stake"] == 1)
        if markets == 1:
            self._alone = self._alone[:0]

    def take(self, block: TickColumns, place: NDArray[np.int64], fills: NDArray[Any]) -> None:
        """Settle and mark a block. `place` is each tick's instrument row, below zero for a dropped one.

        `fills` are a table of `FillLog`: every executor's in the order of its ticks, which are places in the block.
        """
        row, ts, price = place, block.ts_ns, block.price
        if len(place) and place.min() < 0:
            accepted = np.flatnonzero(place >= 0)
            row, ts, price = place[accepted], ts[accepted], price[accepted]
            fills = fills.copy()
            fills["tick"] = np.searchsorted(accepted, fills["tick"])
        if not len(row):
            return
        now = ts
        if np.any(ts[1:] < ts[:-1]) or (self.began and ts[0] < self.now):
            now = np.maximum.accumulate(ts)
            np.maximum(now, self.now if self.began else now[0], out=now)
        before = self.now if self.began else int(now[0])
        if not self.began:
            self.began, self.first_ts = True, int(now[0])
        self.now = int(now[-1])
        midnights, ended = _midnights(before, now)
        day_marks = np.zeros((len(midnights), len(self.starts)))
        self._mark(fills, TicksIn(row, ts, now, price), midnights, day_marks)
        self._days.append(ended)
        self._marks.append(day_marks)

    def _mark(
        self, fills: NDArray[Any], ticks: TicksIn, midnights: NDArray[np.int64], day_marks: NDArray[np.float64]
    ) -> None:
        """Let the kernels go through the accepted ticks."""
        columns: list[NDArray[Any]] = [np.asarray(column) for column in ticks]
        size, markets, start = len(columns[0]), len(self._first), 0
        passes = self._passes.copy()
        passes["last_tick"] = size
        fills = self._by_account(fills, passes)
        if len(self._alone):
            order, ends = np.empty(size, np.int64), np.zeros(markets + 1, np.int64)
            self._by_tick(columns[0], ends, order)
            starts, start = np.concatenate([[0], ends[:-1]]), size
            market = self._stakes["instrument"][passes["first_stake"][self._alone]]
            passes["first_tick"][self._alone], passes["last_tick"][self._alone] = (
                size + starts[market],
                size + ends[market],
            )
            place_of = np.empty(size, np.int64)
            place_of[order] = np.arange(size, 2 * size)
            columns = [np.concatenate([column, column[order]]) for column in columns]
            fills = fills.copy()
            for first, last in passes[["first_fill", "last_fill"]][self._alone].tolist():
                fills["tick"][first:last] = place_of[fills["tick"][first:last]]
        kinds = (AccountColumns, DealingColumns, HoldingColumns, OpenTrade, StakeColumns, CurveColumns, BucketColumns)
        tables = (
            self._accounts,
            self._dealings,
            self._holdings,
            self._trades,
            self._stakes,
            self._curves,
            self._buckets,
        )
        seen: Any = TicksIn._make(columns), passes, self._holding_of, self._stake_of, self._first, self._last
        if self._compiled:
            books = Books._make((*tables, fills, *seen))
        else:
            shown: list[Any] = [views(kind, table) for kind, table in zip(kinds, tables, strict=True)]
            rest = (view_of(each) for each in seen[2:])
            ticks = TicksIn._make(view_of(column) for column in columns)
            books = Books._make((*shown, views(FillLog, fills), ticks, views(Passes, passes), *rest))
        self._mark_accounts(books, midnights, day_marks)
        if self._portfolio:
            self._push_prices(books, len(self.starts), start)

    def _by_account(self, fills: NDArray[Any], passes: NDArray[Any]) -> NDArray[Any]:
        """The block's fills by account, and once more in the order of ticks for the portfolio, where that is a sum; `passes` are told."""
        accounts, size = len(self.names), len(fills)
        slot, tick = fills["slot"], fills["tick"]
        owner = self._account_of_slot[slot]
        ends = np.cumsum(np.bincount(owner, minlength=accounts)).tolist()
        if len(self.engine.executors) > accounts:
            by_account = in_order(slot, tick, owner)
        else:
            by_account = None if np.all(owner[1:] >= owner[:-1]) else np.argsort(owner, kind="stable")
        parts = [fills if by_account is None else fills[by_account]]
        if self._sums_up:
            by_tick = in_order(slot, tick)
            parts.append(fills if by_tick is None else fills[by_tick])
            ends.append(2 * size)
        passes["last_fill"] = [*ends, *[ends[-1] if ends else 0] * (len(passes) - len(ends))]
        passes["first_fill"][1:] = passes["last_fill"][:-1]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def accounts(self) -> list[Account]:
        """Every account as it stands: the strategies', the portfolio, buy-and-hold."""
        days = np.concatenate([*self._days, np.zeros(0, np.int64)])
        marks = np.concatenate([*self._marks, np.zeros((0, len(self.starts)))])
        if self.began:
            days = np.append(days, self.now // DAY_NS)
            marks = np.vstack([marks, self._accounts["mark"]])
        names = [name_of(strategy, broker) for strategy, broker in self.names]
        rows = [*range(len(names)), len(names) if self._sums_up else 0, len(names) + 1]
        marks = np.ascontiguousarray(marks.T)
        return [
            self._account(a, name, days, marks[a])
            for a, name in zip(rows, [*names, "portfolio", "buy and hold"], strict=True)
        ]

    def _account(self, a: int, name: str, days: NDArray[np.int64], marks: NDArray[np.float64]) -> Account:
        row: dict[str, Any] = dict(zip(AccountColumns._fields, self._accounts[a].item(), strict=True))
        if row["since"] != LONG_AGO:
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
            self._dealt(a),
        )

    def _dealt(self, a: int) -> Dealings:
        """What account `a` did; buy-and-hold has no fills."""
        row = self._dealings[a].item()
        return Dealings(**{name: row[at] if error is None else row[at] + row[error] for name, at, error in _DEALT})

    def prices(self, i: int) -> Curve:
        """The curve of prices of instrument row `i`."""
        return curve_of(self._curves, self._buckets, len(self.starts) + i)

    def first_and_last(self, i: int) -> tuple[float, float]:
        """The first and the last accepted price of instrument row `i`; zeros where it had no tick."""
        return self._first[i].item(), self._last[i].item()

    @property
    def positions(self) -> NDArray[np.int64]:
        """The position of every slot now."""
        return self._holdings["position"][self._holding_of[: len(self.multiplier_of_slot)]].astype(np.int64)

    @property
    def worths(self) -> NDArray[np.float64]:
        """What the position of every slot is worth now: it is all of its account's stake."""
        worth: NDArray[np.float64] = self._stakes["worth"][
            self._holdings["stake"][self._holding_of[: len(self.multiplier_of_slot)]]
        ]
        return worth


def name_of(strategy: str, broker: str) -> str:
    """What the account of a strategy on a broker is called."""
    return f"{strategy} on {broker}" if broker != "paper" else strategy


def in_order(*keys: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The order by the last of these keys, then by the one before it, and so on; None where that is how they come."""
    same = np.ones(max(0, len(keys[0]) - 1), np.bool_)
    later = ~same
    for key in reversed(keys):
        later = later | (same & (key[1:] > key[:-1]))
        same = same & (key[1:] == key[:-1])
    return None if np.all(later | same) else np.lexsort(keys)


def _midnights(before: int, now: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(where UTC days end that had a tick, each with a tick later: times; those days)."""
    midnights = DAY_NS * np.arange(before // DAY_NS + 1, int(now[-1]) // DAY_NS + 1)
    turns, which = np.unique(np.searchsorted(now, midnights), return_index=True)  # days without a tick end nowhere
    return midnights[which], np.where(turns > 0, now[turns - 1], before) // DAY_NS


def _room(curves: int) -> int:
    return min(_MOST_ROOM, max(_LEAST_ROOM, _SHARED_ROOM // max(1, curves)))
