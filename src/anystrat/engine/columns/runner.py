"""Blocks of ticks through an engine: columns for every strategy that can, tick by tick for the rest, one result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anystrat.domain.exact import floor_ratio, to_decimal
from anystrat.engine.checks import CLOSED, PREOPEN, REGULAR
from anystrat.engine.columns.block import (
    BlockTables,
    ExecutorRange,
    FiredColumns,
    GroupedColumns,
    InstrumentRange,
    MoveColumns,
    QueueColumns,
    fresh,
    nothing_fired,
)
from anystrat.engine.columns.evaluation import Evaluator, can_batch
from anystrat.engine.columns.gate import DONE, NEED_PENDING_ROOM, NOT_EVALUATED, run_gate
from anystrat.engine.columns.grouping import (
    AUCTION_BIT,
    CLOSED_BIT,
    DROP_OF_PLACE,
    HALTED_BIT,
    PREOPEN_BIT,
    accept_ticks,
    by_tick,
    floor_buckets,
    lay_out,
)
from anystrat.engine.columns.past import Past
from anystrat.engine.columns.tails import Tails
from anystrat.engine.decision import sized
from anystrat.engine.raw_signals import FillLog
from anystrat.engine.state import views

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

_SESSION_BITS = {REGULAR: 0, PREOPEN: PREOPEN_BIT, CLOSED: CLOSED_BIT}


@dataclass(eq=False)
class BlockResult:
    """What a block came to, in columns; `outcomes.py` makes objects of them when somebody asks.

    `order` lists the evaluated raw signals of `tables.fired` in the order of ticks, rows and brokers. `value` is what each
    strategy measured. `scalar` are the outcomes of the strategies that ran tick by tick, with their ticks, and with the
    dropped ticks, which otherwise (`drops_by_place`) are read off `place`.
    """

    block: TickColumns
    place: NDArray[np.int64]
    tables: BlockTables
    executor: NDArray[np.int64]
    value: NDArray[np.float64]
    in_order: Callable[[], NDArray[np.int64]]
    scalar: list[tuple[int, list[Outcome]]]
    past: Past
    drops_by_place: bool

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Worked out for who asks: not everybody wants to know what came before what."""
        return self.in_order()


class _Part(NamedTuple):
    """What fired in one executor's slot: its place in the grouped block, its instrument, and how many there are."""

    row: int
    slot: int
    base: int
    instrument: int
    many: int


_ROW, _SLOT, _BASE = range(3)


