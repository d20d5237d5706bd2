"""A failing history made small: fewer faults and fewer ticks, as long as the same invariant falls."""

from __future__ import annotations

from collections.abc import Callable, Collection

from anystrat.testing.simulate.history import History

Live = Callable[[int, Collection[str]], History]


def minimised(failed: History, live: Live, *, most: int = 400) -> History:
    """The smallest failing history that is found within `most` lives; `live(ticks, only)` lives one.

    Faults are left out by halves, quarters and so on (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing
    input", 2002); ticks are cut off at the end. What remains fails by itself, with no other fault.
    """
    wanted = {each.invariant for each in failed.violations}
    left = most
    best = failed

    def fails(ticks: int, only: Collection[str]) -> bool:
        nonlocal left, best
        if left <= 0:
            return False
        left -= 1
        found = live(ticks, only)
        if not wanted & {each.invariant for each in found.violations}:
            return False
        best = found
        return True

    fails(best.ticks, best.faults)
    while True:
        before = (best.ticks, len(best.faults))
        _fewer_ticks(lambda ticks: fails(ticks, best.faults), best.ticks)
        _fewer_faults(fails, lambda: best)
        if (best.ticks, len(best.faults)) == before:
            return best


def _fewer_ticks(fails: Callable[[int], bool], ticks: int) -> None:
    cut = ticks // 2
    while cut:
        if ticks > cut and fails(ticks - cut):
            ticks -= cut
        else:
            cut //= 2


def _fewer_faults(fails: Callable[[int, Collection[str]], bool], best: Callable[[], History]) -> None:
    size = len(best().faults)
    while size:
        at = 0
        while at < len(best().faults):
            faults = best().faults
            kept = (*faults[:at], *faults[at + size :])
            if not fails(best().ticks, kept):
                at += size
        size //= 2
