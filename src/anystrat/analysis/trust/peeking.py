"""No peeking: what comes after a tick changes nothing about it, and nothing but the window decides."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.analysis.explaining.numbers import moment
from anystrat.analysis.trust.verdict import Verdict, failed, not_applicable, passed
from anystrat.domain.protocols import BatchCapable, ColumnRule, SometimesBatchable
from anystrat.domain.signal import SignalResult
from anystrat.strategies.price_rule import dense_columns
from anystrat.testing.conformance.answers import Answer, ask, form
from anystrat.testing.conformance.holding import contents
from anystrat.testing.conformance.paths import filled
from anystrat.testing.conformance.subject import decided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.analysis.trust.case import Case, Sighting, Subject
    from anystrat.domain.configuration import StrategyConfig

CHECK: Final = "peeking"
#: A year less a day or two: the same weekday, the same time of day, another date.
MOVED_NS: Final = 364 * 86_400 * 1_000_000_000
#: Far below any tick size, and far above what a double rounds: no price is any more the one that was recorded.
NUDGE: Final = 1e-9
#: Signals that may turn under a nudge, as a share: of those whose threshold lies that near.
_TURNED: Final = 0.1
_AHEAD: Final = 64


def peeking(case: Case, row: StrategyConfig) -> Verdict:
    """Change what comes after a sample of signals, and what is beside their windows: none of them may change."""
    subject = case.subject(row)
    if subject is None:
        return not_applicable(CHECK, row.strategy_id, "it takes no part: its model does not load")
    opened = _opened(case, subject)
    if opened is not None:
        return opened
    sample, every = subject.spoken(), sum(each.answer.value is not None for each in subject.sightings)
    if not sample:
        return not_applicable(
            CHECK, row.strategy_id, f"it gave no signal on these {case.unit}: there is nothing to look at"
        )
    silent = subject.silent()
    for probe in (_future, _mutation, _date, _lookup):
        found = probe(subject, sample, silent)
        if found is not None:
            return found
    looked = f"{len(sample)} of {every:,} signals" if len(sample) < every else f"all {every:,} signals"
    text = f"{looked} (and {len(silent)} silent {case.unit}) stay as they are with another future, another date, other data"
    return passed(CHECK, row.strategy_id, text, 0.0, 0.0)


def _opened(case: Case, subject: Subject) -> Verdict | None:
    """A strategy that opens the recording can read on in it."""
    if case.openings is None:
        return None
    assert subject.sightings is not None  # it has been asked by now, if it has to be asked to open a file
    packages = {name.partition(".")[0] for name in _modules(subject)}
    opened = [each for each in case.openings() if each.module.partition(".")[0] in packages]
    if not opened:
        return None
    text = f"{opened[0].path} was opened while strategies were loaded or asked, by {opened[0].where}"
    advice = "a strategy reads its history and nothing else; give it data of its own as parameters, never the recording"
    return failed(CHECK, subject.strategy_id, text, float(len(opened)), 0.0, advice)


def _modules(subject: Subject) -> Iterator[str]:
    """The modules that the strategy, and each part of it, is written in."""
    processor: Any = subject.make(subject.row.instrument_tokens[0])
    parts = (processor, *(getattr(processor, name, None) for name in ("rules", "ml", "policy")))
    for part in parts:
        if part is not None:
            yield type(part).__module__
            yield str(getattr(getattr(part, "function", None), "__module__", ""))


def _future(subject: Subject, sample: Sequence[Sighting], silent: Sequence[Sighting]) -> Verdict | None:
    """Over columns a strategy is handed a block of prices at once, later ones included: they must not matter."""
    looked, changed = [*sample, *silent], []
    for each in looked:
        processor: Any = subject.make(each.token)
        plain, other = _block(subject, each, changed_future=False), _block(subject, each, changed_future=True)
        if not _over_columns(processor):
            return None
        before, after = _decision(processor, *plain), _decision(subject.make(each.token), *other)
        if before is not None and after is not None and before != after:
            changed.append(each)
    if not changed:
        return None
    text = f"{len(changed)} of {len(looked)} decisions change with the prices that come after them, first {_at(subject, changed[0])}"
    advice = "over columns, entry k may read prices[:first + k + 1] and nothing behind it: no centred means, no maximum of a whole block"
    return failed(CHECK, subject.strategy_id, text, float(len(changed)), 0.0, advice)


def _over_columns(processor: Any) -> bool:
    if isinstance(processor, SometimesBatchable) and not processor.batchable(shortest=True):
        return False
    return isinstance(processor, ColumnRule | BatchCapable)


def _block(subject: Subject, each: Sighting, *, changed_future: bool) -> tuple[NDArray[np.float64], int]:
    """(prices with some before and some after the tick, the tick's place in them)."""
    series = subject.series(each.token)
    first = max(0, each.at + 1 - subject.need)
    prices = np.array([row.price for row in series[first : each.at + 1 + _AHEAD]])
    place = each.at - first
    if changed_future:
        after = prices[place + 1 :]
        after *= 1.0 + 0.3 * np.where(np.arange(len(after)) % 2 == 0, 1.0, -1.0)
        if not len(after):
            prices = np.append(prices, prices[-1] * 1.3)
    return prices, place


def _decision(processor: Any, prices: NDArray[np.float64], place: int) -> tuple[int, float, int] | None:
    """What columns say of one tick; None where they raise, which the purity check is about."""

    def columns() -> Any:
        if isinstance(processor, ColumnRule):
            return dense_columns(processor, prices, place)  # type: ignore[arg-type]  # a ColumnRule has a quantity
        return processor.process_columns(prices, place)

    answer = ask(columns)
    if answer.error:
        return None
    sides, confidences, _, quantities = answer.value
    if not sides[0]:
        return 0, 0.0, 0
    return int(sides[0]), float(confidences[0]), int(quantities[0])


def _mutation(subject: Subject, sample: Sequence[Sighting], silent: Sequence[Sighting]) -> Verdict | None:
    """What a strategy is handed is shared by all that watch the instrument: it must be left as it was."""
    for each in (*sample, *silent):
        window = subject.window(each.token, each.at)
        window.memo["another"] = 1.0
        before, known = contents(window), copy.deepcopy(form(window.memo["another"]))
        decided(subject.make(each.token), window, subject.need)
        if contents(window) != before or form(window.memo.get("another")) != known:
            text = f"it changes the history that it was handed, first {_at(subject, each)}"
            advice = "all strategies of the instrument share it: work on a copy, history.prices.copy() or dict(tick.metadata)"
            return failed(CHECK, subject.strategy_id, text, 1.0, 0.0, advice)
    return None


def _date(subject: Subject, sample: Sequence[Sighting], silent: Sequence[Sighting]) -> Verdict | None:
    """The same window 364 days earlier: whoever looks something up by the time finds something else there, or nothing."""
    looked = [*sample, *silent]
    changed = []
    for each in looked:
        rows = subject.window(each.token, each.at).rows()
        for row in rows:
            row.ts_ns -= MOVED_NS
        found = decided(subject.make(each.token), filled(rows, subject.need), subject.need)
        if _side(found) != _side(_fresh(subject, each)):
            changed.append(each)
    if not changed:
        return None
    text = f"{len(changed)} of {len(looked)} decisions change when the same prices come 364 days earlier, first {_at(subject, changed[0])}"
    advice = (
        "it knows more than its window: data by date, which may hold what came later. A rule of the time of day or of the "
        "weekday would not have changed; one of the calendar date on purpose has to be judged by hand"
    )
    return failed(CHECK, subject.strategy_id, text, float(len(changed)), 0.0, advice)


def _lookup(subject: Subject, sample: Sequence[Sighting], silent: Sequence[Sighting]) -> Verdict | None:
    """Prices a billionth higher: a rule decides as before, a lookup of the recorded ones finds nothing."""
    looked = [*sample, *silent]
    changed = []
    for each in looked:
        rows = subject.window(each.token, each.at).rows()
        for row in rows:
            row.price, row.exact = row.price * (1.0 + NUDGE), None
        found = decided(subject.make(each.token), filled(rows, subject.need), subject.need)
        if _side(found) != _side(_fresh(subject, each)):
            changed.append(each)
    if len(changed) <= max(1, _TURNED * len(looked)):
        return None
    text = f"{len(changed)} of {len(looked)} decisions change when every price is a billionth higher, first {_at(subject, changed[0])}"
    advice = "it recognises recorded prices: it looks them up in data of its own, which may hold what came later"
    return failed(CHECK, subject.strategy_id, text, float(len(changed)), _TURNED * len(looked), advice)


def _fresh(subject: Subject, each: Sighting) -> Answer:
    return decided(subject.make(each.token), subject.window(each.token, each.at), subject.need)


def _side(answer: Answer) -> str:
    value = answer.value
    return "raised" if answer.error else value.signal_type if isinstance(value, SignalResult) else str(value)


def _at(subject: Subject, each: Sighting) -> str:
    row = subject.series(each.token)[each.at]
    return f"at {moment(row.ts_ns)} on {each.token}"
