"""`check_policy`: the contract of decision policies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from anystrat.domain.protocols import DecisionPolicy
from anystrat.domain.signal import HOLD, SIDE_CODE, SignalResult
from anystrat.domain.window import Window
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.answer import ColumnPolicy, Decided, Pairs, numbers_of
from anystrat.testing.conformance.answers import Answer, ask, fault, form, shown, side_by_side
from anystrat.testing.conformance.holding import contents
from anystrat.testing.conformance.paths import PricePath, filled, synthetic_paths
from anystrat.testing.conformance.subject import builder_of, name_of, parameters_of
from anystrat.testing.conformance.suite import Broken, Check, Finding, NotJudged, Report, Suite

#: What `check_policy` takes: a type, a policy (it is copied), or a function that builds one.
Policy: TypeAlias = PolicyType | DecisionPolicy | Callable[[], DecisionPolicy]

_SIDES: Final = (None, "BUY", "SELL", "HOLD")
_CONFIDENCES: Final = (0.0, 0.3, 0.55, 0.6, 0.75, 0.9, 1.0)
_QUANTITIES: Final = ((100, 100), (1, 7), (3, 1_000_000))
_TICKS_AFTER_FULL: Final = 12
_OLDER: Final = 9
# Comparing whole windows is dear; the step meets every pair of sides, with many confidences.
_UNTOUCHED_STEP: Final = 11


class _Case(NamedTuple):
    """Two signals and a tick of a path to decide them on."""

    rules: SignalResult | None
    ml: SignalResult | None
    path: PricePath
    i: int


@dataclass(slots=True)
class _Subject:
    name: str
    make: Callable[[], DecisionPolicy]
    seeds: int
    asked: int = 0
    signals: int = 0
    _need: int = 0
    _cases: list[_Case] = field(default_factory=list)

    @property
    def need(self) -> int:
        """The ticks that a decision reads; 1 where the policy does not say."""
        if not self._need:
            length = getattr(self.make(), "get_required_history_length", None)
            self._need = int(length()) if length is not None else 1
        return self._need

    def cases(self) -> list[_Case]:
        """The whole truth table, with confidences and sizes, spread over price paths."""
        if not self._cases:
            paths = list(synthetic_paths(self.seeds, (1,), self.need + _TICKS_AFTER_FULL))
            for number, (rules, ml) in enumerate(_pairs()):
                path = paths[number % len(paths)]
                self._cases.append(_Case(rules, ml, path, self.need - 1 + number % (_TICKS_AFTER_FULL + 1)))
        return self._cases

    def answer(self, policy: DecisionPolicy, case: _Case, window: Window | None = None, length: int = 0) -> Answer:
        """What the policy decides on exactly the history that it declares, or on the last `length` ticks of a window."""
        shared = window or self.window(case)
        history = shared.history(length or self.need)
        context = {"tick": shared.row(0).market_tick(), "history": history}
        answer = ask(lambda: policy.decide(_own(case.rules), _own(case.ml), context))
        shared.expire()
        return answer

    def window(self, case: _Case) -> Window:
        return filled(case.path.rows(case.i + 1 - self.need, case.i + 1), self.need)


def check_policy(policy: Policy, *, parameters: Any = None, seeds: int = 2) -> Report:
    """Hold a decision policy to its contract. Raises `ContractBroken` with everything that was found.

    It is asked for the whole truth table {none, BUY, SELL, HOLD}² with many confidences and quantities, on many price
    paths. `policy` is a policy type, a policy or a function that builds one; `parameters` are those of a type.
    """
    __tracebackhide__ = True
    subject = _subject(policy, parameters, seeds)
    passed, skipped = _suite(subject).run_all()
    return Report(subject.name, passed, skipped, subject.asked, subject.signals)


def all_policy_checks(policy: Policy, *, parameters: Any = None, seeds: int = 2) -> list[Check]:
    """The checks of `check_policy` one by one, to be parametrised."""
    return list(_suite(_subject(policy, parameters, seeds)))


def _subject(policy: Policy, parameters: Any, seeds: int) -> _Subject:
    if isinstance(policy, PolicyType):
        entry, values = policy, parameters_of(policy, parameters)
        return _Subject(entry.name, lambda: entry.build(values), seeds)
    if parameters is not None:
        raise TypeError("parameters are for a PolicyType; a policy and a builder bring their own")
    return _Subject(name_of(policy), builder_of(policy, "decide"), seeds)


def _suite(subject: _Subject) -> Suite:
    suite = Suite(subject.name)

    def add(name: str, promise: str, function: Callable[[_Subject], None], *after: str) -> None:
        suite.add(name, promise, lambda: function(subject), *after)

    add("contract", "`decide` is there; the history, if declared, is a constant number of ticks.", _contract)
    add("answers", "Every answer is None or a signal that could be emitted.", _answers, "contract")
    add("determinism", "Fresh policies agree.", _determinism, "contract")
    add("untouched", "Signals, history and context are left as they were.", _untouched, "contract")
    add("window_only", "What lies before the declared history changes nothing.", _window_only, "answers", "determinism")
    add("hold", "HOLD counts as no signal.", _hold, "answers", "determinism")
    add("memory", "Earlier decisions change nothing.", _memory, "determinism", "untouched", "window_only")
    add(
        "columns",
        "The loop over many ticks and single decisions agree, where there is one.",
        _columns,
        "hold",
        "memory",
    )
    return suite


def _pairs() -> Iterator[tuple[SignalResult | None, SignalResult | None]]:
    for (rules, ml), (rc, mc), (rq, mq) in itertools.product(
        itertools.product(_SIDES, repeat=2), itertools.product(_CONFIDENCES, repeat=2), _QUANTITIES
    ):
        if (rules is None and (rc or rq != 100)) or (ml is None and (mc or mq != 100)):
            continue  # nothing is one case, whatever its confidence would be
        yield _signal(rules, rc, rq, "100.25", "rules"), _signal(ml, mc, mq, "100.5", "ml")


def _signal(side: str | None, confidence: float, quantity: int, price: str, who: str) -> SignalResult | None:
    return side and SignalResult(side, confidence, quantity, Decimal(price), who, {"from": who})  # type: ignore[return-value]


def _own(signal: SignalResult | None) -> SignalResult | None:
    """A copy, so that what a policy does to its metadata stays in the one call."""
    return signal and msgspec.structs.replace(signal, metadata=signal.metadata and dict(signal.metadata))


def _at(subject: _Subject, case: _Case, what: str, found: object, expected: object, advice: str) -> Broken:
    where = f"rules: {shown(case.rules)}; ml: {shown(case.ml)}; {case.path.where(case.i)}"
    prices = case.path.window_text(case.i, subject.need)
    return Broken(Finding(what, advice, where, str(found), str(expected), prices))


def _contract(subject: _Subject) -> None:
    policy = subject.make()
    if not callable(getattr(policy, "decide", None)):
        raise Broken(Finding(f"{type(policy).__name__} has no method decide", "see anystrat.DecisionPolicy"))
    length = getattr(policy, "get_required_history_length", None)
    if length is None:
        return
    lengths = [ask(length), ask(length), ask(subject.make().get_required_history_length)]  # type: ignore[attr-defined]
    first = lengths[0].value
    if not isinstance(first, int) or isinstance(first, bool) or first < 1 or any(n.value != first for n in lengths):
        raise Broken(
            Finding(
                "get_required_history_length gives no constant number of ticks",
                "return a constant int of at least 1, or leave the method out where no history is read",
                found=", ".join(str(n.error or repr(n.value)) for n in lengths),
                expected="a whole number of at least 1",
            )
        )


def _answers(subject: _Subject) -> None:
    policy = subject.make()
    for case in subject.cases():
        answer = subject.answer(policy, case)
        wrong = answer.error or fault(answer.value)
        if wrong:
            advice = "decide on every pair of signals, on exactly the declared history; None means no signal"
            what = "raises" if answer.error else "answers with what is no signal"
            raise _at(subject, case, what, wrong, "None, or a SignalResult that keeps the contract", advice)


def _determinism(subject: _Subject) -> None:
    one, other = subject.make(), subject.make()
    for case in subject.cases():
        first, second = subject.answer(one, case), subject.answer(other, case)
        subject.asked += 1
        subject.signals += first.value is not None
        if first.form != second.form:
            expected, found = side_by_side(first, second)
            advice = "decide from the two signals and the context alone: no clock, no global state, no randomness"
            raise _at(subject, case, "two fresh policies decide differently", found, expected, advice)


def _untouched(subject: _Subject) -> None:
    policy = subject.make()
    for case in subject.cases()[::_UNTOUCHED_STEP]:
        window = subject.window(case)
        own = _Case(_own(case.rules), _own(case.ml), case.path, case.i)
        history = window.history(subject.need)
        context: dict[str, Any] = {"tick": window.row(0).market_tick(), "history": history}
        before = form([own.rules, own.ml]), contents(window)
        ask(lambda: policy.decide(own.rules, own.ml, context))  # noqa: B023
        if (form([own.rules, own.ml]), contents(window)) != before or context.keys() != {"tick", "history"}:
            advice = "build a new signal; copy metadata before you add to it"
            what = "changes the signals, the history or the context that it was handed"
            raise _at(subject, case, what, "other contents after the call", "what was handed in, as it was", advice)


def _window_only(subject: _Subject) -> None:
    for case in subject.cases():
        expected = subject.answer(subject.make(), case)
        older = [
            row for _ in range(_OLDER) for row in case.path.rows(case.i + 1 - subject.need, case.i + 2 - subject.need)
        ]
        for k, row in enumerate(older):
            row.price *= 0.5 + 0.75 * (k % 3)
        rows = [*older, *case.path.rows(case.i + 1 - subject.need, case.i + 1)]
        length = subject.need + _OLDER
        found = subject.answer(subject.make(), case, filled(rows, length), length)
        if found.form != expected.form:
            shown_found, wanted = side_by_side(found, expected)
            advice = (
                "a hybrid hands the policy the longest history of all its parts: read the last "
                f"{subject.need} ticks of it, or declare more with get_required_history_length"
            )
            what = f"a decision depends on ticks before the {subject.need} that it declares"
            raise _at(subject, case, what, f"{shown_found} (with {_OLDER} older ticks)", wanted, advice)


def _hold(subject: _Subject) -> None:
    for case in subject.cases():
        none = _Case(_unless_hold(case.rules), _unless_hold(case.ml), case.path, case.i)
        if none == case:
            continue
        found, expected = subject.answer(subject.make(), case), subject.answer(subject.make(), none)
        if found.form != expected.form:
            shown_found, wanted = side_by_side(found, expected)
            advice = "treat a HOLD signal as if there were none"
            raise _at(subject, case, "HOLD does not count as no signal", shown_found, wanted, advice)


def _unless_hold(signal: SignalResult | None) -> SignalResult | None:
    return None if signal is None or signal.signal_type == HOLD else signal


def _memory(subject: _Subject) -> None:
    used = subject.make()
    for case in subject.cases():
        expected = subject.answer(subject.make(), case)
        for when in ("after other decisions", "asked a second time"):
            found = subject.answer(used, case)
            if found.form != expected.form:
                shown_found, wanted = side_by_side(found, expected)
                advice = "keep nothing between decisions: a restart, a replay and a backtest would differ"
                what = "a decision depends on earlier ones"
                raise _at(subject, case, what, f"{shown_found} ({when})", f"{wanted} (a fresh policy)", advice)


def _columns(subject: _Subject) -> None:
    policy = subject.make()
    if not isinstance(policy, ColumnPolicy):
        raise NotJudged("the policy has no decisions(): every tick is a call of decide")
    # What a rule's or a tick's metadata says is beyond columns: here there is none.
    pairs = [(_bare(case.rules), _bare(case.ml)) for case in subject.cases() if _sides(case)]
    paths = list(synthetic_paths(subject.seeds, (1,), subject.need + len(pairs) // 8))
    for number, path in enumerate(paths):
        shifted = itertools.islice(itertools.cycle(pairs), number * 7, None)
        cases = [_Case(*pair, path, i) for pair, i in zip(shifted, range(subject.need - 1, len(path)), strict=False)]
        for first, stop in ((0, len(cases)), (0, 1), (3, 3), (5, len(cases))):
            _compare_loop(subject, policy, cases[first:stop], subject.need - 1 + first)


def _compare_loop(subject: _Subject, policy: ColumnPolicy, cases: list[_Case], first: int) -> None:
    if not cases:
        return
    rules = zip(*(numbers_of(case.rules) for case in cases), strict=True)
    ml = zip(*(numbers_of(case.ml) for case in cases), strict=True)
    decided = Decided([0] * len(cases), [0.0] * len(cases), [0] * len(cases))
    prices = cases[0].path.prices()[: first + len(cases)].tolist()
    advice = "let the loop call the core that decide calls; it reads the history before each tick, and nothing after it"

    def loop() -> None:
        run, arguments = policy.decisions()
        run(Pairs(*map(list, rules), *map(list, ml)), decided, prices, first, *arguments)

    ran = ask(loop)
    if ran.error:
        raise _at(subject, cases[0], "the loop of decisions() raises", ran, "an answer for each tick", advice)
    single = subject.make()
    for k, case in enumerate(cases):
        window = filled(case.path.rows(case.i + 1 - subject.need, case.i + 1, plain=True), subject.need)
        answer = subject.answer(single, case, window)
        signal = answer.value
        wanted = (0, 0.0, 0)
        if signal is not None:
            wanted = (SIDE_CODE[signal.signal_type], float(signal.confidence), int(signal.quantity))
        found = (int(decided.side[k]), float(decided.confidence[k]), int(decided.quantity[k]))
        if form(found if found[0] or wanted[0] else 0) != form(wanted if found[0] or wanted[0] else 0):
            shown_found = (
                f"side {found[0]}, confidence {found[1]!r}, quantity {found[2]} (tick {k + 1} of {len(cases)})"
            )
            raise _at(subject, case, "the loop of decisions() and decide differ", shown_found, answer, advice)


def _bare(signal: SignalResult | None) -> SignalResult | None:
    return signal and msgspec.structs.replace(signal, metadata=None)


def _sides(case: _Case) -> bool:
    return HOLD not in {signal.signal_type for signal in (case.rules, case.ml) if signal is not None}
