"""What a block of ticks came to in the compiled lanes: columns, and the outcomes that they stand for when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np

from anystrat.domain.columns import SignalColumns
from anystrat.domain.exact import as_int64, floor_ratio, to_decimal
from anystrat.domain.outcomes import REASON_CODE, Dropped, Emitted, Filled, Outcome, Reason
from anystrat.domain.signal import SIDE_CODE, EmittedSignal
from anystrat.engine.block_logs import columns_in, entries_of
from anystrat.engine.dropped_ticks import dropped_ticks
from anystrat.engine.lane_tables import SignalLog
from anystrat.engine.raw_signals import FillLog
from anystrat.engine.saying import Voice, said, voice_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns
    from anystrat.engine.executor import StrategyExecutor

_NO_PRICE: Final = Decimal(0)
#: Within an executor's tick: what it says between the fills before and after.
MIDDLE = 0.5


@dataclass(eq=False)
class TakenBlock:
    """A block's outcomes, most of them not made yet; nothing here changes when the engine goes on.

    `place` says why a tick was dropped (see `columns.grouping`), below zero; it may be empty where none was.
    `raw_memory` and `filled_memory` (None: not kept) are the lanes' logs; `refused` of the raw signals were dropped.
    `own` are outcomes of the engine's own steps: tick, executor, outcome; dropped ticks are not among them.
    """

    block: TickColumns
    executors: Sequence[StrategyExecutor]
    place: NDArray[np.int64]
    raw_memory: NDArray[np.int64]
    filled_memory: NDArray[np.int64] | None
    refused: int
    own: list[tuple[int, int, Outcome]]

    @cached_property
    def raw(self) -> SignalLog:
        """Raw signals."""
        return columns_in(SignalLog, self.raw_memory)

    @cached_property
    def filled(self) -> FillLog:
        """Paper fills. Raises `ValueError` where they were not kept."""
        if self.filled_memory is None:
            raise ValueError("the fills of this block were not kept")
        return columns_in(FillLog, self.filled_memory)

    def outcomes(self, *, signals: bool = True, fills: bool = True) -> list[Outcome]:
        """Everything that the block led to, in the order of ticks, rows and brokers; perhaps without signals or fills."""
        if not (signals or fills or self.refused or self.own or len(self.place)):
            return []
        keyed = self._dropped()
        if signals or self.refused:
            entries = list(entries_of(self.raw, slice(None) if signals else self._codes != 0))
            made = (one if isinstance(one, Dropped) else Emitted(one) for one in self.said(entries))
            if not (fills or self.own or keyed):
                return list(made)  # alone they are in order
            keyed += [(e[0], e[1], MIDDLE, n, one) for n, (e, one) in enumerate(zip(entries, made, strict=True))]
        if fills:
            for n, entry in enumerate(entries_of(self.filled)):
                keyed.append((entry[0], entry[1], entry[3], n, self._fill(entry)))
        for n, (tick, executor, outcome) in enumerate(self.own):
            if (signals or not isinstance(outcome, Emitted)) and (fills or not isinstance(outcome, Filled)):
                keyed.append((tick, executor, MIDDLE, n, outcome))
        keyed.sort(key=_order)
        return [entry[-1] for entry in keyed]

    def notes(self, *, ticks: int = 16) -> list[Outcome]:
        """What a person may want to be told: transitions, failures, and the first dropped ticks of each kind."""
        keyed = self._dropped(ticks)
        for n, (tick, executor, outcome) in enumerate(self.own):
            if not isinstance(outcome, Emitted | Dropped | Filled):
                keyed.append((tick, executor, MIDDLE, n, outcome))
        keyed.sort(key=_order)
        return [entry[-1] for entry in keyed]

    def _dropped(self, at_most: int | None = None) -> list[tuple[int, int, float, int, Outcome]]:
        return [(j, -1, 0.0, 0, outcome) for j, outcome in dropped_ticks(self.block, self.place, at_most)]

    def signals(self) -> Signals:
        """The emitted signals, in their order; each is made when it is looked at."""
        return Signals(self)

    def columns(self) -> SignalColumns:
        """Signals and drops as columns, in their order."""
        raw: Any = self._all_raw()
        block, executors = self.block, self.executors
        tick, owner = raw.tick, raw.executor
        ts = block.ts_ns[tick]
        windows = np.array([one.risk.dedupe_window_ns for one in executors], np.int64)
        exact = block.exact
        return SignalColumns(
            ts,
            owner,
            block.instrument_token[tick],
            raw.side.astype(np.int8),
            raw.confidence,
            raw.quantity,
            block.price[tick],
            [exact[k] for k in tick.tolist()] if exact is not None else None,
            raw.code,
            raw.bucket,
            ts // windows[owner] if len(owner) else ts,
            tuple((one.strategy_id, one.broker) for one in executors),
            np.array([one.id_bases for one in executors], np.uint64).reshape(len(executors), 2),
        )

    @property
    def _codes(self) -> Any:
        return self.raw.code

    def _all_raw(self) -> SignalLog:
        """`raw` with the signals and drops of the engine's own steps."""
        own = [self._entry(tick, one) for tick, _, one in self.own if isinstance(one, Emitted | Dropped)]
        if not own:
            return self.raw
        columns = zip(self.raw, zip(*own, strict=True), strict=True)
        both: Any = SignalLog(*(np.concatenate((known, more)) for known, more in columns))  # type: ignore[arg-type]  # arrays
        order = np.lexsort((both.executor, both.tick))
        return SignalLog(*(column[order] for column in both))

    @cached_property
    def _rows(self) -> dict[tuple[str, str, int], int]:
        return {(one.strategy_id, one.broker, token): one.row for one in self.executors for token in one.tokens}

    def _entry(self, tick: int, outcome: Emitted | Dropped) -> tuple[Any, ...]:
        signal, code = outcome.signal, 0 if isinstance(outcome, Emitted) else REASON_CODE[Reason(outcome.reason)]
        author = outcome.signal if isinstance(outcome, Emitted) else outcome
        e = self._rows[author.strategy_id, author.broker, author.instrument_token]
        bucket = as_int64(floor_ratio(signal.price, self.executors[e].risk.price_bucket))
        return tick, e, 0, SIDE_CODE[signal.signal_type], signal.quantity, bucket, code, signal.confidence, 0.0

    def said(self, entries: Sequence[tuple[Any, ...]]) -> Iterator[EmittedSignal | Dropped]:
        """What each of these entries of `raw` stands for."""
        ticks = np.array([entry[0] for entry in entries], np.int64)
        exact = self.block.exact
        columns = (self.block.ts_ns, self.block.instrument_token, self.block.price)
        numbers = zip(*(column[ticks].tolist() for column in columns), strict=True)
        voices: dict[int, Voice] = {}
        before, price = -1, _NO_PRICE
        for (tick, e, _, side, quantity, bucket, code, confidence, value), (ts, token, double) in zip(
            entries, numbers, strict=True
        ):
            if tick != before:
                known = exact[tick] if exact is not None else None
                before, price = tick, known if known is not None else to_decimal(double)
            voice = voices.get(e)
            if voice is None:
                voice = voices[e] = voice_of(self.executors[e])
            yield said(voice, side, quantity, bucket, code, confidence, value, price, ts, token)

    def _fill(self, entry: tuple[Any, ...]) -> Filled:
        tick, e, _, _, quantity, position, trip, price, fee, realised, average = entry
        executor = self.executors[e]
        return Filled(
            executor.strategy_id,
            executor.broker,
            int(self.block.instrument_token[tick]),
            int(self.block.ts_ns[tick]),
            quantity,
            price,
            fee,
            realised,
            position,
            average,
            trip != 0,
        )


