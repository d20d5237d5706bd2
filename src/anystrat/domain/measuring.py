"""The ports through which a driver has its work measured. Each may be None: then nothing is measured, at no cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.tick import TickRow

T = TypeVar("T")


class Stage(StrEnum):
    """What of a signal's way is timed: the strategy's answer, its sizing and checks, one attempt to send it."""

    PROCESS_TICK = "process_tick"
    VALIDATE = "validate"
    PUBLISH = "publish"


class Meter(Protocol):
    """Takes measurements. Calls are cheap, never raise and never wait."""

    def took(self, stage: Stage, seconds: float, count: int = 1) -> None:
        """`count` times, this stage took `seconds` each."""
        ...

    def committed(self, seconds: float, steps: int, signals: int) -> None:
        """One commit of the journal took `seconds`, with so many steps of shards and signals in it."""
        ...

    def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """What the engine decided, each outcome once. Not called for inputs that are replayed in a recovery."""
        ...


class StepProbe(Protocol):
    """Looks closely at a few of one engine's ticks. What the engine decides is the same with and without."""

    def step(self, row: TickRow, *, age_ns: int = 0) -> list[Outcome]:
        """Call it in the place of `Engine.step`, for ticks alone."""
        ...

    def block(self, ticks: int, run: Callable[[], T]) -> T:
        """What `run` answers, which evaluates so many ticks over columns."""
        ...
