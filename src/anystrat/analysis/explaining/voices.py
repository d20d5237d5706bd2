"""What each part of a strategy measured and said on a tick: the rules, the model, the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anystrat.analysis.explaining.explanation import Said, Verdict, Vote
from anystrat.analysis.explaining.twin import asked_apart
from anystrat.domain.exact import plain_text, to_decimal
from anystrat.domain.measurement import Condition, Measurement, Measuring, MeasuringPolicy
from anystrat.domain.protocols import DeadlineAware, MLCapable
from anystrat.domain.signal import BUY, HOLD, SELL, SignalResult
from anystrat.strategies.hybrid import HybridProcessor
from anystrat.strategies.ml import MLStrategy, ModelReading

if TYPE_CHECKING:
    from anystrat.domain.protocols import StrategyProcessor
    from anystrat.domain.tick import MarketTick
    from anystrat.domain.window import History
    from anystrat.engine.executor import StrategyExecutor


@dataclass(frozen=True, slots=True)
class Heard:
    """What a strategy answered (or raised), and what its parts had to say."""

    answer: Any
    error: Exception | None
    votes: tuple[Vote, ...]
    verdict: Verdict | None


def hear(processor: StrategyProcessor, policy: str, tick: MarketTick, history: History, *, late: bool = False) -> Heard:
    """Ask a strategy, and each of its parts, about a tick; no trace is left in it. `policy` is the policy's name.

    `late`: a recording says that the model's answer came too late on this tick, so that it was decided without.
    """
    answer, error = _asked(_told(asked_apart(processor), late=late), tick, history)
    apart = _told(asked_apart(processor), late=late)
    if not isinstance(apart, HybridProcessor):
        part = "ml" if isinstance(apart, MLCapable) else "rules"
        return Heard(answer, error, (_vote(part, apart, tick, history, answer, error),), None)
    votes, signals = [], []
    for part, voice in (("rules", apart.rules), ("ml", apart.ml)):
        own = history.last(voice.get_required_history_length())
        said, raised = _asked(voice, tick, own)
        votes.append(_vote(part, voice, tick, own, said, raised))
        signals.append(said)
        if raised is not None:
            return Heard(answer, error, tuple(votes), None)
    if late:
        return Heard(answer, error, tuple(votes), None)
    measured = _policy(apart.policy, signals[0], signals[1], {"tick": tick, "history": history})
    verdict = Verdict(policy, said_by(answer), measured.values, measured.conditions, measured.note)
    return Heard(answer, error, tuple(votes), verdict)


def policy_of(executor: StrategyExecutor) -> str:
    """The name of a hybrid's policy."""
    return str(getattr(getattr(executor.config.parameters, "policy", None), "type", "policy"))


def said_by(answer: Any) -> Said:
    """An answer as it is shown; nothing for None and for what is no signal."""
    if not isinstance(answer, SignalResult):
        return Said()
    try:
        price = plain_text(to_decimal(answer.price))
    except (ArithmeticError, TypeError, ValueError):
        price = str(answer.price)
    try:
        confidence, quantity = float(answer.confidence), int(answer.quantity)
    except (ArithmeticError, TypeError, ValueError):
        confidence, quantity = 0.0, 0
    return Said(str(answer.signal_type), confidence, quantity, price, str(answer.reasoning))


def _told(processor: StrategyProcessor, *, late: bool) -> StrategyProcessor:
    if late and isinstance(processor, DeadlineAware):
        processor.miss_next()
    return processor


def _asked(processor: StrategyProcessor, tick: MarketTick, history: History) -> tuple[Any, Exception | None]:
    try:
        return processor.process_tick(tick, history), None
    except Exception as error:  # noqa: BLE001  whatever a strategy raises is what is to be shown
        return None, error


def _vote(
    part: str, voice: StrategyProcessor, tick: MarketTick, history: History, answer: Any, error: Exception | None
) -> Vote:
    name = voice.get_strategy_name()
    raised = f"{type(error).__name__}: {error}" if error is not None else ""
    if isinstance(voice, DeadlineAware) and voice.missed:
        return Vote(part, name, said_by(answer), note="the model's answer came too late")
    if isinstance(voice, MLStrategy):
        return _model_vote(part, voice, tick, history, answer, raised)
    measured, features = _measured(voice, history), _features(voice, tick, history)
    return Vote(
        part,
        name,
        said_by(answer),
        measured.values,
        measured.conditions,
        features,
        note=measured.note,
        error=raised,
    )


def _measured(voice: StrategyProcessor, history: History) -> Measurement:
    if not isinstance(voice, Measuring):
        return Measurement(note="it does not say what it measured")
    prices = history.prices.tolist()
    try:
        return voice.measure(prices, len(prices))
    except Exception as error:  # noqa: BLE001  a measure of a user's own must not cost the explanation
        return Measurement(note=f"its measure() raised {type(error).__name__}: {error}")


def _model_vote(part: str, voice: MLStrategy, tick: MarketTick, history: History, answer: Any, raised: str) -> Vote:
    name = voice.get_strategy_name()
    try:
        reading = voice.reading(tick, history)
    except Exception as error:  # noqa: BLE001  whatever a model raises is what is to be shown
        return Vote(part, name, said_by(answer), error=raised or f"{type(error).__name__}: {error}")
    sell, hold, buy = reading.probabilities
    probabilities = {SELL: sell, HOLD: hold, BUY: buy}
    conditions = model_conditions(reading, voice.parameters.min_conf)
    note = "SELL and BUY are as likely" if sell == buy else ""
    return Vote(part, name, said_by(answer), {}, conditions, reading.features, probabilities, note, raised)


def model_conditions(reading: ModelReading, min_conf: float) -> tuple[Condition, ...]:
    """What the likelier of BUY and SELL has to be."""
    sell, hold, buy = reading.probabilities
    side, likely = (SELL, sell) if sell > buy else (BUY, buy)
    return Condition(f"p({side})", likely, ">", hold, side), Condition(f"p({side})", likely, ">=", min_conf, side)


def _features(voice: StrategyProcessor, tick: MarketTick, history: History) -> dict[str, float]:
    """The features of a user's own ML strategy, where it gives them by name."""
    if not isinstance(voice, MLCapable):
        return {}
    try:
        given = voice.extract_features(tick, history)
        return {str(name): float(value) for name, value in given.items()} if isinstance(given, Mapping) else {}
    except Exception:  # noqa: BLE001  what it raises there, it raised when it was asked
        return {}


def _policy(policy: Any, rules: Any, ml: Any, context: Mapping[str, Any]) -> Measurement:
    if not isinstance(policy, MeasuringPolicy):
        return Measurement(note="it does not say what it measured")
    try:
        return policy.measure(rules, ml, context)
    except Exception as error:  # noqa: BLE001  as for a strategy
        return Measurement(note=f"its measure() raised {type(error).__name__}: {error}")
