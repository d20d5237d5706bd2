"""What a service and a strategy's process say to each other: MessagePack, each message behind its length.

The service asks, the process answers, one question at a time. Nothing that is said can make either side run code.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import msgspec
import numpy as np

_LENGTH: Final = struct.Struct("<I")
#: A window of a million ticks is less.
LARGEST: Final = 1 << 28
_LOOK_SEC: Final = 0.02


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One processor of a strategy: an executor has one. `history` is how many ticks it is given."""

    history: int
    seed: int | None


class Build(msgspec.Struct, frozen=True, array_like=True, tag="build"):
    """Become this strategy. `rules_only`: a hybrid whose model does not load goes on with its rules alone.

    `models` is the directory where versions of models are kept, if there is one.
    """

    strategy_id: str
    strategy_type: str
    parameters: Any
    processors: tuple[Asked, ...]
    rules_only: bool = False
    models: str | None = None


class Serve(msgspec.Struct, frozen=True, array_like=True, tag="serve"):
    """From now on decide with the version of the model that has this hash."""

    sha256: str


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """Decide on the last of `ticks`, which are new to this processor's window of the instrument; `anew`: it begins with them."""

    processor: int
    token: int
    anew: bool
    ticks: list[list[Any]]


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """It is done: built, or served."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """It cannot be done, now or later."""

    why: str


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """A decision. `signal` has the fields of a `SignalResult`; `raised` is an error in a line, and its traceback.

    `inferences` are those of the processor since it was built.
    """

    signal: tuple[Any, Any, Any, Any, Any, Any] | None = None
    raised: tuple[str, str] | None = None
    inferences: int = 0


Question = Build | Serve | Ask
Reply = Ready | Refused | Answer


def _number(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no number, text, list or mapping of such")


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_number)
_questions: Final = msgspec.msgpack.Decoder(Question)
_replies: Final = msgspec.msgpack.Decoder(Reply)


def encoded(message: Question | Reply) -> bytes:
    """A message as bytes. Raises `TypeError`, `OverflowError` for values that MessagePack does not have."""
    data = _encoder.encode(message)
    if len(data) > LARGEST:
        raise OverflowError(f"a message of {len(data):,} bytes; the largest is {LARGEST:,}")
    return _LENGTH.pack(len(data)) + data


class Misunderstood(Exception):
    """What came is no message."""


class AskingEnd:
    """The service's end of the connection. Every call returns in time, whatever the other side does."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setblocking(False)
        self._poll = select.poll()

    def exchange(self, question: bytes, seconds: float, look: Callable[[], object] | None = None) -> Reply:
        """Ask, and wait for the answer. `look` is called now and then while waiting, and may raise.

        Raises `TimeoutError` where the answer is not there in time, `EOFError` where nobody is any more, `Misunderstood`.
        """
        end = monotonic() + seconds
        rest = memoryview(question)
        try:
            while rest:
                try:
                    rest = rest[self._connection.send(rest) :]
                except BlockingIOError:
                    self._wait(select.POLLOUT, end, look)
            (size,) = _LENGTH.unpack(self._received(_LENGTH.size, end, look))
            if size > LARGEST:
                raise Misunderstood
            reply: Reply = _replies.decode(self._received(size, end, look))
        except TimeoutError:
            raise
        except OSError as error:
            raise EOFError from error
        except msgspec.DecodeError as error:
            raise Misunderstood from error
        return reply

    def close(self) -> None:
        """Say no more."""
        self._connection.close()

    def _received(self, size: int, end: float, look: Callable[[], object] | None) -> bytearray:
        found = bytearray()
        while len(found) < size:
            try:
                part = self._connection.recv(size - len(found))
            except BlockingIOError:
                self._wait(select.POLLIN, end, look)
                continue
            if not part:
                raise EOFError
            found += part
        return found

    def _wait(self, for_what: int, end: float, look: Callable[[], object] | None) -> None:
        self._poll.register(self._connection, for_what)
        while True:
            left = end - monotonic()
            pause = left if look is None else min(left, _LOOK_SEC)
            # What is there is taken, also when this process itself was stopped until after the deadline.
            if self._poll.poll(max(0.0, pause) * 1_000):
                return
            if left <= 0:
                raise TimeoutError
            if look is not None:
                look()


class AnsweringEnd:
    """The strategy's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def question(self) -> Question:
        """The next question. Raises `EOFError` where nobody asks any more."""
        (size,) = _LENGTH.unpack(self._received(_LENGTH.size))
        question: Question = _questions.decode(self._received(size))
        return question

    def answer(self, reply: Reply) -> None:
        """Answer it. Raises `TypeError`, `OverflowError`, having said nothing, for values that MessagePack does not have."""
        self._connection.sendall(encoded(reply))

    def _received(self, size: int) -> bytearray:
        found = bytearray(size)
        rest = memoryview(found)
        while rest:
            count = self._connection.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return found
