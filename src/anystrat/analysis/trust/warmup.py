"""Warm-up: how many ticks a strategy really needs, against how many it declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anystrat.analysis.trust.verdict import Verdict, failed, not_applicable, passed
from anystrat.testing.conformance.paths import filled
from anystrat.testing.conformance.subject import decided

if TYPE_CHECKING:
    from anystrat.analysis.trust.case import Case, Sighting, Subject
    from anystrat.domain.configuration import StrategyConfig

CHECK: Final = "warmup"
_TIMES: Final = (1, 2, 4, 8, 16)
_ADVICE: Final = (
    "let get_required_history_length say how many ticks a decision reads, the current one included, and compute from them "
    "anew each time: an average that is carried on forgets nothing"
)


def warmup(case: Case, row: StrategyConfig) -> Verdict:
    """Extend the past beyond the declared history, change it, shorten it: see what decisions really depend on."""
    subject = case.subject(row)
    if subject is None:
        return not_applicable(CHECK, row.strategy_id, "it takes no part: its model does not load")
    sample = [*subject.spoken(), *subject.silent()]
    if not sample:
        return not_applicable(
            CHECK, row.strategy_id, f"it was never asked: the {case.unit} end before its window is full"
        )
    unit = "bars" if row.bars is not None else case.unit
    needs = _settles(subject, sample)
    if needs != subject.need:
        found = f"about {needs:,}" if needs else f"more than {_TIMES[-1] * subject.need:,}"
        text = f"it declares {subject.need:,} {unit} and decides as in a long run only after {found}"
        return failed(CHECK, row.strategy_id, text, float(needs or _TIMES[-1] * subject.need), subject.need, _ADVICE)
    more = _longer(subject)
    if more:
        text = f"on the {subject.need:,} {unit} that it declares it never speaks, on {more:,} it does"
        return failed(CHECK, row.strategy_id, text, float(more), subject.need, _ADVICE)
    reads = _reads(subject, sample)
    if reads < subject.need:
        text = f"it declares {subject.need:,} {unit}, and the last {reads:,} decide"
        advice = f"{subject.need - reads:,} {unit} of warm-up are for nothing on these: declare fewer, if that is so by design"
        return passed(CHECK, row.strategy_id, text, float(reads), subject.need, advice)
    text = f"it needs the {subject.need:,} {unit} that it declares, and no more"
    return passed(CHECK, row.strategy_id, text, float(subject.need), subject.need)


def _settles(subject: Subject, sample: Sequence[Sighting]) -> int:
    """After how many ticks a fresh processor decides as one that saw everything; 0: not even after the most tried."""
    for times in _TIMES:
        walked = times * subject.need
        if all(subject.answer_after(each.token, each.at, walked).form == each.answer.form for each in sample):
            return walked
    return 0


def _longer(subject: Subject) -> int:
    """How many ticks a strategy that never spoke needs to speak; 0 where more do not help, or where it spoke."""
    if any(each.answer.value is not None for each in subject.sightings):
        return 0
    for times in _TIMES[1:]:
        length = times * subject.need
        for each in subject.silent():
            if each.at + 1 >= length:
                window = subject.window(each.token, each.at, length)
                if decided(subject.make(each.token), window, length).value is not None:
                    return length
    return 0


def _reads(subject: Subject, sample: Sequence[Sighting]) -> int:
    """How far back the decisions reach: the fewest last ticks that no change of those before them shows through."""
    low, high = 1, subject.need
    while low < high:
        middle = (low + high) // 2
        if any(_shows(subject, each, middle) for each in sample):
            low = middle + 1
        else:
            high = middle
    return high


def _shows(subject: Subject, each: Sighting, kept: int) -> bool:
    """Whether other prices before the last `kept` of the window change the decision."""
    for factor in (0.5, 3.0):
        rows = subject.window(each.token, each.at).rows()
        for k, row in enumerate(rows[: len(rows) - kept]):
            row.price, row.exact = row.price * factor * (1.0 + 0.25 * (k % 3)), None
        found = decided(subject.make(each.token), filled(rows, subject.need), subject.need)
        if found.form != each.answer.form:
            return True
    return False