class BlockRunner:
    """Drives one engine with blocks. Anything else may reach the engine between two blocks.

    Without a compiler everything runs as it stands, with the same results, and slowly.
    """

    def __init__(self, engine: Engine, compiler: Compiler | None) -> None:
        self.engine = engine
        compiled: Any = compiler if compiler is not None else (lambda function: function)
        self._accept_ticks = compiled(accept_ticks)
        self._lay_out = compiled(lay_out)
        self._run_gate = compiled(run_gate)
        self._by_tick = compiled(by_tick)
        self._floor_buckets = compiled(floor_buckets)
        self._compiler = compiler
        self._evaluator = Evaluator(compiler)
        self._able = [executor for executor in engine.executors if can_batch(executor)]
        for executor in self._able:
            self._evaluator.prepare(executor)
        self._timed = [each for each in self._able if each.deadline is not None or each.isolation is not None]
        self._late: list[StrategyExecutor] = []
        self._share_out()
        self._tails: Tails | None = None
        tokens = np.array(engine.tokens, np.int64)
        self._row_of_known = np.argsort(tokens, kind="stable")
        self._known = tokens[self._row_of_known]

    @property
    def seconds_compiling(self) -> float:
        """How long the compiler has been at work in this process, where it says so."""
        return float(getattr(self._compiler, "seconds_compiling", 0.0))

    def _share_out(self) -> None:
        """Who goes over columns and who tick by tick: those who cannot, and who may go without an answer one by one."""
        batched = {executor.row for executor in self._able} - {executor.row for executor in self._late}
        self.batched = [executor for executor in self.engine.executors if executor.row in batched]
        self.one_by_one = [executor for executor in self.engine.executors if executor.row not in batched]

    # -- one block ------------------------------------------------------------------------------------------------

    def run(self, block: TickColumns) -> BlockResult:
        """Push a block through. An exception of a processor's columns sends the whole block tick by tick."""
        if self._compiler is not None:
            return self._run(block)
        # As they stand, the kernels' NumPy scalars warn where compiled code, and Python's floats, do not.
        with np.errstate(all="ignore"):
            return self._run(block)

    def _run(self, block: TickColumns) -> BlockResult:
        engine = self.engine
        if self._timed:
            late = [each for each in self._timed if engine.deadlines.tick_by_tick(each) or engine.losses.any_of(each)]
            if late != self._late:
                self._give_windows_back()
                self._late = late
                self._share_out()
        if self._tails is None:
            engine.settle()  # another runner may have them
            self._tails = Tails(engine, self._compiler)
            engine.borrow_windows(self._give_windows_back)
        self._evaluator.next_block()
        instruments = engine.state.tables["instrument"]
        before = instruments.copy()
        flags = _market_bits(block)
        place, tables, rows, notes = self._group(block, flags, before["last_price"])
        try:
            tables, owner, value = self._fire(block, tables, rows)
        except Exception:  # noqa: BLE001  whatever a processor raises over columns is found again, and contained, tick by tick
            instruments[:] = before
            return self._tick_by_tick(block, place, tables, notes)
        scalar = notes + (self._others(block, before) if self.one_by_one else [])
        if not self.one_by_one:
            self._count_drops(place)
        tables = self._gate(tables)
        instruments["last_price"][rows] = tables.price[tables.instruments["last"][rows] - 1]
        past = Past(block, tables, self._exact_history(tables, rows))
        self._tails.take(block, flags, rows, tables)
        in_order = partial(self._ordered, tables, len(block))
        return BlockResult(block, place, tables, owner, value, in_order, scalar, past, not self.one_by_one)

    def _sessions(
        self, block: TickColumns, place: NDArray[np.int64], flags: NDArray[np.int8]
    ) -> list[tuple[int, list[Outcome]]]:
        """Enter the sessions of accepted ticks into `flags`; where a calendar does not know, that is noted."""
        notes: list[tuple[int, list[Outcome]]] = []
        timed = self.engine.tick_steps.timed_rows
        for j in np.flatnonzero(np.isin(place, timed)).tolist() if timed else ():
            said: list[Outcome] = []
            flags[j] |= _SESSION_BITS[self.engine.tick_steps.session_code(int(place[j]), int(block.ts_ns[j]), said)]
            if said:
                notes.append((j, said))
        return notes

    def _group(
        self, block: TickColumns, flags: NDArray[np.int8], before: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], BlockTables, NDArray[np.int64], list[tuple[int, list[Outcome]]]]:
        assert self._tails is not None
        tails, instrument = self._tails, self.engine.state.tables["instrument"]
        place = np.empty(len(block), np.int64)
        counts = np.zeros(len(self._known), np.int64)
        self._accept_ticks(
            block.instrument_token,
            block.ts_ns,
            block.price,
            self._known,
            self._row_of_known,
            instrument["last_ts"],
            counts,
            place,
        )
        notes = self._sessions(block, place, flags)
        rows = np.flatnonzero(counts)
        held = np.where(counts > 0, tails.held, 0)
        ends = np.cumsum(held + counts)
        ranges = fresh(InstrumentRange, len(counts))
        ranges["base"] = ends - held - counts
        ranges["first"] = ends - counts
        ranges["last"] = ends
        ranges["before"] = before
        total = int(ends[-1]) if len(ends) else 0
        grouped, price = fresh(GroupedColumns, total), np.empty(total)
        for i in rows.tolist():
            start, base, many = int(tails.offset[i]), int(ranges["base"][i]), int(held[i])
            grouped["tick"][base : base + many] = -1
            price[base : base + many] = tails.price[start : start + many]
        self._lay_out(
            place,
            block.ts_ns,
            block.price,
            flags,
            ranges["first"].copy(),
            instrument["minute"],
            instrument["minute_open"],
            grouped if self._compiler is not None else views(GroupedColumns, grouped),
            price,
        )
        instrument["ticks"] += counts
        nothing = fresh(FillLog, 0)
        tables = BlockTables(
            nothing_fired(),
            fresh(ExecutorRange, len(self.engine.executors)),
            ranges,
            grouped,
            price,
            nothing,
            fresh(MoveColumns, 0),
            fresh(QueueColumns, 0),
            np.zeros(3, np.int64),
        )
        return place, tables, rows, notes

    def _fire(
        self, block: TickColumns, tables: BlockTables, rows: NDArray[np.int64]
    ) -> tuple[BlockTables, NDArray[np.int64], NDArray[np.float64]]:
        assert self._tails is not None
        instrument_of = self.engine.state.tables["slot"]["instrument"].tolist()
        bases, firsts, lasts = (tables.instruments[name].tolist() for name in ("base", "first", "last"))
        prices = {i: tables.price[bases[i] : lasts[i]] for i in rows.tolist()}
        shortest = {i: block.exact is None and not self._tails.has_exact(i) for i in prices}
        parts: list[_Part] = []
        for executor in self.batched:
            for slot in executor.slots.values():
                if (i := instrument_of[slot]) in prices:
                    self._evaluator.collect(executor, i, prices[i], firsts[i] - bases[i])
        for executor in self.batched:
            tables.executors["batched"][executor.row] = 1
            for token, slot in executor.slots.items():
                i = instrument_of[slot]
                if i not in prices:
                    continue
                sizing = None
                by_account = executor.risk.sizing is not None
                if not by_account and (executor.risk_multiplier is not None or token in executor.lots):
                    sizing = partial(sized, executor, token)
                count = self._evaluator.evaluate(
                    executor, i, prices[i], firsts[i] - bases[i], shortest=shortest[i], sized=sizing
                )
                if count:
                    parts.append(_Part(executor.row, slot, bases[i], i, count))
        found, counts = self._evaluator.found, np.array([part.many for part in parts], np.int64)
        kept = self._settled(block, tables, parts, prices)
        if kept is not None:
            counts = np.bincount(np.repeat(np.arange(len(parts)), counts)[kept], minlength=len(parts))
        owner, slots, base = (
            np.repeat(np.array([part[at] for part in parts], np.int64), counts) for at in (_ROW, _SLOT, _BASE)
        )
        names = ("at", "side", "confidence", "quantity", "value")
        columns = [getattr(found, name)[: found.count][kept if kept is not None else slice(None)] for name in names]
        columns[0] = columns[0] + base
        self._ranges(tables, owner)
        several = [executor for executor in self.batched if len(executor.slots) > 1]
        if several:
            order = np.arange(len(owner))
            ticks = tables.grouped["tick"][columns[0]]
            for executor in several:
                low, high = (int(tables.executors[name][executor.row]) for name in ("start", "end"))
                order[low:high] = low + np.argsort(ticks[low:high], kind="stable")
            columns, slots = [column[order] for column in columns], slots[order]
        position, side, confidence, quantity, value = columns
        bucket, code = self._buckets(block, tables, owner, position), np.full(len(owner), NOT_EVALUATED)
        # What was found lies in memory that the next block is written to.
        mine: Any = (position, slots, side.astype(np.int64), confidence.copy(), quantity.copy(), bucket, code)
        return tables._replace(fired=FiredColumns._make(mine)), owner, value.copy()

    def _settled(
        self, block: TickColumns, tables: BlockTables, parts: list[_Part], prices: dict[int, NDArray[np.float64]]
    ) -> NDArray[np.int64] | None:
        """Ask the rules where doubles could not tell; which of the found ones are left, or None for all of them."""
        found = self._evaluator.found
        side = found.side[: found.count]
        unsure = np.flatnonzero(side < 0)
        if not len(unsure):
            return None
        ends = np.cumsum([part.many for part in parts])
        for k, which in zip(unsure.tolist(), np.searchsorted(ends, unsure, side="right").tolist(), strict=True):
            part, end = parts[which], int(found.at[k]) + 1
            executor = self.engine.executors[part.row]
            if self._evaluator.is_rule(executor):
                rule: Any = executor.processor
                exact = self._exact_window(block, tables, part.instrument, executor.need, end)
                side[k] = rule.settle(prices[part.instrument], end, exact)
        return np.flatnonzero(side)

    def _ranges(self, tables: BlockTables, owner: NDArray[np.int64]) -> None:
        """Write down where each executor's raw signals are: they lie in the order of their owners."""
        rows = [executor.row for executor in self.batched]
        tables.executors["start"][rows] = np.searchsorted(owner, rows, side="left")
        tables.executors["end"][rows] = np.searchsorted(owner, rows, side="right")

    def _buckets(
        self, block: TickColumns, tables: BlockTables, owner: NDArray[np.int64], position: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        bucket = np.zeros(len(position), np.int64)
        steps = {executor.risk.price_bucket for executor in self.batched}
        for step in steps:
            if len(steps) == 1:
                mine: Any = slice(None)
            else:
                rows = [executor.row for executor in self.batched if executor.risk.price_bucket == step]
                mine = np.flatnonzero(np.isin(owner, rows))
            prices = tables.price[position[mine]]
            found, sure = np.zeros(len(prices), np.int64), np.zeros(len(prices), np.bool_)
            digits, scale = digits_and_scale(step)
            if digits < 10**17 and 0 <= scale <= 17:
                self._floor_buckets(prices, digits, scale, found, sure)
            if block.exact is not None:
                for j, tick in enumerate(tables.grouped["tick"][position[mine]].tolist()):
                    sure[j] &= block.exact[tick] is None
            for j in np.flatnonzero(~sure).tolist():
                known = None if block.exact is None else block.exact[int(tables.grouped["tick"][position[mine][j]])]
                value = floor_ratio(known if known is not None else to_decimal(float(prices[j])), step)
                found[j] = (value + (1 << 63)) % (1 << 64) - (1 << 63)
            bucket[mine] = found
        return bucket

    def _exact_window(
        self, block: TickColumns, tables: BlockTables, i: int, need: int, stop: int
    ) -> list[Decimal] | None:
        """The decimals of the `need` prices before place `stop` of instrument `i`'s prices; None where doubles say all."""
        assert self._tails is not None
        if block.exact is None and not self._tails.has_exact(i):
            return None
        base, first = int(tables.instruments["base"][i]), int(tables.instruments["first"][i])
        decimals = []
        for p in range(base + stop - need, base + stop):
            known = self._tails.exact(i, first - p) if p < first else None
            if p >= first and block.exact is not None:
                known = block.exact[int(tables.grouped["tick"][p])]
            decimals.append(known if known is not None else to_decimal(float(tables.price[p])))
        return decimals

    def _exact_history(self, tables: BlockTables, rows: NDArray[np.int64]) -> dict[int, Decimal]:
        """The exact decimals of the history that is laid out before the block, by position, where doubles say less."""
        assert self._tails is not None
        found = {}
        for i in rows.tolist():
            if self._tails.has_exact(i):
                for p in range(int(tables.instruments["base"][i]), int(tables.instruments["first"][i])):
                    known = self._tails.exact(i, int(tables.instruments["first"][i]) - p)
                    if known is not None:
                        found[p] = known
        return found

    def _gate(self, tables: BlockTables) -> BlockTables:
        state = self.engine.state
        compiled = self._compiler is not None
        while True:
            saved = {name: table.copy() for name, table in state.tables.items()}
            tables = tables._replace(
                fills=fresh(FillLog, len(tables.fired.code) + int(state.tables["slot"]["pending_count"].sum())),
                moves=fresh(MoveColumns, 2 * len(tables.fired.code) + 4 * state.executors),
                queue=fresh(QueueColumns, state.slots),
                sizes=np.zeros(3, np.int64),
            )
            limits, book = state.for_compiled() if compiled else (state.limits, state.book)
            status = self._run_gate(limits, book, self.engine.killed, tables.walk(compiled=compiled))
            if status == DONE:
                fills, moves, _ = tables.sizes.tolist()
                return tables._replace(fills=tables.fills[:fills], moves=tables.moves[:moves])
            for name, table in saved.items():
                state.tables[name][:] = table
            state.widen(pending=status == NEED_PENDING_ROOM)

    def _ordered(self, tables: BlockTables, size: int) -> NDArray[np.int64]:
        judged = np.flatnonzero(np.asarray(tables.fired.code) != NOT_EVALUATED)
        tick = tables.grouped["tick"][np.asarray(tables.fired.position)[judged]]
        if not np.any(tick[1:] < tick[:-1]):
            return judged
        order = np.empty(len(judged), np.int64)
        self._by_tick(tick, np.zeros(size + 1, np.int64), order)
        return judged[order]

    def _count_drops(self, place: NDArray[np.int64]) -> None:
        if len(place) and place.min() >= 0:
            self.engine.ticks += len(place)
            return
        self.engine.ticks += int(np.count_nonzero(place >= 0))
        for code, reason in DROP_OF_PLACE.items():
            many = int(np.count_nonzero(place == code))
            if many:
                self.engine.tick_drops[reason.value] += many

    # -- tick by tick -----------------------------------------------------------------------------------------------

    def _others(self, block: TickColumns, before: NDArray[Any]) -> list[tuple[int, list[Outcome]]]:
        """The strategies that cannot do columns, on the same ticks; instruments end where the columns left them."""
        instruments = self.engine.state.tables["instrument"]
        after = instruments.copy()
        instruments[:] = before
        with self.engine.watched_only_by(self.one_by_one):
            found = self._stepped(block)
        instruments[:] = after
        return found

    def _tick_by_tick(
        self,
        block: TickColumns,
        place: NDArray[np.int64],
        tables: BlockTables,
        notes: list[tuple[int, list[Outcome]]],
    ) -> BlockResult:
        self._give_windows_back()
        none = np.zeros(0, np.int64)
        scalar = notes + self._stepped(block)
        past = Past(block, tables, {})
        return BlockResult(block, place, tables, none, np.zeros(0), lambda: none, scalar, past, drops_by_place=False)

    def _stepped(self, block: TickColumns) -> list[tuple[int, list[Outcome]]]:
        found = []
        for k, row in enumerate(block.rows()):
            outcomes = self.engine.step_row(row)
            if outcomes:
                found.append((k, outcomes))
        return found

    def _give_windows_back(self) -> None:
        if self._tails is not None:
            if not self.one_by_one:
                self._tails.hand_back()
            self._tails = None
            self.engine.borrow_windows(None)


def digits_and_scale(step: Decimal) -> tuple[int, int]:
    """A decimal as `digits / 10^scale`, in whole numbers."""
    _, digits, exponent = step.normalize().as_tuple()
    whole = int("".join(map(str, digits)))
    power = int(exponent)
    return (whole * 10**power, 0) if power >= 0 else (whole, -power)


def _market_bits(block: TickColumns) -> NDArray[np.int8]:
    flags = np.zeros(len(block), np.int8)
    if block.halted is not None:
        flags |= block.halted.astype(np.int8) * HALTED_BIT
    if block.auction is not None:
        flags |= block.auction.astype(np.int8) * AUCTION_BIT
    return flags
