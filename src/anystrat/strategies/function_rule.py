"""A rule of one's own from one function: prices in, a side out.

@rule(history=20)
def my_momentum(prices, threshold=0.01):
    "Trade with a move over the window."
    change = prices[-1] / prices[0] - 1
    if change > threshold:
        return "BUY", min(1.0, 5 * change)
    if change < -threshold:
        return "SELL", min(1.0, -5 * change)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Final, Never, get_type_hints, overload

import numpy as np

from anystrat.domain.parameters import Doc, Ge, Gt, Unit
from anystrat.domain.signal import SIDE_CODE, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POSITION_SIZE = Annotated[int, Gt(0), Unit("units"), Doc("Quantity of every signal that does not bring its own.")]
_PLAIN_TYPES = (bool, int, float, str)
# Keys beside a rule's own that a configuration gives to the engine, or to a hybrid that the rule is a part of.
_TAKEN: Final = frozenset({"max_position_size", "policy", "risk", "risk_multiplier", "validator"})
_LENGTHS: Final = (1, 2, 3)
_CHOICES = 'None, "BUY", "SELL" or "HOLD", (side, confidence), (side, confidence, quantity), or a SignalResult'


@dataclass(frozen=True, slots=True)
class FunctionRuleType(StrategyType):
    """A strategy type made by `rule`. It can still be called like the plain function."""

    function: Callable[..., Any] = field(kw_only=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function itself answers."""
        return self.function(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """The processor of one function with one set of parameters.

    `function(prices, **arguments)` gets a read-only float64 array of exactly `history_length` prices, oldest first,
    that is valid during the call: copy what you keep.
    """

    name: str
    function: Callable[..., Any]
    history_length: int
    position_size: int
    arguments: Mapping[str, Any]

    def get_required_history_length(self) -> int:
        return self.history_length

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        return True

    def get_strategy_name(self) -> str:
        return self.name

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """The function's answer as a signal; its price is the tick's. Raises `TypeError` for any other answer."""
        prices: NDArray[np.float64] = history.prices[-self.history_length :]
        answer: object = self.function(prices, **self.arguments)
        if answer is None or isinstance(answer, SignalResult):
            return answer
        parts: list[Any] = list(answer) if isinstance(answer, tuple) else [answer]
        if len(parts) not in _LENGTHS or not isinstance(parts[0], str) or parts[0] not in SIDE_CODE:
            raise self._refused(answer)
        confidence = parts[1] if len(parts) > 1 else 1.0
        quantity = parts[2] if len(parts) > 2 else self.position_size
        if not (_is_a(confidence, int | float | np.integer | np.floating) and _is_a(quantity, int | np.integer)):
            raise self._refused(answer)
        return SignalResult(parts[0], float(confidence), int(quantity), tick.last_price, self.name)

    def _refused(self, answer: object) -> TypeError:
        return TypeError(f"rule {self.name!r} answered {answer!r} ({type(answer).__name__}); a rule answers {_CHOICES}")


@overload
def rule(*, history: int | str) -> Callable[[Callable[..., Any]], FunctionRuleType]: ...


@overload
def rule(function: Callable[..., Any], /) -> Never: ...


def rule(
    function: Callable[..., Any] | None = None, /, *, history: int | str | None = None
) -> Callable[[Callable[..., Any]], FunctionRuleType]:
    """Make a strategy type of a function of prices, to be registered in a catalogue under the function's name.

    `history` is the number of ticks that the function sees, the current one included, or the name of the parameter that
    says so. The function's first argument is the prices; the others, each with a default, become the parameters, of the
    type of their annotation or of their default; `position_size` (100) joins them. Annotate with `Annotated` and the
    constraints of `anystrat.domain.parameters` to have values checked. The first line of the docstring is the summary.

    Raises `TypeError` for a function that does not fit, `ValueError` for a history that is not positive.
    """
    if function is not None or history is None:
        what = getattr(function, "__name__", None)
        named = f"rule {what!r}" if what else "a rule"
        raise TypeError(f"{named} must say how many ticks it looks at: write @rule(history=20)")

    def decorate(function: Callable[..., Any]) -> FunctionRuleType:
        name = function.__name__
        types = _parameter_types(function)
        defaults = {each: parameter.default for each, parameter in _arguments(function).items()}
        _check_history(name, history, defaults)
        if isinstance(history, str):
            types[history] = Annotated[types[history], Ge(1), Unit("ticks")]
        columns = [(each, types[each], field(default=default)) for each, default in defaults.items()]
        if "position_size" not in defaults:
            columns.append(("position_size", _POSITION_SIZE, field(default=100)))
        title = "".join(word.capitalize() for word in name.split("_"))
        parameters_type = make_dataclass(f"{title}Parameters", columns, frozen=True)
        parameters_type.__module__ = function.__module__
        parameters_type.__doc__ = f"Parameters of `{name}`."

        def build(parameters: Any, context: BuildContext) -> FunctionRule:  # noqa: ARG001  rules need no model
            arguments = {each: getattr(parameters, each) for each in defaults}
            length = arguments[history] if isinstance(history, str) else history
            if length < 1:
                raise ValueError(f"rule {name!r} needs a history of at least 1 tick; {history} is {length}")
            return FunctionRule(name, function, length, parameters.position_size, arguments)

        summary = (inspect.getdoc(function) or "A rule made of a function.").splitlines()[0]
        origin = function.__module__
        return FunctionRuleType(name, "rules", parameters_type, build, summary, origin=origin, function=function)

    return decorate


def _arguments(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    every = list(inspect.signature(function).parameters.values())
    prices, others = every[0] if every else None, every[1:]
    if prices is None or prices.kind not in {prices.POSITIONAL_ONLY, prices.POSITIONAL_OR_KEYWORD}:
        raise TypeError(f"rule {function.__name__!r}: the first argument must be the prices")
    for each in others:
        if each.name in _TAKEN:
            raise TypeError(
                f"rule {function.__name__!r}: no parameter can be named {each.name!r}: in a configuration that key is "
                "the engine's or a hybrid's; choose another name"
            )
        if each.kind not in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY} or each.default is each.empty:
            raise TypeError(
                f"rule {function.__name__!r}: {str(each)!r} must be a named argument with a default, such as x=0.01"
            )
    return {each.name: each for each in others}


def _parameter_types(function: Callable[..., Any]) -> dict[str, Any]:
    arguments = _arguments(function)
    # The annotation of the prices, and of the answer, may name what only a type checker imports.
    wanted = {name: hint for name, hint in function.__annotations__.items() if name in arguments}
    annotated = SimpleNamespace(__annotations__=wanted)
    hints = get_type_hints(annotated, globalns=function.__globals__, include_extras=True)
    types: dict[str, Any] = {}
    for name, parameter in arguments.items():
        if name in hints:
            types[name] = hints[name]
        elif type(parameter.default) in _PLAIN_TYPES:
            types[name] = type(parameter.default)
        else:
            raise TypeError(
                f"rule {function.__name__!r}: say the type of {name!r} with an annotation; "
                f"its default {parameter.default!r} is no bool, int, float or str"
            )
    return types


def _check_history(name: str, history: int | str, defaults: Mapping[str, Any]) -> None:
    if isinstance(history, str):
        if history not in defaults:
            raise TypeError(f"rule {name!r}: history={history!r} names no parameter (found: {', '.join(defaults)})")
        if not _is_a(defaults[history], int):
            raise TypeError(f"rule {name!r}: {history!r} must be a whole number of ticks, found {defaults[history]!r}")
    elif not _is_a(history, int):
        raise TypeError(f"rule {name!r}: history must be a whole number of ticks or a name, found {history!r}")
    elif history < 1:
        raise ValueError(f"rule {name!r}: history must be at least 1 tick, found {history}")


def _is_a(value: object, kinds: Any) -> bool:
    # True and False are ints to Python, and nobody means them as numbers.
    return isinstance(value, kinds) and not isinstance(value, bool)
