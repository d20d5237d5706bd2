"""A table of a report, as HTML that needs no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from anystrat.backtest.words import NONE


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    foot: Sequence[Sequence[Any]] = (),
    texts: int = 1,
    sortable: bool = False,
) -> str:
    """A table; a cell is text, or (what it is sorted by, text[, class]). The first `texts` columns are words.

    A column in which nothing stands is left out.
    """
    kept = [at for at in range(len(titles)) if any(_shown(row[at]) != NONE for row in (*rows, *foot))]
    titles = [titles[at] for at in kept]
    rows, foot = ([[row[at] for at in kept] for row in part] for part in (rows, foot))
    head = "".join(
        f'<th scope="col"{"" if at < texts else " class=number"}>{escape(title)}</th>'
        for at, title in enumerate(titles)
    )
    kind = ' class="sortable"' if sortable and len(rows) > 1 else ""
    body = "".join(f"<tr>{_cells(row, texts)}</tr>" for row in rows)
    feet = "".join(f"<tr>{_cells(row, texts)}</tr>" for row in foot)
    tail = f"<tfoot>{feet}</tfoot>" if feet else ""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{tail}</table></div>'


def _shown(cell: Any) -> str:
    return str(cell if isinstance(cell, str) else cell[1])


def _cells(row: Sequence[Any], texts: int) -> str:
    made = []
    for at, cell in enumerate(row):
        key, text, kind = (None, cell, "") if isinstance(cell, str) else (*cell, "") if len(cell) == 2 else cell
        if at == 0:
            made.append(f'<th scope="row">{escape(text)}</th>')
            continue
        sort = f' data-key="{key!r}"' if isinstance(key, int | float) and math.isfinite(key) else ""
        classes = " ".join(part for part in ("" if at < texts else "number", kind) if part)
        made.append(f"<td{f' class={chr(34)}{classes}{chr(34)}' if classes else ''}{sort}>{escape(text)}</td>")
    return "".join(made)


def signed(value: float, text: str) -> tuple[float, str, str]:
    """A cell in the colour of a gain or a loss."""
    return value, text, sign_class(value)


def sign_class(value: float) -> str:
    """The class of a gain or a loss."""
    return "gain" if value > 0 else "loss" if value < 0 else ""