class Signals(Sequence[EmittedSignal]):
    """The emitted signals of a block; its length is known at once, a signal is made when it is looked at."""

    def __init__(self, taken: TakenBlock) -> None:
        self._taken = taken
        self._count: int = taken.raw_memory.shape[1] - taken.refused
        if taken.own:
            self._count += sum(isinstance(one, Emitted) for _, _, one in taken.own)

    @cached_property
    def _made(self) -> list[EmittedSignal]:
        taken = self._taken
        kept: Any = taken.raw.code
        entries = list(entries_of(taken.raw, kept == 0))
        emitted = (one for one in taken.said(entries) if isinstance(one, EmittedSignal))
        keyed = [(entry[0], entry[1], one) for entry, one in zip(entries, emitted, strict=True)]
        own = [(tick, executor, one.signal) for tick, executor, one in taken.own if isinstance(one, Emitted)]
        if own:
            keyed = sorted([*keyed, *own], key=lambda entry: entry[:2])
        return [signal for _, _, signal in keyed]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> EmittedSignal: ...
    @overload
    def __getitem__(self, index: slice) -> list[EmittedSignal]: ...
    def __getitem__(self, index: int | slice) -> EmittedSignal | list[EmittedSignal]:
        return self._made[index]

    def __iter__(self) -> Iterator[EmittedSignal]:
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return self._made == list(other) if isinstance(other, Signals | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list has none

    def __repr__(self) -> str:
        return repr(self._made)


def _order(entry: tuple[int, int, float, int, Outcome]) -> tuple[int, int, float, int]:
    return entry[:4]
