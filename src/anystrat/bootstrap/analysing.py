"""What analyses need of a configuration: engines of it as often as they like, its compiler, its models' cards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anystrat.analysis.trust.case import SAMPLE, Case, Opening
from anystrat.bootstrap import Wiring, build_engine, inspect_model, kernel_compiler, session_clock

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.configuration import Configuration
    from anystrat.engine.engine import Engine


def trust_case(
    configuration: Configuration,
    wiring: Wiring,
    ticks: Iterable[TickColumns],
    *,
    seed: int = 0,
    sample: int = SAMPLE,
    openings: Callable[[], Sequence[Opening]] | None = None,
) -> Case:
    """The case that `trust` judges: a configuration on a recording, which is held in memory.

    `seed` is what samples and draws are made from, `sample` how many signals of a strategy are looked at one by one.
    `openings` tells which of the recording's files strategies opened, where somebody watched for it.
    """
    sessions = session_clock(configuration)

    def build(configured: Configuration) -> Engine:
        # Wirings of their own: who is left out is told once, and not by every engine that a check makes.
        return build_engine(configured, Wiring(wiring.catalog, wiring.models), sessions=sessions)

    def card(path: str) -> Any:
        return inspect_model(path)["card"]

    return Case(configuration, build, list(ticks), kernel_compiler, card, seed, sample, openings)


__all__ = ["trust_case"]
