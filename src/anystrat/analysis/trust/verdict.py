"""A verdict: what was checked, how it came out, the number that decided, and what to do about it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How a check came out. NOT_APPLICABLE: there was nothing to judge, and `found` says why."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One check of one strategy.

    `number` decided, held against `limit` where there is one; `found` says it in words, with where it was seen first.
    `advice` is what to do; a check that passed may advise too.
    """

    check: str
    strategy_id: str
    outcome: Outcome
    found: str
    number: float | None = None
    limit: float | None = None
    advice: str = ""


def passed(
    check: str, strategy_id: str, found: str, number: float | None = None, limit: float | None = None, advice: str = ""
) -> Verdict:
    """All is well."""
    return _made(Outcome.PASS, check, strategy_id, found, number, limit, advice)


def failed(
    check: str, strategy_id: str, found: str, number: float | None, limit: float | None = None, advice: str = ""
) -> Verdict:
    """A finding."""
    return _made(Outcome.FAIL, check, strategy_id, found, number, limit, advice)


def not_applicable(check: str, strategy_id: str, why: str, advice: str = "") -> Verdict:
    """Nothing to judge."""
    return _made(Outcome.NOT_APPLICABLE, check, strategy_id, why, None, None, advice)


def _made(
    outcome: Outcome,
    check: str,
    strategy_id: str,
    found: str,
    number: float | None,
    limit: float | None,
    advice: str,
) -> Verdict:
    return Verdict(
        check=check,
        strategy_id=strategy_id,
        outcome=outcome,
        found=found,
        number=number,
        limit=limit,
        advice=advice,
    )
