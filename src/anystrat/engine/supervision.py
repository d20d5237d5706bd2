"""Who is in which state, and why: transitions, timers, pauses, contained errors, operators' commands.

The table of `domain.lifecycle` says what may follow what; timers run on event time.
"""

from __future__ import annotations

import traceback
from bisect import insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anystrat.domain.errors import RaisedElsewhere
from anystrat.domain.events import EVALUATION_LOST, Command, DeliveryFailed, Operation, ProcessReady
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
                *_said(error),
                tuple(window.view[window.end - min(window.count, _LAST_PRICES_SHOWN) : window.end]),
            )
        )
        if self._recent_errors(executor, ts) <= risk.max_errors:
            return
        self.move(executor, Trigger.TOO_MANY_ERRORS, ts, out, row.instrument_token)
        if self._may_retry(executor, ts, out, row.instrument_token):
            book.executor.due[e] = self._retry_due(executor)

    def lost(self, executor: StrategyExecutor, row: TickRow, tick: int, why: str, out: list[Outcome]) -> None:
        """An evaluation went with the strategy's process: the executor is in ERROR until there is another, or PAUSED.

        `tick` is the number of the instrument's tick. Each loss takes one of the retries that too many errors take.
        """
        ts, token = row.ts_ns, row.instrument_token
        self._state.book.executor.errors[executor.row] += 1
        details = {"broker": executor.broker, "instrument": token, "tick": tick, "why": why}
        out.append(Noted(EVALUATION_LOST, ts, executor.strategy_id, details))
        self._recent_errors(executor, ts)
        self.move(executor, Trigger.PROCESS_LOST, ts, out, token)
        self._may_retry(executor, ts, out, token)

    def process_ready(self, event: ProcessReady, executors: Sequence[StrategyExecutor]) -> None:
        """Let the executors be retried that wait for the process, as late as their back-off says."""
        for executor in executors:
            if executor.strategy_id == event.strategy_id and self.waits_for_process(executor):
                self._state.book.executor.due[executor.row] = self._retry_due(executor)

    def waits_for_process(self, executor: StrategyExecutor) -> bool:
        """Whether it is in ERROR until its strategy has a process again."""
        return executor.state is Life.ERROR and self._state.book.executor.due[executor.row] == NEVER

    def _recent_errors(self, executor: StrategyExecutor, ts: int) -> int:
        """How many errors there were lately, with one at `ts`."""
        times, window = executor.error_times, executor.risk.error_window_ns
        if not any(ts - earlier < window for earlier in times):
            self._state.book.executor.retries[executor.row] = 0
        # An older time cannot matter again once so many later ones are known.
        insort(times, ts)
        del times[: -(executor.risk.max_errors + 1)]
        return sum(ts - earlier < window for earlier in times)

    def _may_retry(self, executor: StrategyExecutor, ts: int, out: list[Outcome], token: int) -> bool:
        """Take one of the retries; where none is left, the executor is PAUSED until an operator."""
        book, e = self._state.book, executor.row
        if book.executor.retries[e] >= executor.risk.max_retries:
            self.move(executor, Trigger.RETRIES_EXHAUSTED, ts, out, token)
            book.executor.pause_cause[e] = 0
            return False
        book.executor.retries[e] += 1
        return True

    def _retry_due(self, executor: StrategyExecutor) -> int:
        """When the retry that was taken is due: its back-off after the ERROR began."""
        book, e = self._state.book, executor.row
        doubled = min(book.executor.retries[e] - 1, _LARGEST_SHIFT)
        return book.executor.since[e] + (executor.risk.retry_backoff_ns << doubled)

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


def _said(error: Exception) -> tuple[str, str]:
    """The error in a line, and its traceback."""
    if isinstance(error, RaisedElsewhere):
        return error.said, error.trace
    return f"{type(error).__name__}: {_text(error)}", _traceback(error)


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
