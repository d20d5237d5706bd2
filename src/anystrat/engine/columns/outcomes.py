"""From a block's columns to the outcomes that the scalar path would have given, in the same order, when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.domain.columns import SignalColumns
from anystrat.domain.events import INFERENCE_MISSED
from anystrat.domain.exact import to_decimal
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import (
    REASONS,
    Dropped,
    Emitted,
    Filled,
    Noted,
    Outcome,
    TickDropped,
    Transition,
)
from anystrat.domain.signal import SIDE_NAME, EmittedSignal, SignalResult
from anystrat.engine.columns.gate import NOT_EVALUATED, TRIGGERS
from anystrat.engine.dropped_ticks import dropped_ticks
from anystrat.engine.raw_signals import BEFORE_SIGNAL

if TYPE_CHECKING:
    from anystrat.engine.columns.runner import BlockResult
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

_OF_SIGNALS = ("position", "side", "confidence", "quantity", "code", "bucket")
# The places of things within one executor's tick.
_FILL_BEFORE, _MOVE_BEFORE, _SIGNAL, _AFTER = range(4)


def outcomes_of(engine: Engine, result: BlockResult, *, reasons: bool = False, fills: bool = True) -> Iterator[Outcome]:
    """Every outcome of the block, in the scalar path's order; without `fills`, all others.

    With `reasons`, signals say why, as the scalar path's do; that asks each ML and hybrid strategy again.
    """
    return _Maker(engine, result, reasons).all(fills=fills)


def signals_of(engine: Engine, result: BlockResult) -> SignalColumns:
    """The block's signals and drops as columns: those of the strategies that were evaluated over columns."""
    order = result.order  # of one column at a time: a gather of whole rows takes ten times as long
    fired = {name: np.asarray(getattr(result.tables.fired, name))[order] for name in _OF_SIGNALS}
    tick = result.tables.grouped["tick"][fired["position"]]
    ts = result.block.ts_ns[tick]
    executor = result.executor[order]
    exact = result.block.exact
    windows = np.array([one.risk.dedupe_window_ns for one in engine.executors], np.int64)
    return SignalColumns(
        ts,
        executor,
        result.block.instrument_token[tick],
        fired["side"].astype(np.int8),
        fired["confidence"],
        fired["quantity"],
        result.block.price[tick],
        [exact[k] for k in tick.tolist()] if exact is not None else None,
        fired["code"],
        fired["bucket"],
        ts // windows[executor] if len(executor) else ts,
        tuple((one.strategy_id, one.broker) for one in engine.executors),
        np.array([one.id_bases for one in engine.executors], np.uint64).reshape(len(engine.executors), 2),
    )


def notes_of(engine: Engine, result: BlockResult, *, ticks: int = 16) -> Iterator[Outcome]:
    """What a person may want to be told of the block: transitions, failures, and the first dropped ticks of each kind."""
    maker = _Maker(engine, result, reasons=False)
    return maker.notes(ticks)


#: Notes that one executor's tick led to.
_OF_EXECUTOR: Final = frozenset({INFERENCE_MISSED, "killed"})


