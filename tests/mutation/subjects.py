"""Which modules are mutated, with the tests that have to notice; and the mutants that may live, each with its reason."""

from __future__ import annotations

_RUNNER = "tests/unit/runner"
_DELIVERY = "tests/unit/runner/delivery"

SUBJECTS: dict[str, tuple[str, ...]] = {
    "runner/acknowledging.py": (f"{_RUNNER}/test_intake.py",),
    "runner/mailbox.py": (f"{_RUNNER}/test_mailbox.py",),
    "runner/delivery/limiter.py": (_DELIVERY,),
    "runner/delivery/breaker.py": (_DELIVERY,),
    "runner/delivery/backoff.py": (_DELIVERY,),
    "runner/delivery/queue.py": (_DELIVERY,),
    "runner/delivery/verdicts.py": (_DELIVERY,),
    "runner/delivery/attempt.py": (_DELIVERY,),
    "runner/delivery/broker.py": (_DELIVERY,),
    "runner/recovery.py": (_RUNNER,),
    "runner/intake.py": (_RUNNER,),
    "runner/committer.py": (_RUNNER,),
    **{
        f"strategies/policies/{name}.py": ("tests/unit/strategies/test_policies.py",)
        for name in ("confirm", "guardrail", "majority", "probability_weighted", "sizer", "threshold_escalation")
    },
}

#: (module, what): why no test can tell it from the source, or need not.
KNOWN: dict[tuple[str, str], str] = {
    ("runner/mailbox.py", "self._room.set(): left out"): "at the start: it is cleared before anybody waits for it",
}
