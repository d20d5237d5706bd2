"""Blocks of ticks through an engine: columns for every strategy that can, tick by tick for the rest, one result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anystrat.domain.configuration import Session
from anystrat.domain.exact import floor_ratio, to_decimal
from anystrat.domain.outcomes import TickDrop
from anystrat.domain.tick import TickRow
from anystrat.engine.columns.evaluation import Evaluator, Hits, can_batch
from anystrat.engine.columns.gate import (
    DONE,
    NEED_PENDING_ROOM,
    NOT_EVALUATED,
    Fired,
    Grouped,
    Log,
    Queue,
    Settings,
    run_gate,
)
from anystrat.engine.columns.grouping import (
    AUCTION_BIT,
    BAD_PRICE,
    CLOSED_BIT,
    HALTED_BIT,
    OUT_OF_ORDER,
    PREOPEN_BIT,
    UNROUTED,
    accept_ticks,
    by_tick,
    floor_buckets,
    lay_out,
)
from anystrat.engine.columns.tails import Tails
from anystrat.engine.state import Book, Limits

if TYPE_CHECKING:
    from decimal import Decimal

    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

_SESSION_BITS = {Session.REGULAR: 0, Session.PREOPEN: PREOPEN_BIT, Session.CLOSED: CLOSED_BIT}
_INSTRUMENT = ("last_ts", "last_price", "minute", "minute_open", "ticks")
DROP_OF_PLACE = {UNROUTED: TickDrop.UNROUTED, BAD_PRICE: TickDrop.BAD_PRICE, OUT_OF_ORDER: TickDrop.OUT_OF_ORDER}


@dataclass(slots=True, eq=False)
class RowsBefore:
    """The ticks up to a position of the grouped block, made again for whoever asks a strategy why."""

    block: TickColumns
    grouped: Grouped
    exact_history: dict[int, Decimal]

    def __call__(self, position: int, count: int) -> list[TickRow]:
        """The last `count` ticks up to and with `position`; those of earlier blocks have their prices alone."""
        made = []
        for p in range(position - count + 1, position + 1):
            tick = int(self.grouped.tick[p])
            price = float(self.grouped.price[p])
            if tick < 0:
                made.append(TickRow(0, 0, price, self.exact_history.get(p)))
            else:
                exact = self.block.exact[tick] if self.block.exact is not None else None
                token, ts = int(self.block.instrument_token[tick]), int(self.block.ts_ns[tick])
                made.append(TickRow(token, ts, price, exact))
        return made


@dataclass(slots=True, eq=False)
class BlockResult:
    """What a block came to, in columns; `outcomes.py` makes objects of them when somebody asks.

    `order` lists the evaluated raw signals of `fired` in the order of ticks, rows and brokers. `value` is what each
    strategy measured. `scalar` are the outcomes of the strategies that ran tick by tick, with their ticks, and with the
    dropped ticks, which otherwise (`drops_by_place`) are read off `place`.
    """

    block: TickColumns
    place: NDArray[np.int64]
    grouped: Grouped
    fired: Fired
    executor: NDArray[np.int64]
    value: NDArray[np.float64]
    order: NDArray[np.int64]
    log: Log
    scalar: list[tuple[int, list[Outcome]]]
    rows_before: RowsBefore
    drops_by_place: bool


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
        self.batched = [executor for executor in engine.executors if can_batch(executor)]
        self.one_by_one = [executor for executor in engine.executors if not can_batch(executor)]
        for executor in self.batched:
            self._evaluator.prepare(executor)
        self._tails: Tails | None = None
        self._settings = self._make_settings()
        tokens = np.array(engine.tokens, np.int64)
        self._row_of_known = np.argsort(tokens, kind="stable")
        self._known = tokens[self._row_of_known]

    def _make_settings(self) -> Settings:
        executors = self.engine.executors
        batched = set(map(id, self.batched))
        return Settings(
            np.array([executor.need for executor in executors], np.int64),
            np.array(
                [-1 if executor.risk.resume_after_ns is None else executor.risk.resume_after_ns for executor in executors],
                np.int64,
            ),
            np.array([executor.risk.pause_on_throttle for executor in executors], np.bool_),
            np.array([executor.risk.throttle_pause_ns for executor in executors], np.int64),
            np.array([id(executor) in batched for executor in executors], np.bool_),
        )

    # -- one block ------------------------------------------------------------------------------------------------

    def run(self, block: TickColumns) -> BlockResult:
        """Push a block through. An exception of a processor's columns sends the whole block tick by tick."""
        engine = self.engine
        if self._tails is None:
            self._tails = Tails(engine, self._compiler)
            engine.borrow_windows(self._give_windows_back)
        self._evaluator.next_block()
        flags = self._flags(block)
        arrays = engine.state.arrays
        before = {name: arrays[name].copy() for name in _INSTRUMENT}
        place, grouped, rows, following = self._group(block, flags, before["last_price"])
        try:
            fired, executor, value = self._fire(block, grouped, rows)
        except Exception:  # whatever a processor raises over columns is found again, and contained, tick by tick
            for name in _INSTRUMENT:
                arrays[name][:] = before[name]
            return self._tick_by_tick(block, place, grouped)
        scalar = self._others(block, before, place) if self.one_by_one else []
        if not self.one_by_one:
            self._count_drops(place)
        log = self._gate(grouped, fired)
        arrays["last_price"][rows] = grouped.price[grouped.last[rows] - 1]
        history = self._exact_history(grouped, rows)
        self._tails.take(block, flags, rows, grouped)
        order = self._ordered(fired, grouped, len(block))
        return BlockResult(
            block, place, grouped, fired, executor, value, order, log, scalar, RowsBefore(block, grouped, history), not self.one_by_one
        )

    def _flags(self, block: TickColumns) -> NDArray[np.int8]:
        flags = np.zeros(len(block), np.int8)
        if block.halted is not None:
            flags |= block.halted.astype(np.int8) * HALTED_BIT
        if block.auction is not None:
            flags |= block.auction.astype(np.int8) * AUCTION_BIT
        timed = self.engine.timed_tokens()
        if timed and self.engine.sessions is not None:
            session = self.engine.sessions.session
            for j in np.flatnonzero(np.isin(block.instrument_token, timed)).tolist():
                flags[j] |= _SESSION_BITS[session(int(block.instrument_token[j]), int(block.ts_ns[j]))]
        return flags

    def _group(
        self, block: TickColumns, flags: NDArray[np.int8], before: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], Grouped, NDArray[np.int64], NDArray[np.int64]]:
        assert self._tails is not None
        tails, arrays = self._tails, self.engine.state.arrays
        place = np.empty(len(block), np.int64)
        counts = np.zeros(len(self._known), np.int64)
        self._accept_ticks(
            block.instrument_token,
            block.ts_ns,
            block.price,
            self._known,
            self._row_of_known,
            arrays["last_ts"],
            counts,
            place,
        )
        rows = np.flatnonzero(counts)
        held = np.where(counts > 0, tails.held, 0)
        base = np.concatenate([np.zeros(1, np.int64), np.cumsum(held + counts)])
        first = base[:-1] + held
        total = int(base[-1])
        grouped = Grouped(
            base[:-1],
            first,
            first + counts,
            before,
            np.full(total, -1, np.int64),
            np.zeros(total, np.int64),
            np.empty(total),
            np.zeros(total, np.int8),
            np.empty(total),
        )
        for i in rows.tolist():
            start, many = int(tails.offset[i]), int(held[i])
            grouped.price[base[i] : base[i] + many] = tails.price[start : start + many]
        following = first.copy()
        self._lay_out(
            place,
            block.ts_ns,
            block.price,
            flags,
            following,
            arrays["minute"],
            arrays["minute_open"],
            grouped.tick,
            grouped.ts,
            grouped.price,
            grouped.flags,
            grouped.open,
        )
        arrays["ticks"] += counts
        return place, grouped, rows, following

    def _fire(
        self, block: TickColumns, grouped: Grouped, rows: NDArray[np.int64]
    ) -> tuple[Fired, NDArray[np.int64], NDArray[np.float64]]:
        present = set(rows.tolist())
        state = self.engine.state
        inst = state.arrays["slot_instrument"]
        start = np.zeros(len(self.engine.executors), np.int64)
        end = np.zeros(len(self.engine.executors), np.int64)
        parts: list[tuple[StrategyExecutor, int, int, Hits]] = []
        total = 0
        for executor in self.batched:
            start[executor.row] = total
            own: list[tuple[StrategyExecutor, int, int, Hits]] = []
            for slot in executor.slots.values():
                i = int(inst[slot])
                if i not in present:
                    continue
                base, last = int(grouped.base[i]), int(grouped.last[i])
                hits = self._evaluator.hits(
                    executor,
                    i,
                    grouped.price[base:last],
                    int(grouped.first[i]) - base,
                    lambda stop, i=i, need=executor.need: self._exact_window(block, grouped, i, stop, need),
                )
                if len(hits.at):
                    own.append((executor, slot, base, hits))
                    total += len(hits.at)
            parts += own
            end[executor.row] = total
        position = _joined([hits.at + base for _, _, base, hits in parts], np.int64)
        slots = _joined([np.full(len(hits.at), slot, np.int64) for _, slot, _, hits in parts], np.int64)
        owner = _joined([np.full(len(hits.at), one.row, np.int64) for one, _, _, hits in parts], np.int64)
        columns = [
            position,
            slots,
            _joined([hits.side for *_, hits in parts], np.int8),
            _joined([hits.confidence for *_, hits in parts], np.float64),
            _joined([self._sizes(one, slot, hits) for one, slot, _, hits in parts], np.int64),
            _joined([hits.value for *_, hits in parts], np.float64),
        ]
        several = [executor for executor in self.batched if len(executor.slots) > 1]
        if several:
            order = np.arange(total)
            ticks = grouped.tick[position]
            for executor in several:
                low, high = int(start[executor.row]), int(end[executor.row])
                order[low:high] = low + np.argsort(ticks[low:high], kind="stable")
            columns = [column[order] for column in columns]
        position, slots, side, confidence, quantity, value = columns
        bucket = self._buckets(block, grouped, owner, position)
        code = np.full(total, NOT_EVALUATED, np.int64)
        return Fired(start, end, position, slots, side, confidence, quantity, bucket, code), owner, value

    def _sizes(self, executor: StrategyExecutor, slot: int, hits: Hits) -> NDArray[np.int64]:
        token = self.engine.tokens[int(self.engine.state.arrays["slot_instrument"][slot])]
        if executor.risk_multiplier is None and token not in executor.lots:
            return hits.quantity
        different, where = np.unique(hits.quantity, return_inverse=True)
        sized = [self.engine.sized(executor, token, quantity) for quantity in different.tolist()]
        return np.array(sized, np.int64)[where]

    def _buckets(
        self, block: TickColumns, grouped: Grouped, owner: NDArray[np.int64], position: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        bucket = np.zeros(len(position), np.int64)
        exact = np.zeros(len(position), np.bool_)
        steps = {executor.risk.price_bucket for executor in self.batched}
        for step in steps:
            if len(steps) == 1:
                mine: Any = slice(None)
            else:
                rows = [executor.row for executor in self.batched if executor.risk.price_bucket == step]
                mine = np.flatnonzero(np.isin(owner, rows))
            prices = grouped.price[position[mine]]
            found, sure = np.zeros(len(prices), np.int64), np.zeros(len(prices), np.bool_)
            digits, scale = _digits_and_scale(step)
            if digits < 10**17 and 0 <= scale <= 17:
                self._floor_buckets(prices, digits, scale, found, sure)
            if block.exact is not None:
                for j, tick in enumerate(grouped.tick[position[mine]].tolist()):
                    sure[j] &= block.exact[tick] is None
            for j in np.flatnonzero(~sure).tolist():
                known = None if block.exact is None else block.exact[int(grouped.tick[position[mine][j]])]
                value = floor_ratio(known if known is not None else to_decimal(float(prices[j])), step)
                found[j] = (value + (1 << 63)) % (1 << 64) - (1 << 63)
            bucket[mine] = found
            exact[mine] = True
        return bucket

    def _exact_window(self, block: TickColumns, grouped: Grouped, i: int, stop: int, need: int) -> list[Decimal] | None:
        """The decimals of the `need` prices before place `stop` of instrument `i`'s prices; None where doubles say all."""
        assert self._tails is not None
        if block.exact is None and not self._tails.has_exact(i):
            return None
        base, first = int(grouped.base[i]), int(grouped.first[i])
        decimals = []
        for p in range(base + stop - need, base + stop):
            known = self._tails.exact(i, first - p) if p < first else None
            if p >= first and block.exact is not None:
                known = block.exact[int(grouped.tick[p])]
            decimals.append(known if known is not None else to_decimal(float(grouped.price[p])))
        return decimals

    def _exact_history(self, grouped: Grouped, rows: NDArray[np.int64]) -> dict[int, Decimal]:
        """The exact decimals of the history that is laid out before the block, by position, where doubles say less."""
        assert self._tails is not None
        found = {}
        for i in rows.tolist():
            if self._tails.has_exact(i):
                for p in range(int(grouped.base[i]), int(grouped.first[i])):
                    known = self._tails.exact(i, int(grouped.first[i]) - p)
                    if known is not None:
                        found[p] = known
        return found

    def _gate(self, grouped: Grouped, fired: Fired) -> Log:
        state = self.engine.state
        while True:
            saved = {name: array.copy() for name, array in state.arrays.items()}
            log = _empty_log(
                len(fired.position) + int(state.arrays["pending_count"].sum()),
                2 * len(fired.position) + 4 * state.executors + 16,
            )
            queue = Queue(np.zeros(1, np.int64), *(np.zeros(state.slots + 1, np.int64) for _ in range(3)))
            limits = Limits(*(state.arrays[name] for name in Limits._fields))
            rooms = {"pending_room": state.pending_room, "recent_room": state.recent_room}
            book = Book(*(rooms[name] if name in rooms else state.arrays[name] for name in Book._fields))
            status = self._run_gate(limits, book, self.engine.killed, self._settings, fired, grouped, log, queue)
            if status == DONE:
                return log
            for name, array in saved.items():
                state.arrays[name][:] = array
            state.widen(pending=status == NEED_PENDING_ROOM)

    def _ordered(self, fired: Fired, grouped: Grouped, size: int) -> NDArray[np.int64]:
        judged = np.flatnonzero(fired.code != NOT_EVALUATED)
        order = np.empty(len(judged), np.int64)
        self._by_tick(grouped.tick[fired.position[judged]], np.zeros(size + 1, np.int64), order)
        return judged[order]

    def _count_drops(self, place: NDArray[np.int64]) -> None:
        self.engine.ticks += int(np.count_nonzero(place >= 0))
        for code, reason in DROP_OF_PLACE.items():
            many = int(np.count_nonzero(place == code))
            if many:
                self.engine.tick_drops[reason.value] += many

    # -- tick by tick -----------------------------------------------------------------------------------------------

    def _others(
        self, block: TickColumns, before: dict[str, NDArray[Any]], place: NDArray[np.int64]
    ) -> list[tuple[int, list[Outcome]]]:
        """The strategies that cannot do columns, on the same ticks; instruments end where the columns left them."""
        assert self._tails is not None
        arrays = self.engine.state.arrays
        after = {name: arrays[name].copy() for name in _INSTRUMENT}
        for name in _INSTRUMENT:
            arrays[name][:] = before[name]
        with self.engine.watched_only_by(self.one_by_one):
            found = self._stepped(block)
        for name in _INSTRUMENT:
            arrays[name][:] = after[name]
        return found

    def _tick_by_tick(self, block: TickColumns, place: NDArray[np.int64], grouped: Grouped) -> BlockResult:
        self._give_windows_back()
        none = np.zeros(0, np.int64)
        fired = Fired(none, none, none, none, none, np.zeros(0), none, none, none)
        scalar = self._stepped(block)
        return BlockResult(
            block,
            place,
            grouped,
            fired,
            none,
            np.zeros(0),
            none,
            _empty_log(0, 0),
            scalar,
            RowsBefore(block, grouped, {}),
            drops_by_place=False,
        )

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


def _joined(parts: list[Any], kind: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _digits_and_scale(step: Decimal) -> tuple[int, int]:
    _, digits, exponent = step.normalize().as_tuple()
    whole = int("".join(map(str, digits)))
    power = int(exponent)
    return (whole * 10**power, 0) if power >= 0 else (whole, -power)


def _empty_log(fills: int, moves: int) -> Log:
    def ints(count: int) -> NDArray[np.int64]:
        return np.zeros(count, np.int64)

    def floats(count: int) -> NDArray[np.float64]:
        return np.zeros(count)

    return Log(
        ints(2),
        *(ints(fills) for _ in range(4)),
        *(floats(fills) for _ in range(3)),
        ints(fills),
        floats(fills),
        np.zeros(fills, np.bool_),
        ints(fills),
        *(ints(moves) for _ in range(6)),
    )
