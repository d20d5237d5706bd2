"""Events as drivers push them: what cannot be obeyed is noted, so that a replay of it goes on as the run did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anystrat.domain.errors import InvalidTransition
from anystrat.domain.outcomes import Noted, Outcome

if TYPE_CHECKING:
    from anystrat.domain.events import RecordedEvent
    from anystrat.engine.engine import Engine


def obeyed(engine: Engine, event: RecordedEvent) -> list[Outcome]:
    """Everything that an event leads to. A command that cannot be obeyed is a note: it may be an operator's mistake."""
    try:
        return engine.step(event)
    except InvalidTransition as error:
        return [Noted("command_refused", getattr(event, "ts_ns", 0), None, {"reason": str(error)})]
