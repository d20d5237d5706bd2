"""Signals into NATS JetStream: the signal's id is the message's, by which the stream leaves out what comes again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from anystrat.adapters.nats_connection import connect, servers_of
from anystrat.domain.delivery import TAKEN, Idempotent, SendResult, SinkUnavailable, Verdict
from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from anystrat.domain.endpoints import NatsBroker
    from anystrat.domain.journal import OutboxSignal

#: What a stream has where nothing else was asked for.
_USUAL_WINDOW_SEC: Final = 120.0
_LARGEST_GROUP: Final = 1_024
#: Of the time for an answer: what came by then counts, whatever is missing.
_SHARE: Final = 0.9
#: Server errors that another attempt cannot mend: too large, by the stream's or the server's limit; malformed headers.
_FINAL_ERRORS: Final = frozenset({10054, 10097, 10098})
_NO_RESPONDERS: Final = "503"
_NOT_IN_A_TOKEN: Final = re.compile(r"[\s.*>\x00-\x1f\x7f]")


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Acknowledgement(msgspec.Struct):
    """What JetStream answers a message with; the rest of it is of no use here."""

    error: _Error | None = None
    stream: str = ""


_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode


class NatsSink:
    """Publishes a group at once, and waits for the acknowledgement of each.

    The client never reconnects by itself, and so never keeps a message back to send it later: a lost connection fails, and
    is opened anew by who calls. `timeout_sec` is how long an answer may take. The stream leaves duplicates out for its
    `duplicate_window`; of what is sent again later, consumers have to leave out ids that they know.
    """

    def __init__(self, options: NatsBroker, timeout_sec: float) -> None:
        self._options = options
        self._timeout_sec = timeout_sec
        self._client: Client | None = None
        self._inbox = ""
        self._messages = count()
        self._unanswered: dict[str, asyncio.Future[SendResult]] = {}
        self._answered = asyncio.Event()
        self._lost = False
        self._why = ""
        self._window_sec: float = _USUAL_WINDOW_SEC

    @property
    def guarantee(self) -> Idempotent:
        return Idempotent(self._window_sec)

    @property
    def largest_group(self) -> int:
        return _LARGEST_GROUP

    async def open(self) -> None:
        options, self._lost, self._why = self._options, False, ""
        self._client = await self._connected()
        # nats-py's own `publish_async` never hears of a refusal (2.16): its handler raises it instead of passing it on.
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._acknowledged)
        if options.stream is not None:
            await self._check_stream(self._client, options.stream)

    async def _connected(self) -> Client:
        """A client of the first server that takes one. Raises `SinkUnavailable`, `MissingExtra`."""
        timeout_sec = max(1, round(self._timeout_sec))
        for server in servers_of(self._options):
            try:
                client = await connect(
                    self._options, server, self._disconnected, timeout_sec=timeout_sec, on_error=self._failed
                )
            except MissingExtra:
                raise
            except Exception as error:  # noqa: BLE001  of sockets, of TLS, of the client: each says that this one cannot be had
                self._why = self._why or str(error) or type(error).__name__
            else:
                self._lost, self._why = False, ""
                return client
        raise SinkUnavailable(f"no NATS server can be reached: {self._why}")

    async def send(self, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        client = self._client
        if client is None or not client.is_connected:
            raise self._unavailable()
        self._unanswered.clear()
        futures = [await self._published(client, signal) for signal in signals]
        if not self._unanswered and not client.is_connected:
            raise self._unavailable()
        await self._all_answered()
        unknown = SendResult(Verdict.UNKNOWN, self._why or "NATS did not acknowledge it in time")
        self._unanswered.clear()
        return [future.result() if future.done() else unknown for future in futures]

    async def has(self, signals: Sequence[OutboxSignal]) -> list[bool | None]:
        return [None] * len(signals)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _check_stream(self, client: Client, name: str) -> None:
        from nats.js.errors import APIError, NotFoundError

        asked = subject_for(self._options.subject, None)
        make = f"nats stream add {name} --subjects '{asked}'"
        try:
            info = await client.jetstream(timeout=self._timeout_sec).stream_info(name)
        except NotFoundError as error:
            raise SinkUnavailable(f"NATS has no stream {name!r}; make it: {make}") from error
        except (APIError, TimeoutError) as error:
            raise SinkUnavailable(f"NATS does not say whether it has the stream {name!r}: {error}") from error
        subjects = info.config.subjects or []
        if not any(_covers(subject, asked) for subject in subjects):
            raise SinkUnavailable(
                f"the stream {name!r} takes {', '.join(subjects) or 'no subjects'}, and signals go to {asked}; "
                f"add it: nats stream edit {name} --subjects '{','.join([*subjects, asked])}'"
            )
        self._window_sec = info.config.duplicate_window or _USUAL_WINDOW_SEC

    async def _published(self, client: Client, signal: OutboxSignal) -> asyncio.Future[SendResult]:
        from nats.errors import BadSubjectError, ConnectionClosedError, MaxPayloadError, OutboundBufferLimitError

        future: asyncio.Future[SendResult] = asyncio.get_running_loop().create_future()
        headers = {"Nats-Msg-Id": signal.signal_id, "Content-Type": "application/json"}
        if self._options.stream is not None:
            headers["Nats-Expected-Stream"] = self._options.stream
        subject, reply = subject_for(self._options.subject, signal), f"{self._inbox}.{next(self._messages)}"
        self._unanswered[reply] = future
        refused: SendResult | None = None
        try:
            await client.publish(subject, signal.body, reply=reply, headers=headers)
        except MaxPayloadError:
            refused = SendResult(Verdict.REJECTED, f"{len(signal.body)} bytes are more than the NATS server takes")
        except BadSubjectError:
            refused = SendResult(Verdict.REJECTED, f"{subject!r} is no NATS subject")
        except (ConnectionClosedError, OutboundBufferLimitError):
            refused = SendResult(Verdict.FAILED, "the connection to NATS was lost before it was sent")
        if refused is not None:
            del self._unanswered[reply]
            future.set_result(refused)
        return future

    async def _all_answered(self) -> None:
        """Until each has its answer, the connection is lost, or the time is over."""
        try:
            async with asyncio.timeout(_SHARE * self._timeout_sec):
                while self._unanswered and not self._lost:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            pass

    async def _acknowledged(self, message: Msg) -> None:
        future = self._unanswered.pop(message.subject, None)
        if future is None:  # of a group that nobody waits for any more
            return
        future.set_result(self._verdict(message))
        if not self._unanswered:
            self._answered.set()

    def _verdict(self, message: Msg) -> SendResult:
        if message.headers is not None and message.headers.get("Status") == _NO_RESPONDERS:
            subjects = subject_for(self._options.subject, None)
            return SendResult(
                Verdict.FAILED,
                f"no NATS stream takes {subjects}; make one: nats stream add SIGNALS --subjects '{subjects}'",
            )
        try:
            error = _acknowledgement(message.data).error
        except msgspec.MsgspecError:
            return SendResult(Verdict.UNKNOWN, "NATS acknowledged in a way that is not known")
        if error is None:
            return TAKEN  # also where the stream had it already
        final = error.err_code in _FINAL_ERRORS
        return SendResult(Verdict.REJECTED if final else Verdict.FAILED, f"NATS: {error.description}")

    def _unavailable(self) -> SinkUnavailable:
        return SinkUnavailable(f"the connection to NATS is lost{f': {self._why}' if self._why else ''}")

    def _failed(self, error: Exception) -> None:
        self._why = str(error) or type(error).__name__

    def _disconnected(self) -> None:
        self._why = self._why or "the server closed the connection"
        self._lost = True
        self._answered.set()


def subject_for(template: str, signal: OutboxSignal | None) -> str:
    """The subject with its names filled in; None fills in `*`.

    What separates or matches tokens in a subject, and white space, becomes `_` within a name.
    """
    names = ("strategy_id", "broker", "instrument_token")
    for name in names:
        value = "*" if signal is None else _NOT_IN_A_TOKEN.sub("_", str(getattr(signal, name)))
        template = template.replace("{" + name + "}", value)
    return template


def _covers(pattern: str, subject: str) -> bool:
    """Whether every subject that `subject` matches is matched by `pattern`."""
    want, have = subject.split("."), pattern.split(".")
    for at, part in enumerate(have):
        if part == ">":
            return len(want) > at
        if at >= len(want) or want[at] == ">" or part not in {"*", want[at]}:
            return False
    return len(want) == len(have)
