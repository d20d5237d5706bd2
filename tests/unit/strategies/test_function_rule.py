from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import numpy as np
import pytest

from anystrat.domain.parameters import Ge, Gt, Le
from anystrat.domain.protocols import StrategyProcessor
from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import Catalog
from anystrat.strategies.function_rule import FunctionRuleType, rule

if TYPE_CHECKING:
    from somewhere import Prices  # type: ignore[import-not-found]  # only a type checker would look


@rule(history=3)
def my_momentum(prices, threshold=0.01):
    """Trade with a move over the window.

    More about it.
    """
    change = prices[-1] / prices[0] - 1
    if change > threshold:
        return "BUY", min(1.0, 5 * change)
    if change < -threshold:
        return "SELL", min(1.0, -5 * change)
    return None


def processor(entry: FunctionRuleType, **values: Any):
    return entry.build(entry.parameters(**values), None)


def answering(answer: object):
    @rule(history=1)
    def fixed(prices):
        return answer

    return processor(fixed)


def test_a_function_becomes_a_strategy_type(history):
    assert (my_momentum.name, my_momentum.kind) == ("my_momentum", "rules")
    assert my_momentum.summary == "Trade with a move over the window."
    assert my_momentum.parameters() == my_momentum.parameters(threshold=0.01, position_size=100)
    catalog = Catalog()
    catalog.register(my_momentum)
    assert catalog.strategy("my_momentum") is my_momentum
    mine = processor(my_momentum)
    assert isinstance(mine, StrategyProcessor)
    assert mine.get_required_history_length() == 3
    assert mine.get_strategy_name() == "my_momentum"
    assert mine.supports_instrument(7)
    window = history([100.0, 1.0, 112.5])
    # 112.5 / 100 - 1 = 0.125, five times that 0.625.
    assert mine.process_tick(window[-1], window) == SignalResult("BUY", 0.625, 100, Decimal("112.5"), "my_momentum")


def test_parameters_reach_the_function(history):
    window = history([100.0, 1.0, 112.5])
    assert processor(my_momentum, threshold=0.2).process_tick(window[-1], window) is None
    signal = processor(my_momentum, position_size=7).process_tick(window[-1], window)
    assert signal is not None
    assert signal.quantity == 7


def test_it_can_still_be_called_as_the_function():
    assert my_momentum([100.0, 112.5]) == ("BUY", 0.625)
    assert my_momentum([100.0, 112.5], threshold=1.0) is None


def test_the_parameters_are_frozen_and_typed():
    hints = get_type_hints(my_momentum.parameters, include_extras=True)
    assert hints["threshold"] is float
    assert hints["position_size"].__metadata__[0] == Gt(0)
    with pytest.raises(AttributeError):
        my_momentum.parameters().threshold = 3


def test_annotations_win_over_defaults_and_keep_their_constraints():
    @rule(history=1)
    def choosy(prices: Prices, limit: Annotated[float, Le(1)] = 1, name: str | None = None) -> Prices:
        return None

    hints = get_type_hints(choosy.parameters, include_extras=True)
    assert hints["limit"] == Annotated[float, Le(1)]
    assert hints["name"] == str | None


def test_a_parameter_can_say_how_much_history(history):
    @rule(history="lookback")
    def last_of(prices, lookback=2):
        return "BUY", 1.0, len(prices)

    assert processor(last_of).get_required_history_length() == 2
    mine = processor(last_of, lookback=3)
    window = history([1.0, 2.0, 3.0, 4.0])
    signal = mine.process_tick(window[-1], window)
    assert signal is not None
    assert signal.quantity == 3
    assert get_type_hints(last_of.parameters, include_extras=True)["lookback"].__metadata__[0] == Ge(1)
    with pytest.raises(ValueError, match="needs a history of at least 1 tick; lookback is 0"):
        processor(last_of, lookback=0)


def test_a_function_may_size_with_a_position_size_of_its_own():
    @rule(history=1)
    def sized(prices, position_size=5):
        return "BUY", 1.0, position_size * 2

    assert sized.parameters().position_size == 5
    assert processor(sized).arguments == {"position_size": 5}


