"""Everything that reaches an engine and is no tick: commands, timers, what became of deliveries, models, feeds, histories.

The order in which events come decides what they lead to, as with ticks: each is taken at once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from anystrat.domain.events import (
    EVALUATION_LOST,
    INFERENCE_MISSED,
    Arrived,
    Command,
    Conflated,
    DeliveryFailed,
    EvaluationLost,
    FeedFresh,
    FeedGap,
    FeedStale,
    HistoryLoaded,
    InferenceMissed,
    ModelEvent,
    Operation,
    ProcessReady,
    Reconfigured,
    TickQuarantined,
    TimerDue,
)
from anystrat.domain.lifecycle import State, Trigger
from anystrat.domain.outcomes import Noted, Outcome, TickDrop
from anystrat.domain.tick import TickRow
from anystrat.engine.models import swap_models

if TYPE_CHECKING:
    from anystrat.domain.events import RecordedEvent
    from anystrat.engine.decision import Decisions
    from anystrat.engine.engine import Engine
    from anystrat.engine.supervision import Supervision

_WARMUP: Final = int(State.WARMUP)


class OtherEvents:
    """Takes events into an engine, and says what they led to."""

    def __init__(self, engine: Engine, supervision: Supervision) -> None:
        self._engine = engine
        self._supervision = supervision

    def take(self, event: RecordedEvent, decisions: Decisions, out: list[Outcome]) -> None:
        """Take an event, and say what it led to."""
        engine, supervision = self._engine, self._supervision
        if isinstance(event, Command):
            self._command(event, out)
        elif isinstance(event, TimerDue):
            engine.bars.close_by(event.ts_ns, decisions, out)
            for executor in engine.executors:
                supervision.run_timer(executor, event.ts_ns, out)
        elif isinstance(event, DeliveryFailed):
            supervision.delivery_failed(event, engine.executors, out)
        elif isinstance(event, ModelEvent):
            swap_models(event, engine.executors, out)
        elif isinstance(event, InferenceMissed | EvaluationLost | ProcessReady):
            self._told(event, out)
        elif isinstance(event, Conflated):
            details = {"instrument": event.instrument_token, "ticks": event.ticks}
            out.append(Noted("conflated", event.ts_ns, None, details))
        elif isinstance(event, TickQuarantined):
            engine.tick_steps.drop(TickDrop.QUARANTINED, event.row, out)
        elif isinstance(event, HistoryLoaded):
            self._history(event, out)
        elif isinstance(event, Reconfigured):
            rows = {"added": event.added, "removed": event.removed, "changed": event.changed}
            out.append(Noted("reconfigured", event.ts_ns, None, {how: list(ids) for how, ids in rows.items()}))
        else:
            self._feed(event, out)

    def _history(self, event: HistoryLoaded, out: list[Outcome]) -> None:
        engine = self._engine
        i = engine.rows.get(event.instrument_token)
        if i is None or not event.times:
            return
        engine.settle()
        window, book = engine.windows[i], engine.state.book
        if window.count:
            return
        feeds = engine.bars.of_row(i)
        for ts, text in zip(event.times, event.prices, strict=True):
            exact = Decimal(text)
            row = TickRow(event.instrument_token, ts, float(exact), exact)
            window.push(row)
            for feed in feeds:
                feed.take(row)
        engine.look_again()
        if event.times[-1] >= book.instrument.last_ts[i]:
            book.instrument.last_ts[i] = event.times[-1]
            book.instrument.last_price[i] = float(event.prices[-1])
        for executor, _ in engine.watchers[i]:
            held = engine.bars.window_of(executor, i).count
            if book.executor.state[executor.row] == _WARMUP and held >= executor.need:
                self._supervision.move(executor, Trigger.WINDOW_FULL, event.times[-1], out, event.instrument_token)

    def _told(self, event: InferenceMissed | EvaluationLost | ProcessReady, out: list[Outcome]) -> None:
        """What only a live run finds out: on a tick that is still to come, on a bar that a timer closes, or now."""
        engine = self._engine
        if isinstance(event, ProcessReady):
            self._supervision.process_ready(event, engine.executors)
            return
        i = engine.rows.get(event.instrument_token)
        if i is None or event.tick < engine.state.book.instrument.ticks[i]:
            kind = EVALUATION_LOST if isinstance(event, EvaluationLost) else INFERENCE_MISSED
            details = {"event": kind, "instrument": event.instrument_token, "tick": event.tick}
            out.append(Noted("misplaced_event", event.ts_ns, event.strategy_id, details))
        elif isinstance(event, EvaluationLost):
            engine.losses.tell(event.strategy_id, event.broker, event.instrument_token, event.tick, event.why)
        else:
            engine.deadlines.expect(event)

    def _feed(self, event: Arrived | FeedGap | FeedStale | FeedFresh, out: list[Outcome]) -> None:
        """What the feed itself has to say."""
        engine = self._engine
        if isinstance(event, Arrived):
            engine.arrived_ns = event.wall_ns
        elif isinstance(event, FeedGap):
            engine.settle()
            tokens = engine.tokens if event.instrument_tokens is None else event.instrument_tokens
            known = [engine.rows[token] for token in tokens if token in engine.rows]
            for i in known if event.rewarm else ():
                engine.windows[i].clear()
                for feed in engine.bars.of_row(i):
                    feed.clear()
            engine.look_again()
            out.append(Noted("feed_gap", event.ts_ns, None, {"instruments": len(known), **event.details}))
        elif isinstance(event, FeedStale):
            engine.feed_stale = not event.pause
            if event.pause:
                self._supervision.feed_stale(engine.executors, event.ts_ns, out)
            out.append(Noted("feed_stale", event.ts_ns, None, dict(event.details)))
        else:
            engine.feed_stale = False
            self._supervision.feed_fresh(engine.executors, event.ts_ns, out)
            out.append(Noted("feed_fresh", event.ts_ns))

    def _command(self, command: Command, out: list[Outcome]) -> None:
        engine = self._engine
        if command.operation in (Operation.KILL, Operation.UNKILL):
            engine.killed = command.operation is Operation.KILL
            if engine.account is not None:
                engine.account.pressed &= engine.killed
            out.append(Noted(f"{command.operation.value}ed", command.ts_ns))
        elif command.operation in (Operation.REDUCE_ONLY, Operation.OPEN_AGAIN):
            if engine.account is not None:
                engine.account.reduce_only = command.operation is Operation.REDUCE_ONLY
            out.append(Noted(command.operation.value, command.ts_ns, None, {"account": engine.account is not None}))
        else:
            self._supervision.command(command, engine.executors, out)
