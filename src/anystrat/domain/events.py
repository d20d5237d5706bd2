"""Whatever reaches the engine is an event with its position in the input: replaying the events replays the run."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from anystrat.domain.tick import TickRow


class Operation(StrEnum):
    """What an operator can ask of an executor, or of all of them."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    KILL = "kill"
    UNKILL = "unkill"


class Command(msgspec.Struct, frozen=True, tag="command"):
    """An operator's command at event time `ts_ns`; without a `strategy_id` it is for all, without a `broker` for each.

    KILL and UNKILL switch the kill switch of all executors. Executors that the command cannot move are left as they
    are; one for a named strategy that moves none of its executors raises `InvalidTransition`, and one that names no
    strategy there is leads to a note.
    """

    operation: Operation
    ts_ns: int
    strategy_id: str | None = None
    broker: str | None = None


class TimerDue(msgspec.Struct, frozen=True, tag="timer"):
    """Event time reached `ts_ns` without a tick: timers that are due by then run."""

    ts_ns: int


class DeliveryFailed(msgspec.Struct, frozen=True, tag="delivery_failed"):
    """A signal of this executor went to the dead letters: the executor is paused."""

    ts_ns: int
    strategy_id: str
    broker: str
    signal_id: str


class ModelSwapped(msgspec.Struct, frozen=True, tag="model_swapped"):
    """A model file was loaded aside, checked, and put in place of the old one before the next tick."""

    ts_ns: int
    model_path: str
    sha256: str


Event = TickRow | Command | TimerDue | DeliveryFailed | ModelSwapped
