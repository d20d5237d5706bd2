"""What if: the same ticks under two configurations, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from anystrat.analysis.runs import Given, Run

if TYPE_CHECKING:
    from anystrat.analysis.runs import Place

#: More differences than this are counted, and not listed.
MOST: Final = 1_000


class SignalDifference(msgspec.Struct, frozen=True):
    """A signal that only one of the two runs gave, or that says something else: `kind` is "new", "gone" or "changed"."""

    kind: str
    ts_ns: int
    strategy_id: str
    broker: str
    instrument_token: int
    before: Given | None
    after: Given | None


class StrategyDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy before and after. `pnl` is net of all fees, open positions at the last prices included."""

    strategy_id: str
    signals_before: int
    signals_after: int
    new: int
    gone: int
    changed: int
    same: int
    drops_before: dict[str, int]
    drops_after: dict[str, int]
    evaluations_before: int
    evaluations_after: int
    pnl_before: float
    pnl_after: float

    @property
    def differs(self) -> bool:
        """Whether anything of it is different."""
        moved = self.new or self.gone or self.changed or self.drops_before != self.drops_after
        return bool(moved or self.pnl_before != self.pnl_after)


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """The same ticks under two configurations. `differences` are the first ones, in the order of time."""

    strategies: tuple[StrategyDifference, ...]
    differences: tuple[SignalDifference, ...]
    pnl_before: float
    pnl_after: float


def compare(before: Run, after: Run, *, most: int = MOST) -> WhatIf:
    """Match the signals of two runs of one recording by strategy, broker, instrument and tick, and say what is different.

    Strategies come in the order in which they stand in the first run, then those that only the second has.
    """
    differences = _differences(before.signals, after.signals)
    ids = dict.fromkeys(one.strategy_id for run in (before, after) for one in run.engine.executors)
    strategies = tuple(_strategy(name, before, after, differences) for name in ids)
    return WhatIf(
        strategies=strategies,
        differences=tuple(differences[:most]),
        pnl_before=sum(each.pnl_before for each in strategies),
        pnl_after=sum(each.pnl_after for each in strategies),
    )


def _differences(before: dict[Place, Given], after: dict[Place, Given]) -> list[SignalDifference]:
    found = []
    for place in before.keys() | after.keys():
        one, other = before.get(place), after.get(place)
        if one == other:
            continue
        kind = "new" if one is None else "gone" if other is None else "changed"
        strategy_id, broker, token, ts_ns, _ = place
        found.append(SignalDifference(kind, ts_ns, strategy_id, broker, token, one, other))
    return sorted(found, key=lambda each: (each.ts_ns, each.strategy_id, each.broker, each.instrument_token))


def _strategy(name: str, before: Run, after: Run, differences: Iterable[SignalDifference]) -> StrategyDifference:
    kinds = [each.kind for each in differences if each.strategy_id == name]
    counts = {kind: kinds.count(kind) for kind in ("new", "gone", "changed")}
    signals = sum(place[0] == name for place in before.signals)
    reports = [run.reports().get(name, []) for run in (before, after)]
    evaluations, pnl = ([sum(one[key] for one in executors) for executors in reports] for key in ("evaluations", "pnl"))
    return StrategyDifference(
        strategy_id=name,
        signals_before=signals,
        signals_after=sum(place[0] == name for place in after.signals),
        **counts,
        same=signals - counts["gone"] - counts["changed"],
        drops_before=dict(before.drops(name)),
        drops_after=dict(after.drops(name)),
        evaluations_before=evaluations[0],
        evaluations_after=evaluations[1],
        pnl_before=pnl[0],
        pnl_after=pnl[1],
    )
