"""What a person should know while a replay runs: the first of each kind, in a line, on standard error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from anystrat.cli.failures import say, say_error, say_warning
from anystrat.domain.outcomes import Noted, Outcome, ProcessorFailed, TickDrop, TickDropped, Transition
from anystrat.domain.tick import datetime_of

if TYPE_CHECKING:
    from anystrat.bootstrap import Degraded, LeftOut

_FIRST: Final = 3
_SAID: Final = (TickDropped, ProcessorFailed, Transition, Noted)


class ReplayNotes:
    """Takes the outcomes of a replay. The summary counts everything; here stands what it looks like.

    Dropped ticks: the first three for each reason, but the first alone for an instrument that nobody watches. Errors of
    strategies: the first three of each. States: the paused and the failed.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._ticks: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._unrouted: set[int] = set()

    def __call__(self, outcomes: Sequence[Outcome]) -> None:
        """Say what is worth saying of these outcomes."""
        for outcome in outcomes:
            if not isinstance(outcome, _SAID):
                continue
            if isinstance(outcome, ProcessorFailed):
                self._failed(outcome)
            elif self._quiet:
                continue
            elif isinstance(outcome, TickDropped):
                self._tick_dropped(outcome)
            elif isinstance(outcome, Transition):
                self._moved(outcome)
            else:
                about = f"strategy {outcome.strategy_id}: " if outcome.strategy_id else ""
                details = ", ".join(f"{key} {value}" for key, value in outcome.details.items())
                say_warning(f"{about}{outcome.kind.replace('_', ' ')} at {moment(outcome.ts_ns)}: {details}")

    def models(self, left_out: Iterable[LeftOut], degraded: Iterable[Degraded]) -> None:
        """Say whose model does not load; also when all else is to be quiet, since it changes what comes out."""
        for item in left_out:
            say_warning(f"strategy {item.strategy_id} is left out, its model does not load: {item.reason}")
        for one in degraded:
            say_warning(
                f"strategy {one.strategy_id} goes on with its rules alone, its model does not load: {one.reason}"
            )

    def _failed(self, outcome: ProcessorFailed) -> None:
        self._errors[outcome.strategy_id] += 1
        count = self._errors[outcome.strategy_id]
        if count > _FIRST:
            return
        last = ", ".join(f"{price:g}" for price in outcome.last_prices)
        say_error(
            f"strategy {outcome.strategy_id} raised on instrument {outcome.instrument_token} at {moment(outcome.ts_ns)}: "
            f"{outcome.error} (last prices {last})"
        )
        if count == _FIRST:
            say(f"More errors of {outcome.strategy_id} are counted; -v shows each with its traceback.")

    def _tick_dropped(self, outcome: TickDropped) -> None:
        row = outcome.row
        if outcome.reason is TickDrop.UNROUTED:
            if row.instrument_token in self._unrouted or len(self._unrouted) >= _FIRST:
                return
            self._unrouted.add(row.instrument_token)
            say_warning(f"ticks of instrument {row.instrument_token} are dropped: no enabled strategy watches it")
            return
        self._ticks[outcome.reason.value] += 1
        if self._ticks[outcome.reason.value] > _FIRST:
            return
        price: Any = row.exact if row.exact is not None else row.price
        what = {
            TickDrop.BAD_PRICE: f"its price is {price}",
            TickDrop.OUT_OF_ORDER: "older than the instrument's tick before it",
            TickDrop.QUARANTINED: "quarantined when it was recorded: the process had died of it",
        }.get(outcome.reason, outcome.reason.value)
        say_warning(f"tick dropped: instrument {row.instrument_token} at {moment(row.ts_ns)}: {what}")

    def _moved(self, outcome: Transition) -> None:
        if outcome.after.name not in {"PAUSED", "ERROR"}:
            return
        cause = outcome.trigger.value.replace("_", " ")
        who = f"{outcome.strategy_id} on {outcome.broker}"
        say_warning(f"strategy {who}: {outcome.before.name} → {outcome.after.name} at {moment(outcome.ts_ns)}: {cause}")


def moment(ts_ns: int) -> str:
    """A time as text; the bare number where it is beyond what a calendar holds."""
    try:
        return datetime_of(ts_ns).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return str(ts_ns)
