"""Checks of single decisions: the methods, the answers, and that nothing but the window decides."""

from __future__ import annotations

from typing import Final

from anystrat.domain.protocols import MLCapable, PriceRule, StrategyProcessor
from anystrat.domain.signal import SIDE_NAME, SignalResult
from anystrat.domain.tick import TickRow
from anystrat.domain.window import Window
from anystrat.testing.conformance.answers import Answer, ask, fault, side_by_side
from anystrat.testing.conformance.paths import PricePath, filled
from anystrat.testing.conformance.subject import Subject, decided
from anystrat.testing.conformance.suite import Broken, Finding, NotJudged

METHODS: Final = ("process_tick", "get_required_history_length", "supports_instrument", "get_strategy_name")
_OLDER: Final = 7


def at(subject: Subject, path: PricePath, i: int, what: str, found: object, expected: object, advice: str) -> Broken:
    """A finding at tick `i` of a path."""
    return Broken(Finding(what, advice, path.where(i), str(found), str(expected), path.window_text(i, subject.need)))


def contract(subject: Subject) -> None:
    """The methods are there and answer with what they should."""
    built = ask(subject.build)
    if built.error:
        raise Broken(Finding("cannot be built", "give parameters that it can be built with", found=built.error))
    processor: StrategyProcessor = built.value
    for method in METHODS:
        if not callable(getattr(processor, method, None)):
            raise Broken(
                Finding(
                    f"{type(processor).__name__} has no method {method}",
                    f"a strategy has {', '.join(METHODS)}: see anystrat.StrategyProcessor",
                )
            )
    if isinstance(processor, MLCapable):
        _model(processor)
    _length(subject, processor)
    for token in subject.tokens:
        supported = ask(lambda token=token: processor.supports_instrument(token))  # type: ignore[misc]
        if supported.value is not True:
            raise Broken(
                Finding(
                    f"supports_instrument({token}) does not answer True",
                    "answer True or False; check the strategy on instruments that it supports, with instruments=[…]",
                    found=str(supported),
                    expected="True",
                )
            )
    name = ask(processor.get_strategy_name)
    if not isinstance(name.value, str) or not name.value:
        raise Broken(
            Finding(
                "get_strategy_name gives no name",
                "return a short text: it stands in logs and traces",
                found=str(name),
                expected="a text that is not empty",
            )
        )


def _model(processor: MLCapable) -> None:
    loaded = ask(processor.load_model)
    if loaded.value is not True:
        raise Broken(
            Finding(
                "the model does not load",
                "pass models={path: model} or a shelf, and look at the model's names, shapes and types",
                found=str(getattr(processor, "model_error", "") or loaded),
                expected="load_model() answers True",
            )
        )


def _length(subject: Subject, processor: StrategyProcessor) -> None:
    lengths = [ask(processor.get_required_history_length) for _ in range(3)]
    lengths.append(ask(subject.make().get_required_history_length))
    first = lengths[0].value
    if not isinstance(first, int) or isinstance(first, bool) or first < 1:
        raise Broken(
            Finding(
                "get_required_history_length gives no number of ticks",
                "return a constant int of at least 1; the current tick counts",
                found=str(lengths[0]) if first is None or not isinstance(first, int) else repr(first),
                expected="a whole number of at least 1",
            )
        )
    window = filled(_first_rows(subject, first), first)
    used = subject.make()
    for _ in range(2):
        decided(used, window, first)
        lengths.append(ask(used.get_required_history_length))
    for other in lengths:
        if other.value != first:
            raise Broken(
                Finding(
                    "get_required_history_length changes",
                    "return a constant: windows are made once, at registration",
                    found=str(other.error or other.value),
                    expected=str(first),
                )
            )


def _first_rows(subject: Subject, length: int) -> list[TickRow]:
    path = subject.paths()[0]
    return path.rows(0, max(length, 1))


def answers(subject: Subject) -> None:
    """Every answer is None or a signal that could be emitted; nothing is raised."""
    for path in subject.paths():
        processor = subject.make()
        for i, answer, _ in subject.walk(processor, path):
            if answer.stale or (answer.error and not _raises_with_more(subject, path, i)):
                continue  # another check's affair: a kept history, or one that is too short
            wrong = answer.error or fault(answer.value)
            if wrong:
                what = "raises" if answer.error else "answers with what is no signal"
                raise at(
                    subject,
                    path,
                    i,
                    what,
                    wrong,
                    "None, or a SignalResult that keeps the contract",
                    "return None for no signal; BUY or SELL takes a confidence within 0..1, a positive whole quantity "
                    "and a positive price",
                )


def _raises_with_more(subject: Subject, path: PricePath, i: int) -> bool:
    return bool(_with_more(subject, path, i).error)


def _with_more(subject: Subject, path: PricePath, i: int) -> Answer:
    """The answer on the window with its oldest tick repeated before it, four times over and more."""
    window_rows = path.rows(i + 1 - subject.need, i + 1)
    older = [path.rows(i + 1 - subject.need, i + 2 - subject.need)[0] for _ in range(3 * subject.need + 64)]
    length = len(older) + subject.need
    return decided(subject.make(), filled([*older, *window_rows], length), length)


