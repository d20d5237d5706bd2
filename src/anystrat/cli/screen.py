"""How results look: aligned plain text in a pipe, tables on a wide terminal, a block a row on a narrow one.

Standard output carries results and nothing else. Colours and lines are drawn only on a terminal that can and may show
them: `NO_COLOR`, `TERM=dumb` and redirection turn them off.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from anystrat.cli.failures import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# In a pipe nothing is wrapped: whoever reads there cuts lines as they like.
_UNLIMITED: Final = 10_000
_NARROWEST_WRAPPED: Final = 24


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. At most one of a table may `wrap`; numbers are aligned to the right."""

    title: str
    number: bool = False
    wrap: bool = False
    style: str = ""


def console(stream: IO[str] | None = None) -> Console:
    """A console on a stream, standard output by default; without colour where colour is not wanted."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """Let the reader's leaving end the command as everywhere, and not as a `SystemExit` of rich's own."""
            raise BrokenPipeError(errno.EPIPE, "the reader has left")

    target: IO[str] = stream or sys.stdout
    if fancy(target):
        return Screen(file=target, highlight=False, markup=False, emoji=False)
    width = None if target.isatty() else _UNLIMITED
    return Screen(
        file=target, highlight=False, markup=False, emoji=False, color_system=None, force_terminal=False, width=width
    )


def fancy(stream: IO[str]) -> bool:
    """Whether colours and lines may be drawn there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, stream: IO[str] | None = None) -> None:
    """Print rows under titles; where they do not fit the terminal, a block of `title  value` lines a row."""
    screen = console(stream)
    cells = [[printable(cell) for cell in row] for row in rows]
    made = _rich_table(columns, cells, lines=fancy(screen.file))
    if screen.width < _UNLIMITED and _needed(made, columns, cells) > screen.width:
        _blocks(screen, columns, cells)
        return
    _print_trimmed(screen, made)


def fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], spare: Sequence[str]
) -> tuple[list[Column], list[list[str]]]:
    """The table without as many of its `spare` columns, in that order, as it takes to fit the terminal."""
    width = console().width
    kept, cells = list(columns), [[printable(cell) for cell in row] for row in rows]
    for title in spare:
        if width >= _UNLIMITED or _needed(_rich_table(kept, cells, lines=fancy(sys.stdout)), kept, cells) <= width:
            break
        left = [at for at, column in enumerate(kept) if column.title != title]
        kept, cells = [kept[at] for at in left], [[row[at] for at in left] for row in cells]
    return kept, cells


def pairs(items: Sequence[tuple[str, str]], *, stream: IO[str] | None = None) -> None:
    """Print `title  value` lines, the values aligned and wrapped under themselves."""
    if not items:
        return
    screen = console(stream)
    _pairs(screen, [(title, printable(value)) for title, value in items], indent=0)


def heading(text: str, *, stream: IO[str] | None = None) -> None:
    """A line that names what follows."""
    console(stream).print(printable(text), style="bold", soft_wrap=True)


def line(text: str = "", *, stream: IO[str] | None = None) -> None:
    """A line, wrapped between words on a terminal."""
    console(stream).print(printable(text))


def print_json(value: Any) -> None:
    """Print one JSON object. What JSON has no number for (NaN, infinity) is null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def count(number: float) -> str:
    """A count with its thousands set apart."""
    return f"{number:,.0f}"


def money(amount: float) -> str:
    """An amount with its sign; two decimals, more where two would show nothing."""
    if not math.isfinite(amount):
        return str(amount)
    digits = 2 if amount == 0 or abs(amount) >= 0.01 else 6
    return f"{amount:+,.{digits}f}" if amount else "0.00"


def rate(per_second: float) -> str:
    """So many a second, in three figures: `1.24 M`, `812 k`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if per_second >= size:
            scaled = per_second / size
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"
    return f"{per_second:.0f}"


def seconds(duration: float) -> str:
    """A duration that a person reads at a glance."""
    if duration < 1:
        return f"{duration * 1000:.0f} ms"
    if duration < 120:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s"


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, lines: bool) -> Table:
    from rich import box
    from rich.table import Table

    made = Table(
        box=box.SIMPLE_HEAD if lines else None,
        header_style="bold" if lines else "",
        pad_edge=False,
        padding=(0, 2, 0, 0),
        show_edge=False,
    )
    for column in columns:
        made.add_column(
            column.title,
            justify="right" if column.number else "left",
            no_wrap=not column.wrap,
            style=column.style if lines else "",
            overflow="fold",
        )
    for row in rows:
        made.add_row(*row)
    return made


def _needed(made: Table, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """The width below which columns would be cut."""
    from rich.console import Console
    from rich.measure import Measurement

    wide = Console(width=_UNLIMITED)
    needed = Measurement.get(wide, wide.options, made).maximum
    for at, column in enumerate(columns):
        if column.wrap:
            longest = max((len(row[at]) for row in rows), default=0)
            needed -= max(0, longest - max(_NARROWEST_WRAPPED, len(column.title)))
    return needed


def _blocks(screen: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    for at, row in enumerate(rows):
        if at:
            screen.print()
        screen.print(row[0], style="bold", overflow="fold")
        _pairs(
            screen, [(column.title, cell) for column, cell in zip(columns[1:], row[1:], strict=True) if cell], indent=2
        )


def _pairs(screen: Console, items: Sequence[tuple[str, str]], *, indent: int) -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim" if fancy(screen.file) else "")
    grid.add_column(overflow="fold")
    for title, value in items:
        grid.add_row(" " * indent + title, value)
    _print_trimmed(screen, grid)


def _print_trimmed(screen: Console, renderable: Table) -> None:
    """Print without the spaces that fill up lines: they only get in the way of those who copy or compare."""
    with screen.capture() as captured:
        screen.print(renderable)
    text = captured.get()
    screen.file.write("".join(part.rstrip() + "\n" for part in text.splitlines()))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
