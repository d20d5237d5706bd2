"""What a slot emitted lately, by side and price bucket: the memory of the duplicate check.

However many signals a dedupe window holds, looking one up costs the same. Written in the part of Python that Numba
compiles unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anystrat.engine.state import Book, Limits


def recent_place(book: Book, s: int, side: int, bucket: int) -> int:
    """Where slot `s` keeps its last emission of this side and bucket, or the free place where it would go.

    A hash table with linear probing; a place is free while its side is 0. Half of the places are kept free.
    """
    mask = book.recent_room - 1
    start = s * 2 * book.recent_room
    at = (bucket ^ (bucket >> 5) ^ (bucket >> 11) ^ (side << 3)) & mask
    while True:
        k = start + at
        if book.recent.side[k] == 0 or (book.recent.side[k] == side and book.recent.bucket[k] == bucket):
            return k
        at = (at + 1) & mask


def has_room(limits: Limits, book: Book, e: int, s: int, ts: int) -> bool:
    """Whether one more emission fits into the slot's table; emissions as old as the dedupe window leave first."""
    if 2 * (book.slot.recent_count[s] + 1) <= book.recent_room:
        return True
    room = book.recent_room
    start = s * 2 * room
    kept = 0
    # The second half of the slot's places is for this alone.
    for k in range(start, start + room):
        if book.recent.side[k] != 0 and ts - book.recent.ts[k] < limits.dedupe[e]:
            aside = start + room + kept
            book.recent.ts[aside] = book.recent.ts[k]
            book.recent.side[aside] = book.recent.side[k]
            book.recent.bucket[aside] = book.recent.bucket[k]
            kept += 1
    for k in range(start, start + room):
        book.recent.side[k] = 0
    for aside in range(start + room, start + room + kept):
        k = recent_place(book, s, book.recent.side[aside], book.recent.bucket[aside])
        book.recent.ts[k] = book.recent.ts[aside]
        book.recent.side[k] = book.recent.side[aside]
        book.recent.bucket[k] = book.recent.bucket[aside]
        book.recent.side[aside] = 0
    # Room for a while, so that clearing up stays rare; who asks again before there is more is told the same.
    if 4 * kept > room:
        return False
    book.slot.recent_count[s] = kept
    return True
