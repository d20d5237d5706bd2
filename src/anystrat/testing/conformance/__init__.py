"""Checks that any strategy, policy or feature has to pass, built in or not: point a test at yours.

    from anystrat.testing import check_strategy

    def test_my_rule_keeps_the_contract():
        check_strategy(my_rule)

They need NumPy alone. A finding says what was broken, on which tick, with which prices, and what to do.
"""

from __future__ import annotations

from anystrat.testing.conformance.feature import all_feature_checks, check_feature
from anystrat.testing.conformance.policy import all_policy_checks, check_policy
from anystrat.testing.conformance.strategy import all_checks, check_strategy
from anystrat.testing.conformance.suite import Check, ContractBroken, NotJudged, Report

__all__ = [
    "Check",
    "ContractBroken",
    "NotJudged",
    "Report",
    "all_checks",
    "all_feature_checks",
    "all_policy_checks",
    "check_feature",
    "check_policy",
    "check_strategy",
]
