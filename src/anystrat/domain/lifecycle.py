"""The lifecycle of an executor, as a table."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

from anystrat.domain.errors import InvalidTransition


class State(IntEnum):
    """Where an executor is; the number is the value of the `strategy_state` gauge."""

    INIT = 0
    WARMUP = 1
    ACTIVE = 2
    PAUSED = 3
    ERROR = 4
    STOPPED = 5


class Trigger(StrEnum):
    """Why an executor changes its state."""

    REGISTERED = "registered"
    WINDOW_FULL = "window_full"
    THROTTLED = "throttled"
    CIRCUIT_OPEN = "circuit_open"
    DEAD_LETTERED = "dead_lettered"
    OPERATOR_PAUSE = "operator_pause"
    OPERATOR_RESUME = "operator_resume"
    OPERATOR_ENABLE = "operator_enable"
    TIMER = "timer"
    TOO_MANY_ERRORS = "too_many_errors"
    PROCESS_LOST = "process_lost"
    RETRIES_EXHAUSTED = "retries_exhausted"
    FEED_STALE = "feed_stale"
    STOP = "stop"


_S, _T = State, Trigger

_NEXT: Final[dict[tuple[State, Trigger], State]] = {
    (_S.INIT, _T.REGISTERED): _S.WARMUP,
    (_S.WARMUP, _T.WINDOW_FULL): _S.ACTIVE,
    (_S.WARMUP, _T.OPERATOR_PAUSE): _S.PAUSED,
    (_S.ACTIVE, _T.THROTTLED): _S.PAUSED,
    (_S.ACTIVE, _T.CIRCUIT_OPEN): _S.PAUSED,
    (_S.ACTIVE, _T.DEAD_LETTERED): _S.PAUSED,
    (_S.ACTIVE, _T.OPERATOR_PAUSE): _S.PAUSED,
    (_S.ACTIVE, _T.FEED_STALE): _S.PAUSED,
    (_S.ACTIVE, _T.TOO_MANY_ERRORS): _S.ERROR,
    (_S.ACTIVE, _T.PROCESS_LOST): _S.ERROR,
    (_S.ERROR, _T.TIMER): _S.ACTIVE,
    (_S.ERROR, _T.RETRIES_EXHAUSTED): _S.PAUSED,
    (_S.ERROR, _T.OPERATOR_PAUSE): _S.PAUSED,
    (_S.PAUSED, _T.TIMER): _S.ACTIVE,
    (_S.PAUSED, _T.OPERATOR_RESUME): _S.ACTIVE,
    # As if it were registered anew, with the windows and the positions that it has.
    (_S.STOPPED, _T.OPERATOR_ENABLE): _S.WARMUP,
    # Already paused, but from now on until an operator: a timer that was running is off.
    (_S.PAUSED, _T.OPERATOR_PAUSE): _S.PAUSED,
    (_S.PAUSED, _T.DEAD_LETTERED): _S.PAUSED,
} | {(state, _T.STOP): _S.STOPPED for state in State if state is not State.STOPPED}


def next_state(state: State, trigger: Trigger) -> State:
    """Where `trigger` leads from `state`. Raises `InvalidTransition` for anything that the table does not hold."""
    try:
        return _NEXT[state, trigger]
    except KeyError:
        allowed = sorted(t.value for s, t in _NEXT if s is state)
        raise InvalidTransition(
            f"{state.name} has no transition on {trigger.value!r}; allowed: {', '.join(allowed) or 'none'}"
        ) from None


def can(state: State, trigger: Trigger) -> bool:
    """Whether the table holds a transition for `trigger` in `state`."""
    return (state, trigger) in _NEXT
