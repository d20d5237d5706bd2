"""What tests of strategies and of the engine are made from: synthetic ticks, fakes, small servers, conformance checks."""

from anystrat.testing.conformance import (
    ContractBroken,
    all_checks,
    all_feature_checks,
    all_policy_checks,
    check_feature,
    check_policy,
    check_strategy,
)

__all__ = [
    "ContractBroken",
    "all_checks",
    "all_feature_checks",
    "all_policy_checks",
    "check_feature",
    "check_policy",
    "check_strategy",
]
