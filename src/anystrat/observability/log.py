"""The log: one line for what a person should know, on standard error, never one line a drop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from anystrat.domain.outcomes import Dropped, Noted, Outcome, ProcessorFailed, TickDropped, Transition
from anystrat.domain.tick import datetime_of
from anystrat.observability.records import apart, logger

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from anystrat.engine.executor import StrategyExecutor

_FIRST_ROWS: Final = 3
_TRACEBACKS_KEPT: Final = 1_000
_TOKENS_SHOWN: Final = 8


class _Unserved(Protocol):
    @property
    def strategy_id(self) -> str: ...
    @property
    def reason(self) -> str: ...


__all__ = ["OutcomeLog", "is_milestone", "logger"]


class OutcomeLog:
    """Writes outcomes into the log.

    INFO transitions; WARN bad ticks (the first rows of each kind) and dropped signals (the 1st, 10th, 100th … of a
    strategy and reason); ERROR what a strategy raised, with its tick, its last prices and its traceback.
    """

    #: Emitted signals and fills are nothing to it: whoever makes outcomes may leave them out.
    notes_only: Final = True

    def __init__(self, log: FilteringBoundLogger | None = None) -> None:
        self._given = log
        self._compiling = False
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
                    at=moment(outcome.ts_ns),
                )
            elif isinstance(outcome, ProcessorFailed):
                self._failed(outcome)
            elif isinstance(outcome, Noted):
                own = {"strategy": outcome.strategy_id, "at": moment(outcome.ts_ns)}
                self._log.warning(outcome.kind, **own, **apart(outcome.details, own))

    def registered(self, executors: Iterable[StrategyExecutor]) -> None:
        """INFO about each executor that is there now: its strategy, where it trades, what it watches."""
        for one in executors:
            more = len(one.tokens) - _TOKENS_SHOWN
            self._log.info(
                "strategy registered",
                strategy=one.strategy_id,
                broker=one.broker,
                type=one.config.strategy_type,
                kind=one.kind,
                history=one.need,
                instruments=[*one.tokens[:_TOKENS_SHOWN], *([f"and {more} more"] if more > 0 else [])],
            )

    def compiling(self, _kernel: str) -> None:
        """INFO, once, that this machine's first compilation is going on, which takes some seconds."""
        if not self._compiling:
            self._compiling = True
            self._log.info("compiling for this machine, once; ticks wait for some seconds")

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
            at=moment(outcome.ts_ns),
            error=outcome.error,
            last_prices=list(outcome.last_prices),
            **({} if known else {"exception": outcome.traceback}),
        )

    def _dropped(self, outcome: Dropped) -> None:
        key = (outcome.strategy_id, outcome.broker, outcome.reason)
        self._drops[key] += 1
        count = self._drops[key]
        if is_milestone(count):
            self._log.warning(
                "signals dropped",
                strategy=outcome.strategy_id,
                broker=outcome.broker,
                reason=str(outcome.reason),
                count=count,
                instrument=outcome.instrument_token,
                at=moment(outcome.ts_ns),
            )

    def _tick_dropped(self, outcome: TickDropped) -> None:
        self._ticks[outcome.reason.value] += 1
        count = self._ticks[outcome.reason.value]
        if count <= _FIRST_ROWS or is_milestone(count):
            row = outcome.row
            self._log.warning(
                "tick dropped",
                reason=outcome.reason.value,
                count=count,
                instrument=row.instrument_token,
                price=str(row.exact if row.exact is not None else row.price),
                at=moment(row.ts_ns),
            )


def is_milestone(count: int) -> bool:
    """Whether this is the 1st, 10th, 100th … of its kind: those that are written down."""
    return str(count).rstrip("0") == "1"


def moment(ts_ns: int) -> str:
    """A time as text; the bare number where it is beyond what a calendar holds."""
    try:
        return datetime_of(ts_ns).isoformat()
    except OverflowError:
        return str(ts_ns)
