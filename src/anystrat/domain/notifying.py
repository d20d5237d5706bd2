"""What people are told of while they do not look: which happenings, how often, and what a message says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from anystrat.domain.parameters import Doc, Ge, Gt, Le, Unit


class Topic(StrEnum):
    """What a message is about."""

    STRATEGY = "strategy"
    KILL = "kill"
    FEED = "feed"
    DEAD_LETTER = "dead_letter"
    BROKER = "broker"
    MODEL = "model"
    SERVICE = "service"


class Severity(StrEnum):
    """How bad it is: over again, to be looked at, to be looked at now."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class NotifyRules:
    """What is told, and how often; every type of `notify` takes it beside its own options."""

    on: Annotated[tuple[Topic, ...], Doc("What is told of; without it, everything.")] = tuple(Topic)
    per_minute: Annotated[
        int, Ge(1), Le(600), Unit("messages"), Doc("Never more in any minute; what finds no room is counted.")
    ] = 20
    timeout_sec: Annotated[float, Gt(0), Le(60), Unit("seconds"), Doc("How long an answer is waited for.")] = 10.0


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Where people are told; `options` as in `SourceSettings`."""

    type: str
    options: Any
    rules: NotifyRules = field(default_factory=NotifyRules)


class Message(msgspec.Struct, frozen=True):
    """One happening. `text` is for people; `details` say the same to programs. No secret is in either."""

    topic: Topic
    event: str
    severity: Severity
    text: str
    details: dict[str, Any] = {}
