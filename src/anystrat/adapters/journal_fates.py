"""What became of a broker's signals, as ranges of numbers: a million signals that were sent in order are one range."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

import msgspec

from anystrat.domain.journal import Fate


class FateRange(msgspec.Struct, frozen=True):
    """Signals `first..last` that share their fate. `expires_ns` is the expiry that an operator gave them instead."""

    first: int
    last: int
    fate: Fate
    reason: str = ""
    attempts: int = 0
    expires_ns: int | None = None

    def cut(self, first: int, last: int) -> FateRange:
        """The part from `first` to `last`."""
        return msgspec.structs.replace(self, first=max(first, self.first), last=min(last, self.last))


class Change(NamedTuple):
    """What has to be written down: ranges that are gone, by their first number, and ranges that are new or different."""

    gone: list[int]
    put: list[FateRange]


Remake: TypeAlias = Callable[[FateRange], FateRange | None]


class FateRanges:
    """The fates of a broker's signals as sorted ranges that never overlap; neighbours that are alike are one range."""

    def __init__(self, ranges: Iterable[FateRange] = ()) -> None:
        self._ranges = sorted(ranges, key=lambda each: each.first)
        self._firsts = [each.first for each in self._ranges]

    def __iter__(self) -> Iterator[FateRange]:
        return iter(self._ranges)

    def __reversed__(self) -> Iterator[FateRange]:
        return reversed(self._ranges)

    def after(self, number: int) -> Iterator[FateRange]:
        """The ranges, in order, from the one that ends after `number` on."""
        at = self._place(number + 1)
        while at < len(self._ranges):
            yield self._ranges[at]
            at += 1

    def within(self, first: int, last: int) -> list[FateRange]:
        """What is known of `first..last`, cut to that."""
        found = []
        for each in self.after(first - 1):
            if each.first > last:
                break
            found.append(each.cut(first, last))
        return found

    def append(self, first: int, last: int) -> Change:
        """New signals, which are PENDING."""
        return self._replaced(len(self._ranges), len(self._ranges), [FateRange(first, last, Fate.PENDING)])

    def change(self, first: int, last: int, remake: Remake) -> Change:
        """Put `remake(part)` in the place of every part of `first..last`; None takes it away."""
        begin = end = self._place(first)
        parts: list[FateRange] = []
        while end < len(self._ranges) and self._ranges[end].first <= last:
            old = self._ranges[end]
            end += 1
            if old.first < first:
                parts.append(old.cut(old.first, first - 1))
            made = remake(old.cut(first, last))
            if made is not None:
                parts.append(made)
            if old.last > last:
                parts.append(old.cut(last + 1, old.last))
        return self._replaced(begin, end, parts)

    def _place(self, number: int) -> int:
        """Where the first range is that ends at `number` or later."""
        at = bisect_right(self._firsts, number) - 1
        return at if at >= 0 and self._ranges[at].last >= number else at + 1

    def _replaced(self, begin: int, end: int, parts: list[FateRange]) -> Change:
        """Put `parts` in the place of `[begin:end]`, joined with each other and with the neighbours where they are alike."""
        begin, end = max(0, begin), min(len(self._ranges), end)
        before, behind = self._ranges[max(0, begin - 1) : begin], self._ranges[end : end + 1]
        joined: list[FateRange] = []
        for each in (*before, *parts, *behind):
            if joined and _alike(joined[-1], each):
                joined[-1] = msgspec.structs.replace(joined[-1], last=each.last)
            else:
                joined.append(each)
        begin, end = begin - len(before), end + len(behind)
        old = {each.first: each for each in self._ranges[begin:end]}
        self._ranges[begin:end] = joined
        self._firsts[begin:end] = [each.first for each in joined]
        new = {each.first for each in joined}
        return Change(
            [first for first in old if first not in new], [each for each in joined if old.get(each.first) != each]
        )


def _alike(one: FateRange, other: FateRange) -> bool:
    return one.last + 1 == other.first and one == msgspec.structs.replace(other, first=one.first, last=one.last)
