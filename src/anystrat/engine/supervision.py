"""Who is in which state, and why: transitions, timers, pauses, contained errors, operators' commands.

The table of `domain.lifecycle` says what may follow what; timers run on event time.
"""

from __future__ import annotations

import traceback
from bisect import insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anystrat.domain.events import Command, DeliveryFailed, Operation
from anystrat.domain.lifecycle import State as Life
from anystrat.domain.lifecycle import Trigger, can, next_state
from anystrat.domain.outcomes import Noted, Outcome, ProcessorFailed, Transition
from anystrat.engine.checks import CIRCUIT_OPEN
from anystrat.engine.state import NEVER, State

if TYPE_CHECKING:
    from anystrat.domain.tick import TickRow
    from anystrat.domain.window import Window
    from anystrat.engine.executor import StrategyExecutor

_PAUSED: Final = int(Life.PAUSED)
_LAST_PRICES_SHOWN: Final = 5
# A back-off of 2^40 times its base is for ever; more would leave 64 bits.
_LARGEST_SHIFT: Final = 40
#: As a cause of a pause: the feed fell silent. No number of a check.
_FEED: Final = -1

_OPERATOR: Final = {
    Operation.PAUSE: Trigger.OPERATOR_PAUSE,
    Operation.RESUME: Trigger.OPERATOR_RESUME,
    Operation.STOP: Trigger.STOP,
    Operation.ENABLE: Trigger.OPERATOR_ENABLE,
}
_FRESH: Final = (Trigger.OPERATOR_RESUME, Trigger.OPERATOR_ENABLE)


