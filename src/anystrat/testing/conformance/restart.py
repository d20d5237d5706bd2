"""The check of a restart: an engine that is snapshotted, thrown away and restored goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import msgspec
import numpy as np

from anystrat.domain.configuration import StrategyConfig
from anystrat.domain.errors import SnapshotRefused
from anystrat.domain.outcomes import Dropped, Emitted, Held, Outcome, ProcessorFailed
from anystrat.domain.tick import TickRow
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from anystrat.testing.conformance.answers import form, shown
from anystrat.testing.conformance.paths import PricePath
from anystrat.testing.conformance.subject import Subject
from anystrat.testing.conformance.suite import Broken, Finding

_CUTS: Final = 3


def restart(subject: Subject) -> None:
    """Every outcome after a restart, on any tick, is the one that an undisturbed run gives."""
    for seed in range(subject.seeds):
        paths = subject.long_paths(seed)
        order = _interleaved(paths)
        undisturbed = _engine(subject)
        expected = [_forms(undisturbed.step(row)) for _, _, row in _rows(paths, order)]
        rng = np.random.Generator(np.random.PCG64([seed, 55]))
        for cut in sorted(rng.integers(1, len(order), _CUTS).tolist()):
            _from_cut(subject, paths, order, cut, expected)


def _from_cut(
    subject: Subject,
    paths: list[PricePath],
    order: list[tuple[int, int]],
    cut: int,
    expected: list[Hashable],
) -> None:
    first, second = _engine(subject), _engine(subject)
    rows = _rows(paths, order)
    for _, _, row in rows[:cut]:
        first.step(row)
    try:
        restore(second, snapshot(first))
    except SnapshotRefused as error:
        raise Broken(
            Finding(
                "a snapshot is refused",
                "the declared history and the ticks' metadata must be the same in every run",
                f"after {cut} of {len(rows)} ticks, seed {paths[0].seed}",
                str(error),
                "a snapshot that the same strategy, made anew, takes over",
            )
        ) from error
    for at_row, (which, i, row) in enumerate(rows[cut:], start=cut):
        outcomes = second.step(row)
        if _forms(outcomes) != expected[at_row]:
            path = paths[which]
            raise Broken(
                Finding(
                    "goes on differently after a restart",
                    "keep nothing between calls: the engine saves windows, gates and accounts, and no processor",
                    f"{path.where(i)}; restarted {at_row - cut + 1} ticks before (after {cut} of {len(rows)})",
                    "; ".join(map(_shown, outcomes)) or "nothing",
                    "what a run without a restart gives",
                    path.window_text(i, subject.need),
                )
            )


def _engine(subject: Subject) -> Engine:
    engine = Engine()
    engine.register(StrategyConfig("checked", subject.name, None, subject.tokens), "paper", subject.make())
    return engine


def _interleaved(paths: list[PricePath]) -> list[tuple[int, int]]:
    """(path, tick) in time order; ticks of one instant in the order of the paths."""
    places = [(path.ticks[i].ts_ns, which, i) for which, path in enumerate(paths) for i in range(len(path))]
    return [(which, i) for _, which, i in sorted(places)]


def _rows(paths: list[PricePath], order: list[tuple[int, int]]) -> list[tuple[int, int, TickRow]]:
    fresh = [path.rows(0, len(path)) for path in paths]
    return [(which, i, fresh[which][i]) for which, i in order]


def _forms(outcomes: list[Outcome]) -> Hashable:
    """The outcomes to compare by; of an error its type alone, for a traceback tells of addresses."""
    forms: list[Hashable] = []
    for outcome in outcomes:
        fields = msgspec.structs.asdict(outcome)
        if isinstance(outcome, ProcessorFailed):
            fields |= {"error": outcome.error.partition(":")[0], "traceback": ""}
        forms.append((type(outcome).__name__, form(fields)))
    return tuple(forms)


def _shown(outcome: Outcome) -> str:
    if isinstance(outcome, Emitted | Held | Dropped):
        return f"{type(outcome).__name__}: {shown(outcome.signal)}"
    return f"{type(outcome).__name__}: {outcome.error}" if isinstance(outcome, ProcessorFailed) else repr(outcome)
