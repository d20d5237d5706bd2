"""The ports through which a driver has its work measured. Each may be None: then nothing is measured, at no cost."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.tick import TickRow


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

    def committed(self, seconds: float, inputs: int) -> None:
        """One commit of the journal took `seconds`, with so many inputs in it."""
        ...

    def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """What the engine decided, each outcome once. Not called for inputs that are replayed in a recovery."""
        ...


class StepProbe(Protocol):
    """Stands in the place of one engine's `step` for ticks, and answers what it answers; a few ticks are looked at closely."""

    def step(self, row: TickRow, *, age_ns: int = 0) -> list[Outcome]:
        """As `Engine.step`."""
        ...

    def block(self, ticks: int, seconds: float) -> None:
        """So many ticks were evaluated over columns, in so many seconds of engine time."""
        ...
