"""The log: one line for what a person should know, on standard error, never one line a drop."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from anystrat.domain.outcomes import Dropped, Noted, Outcome, ProcessorFailed, TickDropped, Transition
from anystrat.domain.tick import datetime_of

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_FIRST_ROWS: Final = 3
_TRACEBACKS_KEPT: Final = 1_000
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Unserved(Protocol):
    @property
    def strategy_id(self) -> str: ...
    @property
    def reason(self) -> str: ...


def logger(level: str = "info", *, json: bool = False) -> FilteringBoundLogger:
    """A logger of our own to standard error; control characters in values are escaped, so a record stays one record.

    Console lines for people (colours only on a terminal, none with NO_COLOR), or one JSON object a line.
    """
    import structlog  # noqa: PLC0415  a service that logs nothing does not pay for it

    colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=colours)
    made: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _escape_control_characters,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return made


def _escape_control_characters(_logger: Any, _method: str, record: Any) -> Any:
    for key, value in record.items():
        # A traceback's lines are what makes it readable.
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            record[key] = value.encode("unicode_escape").decode("ascii")
    return record


class OutcomeLog:
    """Writes outcomes into the log.

    INFO transitions; WARN bad ticks (the first rows of each kind) and dropped signals (the 1st, 10th, 100th … of a
    strategy and reason); ERROR what a strategy raised, with its tick, its last prices and its traceback.
    """

    def __init__(self, log: FilteringBoundLogger | None = None) -> None:
        self._given = log
        self._drops: Counter[tuple[str, str, str]] = Counter()
        self._ticks: Counter[str] = Counter()
        self._shown: set[tuple[str, str]] = set()

    @property
    def _log(self) -> FilteringBoundLogger:
        if self._given is None:
            self._given = logger()
        return self._given

    def __call__(self, outcomes: Sequence[Outcome]) -> None:
        """Write down what a person should know of these outcomes."""
        for outcome in outcomes:
            if isinstance(outcome, Dropped):
                self._dropped(outcome)
            elif isinstance(outcome, TickDropped):
                self._tick_dropped(outcome)
            elif isinstance(outcome, Transition):
                self._log.info(
                    "transition",
                    strategy=outcome.strategy_id,
                    broker=outcome.broker,
                    before=outcome.before.name,
                    after=outcome.after.name,
                    trigger=outcome.trigger.value,
                    at=_time(outcome.ts_ns),
                )
            elif isinstance(outcome, ProcessorFailed):
                self._failed(outcome)
            elif isinstance(outcome, Noted):
                self._log.warning(
                    outcome.kind, strategy=outcome.strategy_id, at=_time(outcome.ts_ns), **outcome.details
                )

    def models(self, left_out: Iterable[_Unserved], degraded: Iterable[_Unserved]) -> None:
        """WARN about strategies whose model does not load."""
        for item in left_out:
            self._log.warning("model not loaded, strategy left out", strategy=item.strategy_id, reason=item.reason)
        for item in degraded:
            self._log.warning("model not loaded, rules alone go on", strategy=item.strategy_id, reason=item.reason)

    def _failed(self, outcome: ProcessorFailed) -> None:
        """The same error again needs no second traceback."""
        key = (outcome.strategy_id, outcome.traceback)
        known = key in self._shown
        if len(self._shown) < _TRACEBACKS_KEPT:
            self._shown.add(key)
        self._log.error(
            "strategy raised",
            strategy=outcome.strategy_id,
            broker=outcome.broker,
            instrument=outcome.instrument_token,
            at=_time(outcome.ts_ns),
            error=outcome.error,
            last_prices=list(outcome.last_prices),
            **({} if known else {"exception": outcome.traceback}),
        )

    def _dropped(self, outcome: Dropped) -> None:
        key = (outcome.strategy_id, outcome.broker, outcome.reason)
        self._drops[key] += 1
        count = self._drops[key]
        if str(count).rstrip("0") == "1":
            self._log.warning(
                "signals dropped",
                strategy=outcome.strategy_id,
                broker=outcome.broker,
                reason=str(outcome.reason),
                count=count,
                instrument=outcome.instrument_token,
                at=_time(outcome.ts_ns),
            )

    def _tick_dropped(self, outcome: TickDropped) -> None:
        self._ticks[outcome.reason.value] += 1
        count = self._ticks[outcome.reason.value]
        if count <= _FIRST_ROWS or str(count).rstrip("0") == "1":
            row = outcome.row
            self._log.warning(
                "tick dropped",
                reason=outcome.reason.value,
                count=count,
                instrument=row.instrument_token,
                price=str(row.exact if row.exact is not None else row.price),
                at=_time(row.ts_ns),
            )


def _time(ts_ns: int) -> str:
    try:
        return datetime_of(ts_ns).isoformat()
    except OverflowError:
        return str(ts_ns)
