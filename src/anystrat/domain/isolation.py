"""A process of its own for a strategy's code, in a live run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from anystrat.domain.parameters import Doc, Ge, Gt, Le, Unit


@dataclass(frozen=True, slots=True)
class Isolation:
    """What the strategy's process may take; it is killed when it takes more."""

    deadline_ms: Annotated[
        float, Gt(0), Le(600_000), Unit("milliseconds"), Doc("How long one evaluation may take.")
    ] = 1_000.0
    memory_mb: Annotated[
        int | None,
        Ge(64),
        Le(1 << 20),
        Unit("megabytes of 10^6 bytes"),
        Doc("How much memory may be resident; without it, any amount."),
    ] = None

    @property
    def deadline_sec(self) -> float:
        """The deadline in seconds."""
        return self.deadline_ms / 1_000
