"""The trust checks by name, and all of them over a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from anystrat.analysis.trust.models import drift, skew
from anystrat.analysis.trust.money import costs, monte_carlo
from anystrat.analysis.trust.peeking import peeking
from anystrat.analysis.trust.purity import purity
from anystrat.analysis.trust.verdict import Verdict
from anystrat.analysis.trust.warmup import warmup
from anystrat.domain.errors import UnknownName

if TYPE_CHECKING:
    from anystrat.analysis.trust.case import Case
    from anystrat.domain.configuration import StrategyConfig

#: Name -> the check, and what it asks.
CHECKS: Final[dict[str, tuple[Callable[[Case, StrategyConfig], Verdict], str]]] = {
    "peeking": (peeking, "Does anything but the window decide, such as later ticks?"),
    "warmup": (warmup, "How many ticks does it need, against how many it declares?"),
    "purity": (purity, "Do the same ticks give the same, restarted, in blocks, beside others?"),
    "costs": (costs, "At which fee is the edge gone?"),
    "monte_carlo": (monte_carlo, "Could the profit be luck?"),
    "skew": (skew, "Are a model's features served as they were trained?"),
    "drift": (drift, "Is the market still the one that the model was trained in?"),
}


def trust(case: Case, names: Sequence[str] = (), *, strategies: Sequence[str] = ()) -> Iterator[Verdict]:
    """The verdict of each of these checks (all, if none is named) on each strategy, strategy by strategy.

    Raises `UnknownName` for a check or a strategy that is not there.
    """
    for name in names:
        if name not in CHECKS:
            raise UnknownName("check", name, CHECKS)
    ids = [row.strategy_id for row in case.rows]
    for name in strategies:
        if name not in ids:
            raise UnknownName("strategy", name, ids)
    for row in case.rows:
        if not strategies or row.strategy_id in strategies:
            for name in names or CHECKS:
                yield CHECKS[name][0](case, row)
