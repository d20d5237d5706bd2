"""The whole of an explanation in a sentence, and what else happened in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anystrat.analysis.explaining.explanation import Check, Ending, Vote
from anystrat.analysis.explaining.numbers import beside, duration, moment, number
from anystrat.domain.account import AccountReason
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import Dropped, Emitted, Filled, Held, ProcessorFailed, Transition
from anystrat.engine.checks import CIRCUIT_OPEN
from anystrat.engine.state import LONG_AGO, NEVER

if TYPE_CHECKING:
    from anystrat.analysis.explaining.explanation import Verdict
    from anystrat.analysis.explaining.voices import Heard
    from anystrat.domain.measurement import Condition
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor


_ACCOUNT = frozenset(reason.value for reason in AccountReason)


def ended(
    final: Emitted | Dropped | Held | ProcessorFailed | None, heard: Heard, checks: Sequence[Check]
) -> tuple[Ending, str, str]:
    """(ending, reason, the sentence) of a tick on which the strategy was asked."""
    if isinstance(final, Emitted):
        signal = final.signal
        text = f"every check passed: {signal.signal_type} {signal.quantity:,} at {signal.price}"
        return Ending.EMITTED, "", text
    if isinstance(final, Dropped):
        decisive = next((check for check in checks if check.decisive), None)
        if final.reason in _ACCOUNT:
            return Ending.DROPPED, final.reason, f"the account's limits refused it: {final.reason}"
        if decisive is None:
            return Ending.DROPPED, final.reason, f"the strategy's own validator refused it: {final.reason}"
        return Ending.DROPPED, final.reason, f"{final.reason}: {decisive.text}"
    if isinstance(final, Held):
        return Ending.HELD, "", f"the strategy said HOLD: {final.signal.reasoning}".removesuffix(": ")
    if isinstance(final, ProcessorFailed):
        return Ending.FAILED, "", f"the strategy raised {final.error}"
    return Ending.NO_SIGNAL, "", no_signal(heard.votes, heard.verdict)


def no_signal(votes: Sequence[Vote], verdict: Verdict | None) -> str:
    """Why a strategy that was asked said nothing."""
    if verdict is not None and any(vote.said.side in {"BUY", "SELL"} for vote in votes):
        told = ", ".join(f"{vote.part} {_vote(vote)}" for vote in votes)
        missed = unmet(verdict.conditions) or (verdict.note if all(vote.said.side for vote in votes) else "")
        return f"{verdict.policy} let nothing through: {told}" + (f"; {missed}" if missed else "")
    if len(votes) > 1:
        return "; ".join(f"{vote.part}: {silent(vote)}" for vote in votes)
    return silent(votes[0]) if votes else "the strategy said nothing"


def silent(vote: Vote) -> str:
    """Why one voice has no signal."""
    if vote.error:
        return vote.error
    if vote.probabilities:
        return _model_silent(vote)
    return unmet(vote.conditions) or vote.note or "it said nothing"


def unmet(conditions: Sequence[Condition]) -> str:
    """The comparisons that were not met, a name at a time: `change is 0.0031; BUY needs > 0.005, SELL needs < -0.005`."""
    by_name: dict[tuple[str, float], list[Condition]] = {}
    for condition in conditions:
        if not condition.met:
            by_name.setdefault((condition.name, condition.value), []).append(condition)
    texts = []
    for (name, value), missed in by_name.items():
        shown = [beside(value, each.limit) for each in missed]
        needs = [f"{each.leads_to} needs {each.sign} {limit}" for each, (_, limit) in zip(missed, shown, strict=True)]
        texts.append(f"{name} is {max((one for one, _ in shown), key=len)}; {', '.join(needs)}")
    return "; ".join(texts)


def _vote(vote: Vote) -> str:
    return f"say {vote.said.side} {vote.said.confidence:.3g}" if vote.said.side else f"silent ({silent(vote)})"


def _model_silent(vote: Vote) -> str:
    sell, hold, buy = (vote.probabilities[side] for side in ("SELL", "HOLD", "BUY"))
    shown = f"SELL {sell:.3f}, HOLD {hold:.3f}, BUY {buy:.3f}"
    largest = max(sell, hold, buy)
    if not (hold < largest and sell != buy):
        return f"HOLD is the likeliest, or nothing is: {shown}" if hold < largest else f"HOLD is the likeliest: {shown}"
    missed = next((each for each in vote.conditions if not each.met), None)
    needed = f"; {missed.leads_to} needs {missed.sign} {number(missed.limit)}" if missed is not None else ""
    return f"not sure enough: {shown}{needed}"


def why_not_active(engine: Engine, executor: StrategyExecutor, last: Transition | None) -> str:
    """Since when an executor is out of service, why, and until when."""
    book, e = engine.state.book, executor.row
    state, since, due = executor.state, book.executor.since[e], book.executor.due[e]
    begin = f"{state.name} since {moment(since)}" if since != LONG_AGO else state.name
    cause = _cause(engine, executor, last)
    if state is State.STOPPED:
        return f"{begin}: an operator stopped it"
    end = f"; it goes on at {moment(due)}" if due != NEVER else "; it goes on when an operator resumes it"
    if state is State.ERROR and due == NEVER:
        end = "; it goes on when another one is ready"
    if last is not None and last.trigger.value == "feed_stale":
        end = "; it goes on when the feed speaks again"
    return f"{begin}: {cause}{end}"


def _cause(engine: Engine, executor: StrategyExecutor, last: Transition | None) -> str:
    book, e, risk = engine.state.book, executor.row, executor.risk
    words = {
        "throttled": f"more than max_signals_per_min ({risk.max_signals_per_min})",
        "circuit_open": f"{risk.max_loss_streak} losing fills in a row (max_loss_streak)",
        "dead_lettered": "a signal of it went to the dead letters",
        "operator_pause": "an operator paused it",
        "too_many_errors": f"more than {risk.max_errors} errors within {duration(risk.error_window_ns)}",
        "retries_exhausted": f"it failed again after {risk.max_retries} retries",
        "feed_stale": "the feed is silent",
        "process_lost": "the process that it has to itself was lost",
    }
    if last is not None and last.after is executor.state and last.trigger.value in words:
        return words[last.trigger.value]
    if executor.state is State.ERROR:
        return words["process_lost" if book.executor.due[e] == NEVER else "too_many_errors"]
    if book.executor.pause_cause[e] == CIRCUIT_OPEN:
        return words["circuit_open"]
    if book.executor.pause_cause[e] < 0:
        return words["feed_stale"]
    if book.executor.due[e] != NEVER:
        return words["throttled"]
    return "an operator paused it, a signal went to the dead letters, or its retries were used up"


def happened(outcome: Filled | Transition) -> str:
    """A fill or a transition in a line."""
    if isinstance(outcome, Transition):
        return f"{outcome.before.name} to {outcome.after.name}: {outcome.trigger.value.replace('_', ' ')}"
    side = "bought" if outcome.quantity > 0 else "sold"
    realised = f", realised {outcome.realised:+,.2f}" if outcome.realised else ""
    return (
        f"{side} {abs(outcome.quantity):,} at {number(outcome.price)} "
        f"(fee {outcome.fee:,.2f}{realised}); the position is {outcome.position:+,}"
    )