class Supervision:
    """Moves executors between states, and says so in the outcomes."""

    def __init__(self, state: State) -> None:
        self._state = state

    def move(
        self, executor: StrategyExecutor, trigger: Trigger, ts: int, out: list[Outcome], token: int | None = None
    ) -> None:
        """Take the transition that `trigger` leads to. Raises `InvalidTransition` where the table has none."""
        book, e = self._state.book, executor.row
        before = Life(book.executor.state[e])
        after = next_state(before, trigger)
        book.executor.state[e] = after
        book.executor.since[e] = ts
        if after is not Life.ERROR:
            book.executor.due[e] = NEVER
        out.append(Transition(executor.strategy_id, executor.broker, before, after, trigger, ts, token))

    def pause(
        self,
        executor: StrategyExecutor,
        trigger: Trigger,
        ts: int,
        resume_after: int | None,
        out: list[Outcome],
        token: int | None = None,
    ) -> None:
        """Pause an executor until an operator resumes it, or until `resume_after` nanoseconds of event time have passed."""
        self.move(executor, trigger, ts, out, token)
        book, e = self._state.book, executor.row
        book.executor.pause_cause[e] = CIRCUIT_OPEN if trigger is Trigger.CIRCUIT_OPEN else 0
        if resume_after is not None:
            book.executor.due[e] = ts + resume_after

    def run_timer(self, executor: StrategyExecutor, ts: int, out: list[Outcome], token: int | None = None) -> None:
        """Let an executor go on whose timer is due by `ts`."""
        book, e = self._state.book, executor.row
        if ts < book.executor.due[e]:
            return
        if book.executor.state[e] == _PAUSED and book.executor.pause_cause[e] == CIRCUIT_OPEN:
            book.executor.loss_streak[e] = 0
        self.move(executor, Trigger.TIMER, ts, out, token)

    def failed(
        self, executor: StrategyExecutor, window: Window, row: TickRow, error: Exception, out: list[Outcome]
    ) -> None:
        """Contain what a strategy raised: name it, count it, and put the executor into ERROR when there were too many."""
        book, e, ts, risk = self._state.book, executor.row, row.ts_ns, executor.risk
        book.executor.errors[e] += 1
        out.append(
            ProcessorFailed(
                executor.strategy_id,
                executor.broker,
                row.instrument_token,
                ts,
                f"{type(error).__name__}: {_text(error)}",
                _traceback(error),
                tuple(window.view[window.end - min(window.count, _LAST_PRICES_SHOWN) : window.end]),
            )
        )
        times = executor.error_times
        recent = sum(ts - earlier < risk.error_window_ns for earlier in times)
        if not recent:
            book.executor.retries[e] = 0
        # An older time cannot matter again once so many later ones are known.
        insort(times, ts)
        del times[: -(risk.max_errors + 1)]
        if sum(ts - earlier < risk.error_window_ns for earlier in times) <= risk.max_errors:
            return
        self.move(executor, Trigger.TOO_MANY_ERRORS, ts, out, row.instrument_token)
        retries = book.executor.retries[e]
        if retries >= risk.max_retries:
            self.move(executor, Trigger.RETRIES_EXHAUSTED, ts, out, row.instrument_token)
            book.executor.pause_cause[e] = 0
            return
        book.executor.due[e] = ts + (risk.retry_backoff_ns << min(retries, _LARGEST_SHIFT))
        book.executor.retries[e] = retries + 1

    def command(self, command: Command, executors: Sequence[StrategyExecutor], out: list[Outcome]) -> None:
        """Move the executors that an operator means and that can be moved; see `Command`."""
        trigger = _OPERATOR[command.operation]
        meant = [
            executor
            for executor in executors
            if command.strategy_id in (None, executor.strategy_id) and command.broker in (None, executor.broker)
        ]
        able = [executor for executor in meant if can(executor.state, trigger)]
        if not meant:
            details = {"operation": command.operation.value, "broker": command.broker}
            out.append(Noted("unknown_strategy", command.ts_ns, command.strategy_id, details))
        elif not able and command.strategy_id is not None:
            next_state(meant[0].state, trigger)
        for executor in able:
            self.move(executor, trigger, command.ts_ns, out)
            book, e = self._state.book, executor.row
            book.executor.pause_cause[e] = 0
            if trigger in _FRESH:
                book.executor.loss_streak[e] = 0
                book.executor.retries[e] = 0
                executor.error_times.clear()

    def delivery_failed(self, event: DeliveryFailed, executors: Sequence[StrategyExecutor], out: list[Outcome]) -> None:
        """Pause the executor whose signal went to the dead letters, where its state allows it."""
        for executor in executors:
            if (executor.strategy_id, executor.broker) == (event.strategy_id, event.broker) and can(
                executor.state, Trigger.DEAD_LETTERED
            ):
                self.pause(executor, Trigger.DEAD_LETTERED, event.ts_ns, None, out)

    def feed_stale(self, executors: Sequence[StrategyExecutor], ts: int, out: list[Outcome]) -> None:
        """Pause the executors that are ACTIVE, until `feed_fresh`."""
        for executor in executors:
            if can(executor.state, Trigger.FEED_STALE):
                self.pause(executor, Trigger.FEED_STALE, ts, None, out)
                self._state.book.executor.pause_cause[executor.row] = _FEED

    def waits_for_feed(self, executors: Sequence[StrategyExecutor]) -> bool:
        """Whether one of them is PAUSED until the feed speaks again."""
        causes = self._state.book.executor.pause_cause
        return any(each.state is Life.PAUSED and causes[each.row] == _FEED for each in executors)

    def feed_fresh(self, executors: Sequence[StrategyExecutor], ts: int, out: list[Outcome]) -> None:
        """Let the executors go on that the feed paused, and nobody else since."""
        causes = self._state.book.executor.pause_cause
        for executor in executors:
            if executor.state is Life.PAUSED and causes[executor.row] == _FEED:
                self.move(executor, Trigger.TIMER, ts, out)


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  an exception of a strategy's own may fail at this too
        return "(its text cannot be had)"


def _traceback(error: Exception) -> str:
    """The traceback from where the strategy's own code begins: how the engine got there helps nobody."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("anystrat.engine"):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))
    except Exception:  # noqa: BLE001  an exception of a strategy's own may fail at being shown
        return "".join(traceback.format_tb(frames or error.__traceback__))