def test_the_prices_are_the_last_ones_as_doubles_and_read_only(history):
    seen = []

    @rule(history=2)
    def watcher(prices):
        seen.append((prices.dtype, prices.tolist()))
        prices[0] = 0.0

    window = history([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="read-only"):
        processor(watcher).process_tick(window[-1], window)
    assert seen == [(np.float64, [2.0, 3.0])]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, None),
        ("SELL", ("SELL", 1.0, 100)),
        (("BUY", 0.5), ("BUY", 0.5, 100)),
        (("HOLD", 0.5), ("HOLD", 0.5, 100)),
        (("BUY", 1, 3), ("BUY", 1.0, 3)),
        (("BUY", np.float32(0.5), np.int64(3)), ("BUY", 0.5, 3)),
    ],
)
def test_the_answers_that_a_rule_can_give(history, answer, expected):
    window = history([5.0])
    signal = answering(answer).process_tick(window[-1], window)
    assert (signal and (signal.signal_type, signal.confidence, signal.quantity)) == expected
    if signal:
        assert (type(signal.confidence), type(signal.quantity)) == (float, int)
        assert signal.price == Decimal("5.0")


def test_a_signal_of_its_own_is_passed_on_as_it_is(history):
    own = SignalResult("BUY", 0.5, 1, Decimal(3), "because", {"ref_price": 2})
    window = history([5.0])
    assert answering(own).process_tick(window[-1], window) is own


@pytest.mark.parametrize(
    "answer",
    [
        3, True, "LONG", (), ("LONG", 0.5), ("BUY", "0.5"), ("BUY", None), ("BUY", True), ("BUY", 0.5, 1.5),
        ("BUY", 0.5, True), ("BUY", 0.5, 1, 2), ["BUY", 0.5], {"side": "BUY"}, 0.5, (["BUY"], 0.5),
    ],
)  # fmt: skip
def test_any_other_answer_is_an_error_that_says_what_was_expected(history, answer):
    window = history([5.0])
    with pytest.raises(
        TypeError, match=r"rule 'fixed' answered .*; a rule answers None, \"BUY\", \"SELL\" or \"HOLD\""
    ):
        answering(answer).process_tick(window[-1], window)


def no_prices():
    return None


def only_keywords(*, prices=1):
    return None


def no_default(prices, threshold):
    return None


def any_number(prices, *more):
    return None


def untyped(prices, levels=(1, 2)):
    return None


def text_lookback(prices, lookback="long"):
    return None


@pytest.mark.parametrize(
    ("function", "history_length", "error", "text"),
    [
        (no_prices, 1, TypeError, "the first argument must be the prices"),
        (only_keywords, 1, TypeError, "the first argument must be the prices"),
        (no_default, 1, TypeError, "'threshold' must be a named argument with a default"),
        (any_number, 1, TypeError, r"'\*more' must be a named argument with a default"),
        (untyped, 1, TypeError, r"say the type of 'levels' with an annotation; its default \(1, 2\)"),
        (text_lookback, "lookback", TypeError, "'lookback' must be a whole number of ticks, found 'long'"),
        (text_lookback, "period", TypeError, r"history='period' names no parameter \(found: lookback\)"),
        (text_lookback, 1.5, TypeError, "history must be a whole number of ticks or a name, found 1.5"),
        (text_lookback, 0, ValueError, "history must be at least 1 tick, found 0"),
    ],
)
def test_a_function_that_does_not_fit_is_refused_where_it_is_written(function, history_length, error, text):
    with pytest.raises(error, match=text):
        rule(history=history_length)(function)


def test_without_parentheses_it_says_what_to_write():
    def mine(prices):
        return None

    with pytest.raises(TypeError, match=r"rule 'mine' must say .*: write @rule\(history=20\)"):
        rule(mine)
    with pytest.raises(TypeError, match=r"write @rule\(history=20\)"):
        rule()  # type: ignore[call-overload]


def _risky(prices, risk=0.1): ...
def _validated(prices, validator="x"): ...
def _with_policy(prices, *, policy="x"): ...
def _sized(prices, max_position_size=1): ...
def _multiplied(prices, risk_multiplier=1.0): ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (_risky, "risk"),
        (_validated, "validator"),
        (_with_policy, "policy"),
        (_sized, "max_position_size"),
        (_multiplied, "risk_multiplier"),
    ],
)
def test_a_parameter_cannot_have_a_name_that_configurations_use_for_something_else(function, name):
    with pytest.raises(TypeError, match=f"no parameter can be named '{name}'"):
        rule(history=2)(function)
