"""What the author of a plug-in writes: every one of its parts keeps its contract. Run by name, where it is installed."""

from __future__ import annotations

from anystrat_fade import features
from anystrat_fade.policy import UNHURRIED
from anystrat_fade.strategy import FADE, chase

from anystrat.strategies.features import FeatureRegistry
from anystrat.testing import check_feature, check_policy, check_strategy


def test_the_strategies_keep_the_contract():
    assert check_strategy(FADE).signals > 0
    assert check_strategy(chase, parameters={"least": 0.001}).signals > 0


def test_the_policy_keeps_the_contract():
    check_policy(UNHURRIED)


def test_the_feature_keeps_the_contract():
    registry = FeatureRegistry()
    registry.register_feature("wiggle", features.wiggle, features.history)
    check_feature("wiggle_6", registry=registry)
