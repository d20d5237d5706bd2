"""How property tests run here: no deadlines on a shared machine, and the seed of a failure is printed."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "suite",
    # Half of the usual: every run tries others, and the whole suite has to fit into minutes.
    max_examples=50,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.register_profile("thorough", settings.get_profile("suite"), max_examples=5_000)
# `make mutate` asks only whether a test fails, and of every mistake the same.
settings.register_profile(
    "mutants",
    settings.get_profile("suite"),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