def history_length(subject: Subject) -> None:
    """The declared history is enough: the engine hands out exactly that."""
    answered = answered_with_more = 0
    for path in subject.paths():
        for i in subject.places(path, 6):
            exact = subject.fresh_answer(path, i)
            longer = _with_more(subject, path, i)
            if exact.error and not exact.stale and not longer.error:
                raise at(
                    subject,
                    path,
                    i,
                    f"needs more history than the {subject.need} ticks that it declares",
                    f"{exact} on {subject.need} ticks, {longer} on {3 * subject.need + 64 + subject.need}",
                    "an answer on exactly the declared history",
                    "let get_required_history_length say how many ticks a decision reads, the current one included",
                )
            answered += exact.value is not None
            answered_with_more += longer.value is not None
    if answered_with_more and not answered:
        raise Broken(
            Finding(
                f"never answers with the {subject.need} ticks that it declares, only with more",
                "let get_required_history_length say how many ticks a decision reads, the current one included",
                found=f"no signal in any window; {answered_with_more} signals with a longer history",
                expected="signals on exactly the declared history",
            )
        )


def determinism(subject: Subject) -> None:
    """Two fresh processors that see the same ticks answer the same."""
    for path in subject.paths():
        both = zip(subject.walk(subject.make(), path), subject.walk(subject.make(), path), strict=True)
        for (i, one, _), (_, other, _) in both:
            subject.evaluations += 1
            subject.signals += one.value is not None
            if one.form != other.form:
                first, second = side_by_side(one, other)
                raise at(
                    subject,
                    path,
                    i,
                    "two fresh processors answer differently on the same ticks",
                    second,
                    first,
                    "decide from the history alone: no clock, no global state, no randomness but from a seed that "
                    "set_seed(seed) was given",
                )


def window_only(subject: Subject) -> None:
    """What lies before the window changes nothing."""
    need = subject.need
    for path in subject.paths():
        for i in subject.places(path, 8):
            expected = subject.fresh_answer(path, i)
            for factor in (0.5, 3.0):
                window = filled([*_older(path, i, need, factor), *path.rows(i + 1 - need, i + 1)], need + _OLDER)
                found = decided(subject.make(), window, need)
                if found.form != expected.form:
                    shown, wanted = side_by_side(found, expected)
                    raise at(
                        subject,
                        path,
                        i,
                        "an answer depends on ticks before its window",
                        f"{shown} (other prices before the window)",
                        wanted,
                        "read nothing but the history that was handed in: neither what its arrays are views of, "
                        "nor data of your own",
                    )


def _older(path: PricePath, i: int, need: int, factor: float) -> list[TickRow]:
    rows = [row for _ in range(_OLDER) for row in path.rows(i + 1 - need, i + 2 - need)]
    for k, row in enumerate(rows):
        row.price *= factor * (1.0 + 0.25 * (k % 3))
        row.exact = None
    return rows


def memory(subject: Subject) -> None:
    """Earlier calls change nothing: not those of the same path, not those on other ticks, not the same call again."""
    paths = subject.paths()
    for number, path in enumerate(paths):
        stranger = paths[number - 1]
        processor = subject.make()
        places = set(subject.places(path))
        for i, walked, window in subject.walk(processor, path):
            if i not in places:
                continue
            expected = subject.fresh_answer(path, i)
            _same(subject, path, i, walked, expected, "after the ticks before it")
            again = decided(processor, window, subject.need)
            _same(subject, path, i, again, expected, "asked a second time on the same window")
        for i in subject.places(path, 6):
            expected = subject.fresh_answer(path, i)
            decided(processor, subject.window_at(stranger, subject.places(stranger, 6)[-1]), subject.need)
            found = decided(processor, subject.window_at(path, i), subject.need)
            _same(subject, path, i, found, expected, "after other ticks")


def _same(subject: Subject, path: PricePath, i: int, found: Answer, expected: Answer, when: str) -> None:
    if found.form == expected.form:
        return
    shown, wanted = side_by_side(found, expected)
    raise at(
        subject,
        path,
        i,
        "an answer depends on earlier calls",
        f"{shown} ({when})",
        f"{wanted} (a processor that saw nothing before)",
        "keep nothing between calls: recompute from the history; a running sum drifts, and a generator that is drawn "
        "from at each call is state (derive a number from the seed and the tick instead)",
    )


def price_rule(subject: Subject) -> None:
    """Where the engine asks `decide` in place of `process_tick`, both say the same."""
    _price_rule(subject)
    for path in subject.paths():
        for i in subject.places(path):
            expected = subject.fresh_answer(path, i)
            for older in ([], _older(path, i, subject.need, 0.5), _older(path, i, subject.need, 3.0)):
                rows = [*older, *path.rows(i + 1 - subject.need, i + 1)]
                window = filled(rows, len(rows))
                found = decided_by_prices(_price_rule(subject), window)
                if found.form != expected.form:
                    shown, wanted = side_by_side(found, expected)
                    raise at(
                        subject,
                        path,
                        i,
                        "decide(prices, end) and process_tick differ",
                        f"{shown} (decide, quantity and describe)",
                        f"{wanted} (process_tick)",
                        "let process_tick call decide, as anystrat.strategies.price_rule does; decide reads nothing "
                        "before end - get_required_history_length() and nothing from end on",
                    )


def decided_by_prices(processor: PriceRule, window: Window) -> Answer:
    """What the engine makes of `decide`, `quantity` and `describe`."""

    def call() -> SignalResult | None:
        decision = processor.decide(window.view, window.end)
        if decision is None:
            return None
        side, confidence, value = decision
        reasoning, metadata = processor.describe(side, value)
        return SignalResult(
            SIDE_NAME[side], confidence, processor.quantity(), window.row(0).decimal, reasoning, metadata
        )

    return ask(call)


def _price_rule(subject: Subject) -> PriceRule:
    processor = subject.make()
    if not isinstance(processor, PriceRule):
        raise NotJudged("the processor has no decide(prices, end): the engine asks process_tick")
    return processor
