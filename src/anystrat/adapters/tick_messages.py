"""Messages to ticks: what producers in any language send. A message holds one tick or many, in JSON or MessagePack.

| the first byte says | the message is |
|---|---|
| `{` | one JSON object, or JSON Lines: one tick a line |
| `[` | a JSON array of objects |
| a MessagePack map | one tick, or columns of ticks |
| a MessagePack array | a list of ticks |

The names are those of tick files. Nothing that comes in ends the reading: what is no tick is counted and told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.adapters.packed_ticks import packed_ticks
from anystrat.adapters.tick_files.decode import MalformedRow, RowValues, StampReader, Tally, columns_of_rows, shown
from anystrat.adapters.tick_files.json_ticks import JsonLines
from anystrat.adapters.tick_files.source import FLAGS, NUMBERS
from anystrat.domain.columns import TickColumns, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A larger message is set aside without being looked at: decoding it would hold everything up.
MAX_BYTES: Final = 8 << 20
_SPACE: Final = b" \t\r\n"


@dataclass(slots=True)
class Decoded:
    """The ticks of some messages. `counts` and `malformed` have one entry a message: how many ticks it held, and what was none."""

    ticks: TickColumns
    counts: NDArray[np.int64]
    malformed: NDArray[np.int64]
    tally: Tally = field(default_factory=Tally)


class MessageDecoder:
    """Decodes the messages of one feed. Single JSON objects that come together are decoded together."""

    def __init__(self) -> None:
        self._json = JsonLines("")
        self._stamps = StampReader()

    def decoded(self, messages: Sequence[bytes], names: Sequence[object] | None = None) -> Decoded:
        """All ticks of the messages, in their order; `names` are what they are called where something is wrong."""
        tally = Tally()
        parts: list[TickColumns | list[RowValues]] = []
        counts, malformed = np.zeros(len(messages), np.int64), np.zeros(len(messages), np.int64)
        at = 0
        while at < len(messages):
            end = at
            while end < len(messages) and _is_one_object(messages[end]):
                end += 1
            block = self._json.quick(list(messages[at:end])) if end > at else None
            if block is not None:
                counts[at:end] = 1
                parts.append(block)
            else:
                for place in range(at, max(end, at + 1)):
                    before = tally.malformed
                    one = self._one(messages[place], tally, f"message {place + 1 if names is None else names[place]}")
                    counts[place] = len(one)
                    malformed[place] = tally.malformed - before
                    parts.append(one)
            at = max(end, at + 1)
        return Decoded(_together(parts), counts, malformed, tally)

    def _one(self, message: bytes, tally: Tally, name: str) -> TickColumns | list[RowValues]:
        try:
            if len(message) > MAX_BYTES:
                raise MalformedRow(f"{len(message)} bytes; at most {MAX_BYTES} are decoded")  # noqa: TRY301  one way out
            kind = message.lstrip(_SPACE)[:1] if message[:1] in _SPACES else message[:1]
            if kind == b"{":
                return self._objects(message, tally, name)
            if kind == b"[":
                found = self._json.quick_array(message)
                return found if found is not None else JsonLines(name).array(message, tally)
            if kind and (0x80 <= kind[0] <= 0x9F or 0xDC <= kind[0] <= 0xDF):
                return packed_ticks(message, self._stamps, tally, name)
            raise MalformedRow(f"neither JSON nor MessagePack with ticks; found {shown(message)}")  # noqa: TRY301  as above
        except MalformedRow as error:
            tally.add(name, str(error))
        return []

    def _objects(self, message: bytes, tally: Tally, name: str) -> TickColumns:
        """One object, however it is broken into lines, or one a line."""
        found = self._json.quick([message])
        if found is not None:
            return found
        lines: list[bytes | None] = list(message.rstrip(_SPACE).split(b"\n"))
        if len(lines) > 1 and lines[0] is not None and not lines[0].rstrip(_SPACE).endswith(b"}"):
            lines = [message]
        return JsonLines(name).block(1, lines, tally)


_SPACES: Final = {bytes([each]) for each in _SPACE}


def _is_one_object(message: bytes) -> bool:
    return message[:1] == b"{" and b"\n" not in message and len(message) <= MAX_BYTES


def _together(parts: list[TickColumns | list[RowValues]]) -> TickColumns:
    """The ticks of all parts; rows that follow each other become one block."""
    blocks: list[TickColumns] = []
    rows: list[RowValues] = []
    for part in [*parts, None]:
        if isinstance(part, list):
            rows += part
            continue
        if rows:
            blocks.append(columns_of_rows(rows, NUMBERS, FLAGS))
            rows = []
        if part is not None and len(part):
            blocks.append(part)
    return joined(blocks) if blocks else columns_of_rows((), (), ())
