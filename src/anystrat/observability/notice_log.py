"""The runner's own story in the log: start, recovery, shards, feed, delivery, what blocks, drain, stop."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, assert_never

from anystrat.domain.health import Breaker
from anystrat.domain.intake import NoticeKind, SourceNotice
from anystrat.domain.notices import (
    BreakerMoved,
    DeadLettered,
    DiedWithin,
    Draining,
    Expired,
    HandedOver,
    HistoryReady,
    JournalGoesOn,
    JournalWaits,
    JournalWeak,
    Listening,
    Notice,
    PartFailed,
    ProcessReplaced,
    Quarantined,
    Recovered,
    ShardsAssigned,
    Started,
    Stopped,
    StrategyBlocks,
)
from anystrat.observability.log import is_milestone, moment
from anystrat.observability.records import apart

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

#: A shard with more than this many times its even share of the instruments will be the slowest by far.
_SKEWED: Final = 2.0
_FEED: Final = {
    NoticeKind.GAP: ("warning", "feed gap: ticks are missing"),
    NoticeKind.RECONNECTED: ("info", "feed reconnected"),
    NoticeKind.STALE: ("warning", "feed silent for too long"),
    NoticeKind.FRESH: ("info", "feed speaks again"),
    NoticeKind.QUARANTINED: ("error", "message quarantined"),
}
#: After so many dead letters of a broker, only the 10th, 100th, 1000th … are written down: the journal has them all.
_FIRST_DEAD: Final = 3


class NoticeLog:
    """Writes each notice into the log: a `Listener`."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._dead: Counter[str] = Counter()

    def __call__(self, notice: Notice) -> None:  # noqa: C901, PLR0912, PLR0915  one case a notice
        """Write it down."""
        log = self._log
        match notice:
            case Started():
                log.info(
                    "service starts",
                    run=notice.run,
                    version=notice.version,
                    source=notice.source,
                    journal=notice.journal,
                    brokers=list(notice.brokers),
                    executors=notice.executors,
                    instruments=notice.instruments,
                )
            case ShardsAssigned():
                skewed = len(notice.instruments) > 1 and notice.skew > _SKEWED
                write = log.warning if skewed else log.info
                write("shards assigned", instruments=list(notice.instruments), skew=round(notice.skew, 2))
            case Recovered():
                fields = {"shard": notice.shard, "inputs": notice.inputs, "seconds": round(notice.seconds, 3)}
                if notice.diverged:
                    hint = "the same inputs gave other signals than before: a strategy is no function of its history"
                    log.error("recovered, and diverged", **fields, epoch=notice.epoch, hint=hint)
                else:
                    log.info("recovered", **fields, epoch=notice.epoch)
            case DiedWithin():
                self._died_within(notice)
            case Quarantined():
                log.error(
                    "tick quarantined",
                    shard=notice.shard,
                    instrument=notice.instrument_token,
                    at=moment(notice.ts_ns),
                    price=notice.price,
                    deaths=notice.deaths,
                    partition=notice.partition,
                    kept_in=notice.kept_in,
                )
            case HistoryReady():
                write = log.warning if notice.missing else log.info
                write("history loaded", instruments=notice.instruments, ticks=notice.ticks, missing=notice.missing)
            case HandedOver():
                write = log.warning if notice.duplicates else log.info
                write(
                    "the feed follows on the history",
                    instruments=notice.instruments,
                    silent=notice.silent,
                    duplicates=notice.duplicates,
                    longest_gap_sec=round(notice.longest_gap_sec, 3),
                    instrument=notice.gap_token,
                )
            case Listening():
                log.info("listening", what=notice.what, address=notice.address)
            case SourceNotice():
                level, event = _FEED[notice.kind]
                own = {"partition": notice.partition}
                getattr(log, level)(event, **own, **apart(notice.details, own))
            case DeadLettered():
                self._dead_lettered(notice)
            case Expired():
                log.warning(
                    "signals expired unsent", broker=notice.broker, count=notice.count, first=notice.first_signal_id
                )
            case BreakerMoved():
                write = log.warning if notice.after is Breaker.OPEN else log.info
                write(
                    "breaker " + notice.after.name.lower().replace("_", " "),
                    broker=notice.broker,
                    before=notice.before.name.lower(),
                    **_given(reason=notice.reason),
                )
            case JournalWaits():
                log.error("journal has no room: the run pauses", problem=notice.problem)
            case JournalWeak():
                then = "a power cut of the server may cost signals that were accepted: set it right there"
                log.warning("journal's server does not sync", settings=notice.settings, then=then)
            case JournalGoesOn():
                log.info("journal has room again: the run goes on", seconds=round(notice.seconds, 3))
            case StrategyBlocks():
                log.error(
                    "strategy blocks its shard",
                    strategy=notice.strategy_id,
                    shard=notice.shard,
                    instrument=notice.instrument_token,
                    seconds=round(notice.seconds, 3),
                    **_given(exception=notice.stack),
                )
            case ProcessReplaced():
                log.info("strategy has a process again", strategy=notice.strategy_id, process=notice.text)
            case PartFailed():
                log.error(
                    "part failed",
                    part=notice.part,
                    error=notice.error,
                    consequence=notice.consequence,
                    **_given(exception=notice.traceback),
                )
            case Draining():
                log.info("draining", reason=notice.reason, deadline_sec=notice.deadline_sec, queued=notice.queued)
            case Stopped():
                write = log.info if notice.clean else log.error
                write(
                    "service stopped",
                    reason=notice.reason,
                    clean=notice.clean,
                    queued=notice.queued,
                    seconds=round(notice.seconds, 3),
                )
            case _:
                assert_never(notice)

    def _died_within(self, notice: DiedWithin) -> None:
        place: dict[str, Any] = {}
        if notice.ticks:
            place |= {"ticks": notice.ticks, "instrument": notice.first_token, "at": moment(notice.first_ns)}
        if notice.ticks > 1:
            place |= {"last_instrument": notice.last_token, "last_at": moment(notice.last_ns)}
        what = "ticks, which are tried one by one" if notice.ticks > 1 else "a tick" if notice.ticks else "a timer"
        self._log.error(f"the process before died within {what}", shard=notice.shard, deaths=notice.deaths, **place)

    def _dead_lettered(self, notice: DeadLettered) -> None:
        self._dead[notice.broker] += 1
        count = self._dead[notice.broker]
        if count <= _FIRST_DEAD or is_milestone(count):
            self._log.error(
                "signal dead-lettered",
                broker=notice.broker,
                strategy=notice.strategy_id,
                signal=notice.signal_id,
                instrument=notice.instrument_token,
                fate=notice.fate,
                reason=notice.reason,
                attempts=notice.attempts,
                count=count,
            )


def _given(**fields: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
