"""The report's answers to "why?": what a strategy's ticks came to, and some of them told in full."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

Rows = Sequence[tuple[str, str]]


class Story(NamedTuple):
    """One tick: what it was, what came of it in a sentence, and everything that led there as (title, text)."""

    headline: str
    sentence: str
    rows: Rows


class Chapter(NamedTuple):
    """One strategy: how many of its ticks came to what, as (count, text), and the ticks that are told in full."""

    strategy: str
    counts: Rows
    stories: Sequence[Story]


def chapters(found: Sequence[Chapter]) -> str:
    """The chapters as HTML that needs no script."""
    return "".join(_chapter(each) for each in found)


def _chapter(told: Chapter) -> str:
    stories = "".join(
        f"<details><summary><b>{escape(each.headline)}</b><span>{escape(each.sentence)}</span></summary>{_listed(each.rows)}</details>"
        for each in told.stories
    )
    return f'<h3>{escape(told.strategy)}</h3><div class="why">{_listed(told.counts)}{stories}</div>'


def _listed(rows: Rows) -> str:
    cells = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in rows)
    return f"<dl>{cells}</dl>"
