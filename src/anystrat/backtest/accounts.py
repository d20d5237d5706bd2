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
    FillsIn,
    HoldingColumns,
    Passes,
    Places,
    mark_accounts,
    push_prices,
)
from anystrat.backtest.statistics import DAY_NS
from anystrat.engine.columns.grouping import by_tick
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
        for name in ("equity", "mark", "peak"):
            self._accounts[name] = self.starts
        self._accounts["under_since"] = self._accounts["since"] = LONG_AGO
        #: The first and the last price of every instrument, 0 before it has one.
        self._first, self._last = np.zeros(markets), np.zeros(markets)
        strategies = _MAIN_ROOM if accounts == 3 else _room(accounts - 2)
        rooms = [strategies] * (accounts - 2) + [_MAIN_ROOM] * 2 + [_room(markets)] * markets
        self._curves, self._buckets = tables_of(rooms)

    def _make_passes(self) -> None:
        """Lay out who holds what: each strategy's account its slots, the portfolio all of them, buy-and-hold every instrument."""
        instrument, slots = self.instrument_of_slot, len(self.instrument_of_slot)
        names, markets = len(self.names), len(self.engine.tokens)
        self._account_of_slot = owner = self.account_of_executor[self.executor_of_slot]
        by_owner, by_market = np.lexsort((instrument, owner)), np.argsort(instrument, kind="stable")
        passes = np.zeros(names + 2, table_type(Passes))
        passes["account"] = np.arange(names + 2)
        passes["last_holding"] = [
            *np.searchsorted(owner[by_owner], range(names), side="right"),
            2 * slots,
            2 * slots + markets,
        ]
        passes["first_holding"] = [0, *passes["last_holding"][:-1]]
        # An account of one instrument looks at no others' ticks.
        passes["whole"] = passes["last_holding"] - passes["first_holding"] != 1
        if markets == 1:
            passes["whole"] = 1
        self._holding_of_slot, self._summed_of_slot = np.empty(slots, np.int64), np.empty(slots, np.int64)
        self._holding_of_slot[by_owner], self._summed_of_slot[by_market] = range(slots), range(slots, 2 * slots)
        self._bought = 2 * slots
        self._instrument_of_holding = np.concatenate([instrument[by_owner], instrument[by_market], np.arange(markets)])
        self._holdings = np.zeros(2 * slots + markets, table_type(HoldingColumns))
        multipliers = self.multiplier_of_slot
        self._holdings["multiplier"] = np.concatenate([multipliers[by_owner], multipliers[by_market], np.ones(markets)])
        kept = [True] * names + [self._sums_up, self._portfolio]
        self._passes = passes[kept]

    def take(self, block: TickColumns, place: NDArray[np.int64], fills: BlockFills) -> None:
        """Settle and mark a block. `place` is each tick's instrument row, below zero for a dropped one."""
        row, ts, price, tick = place, block.ts_ns, block.price, fills.tick
        accepted = np.flatnonzero(place >= 0)
        if not len(accepted):
            return
        if len(accepted) < len(place):
            row, ts, price = place[accepted], ts[accepted], price[accepted]
            tick = np.searchsorted(accepted, tick)
        now = np.maximum.accumulate(ts)
        if self.began:
            np.maximum(now, self.now, out=now)
        turns, ended = self._turns(now)
        day_marks = np.zeros((len(turns), len(self.starts)))
        if not self.began:
            self.began, self.first_ts = True, int(now[0])
        self.now = int(now[-1])
        self._mark(fills, tick, (row, now, price, turns, day_marks))
        self._days.append(ended)
        self._marks.append(day_marks)

    def _turns(self, now: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(the ticks before which a UTC day ends, the days that end there)."""
        before = self.now if self.began else int(now[0])
        midnights = DAY_NS * np.arange(before // DAY_NS + 1, int(now[-1]) // DAY_NS + 1)
        turns = np.unique(np.searchsorted(now, midnights))  # days without a tick end nowhere
        return turns, np.concatenate([[before], now])[turns] // DAY_NS

    def _mark(self, fills: BlockFills, tick: NDArray[np.int64], columns: tuple[NDArray[Any], ...]) -> None:
        """Let the kernels go through the accepted ticks."""
        row, _, price, *_ = columns
        markets = len(self._first)
        passes = self._passes.copy()
        passes["last_tick"] = len(row)
        new = np.flatnonzero(self._first == 0.0)
        ends, order = np.zeros(markets + 1, np.int64), np.zeros(0, np.int64)
        only = np.flatnonzero(passes["whole"] == 0)
        if markets == 1:
            ends[0] = len(row)
        elif len(only) or len(new):
            order = np.empty(len(row), np.int64)
            self._by_tick(row, ends, order)
        starts = np.concatenate([[0], ends[:-1]])
        market = self._instrument_of_holding[passes["first_holding"][only]]
        passes["first_tick"][only], passes["last_tick"][only] = starts[market], ends[market]
        new = new[starts[new] < ends[new]]
        bought = order[starts[new]] if markets > 1 else starts[new]
        self._first[new] = price[bought]
        into = self._fills_of(fills, tick, passes, new, bought)
        touched = (np.zeros(markets, np.int64), np.zeros(markets, np.int64))
        places = Places(self._instrument_of_holding, *touched, order)
        tables = (self._accounts, self._holdings, self._curves, self._buckets, into, passes)
        books: Any = Books._make(tables)
        if not self._compiled:
            kinds = (AccountColumns, HoldingColumns, CurveColumns, BucketColumns, FillsIn, Passes)
            books = Books._make(views(kind, table) for kind, table in zip(kinds, tables, strict=True))
            places = Places._make(view_of(np.asarray(each)) for each in places)
            columns = tuple(map(view_of, columns))
        self._mark_accounts(books, places, *columns)
        if self._portfolio:
            last = self._last if self._compiled else view_of(self._last)
            self._push_prices(books.curves, books.buckets, len(self.starts), last, *columns[:3])

    def _fills_of(
        self,
        fills: BlockFills,
        tick: NDArray[np.int64],
        passes: NDArray[Any],
        new: NDArray[np.int64],
        bought: NDArray[np.int64],
    ) -> NDArray[Any]:
        """The block's fills by account, and what the portfolio goes through: all of them; and buy-and-hold: `new` instruments."""
        accounts, share = len(self.names), self.starts[-1] / max(1, len(self._first))
        owner = self._account_of_slot[fills.slot]
        order: Any = np.argsort(owner, kind="stable") if accounts > 1 else slice(None)
        parts = [_fills_in(fills, tick, self._holding_of_slot, order)]
        ends = [*np.cumsum(np.bincount(owner, minlength=accounts)).tolist()]
        if self._sums_up:
            parts.append(_fills_in(fills, tick, self._summed_of_slot, slice(None)))
            ends.append(2 * len(tick))
        if self._portfolio:
            first = np.argsort(bought)
            mine = np.zeros(len(new), table_type(FillsIn))
            mine["tick"], mine["holding"], mine["price"] = (
                bought[first],
                self._bought + new[first],
                self._first[new[first]],
            )
            mine["quantity"] = share / mine["price"]
            parts.append(mine)
            ends.append((ends[-1] if ends else 0) + len(new))
        passes["first_fill"], passes["last_fill"] = [0, *ends[:-1]][: len(ends)], ends
        return np.concatenate(parts)

    def accounts(self) -> list[Account]:
        """Every account as it stands: the strategies', the portfolio, buy-and-hold."""
        days = np.concatenate([*self._days, np.zeros(0, np.int64)])
        marks = np.concatenate([*self._marks, np.zeros((0, len(self.starts)))])
        if self.began:
            days = np.append(days, self.now // DAY_NS)
            marks = np.vstack([marks, self._accounts["mark"]])
        names = [f"{strategy} on {broker}" if broker != "paper" else strategy for strategy, broker in self.names]
        rows = [*range(len(names)), len(names) if self._sums_up else 0, len(names) + 1]
        return [
            self._account(a, name, days, marks[:, a].copy())
            for a, name in zip(rows, [*names, "portfolio", "buy and hold"], strict=True)
        ]

    def _account(self, a: int, name: str, days: NDArray[np.int64], marks: NDArray[np.float64]) -> Account:
        row = {key: self._accounts[key][a].item() for key in AccountColumns._fields}
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
        )

    def prices(self, i: int) -> Curve:
        """The curve of prices of instrument row `i`."""
        return curve_of(self._curves, self._buckets, len(self.starts) + i)

    def first_and_last(self, i: int) -> tuple[float, float]:
        """The first and the last accepted price of instrument row `i`; zeros where it had no tick."""
        return self._first[i].item(), self._last[i].item()

    @property
    def positions(self) -> NDArray[np.int64]:
        """The position of every slot now."""
        return self._holdings["position"][self._holding_of_slot].astype(np.int64)

    @property
    def worths(self) -> NDArray[np.float64]:
        """What the position of every slot is worth now."""
        worth: NDArray[np.float64] = self._holdings["worth"][self._holding_of_slot]
        return worth


def _fills_in(
    fills: BlockFills, tick: NDArray[np.int64], holding_of_slot: NDArray[np.int64], order: Any
) -> NDArray[Any]:
    into = np.zeros(len(tick), table_type(FillsIn))
    into["tick"], into["holding"] = tick[order], holding_of_slot[fills.slot[order]]
    for name in ("quantity", "price", "fee"):
        into[name] = getattr(fills, name)[order]
    return into


def _room(curves: int) -> int:
    return min(_MOST_ROOM, max(_LEAST_ROOM, _SHARED_ROOM // max(1, curves)))
