"""Checks that belong together: each by its name, those that it rests on first, every verdict worked out once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from unittest import SkipTest

Run = Callable[[], None]


class ContractBroken(AssertionError):
    """What was checked does not keep its contract; the text says what was broken, where, and what to do.

    `checks` are the names of the checks that failed.
    """

    def __init__(self, text: str, checks: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.checks = tuple(checks)


class NotJudged(SkipTest):
    """A check does not apply, or rests on one that failed; pytest and unittest count it as skipped."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise, with all that is needed to see it again and to mend it."""

    what: str
    advice: str
    where: str = ""
    found: str = ""
    expected: str = ""
    prices: str = ""

    def text(self, subject: str, check: str) -> str:
        """The finding as people read it."""
        lines = [f"{subject}: {self.what}"]
        labelled = (
            ("check", check),
            ("where", self.where),
            ("found", self.found),
            ("expected", self.expected),
            ("prices", self.prices),
            ("to do", self.advice),
        )
        return "\n".join(lines + [f"  {label:<9} {content}" for label, content in labelled if content])


class Broken(Exception):
    """How a check says that a promise is broken."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


@dataclass(frozen=True, eq=False)
class Check:
    """One check, to be called: silent where the promise is kept, else `ContractBroken` or `NotJudged`.

    `promise` is what it holds its subject to; pytest takes `name` for the test's id.
    """

    name: str
    promise: str
    _suite: Suite = field(repr=False)

    def __call__(self) -> None:
        __tracebackhide__ = True  # pytest shows the test's own line
        self._suite.judge(self.name)

    @property
    def __name__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Report:
    """What a full run of the checks found out: which held, which did not apply and why, how much was asked."""

    subject: str
    passed: tuple[str, ...]
    skipped: dict[str, str]
    evaluations: int = 0
    signals: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    promise: str
    run: Run
    after: tuple[str, ...]


class Suite:
    """The checks of one subject, in their order."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._entries: dict[str, _Entry] = {}
        self._verdicts: dict[str, Finding | str | None] = {}

    def add(self, name: str, promise: str, run: Run, *after: str) -> None:
        """A check that is judged only where those named in `after` found nothing wrong: its verdict rests on them."""
        self._entries[name] = _Entry(promise, run, after)

    def __iter__(self) -> Iterator[Check]:
        for name, entry in self._entries.items():
            yield Check(name, entry.promise, self)

    def judge(self, name: str) -> None:
        """Raise `ContractBroken` or `NotJudged`, or return where the promise is kept."""
        __tracebackhide__ = True
        verdict = self._verdict(name)
        if isinstance(verdict, Finding):
            raise ContractBroken(verdict.text(self.subject, name), (name,))
        if verdict is not None:
            raise NotJudged(verdict)

    def run_all(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """(checks that held, checks that do not apply with the reason). Raises `ContractBroken` with every finding."""
        __tracebackhide__ = True
        passed: list[str] = []
        skipped: dict[str, str] = {}
        broken: dict[str, Finding] = {}
        for name in self._entries:
            verdict = self._verdict(name)
            if isinstance(verdict, Finding):
                broken[name] = verdict
            elif verdict is None:
                passed.append(name)
            else:
                skipped[name] = verdict
        if broken:
            text = "\n\n".join(finding.text(self.subject, name) for name, finding in broken.items())
            raise ContractBroken(text, tuple(broken))
        return tuple(passed), skipped

    def _verdict(self, name: str) -> Finding | str | None:
        if name not in self._verdicts:
            self._verdicts[name] = self._worked_out(name)
        return self._verdicts[name]

    def _worked_out(self, name: str) -> Finding | str | None:
        entry = self._entries[name]
        for earlier in entry.after:
            verdict = self._verdict(earlier)
            if isinstance(verdict, Finding):
                return f"judged once {earlier!r} holds: {verdict.what}"
            if verdict is not None and verdict.startswith("judged once"):
                return verdict
        try:
            entry.run()
        except Broken as broken:
            return broken.finding
        except NotJudged as skipped:
            return str(skipped)
        return None