class _Maker:
    def __init__(self, engine: Engine, result: BlockResult, reasons: bool) -> None:
        self._engine = engine
        self._result = result
        self._reasons = reasons
        self._row_of = {
            (one.strategy_id, one.broker, token): one.row for one in engine.executors for token in one.tokens
        }

    def all(self, *, fills: bool) -> Iterator[Outcome]:
        result = self._result
        keyed: list[tuple[int, int, int, int, Outcome]] = []
        if result.drops_by_place:
            keyed += self._tick_drops()
        keyed += self._signals()
        if fills:
            keyed += self._fills()
        keyed += self._moves()
        for tick, outcomes in result.scalar:
            for n, outcome in enumerate(outcomes):
                keyed.append((tick, self._executor_row(outcome), _SIGNAL, n, outcome))
        keyed.sort(key=lambda entry: entry[:4])
        for *_, outcome in keyed:
            yield outcome

    def notes(self, ticks: int) -> Iterator[Outcome]:
        keyed = self._moves()
        if self._result.drops_by_place:
            keyed += self._tick_drops(ticks)
        for tick, outcomes in self._result.scalar:
            for n, outcome in enumerate(outcomes):
                if not isinstance(outcome, Emitted | Dropped | Filled):
                    keyed.append((tick, self._executor_row(outcome), _SIGNAL, n, outcome))
        keyed.sort(key=lambda entry: entry[:4])
        for *_, outcome in keyed:
            yield outcome

    def _executor_row(self, outcome: Outcome) -> int:
        place = outcome.signal if isinstance(outcome, Emitted) else outcome
        if isinstance(place, Noted) and place.kind in _OF_EXECUTOR and place.strategy_id is not None:
            return self._row_of[place.strategy_id, place.details["broker"], place.details["instrument"]]
        if isinstance(place, TickDropped | Noted):
            return -1
        assert place.instrument_token is not None
        return self._row_of[place.strategy_id, place.broker, place.instrument_token]

    def _tick_drops(self, at_most: int | None = None) -> list[tuple[int, int, int, int, Outcome]]:
        found = dropped_ticks(self._result.block, self._result.place, at_most)
        return [(j, -1, 0, 0, outcome) for j, outcome in found]

    def _price(self, tick: int) -> Decimal:
        block = self._result.block
        exact = block.exact[tick] if block.exact is not None else None
        return exact if exact is not None else to_decimal(float(block.price[tick]))

    def _signals(self) -> list[tuple[int, int, int, int, Outcome]]:
        result, fired = self._result, self._result.tables.fired
        made: list[tuple[int, int, int, int, Outcome]] = []
        for k in result.order.tolist():
            executor = self._engine.executors[int(result.executor[k])]
            p = fired.position[k]
            tick = int(result.tables.grouped["tick"][p])
            made.append((tick, executor.row, _SIGNAL, 0, self._outcome(executor, k, p, tick)))
        return made

    def _outcome(self, executor: StrategyExecutor, k: int, p: int, tick: int) -> Outcome:
        result, fired = self._result, self._result.tables.fired
        side, confidence = int(fired.side[k]), float(fired.confidence[k])
        quantity, price = int(fired.quantity[k]), self._price(tick)
        ts = int(result.tables.grouped["ts"][p])
        token = int(result.block.instrument_token[tick])
        reasoning, metadata = self._why(executor, k, p) if self._reasons else ("", None)
        code = int(fired.code[k])
        assert code != NOT_EVALUATED
        reason = REASONS[code]
        if reason is not None:
            signal = SignalResult(SIDE_NAME[side], confidence, quantity, price, reasoning, metadata)
            return Dropped(signal, reason, executor.strategy_id, executor.broker, token, ts)
        return Emitted(
            EmittedSignal(
                SIDE_NAME[side],
                confidence,
                quantity,
                price,
                reasoning,
                metadata,
                strategy_id=executor.strategy_id,
                broker=executor.broker,
                instrument_token=token,
                ts_ns=ts,
                id_bases=executor.id_bases,
                price_bucket=int(fired.bucket[k]),
                dedupe_epoch=ts // executor.risk.dedupe_window_ns,
            )
        )

    def _why(self, executor: StrategyExecutor, k: int, p: int) -> tuple[str, Mapping[str, Any] | None]:
        rule = executor.processor
        if executor.decide is not None:
            return rule.describe(int(self._result.tables.fired.side[k]), float(self._result.value[k]))  # type: ignore[attr-defined, no-any-return]
        answer = rule.process_tick(*self._result.past.seen(p, executor.need))
        return (answer.reasoning, answer.metadata) if answer is not None else ("", None)

    def _fills(self) -> list[tuple[int, int, int, int, Outcome]]:
        fills = self._result.tables.fills
        made: list[tuple[int, int, int, int, Outcome]] = []
        instrument_of = self._engine.state.tables["slot"]["instrument"]
        for n in range(len(fills)):
            executor = self._engine.executors[int(fills["executor"][n])]
            tick = int(fills["tick"][n])
            stage = _FILL_BEFORE if int(fills["stage"][n]) == BEFORE_SIGNAL else _AFTER
            outcome = Filled(
                executor.strategy_id,
                executor.broker,
                self._engine.tokens[int(instrument_of[int(fills["slot"][n])])],
                int(self._result.block.ts_ns[tick]),
                int(fills["quantity"][n]),
                float(fills["price"][n]),
                float(fills["fee"][n]),
                float(fills["realised"][n]),
                int(fills["position"][n]),
                float(fills["average"][n]),
                bool(fills["round_trip"][n]),
            )
            made.append((tick, executor.row, stage, n, outcome))
        return made

    def _moves(self) -> list[tuple[int, int, int, int, Outcome]]:
        moves = self._result.tables.moves
        made: list[tuple[int, int, int, int, Outcome]] = []
        for n in range(len(moves)):
            executor = self._engine.executors[int(moves["executor"][n])]
            tick = int(moves["tick"][n])
            stage = _MOVE_BEFORE if int(moves["stage"][n]) == BEFORE_SIGNAL else _AFTER
            trigger = TRIGGERS[int(moves["trigger"][n])]
            outcome = Transition(
                executor.strategy_id,
                executor.broker,
                State(int(moves["before"][n])),
                State(int(moves["after"][n])),
                trigger,
                int(self._result.block.ts_ns[tick]),
                int(self._result.block.instrument_token[tick]),
            )
            made.append((tick, executor.row, stage, n, outcome))
        return made
