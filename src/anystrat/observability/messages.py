"""Which happenings people are told of, in their words: outcomes and notices to messages, most of them to none."""

from __future__ import annotations

from typing import Any, Final

from anystrat.domain.health import Breaker
from anystrat.domain.intake import NoticeKind, SourceNotice
from anystrat.domain.lifecycle import State
from anystrat.domain.notices import (
    BreakerMoved,
    DeadLettered,
    DiedWithin,
    Expired,
    JournalGoesOn,
    JournalWaits,
    Notice,
    PartFailed,
    Quarantined,
    Stopped,
    StrategyBlocks,
)
from anystrat.domain.notifying import Message, Severity, Topic
from anystrat.domain.outcomes import Noted, Outcome, Transition

_BAD: Final = {State.PAUSED: Severity.WARNING, State.ERROR: Severity.ERROR, State.STOPPED: Severity.WARNING}
_FEED: Final = {
    NoticeKind.GAP: (Severity.WARNING, "ticks are missing that will not come"),
    NoticeKind.STALE: (Severity.WARNING, "has been silent for too long"),
    NoticeKind.FRESH: (Severity.INFO, "speaks again"),
}
_MODEL: Final = {
    "model_refused": (Severity.WARNING, "a new model does not fit; the one before it serves on"),
    "model_reverted": (Severity.ERROR, "a new model failed; the one before it serves again"),
}


def of_outcome(outcome: Outcome) -> Message | None:
    """What an engine decided; None for what nobody is told of."""
    if type(outcome) is Transition:
        return _moved(outcome)
    if type(outcome) is Noted:
        return _noted(outcome)
    return None


def of_notice(notice: Notice) -> Message | None:  # noqa: PLR0911  one case a notice
    """What the runner has to say; None for what nobody is told of."""
    match notice:
        case SourceNotice() if notice.kind in _FEED:
            severity, words = _FEED[notice.kind]
            details = {"partition": notice.partition, **notice.details}
            return Message(Topic.FEED, f"feed.{notice.kind}", severity, f"The feed {notice.partition} {words}", details)
        case DeadLettered():
            text = f"A signal of {notice.strategy_id} for {notice.broker} is a dead letter: {notice.reason}"
            fields = {"broker": notice.broker, "strategy": notice.strategy_id, "signal_id": notice.signal_id}
            details = {**fields, "fate": notice.fate, "reason": notice.reason, "attempts": notice.attempts}
            return Message(Topic.DEAD_LETTER, "dead_letter", Severity.ERROR, text, details)
        case Expired():
            text = f"{notice.count} signals for {notice.broker} became too old and were not sent"
            details = {"broker": notice.broker, "count": notice.count, "first": notice.first_signal_id}
            return Message(Topic.BROKER, "broker.expired", Severity.WARNING, text, details)
        case BreakerMoved() if notice.after is not Breaker.HALF_OPEN:
            details = {"broker": notice.broker, "reason": notice.reason}
            if notice.after is Breaker.OPEN:
                text = f"The broker {notice.broker} is left alone: {notice.reason or 'its last attempts failed'}"
                return Message(Topic.BROKER, "broker.away", Severity.ERROR, text, details)
            return Message(Topic.BROKER, "broker.back", Severity.INFO, f"The broker {notice.broker} is back", details)
        case StrategyBlocks():
            text = f"{notice.strategy_id} holds its shard up, for {notice.seconds:.1f} s now"
            details = {"strategy": notice.strategy_id, "shard": notice.shard}
            return Message(Topic.STRATEGY, "strategy.blocks", Severity.ERROR, text, details)
        case DiedWithin():
            what = f"{notice.ticks} ticks" if notice.ticks > 1 else "a tick" if notice.ticks else "a timer"
            text = f"The process before died within {what}: death number {notice.deaths} there"
            details = {"shard": notice.shard, "ticks": notice.ticks, "deaths": notice.deaths}
            return Message(Topic.SERVICE, "service.died", Severity.ERROR, text, details)
        case Quarantined():
            text = f"A tick of {notice.instrument_token} at {notice.price} is left out: the process died of it {notice.deaths} times"
            details = {"instrument": notice.instrument_token, "ts_ns": notice.ts_ns, "price": notice.price}
            details |= {"deaths": notice.deaths, "partition": notice.partition, "kept_in": notice.kept_in}
            return Message(Topic.FEED, "feed.quarantined", Severity.ERROR, text, details)
        case JournalWaits():
            text = f"The run pauses: {notice.problem}"
            return Message(Topic.SERVICE, "service.paused", Severity.ERROR, text, {"problem": notice.problem})
        case JournalGoesOn():
            text = f"The journal has room again after {notice.seconds:.0f} s: the run goes on"
            return Message(Topic.SERVICE, "service.goes_on", Severity.INFO, text, {"seconds": notice.seconds})
        case PartFailed():
            text = f"{notice.part} failed: {notice.error}; {notice.consequence}"
            details = {"part": notice.part, "error": notice.error, "consequence": notice.consequence}
            return Message(Topic.SERVICE, "service.failed", Severity.ERROR, text, details)
        case Stopped():
            severity = Severity.INFO if notice.clean else Severity.ERROR
            text = f"The service stopped: {notice.reason or 'it failed'}"
            details = {"reason": notice.reason, "clean": notice.clean, "queued": notice.queued}
            return Message(Topic.SERVICE, "service.stopped", severity, text, details)
        case _:
            return None


def without_model(strategy_id: str, reason: str, *, rules_go_on: bool) -> Message:
    """A strategy whose model does not load at the start."""
    what = "goes on with its rules alone" if rules_go_on else "is left out"
    event = "strategy.degraded" if rules_go_on else "strategy.left_out"
    details = {"strategy": strategy_id, "reason": reason}
    return Message(
        Topic.MODEL, event, Severity.ERROR, f"{strategy_id} {what}: its model does not load: {reason}", details
    )


def _moved(outcome: Transition) -> Message | None:
    severity = _BAD.get(outcome.after)
    if severity is None and outcome.before not in _BAD:
        return None  # it begins
    after, details = outcome.after.name, {"strategy": outcome.strategy_id, "broker": outcome.broker}
    details |= {"before": outcome.before.name, "after": after, "trigger": outcome.trigger.value}
    text = f"{outcome.strategy_id} on {outcome.broker} is {after}: {outcome.trigger.value.replace('_', ' ')}"
    return Message(Topic.STRATEGY, f"strategy.{after.lower()}", severity or Severity.INFO, text, details)


def _noted(outcome: Noted) -> Message | None:
    if outcome.kind in {"killed", "unkilled"}:
        on = outcome.kind == "killed"
        text = f"The kill switch is {'on: no signal leaves' if on else 'off'}"
        return Message(Topic.KILL, outcome.kind, Severity.ERROR if on else Severity.INFO, text)
    if outcome.kind in _MODEL:
        severity, words = _MODEL[outcome.kind]
        details: dict[str, Any] = {"strategy": outcome.strategy_id, **outcome.details}
        text = f"{outcome.strategy_id}: {words}" if outcome.strategy_id else words[0].upper() + words[1:]
        return Message(Topic.MODEL, outcome.kind, severity, text, details)
    return None
