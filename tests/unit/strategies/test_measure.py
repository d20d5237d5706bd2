"""What a rule says that it measured is what it decides by: the comparisons that are met lead to its very side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.measurement import Condition, Measuring
from anystrat.domain.signal import SIDE_NAME
from anystrat.strategies.breakout import Breakout, BreakoutParameters
from anystrat.strategies.mean_reversion import MeanReversion, MeanReversionParameters
from anystrat.strategies.momentum import Momentum, MomentumParameters
from anystrat.strategies.sma_crossover import SmaCrossover, SmaCrossoverParameters

RULES: tuple[Any, ...] = (
    Momentum(MomentumParameters(4, 0.01)),
    MeanReversion(MeanReversionParameters(5, 1.2)),
    Breakout(BreakoutParameters(4, 0.002)),
    SmaCrossover(SmaCrossoverParameters(2, 5)),
)
# Steps of a sixty-fourth: doubles say all, also to the crossover.
prices = st.lists(st.integers(6_000, 6_800).map(lambda k: k / 64), min_size=6, max_size=12)


def sides(conditions: Sequence[Condition]) -> set[str]:
    """The sides all of whose comparisons are met."""
    by_side: dict[str, list[bool]] = defaultdict(list)
    for each in conditions:
        by_side[each.leads_to].append(each.met)
    return {side for side, met in by_side.items() if all(met)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get_strategy_name())
@given(window=prices)
def test_the_comparisons_that_are_met_lead_to_the_side_that_the_rule_decides_for(
    rule: Any, window: list[float]
) -> None:
    assert isinstance(rule, Measuring)
    if isinstance(rule, SmaCrossover):
        side, _, _ = rule.screen(window, len(window))
        if side < 0:
            side = rule.settle(window, len(window), None)
            if side == 0:
                return  # a tie by exact decimals, which ratios in doubles may miss
    else:
        decision = rule.decide(window, len(window))
        side = decision[0] if decision else 0
    found = rule.measure(window, len(window))
    assert sides(found.conditions) == ({SIDE_NAME[side]} if side else set()), found


def test_a_flat_window_is_called_flat() -> None:
    assert RULES[1].measure([100.0] * 6, 6).note == "flat: the last 5 prices are as good as equal"


@pytest.mark.parametrize(("sign", "met"), [(">", False), (">=", True), ("<", False), ("<=", True)])
def test_a_comparison_is_met_as_its_sign_says_and_never_by_nan(sign: str, met: bool) -> None:
    assert Condition("x", 1.0, sign, 1.0, "BUY").met is met
    assert not Condition("x", float("nan"), sign, 1.0, "BUY").met
