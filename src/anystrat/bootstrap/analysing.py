"""What analyses need of a configuration: engines of it as often as they like, its compiler, its models' cards; answers for a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anystrat.analysis.explaining.moments import Moments, explain
from anystrat.analysis.explaining.overview import overview
from anystrat.analysis.explaining.telling import headline, mark, outline, page
from anystrat.analysis.trust.case import SAMPLE, Case, Opening
from anystrat.backtest.page.why import Chapter, Story
from anystrat.bootstrap import Wiring, build_engine, inspect_model, kernel_compiler, session_clock

if TYPE_CHECKING:
    from anystrat.backtest.result import BacktestResult
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


def why(
    result: BacktestResult,
    configuration: Configuration,
    wiring: Wiring,
    ticks: Iterable[TickColumns],
    strategies: Iterable[str],
) -> list[Chapter]:
    """What a report answers for these strategies: what their ticks came to, and some of them in full.

    Those are the last signal, the last drop for the commonest reason, and the ticks that came nearest to a signal. `ticks` are
    gone over several times, one by one. Raises `NothingToExplain` for a strategy that takes no part.
    """
    symbols = {spec.token: spec.symbol for spec in configuration.instruments if spec.symbol}
    found = []
    for strategy in strategies:
        alone = tuple(row for row in configuration.strategies if row.strategy_id == strategy)
        # Strategies do not see each other, but for limits over the whole account.
        asked = (
            configuration
            if configuration.account is not None
            else replace(configuration, strategies=alone or configuration.strategies)
        )
        engine = build_engine(asked, Wiring(wiring.catalog, wiring.models), sessions=session_clock(asked))
        told = overview(engine, ticks, strategy=strategy)
        moments: list[tuple[str, Moments, int | None]] = []
        signals = result.signals
        mine = np.flatnonzero(signals["strategy_id"] == strategy)
        if len(mine):
            at, token = (int(signals[name][mine[-1]]) for name in ("ts_ns", "instrument_token"))
            moments.append(("Last signal", Moments(at_ns=at), token))
        if told.drops:
            reason = next(iter(told.drops))
            moments.append((f"Last drop for {reason}", Moments(drops=reason, last=1), None))
        moments += [
            ("Near a signal", Moments(at_ns=miss.ts_ns), miss.instrument_token) for miss in reversed(told.nearest)
        ]
        stories = [
            Story(f"{title}: {headline(each, symbols)}", f"{mark(each)}: {each.because}", page(each))
            for title, wanted, token in moments
            for each in explain(
                engine, ticks, wanted, strategy=strategy, instrument=token, broker=told.broker
            ).explanations
        ]
        found.append(Chapter(f"{told.strategy_id} on {told.broker}", outline(told, symbols), stories))
    return found


__all__ = ["trust_case", "why"]
