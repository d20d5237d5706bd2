"""What every kind of tick file offers to the reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from anystrat.domain.errors import TickFileError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anystrat.adapters.tick_files.decode import Tally
    from anystrat.domain.columns import TickColumns

TS_NS: Final = "ts_ns"
TIMESTAMP: Final = "timestamp"
INSTRUMENT: Final = "instrument_token"
PRICE: Final = "price"
#: Optional numbers; `size` is called `volume` in `TickColumns`.
NUMBERS: Final = ("size", "bid", "ask")
FLAGS: Final = ("halted", "auction")
#: A bar's optional numbers, by names that no tick file has for something else.
BARS: Final = ("bar open", "bar high", "bar low")
_OF_BARS: Final = {"close": PRICE, "volume": "size", "open": BARS[0], "high": BARS[1], "low": BARS[2]}
KNOWN: Final = (TS_NS, TIMESTAMP, INSTRUMENT, PRICE, *NUMBERS, *FLAGS)


class TickSourceFile(Protocol):
    """One tick file, checked and ready to be read as often as is asked."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def total_rows(self) -> int | None:
        """How many rows it has, where the format says so."""
        ...

    @property
    def total_bytes(self) -> int:
        """Its size on disk."""
        ...

    @property
    def bytes_read(self) -> int:
        """How much of it was read, of `total_bytes`; set back to 0 by whoever reads it anew."""
        ...

    @bytes_read.setter
    def bytes_read(self, value: int, /) -> None: ...

    def blocks(self, block_rows: int, tally: Tally) -> Iterator[TickColumns]:
        """The file's good rows from its beginning, in blocks that are never empty; bad ones go to `tally`."""
        ...


def as_ticks(names: Sequence[str]) -> list[str]:
    """What the columns mean: a file without `price`, with `close`, holds bars, whose `Open`, `HIGH`, `volume` are as well."""
    if PRICE in names or not any(name.lower() == "close" for name in names):
        return list(names)
    return [_OF_BARS.get(name.lower(), name) for name in names]


def check_columns(path: Path | str, found: Sequence[str]) -> None:
    """Refuse a file that lacks a needed column or has a known one twice."""
    twice = sorted({name for name in found if name in KNOWN and list(found).count(name) > 1})
    if twice:
        raise TickFileError(
            f"{path}: the column {twice[0]!r} is there {list(found).count(twice[0])} times; expected one"
        )
    for names in ((TS_NS, TIMESTAMP), (INSTRUMENT,), (PRICE,)):
        if not any(name in found for name in names):
            raise TickFileError(f"{path}: {missing(names, found)}")


def missing(names: Sequence[str], found: Sequence[str]) -> str:
    """Say that a column is not there, what is, and which of those was probably meant."""
    others = [name for name in found if name not in KNOWN]
    meant = next(filter(None, (nearest_name(name, others) for name in names)), "")
    hint = f"; did you mean {names[0]!r} by {meant!r}?" if meant else ""
    shown = ", ".join(repr(name[:40]) for name in found[:20]) + (", …" if len(found) > 20 else "")
    return f"there is no column {' or '.join(map(repr, names))}{hint} (found: {shown or 'none'})"
