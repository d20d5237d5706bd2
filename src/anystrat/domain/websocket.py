"""The options of a WebSocket source: where it connects, and which parts of a venue's messages are a tick."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from anystrat.domain.configuration import Secret
from anystrat.domain.parameters import Doc, Ge, Gt, Le, ParameterError, Unit

_NOT_IN_A_URL: Final = re.compile(r"[\x00-\x20\x7f]")


class MessageFormat(StrEnum):
    """How the venue writes its messages."""

    JSON = "json"
    MSGPACK = "msgpack"


class TimeUnit(StrEnum):
    """What a time is counted in since 1970 UTC; `iso` is ISO 8601 text."""

    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    ISO = "iso"


@dataclass(frozen=True, slots=True)
class TickMapping:
    """Where a tick's parts stand in a message.

    A path is names and numbers with dots between, from the tick; from the message itself where it begins with a slash.
    """

    price: Annotated[str, Doc("Path of the price.")]
    each: Annotated[
        str, Doc("Path of the tick, or of a list of ticks, in a message; without it, the message itself is that.")
    ] = ""
    where: Annotated[
        Mapping[str, str], Doc("Paths, and the text that stands there: a message of another kind is no tick.")
    ] = field(default_factory=dict)
    instrument: Annotated[str, Doc("Path of the instrument: a symbol of the table, or a token.")] = ""
    token: Annotated[
        int | None, Ge(0), Le(2**63 - 1), Doc("The instrument's token, where all ticks are of one and none is named.")
    ] = None
    time: Annotated[str, Doc("Path of the time; without it, a tick's time is that of its arrival.")] = ""
    time_unit: Annotated[TimeUnit, Doc("What the time is counted in.")] = TimeUnit.MS
    size: Annotated[str, Doc("Path of the traded quantity.")] = ""
    bid: Annotated[str, Doc("Path of the best bid.")] = ""
    ask: Annotated[str, Doc("Path of the best ask.")] = ""

    def __post_init__(self) -> None:
        if not self.price:
            raise ParameterError("price", "must be a path")
        if bool(self.instrument) == (self.token is not None):
            raise ParameterError("instrument", "give either `instrument`, a path, or `token`, a number")


@dataclass(frozen=True, slots=True)
class WebSocketSource:
    """Ticks from a WebSocket, by a mapping of the venue's messages in JSON or MessagePack."""

    url: Annotated[Secret, Doc("ws:// or wss:// address.")]
    ticks: Annotated[
        tuple[TickMapping, ...], Doc("What in a message is a tick; the first that fits a message is taken.")
    ]
    format: Annotated[MessageFormat, Doc("How messages are written.")] = MessageFormat.JSON
    tokens: Annotated[
        Mapping[str, int],
        Doc("Symbols to tokens, beside those of `instruments`; ticks of other symbols are passed over."),
    ] = field(default_factory=dict)
    subscribe: Annotated[tuple[str, ...], Doc("Messages sent after each connection.")] = ()
    headers: Annotated[Mapping[str, Secret], Doc("Headers of the handshake.")] = field(default_factory=dict)
    ping_sec: Annotated[
        float,
        Gt(0),
        Le(3_600),
        Unit("seconds"),
        Doc("How often the venue is pinged, and how long its answer may take."),
    ] = 20.0
    heartbeat: Annotated[str, Doc("Message sent as often, where the venue wants one beside WebSocket's own pings.")] = (
        ""
    )
    silence_sec: Annotated[
        float | None, Gt(0), Unit("seconds"), Doc("Without a message for so long, it connects anew; without it, never.")
    ] = 60.0

    def __post_init__(self) -> None:
        url = self.url.reveal()
        if not url.startswith(("ws://", "wss://")) or _NOT_IN_A_URL.search(url):
            raise ParameterError("url", "must be an address that begins with wss:// (or ws://)")
        if not self.ticks:
            raise ParameterError("ticks", "must say where a tick's parts are, {price: …, instrument: …} at least")
