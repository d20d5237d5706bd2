"""An explanation as people read it: titles, and what stands beside each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from anystrat.analysis.explaining.explanation import Check, Ending, Explanation, Status, Verdict, Vote
from anystrat.analysis.explaining.numbers import beside, moment, number, price

if TYPE_CHECKING:
    from anystrat.analysis.explaining.explanation import Said
    from anystrat.analysis.explaining.overview import Overview
    from anystrat.domain.measurement import Condition

#: Endings as a trader calls them.
WORDS: Final[Mapping[Ending, str]] = {
    Ending.EMITTED: "signal",
    Ending.DROPPED: "dropped",
    Ending.HELD: "hold",
    Ending.NO_SIGNAL: "no signal",
    Ending.WARMING_UP: "warming up",
    Ending.BETWEEN_BARS: "no bar closed",
    Ending.NOT_ACTIVE: "not active",
    Ending.FAILED: "error",
    Ending.TICK_DROPPED: "bad tick",
}
_SETTINGS: Final[Mapping[str, str]] = {
    "position_limit": "max_position_size or risk.long_only",
    "session_closed": "the instrument's calendar",
    "below_min_confidence": "risk.min_confidence",
    "price_band": "risk.band_pct",
    "slippage": "risk.slippage_budget",
    "position_guard": "risk.min_flip_sec",
    "exposure": "risk.max_exposure",
    "circuit_open": "risk.max_loss_streak",
    "cooldown": "risk.cooldown_sec",
    "duplicate": "risk.dedupe_window_sec",
    "min_interval": "risk.min_signal_interval_ms",
    "rate_limited": "risk.max_signals_per_min",
    "stale": "risk.max_tick_age_sec",
    "invalid_quantity": "risk_multiplier, lots or risk.max_quantity",
}


def headline(told: Explanation, symbols: Mapping[int, str]) -> str:
    """Who, what and when: `rules on paper · DEMO-A · 2024-01-02T09:16:00Z · 250.4`."""
    return f"{told.strategy_id} on {told.broker}, {named(told.instrument_token, symbols)} at {told.price}, {moment(told.ts_ns)}"


def named(token: int, symbols: Mapping[int, str]) -> str:
    """An instrument by its symbol and its token, or by its token alone."""
    symbol = symbols.get(token)
    return f"{symbol} ({token})" if symbol else f"instrument {token}"


def page(told: Explanation) -> list[tuple[str, str]]:
    """Everything, from the prices to what came of it; `headline` and the sentence `because` go above it."""
    rows = [("window", _window(told)), ("state", _state(told))]
    rows += [("before", line) for line in told.before]
    for vote in told.votes:
        rows += _vote(vote)
    if told.verdict is not None:
        rows += _verdict(told.verdict)
    if told.sizing is not None:
        rows.append(("sizing", _sizing(told)))
    rows += _checks(told.checks)
    rows += [("after", line) for line in told.after]
    if told.signal_id:
        rows.append(("signal", told.signal_id))
    return rows


def outline(told: Overview, symbols: Mapping[int, str]) -> list[tuple[str, str]]:
    """What the ticks of a recording came to: a count, and what it counts."""
    rows = [(f"{told.ticks:,}", f"ticks of {', '.join(named(token, symbols) for token in told.instruments)}")]
    for name, count in told.endings.items():
        ending = Ending(name)
        text = WORDS[ending]
        if ending is Ending.DROPPED:
            parts = [f"{reason} {many:,}{_setting(reason)}" for reason, many in told.drops.items()]
            text = f"dropped: {'; '.join(parts)}"
        elif ending is Ending.TICK_DROPPED:
            parts = [f"{reason} {many:,}" for reason, many in told.tick_drops.items()]
            text = f"ticks not taken: {', '.join(parts)}"
        elif ending is Ending.FAILED and told.errors:
            text = f"errors: {'; '.join(told.errors[:3])}"
        elif ending is Ending.EMITTED:
            text = "signals"
        rows.append((f"{count:,}", text))
    return rows


def _setting(reason: str) -> str:
    setting = _SETTINGS.get(reason)
    return f" ({setting})" if setting else ""


def _window(told: Explanation) -> str:
    shown = ", ".join(price(each) for each in told.window)
    dots = "… " if told.held > len(told.window) else ""
    return f"{told.held:,} of {told.need:,} {told.unit}: {dots}{shown}"


def _state(told: Explanation) -> str:
    return f"{told.state}, position {told.position:+,}" if told.position else f"{told.state}, no position"


def _vote(vote: Vote) -> Iterator[tuple[str, str]]:
    title = {"ml": "model"}.get(vote.part, vote.part)
    yield title, f"{vote.name} {_said(vote.said)}"
    if vote.values:
        yield "", _numbers(vote.values)
    if vote.features:
        yield "", _numbers(vote.features)
    if vote.probabilities:
        yield "", ", ".join(f"p({side}) {value:.4f}" for side, value in vote.probabilities.items())
    if vote.conditions:
        yield "", _conditions(vote.conditions)
    if vote.error:
        yield "", vote.error
    elif vote.note:
        yield "", vote.note


def _verdict(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "policy", f"{verdict.policy} {_said(verdict.said)}"
    if verdict.values:
        yield "", _numbers(verdict.values)
    if verdict.conditions:
        yield "", _conditions(verdict.conditions)
    if verdict.note:
        yield "", verdict.note


def _said(said: Said) -> str:
    if not said.side:
        return "says nothing"
    reasoning = f": {said.reasoning}" if said.reasoning else ""
    return f"says {said.side} {said.quantity:,} with confidence {said.confidence:.4g}{reasoning}"


def _numbers(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())


def _conditions(conditions: Sequence[Condition]) -> str:
    """Each comparison and whether it holds: `change 0.0031: BUY > 0.005 not met, SELL < -0.005 not met`."""
    by_name: dict[tuple[str, float], list[Condition]] = {}
    for each in conditions:
        by_name.setdefault((each.name, each.value), []).append(each)
    texts = []
    for (name, value), these in by_name.items():
        shown = [beside(value, each.limit) for each in these]
        parts = [
            f"{each.leads_to} {each.sign} {limit} {'met' if each.met else 'not met'}"
            for each, (_, limit) in zip(these, shown, strict=True)
        ]
        texts.append(f"{name} {max((one for one, _ in shown), key=len)}: {', '.join(parts)}")
    return "; ".join(texts)


def _sizing(told: Explanation) -> str:
    sizing = told.sizing
    assert sizing is not None
    text = f"by {sizing.mode}, not {sizing.quantity:,}" if sizing.mode else f"{sizing.quantity:,}"
    if sizing.risk_multiplier != "1":
        text += f" × {sizing.risk_multiplier} (risk_multiplier)"
    if sizing.lot:
        text += f", down to whole lots of {sizing.lot:,}"
    return f"{text} = {sizing.sized:,}"


def _checks(checks: Sequence[Check]) -> Iterator[tuple[str, str]]:
    """Those that measured something in a line each, the others by name; behind the decisive one only what would fail."""
    measured: list[tuple[str, str]] = []
    plain, off, beyond = [], [], []
    decided = False
    for check in checks:
        if decided:
            if check.status is Status.FAILED:
                beyond.append(check)
        elif check.status is Status.OFF:
            off.append(check.reason)
        elif check.status is Status.FAILED:
            measured.append(("REFUSED", _with_setting(check)))
            decided = check.decisive
        elif check.limit is not None:
            measured.append(("passed", f"{check.reason}: {check.text}"))
        else:
            plain.append(check.reason)
    if plain:
        yield "passed", ", ".join(plain)
    yield from measured
    for check in beyond:
        yield "and then", f"{_with_setting(check)}"
    if off:
        yield "not set", ", ".join(off)


def _with_setting(check: Check) -> str:
    return f"{check.reason}: {check.text}" + (f" ({check.setting})" if check.setting else "")


def mark(told: Explanation) -> str:
    """What it came to, in capitals: the first word under the headline."""
    return WORDS[told.ending].upper()
