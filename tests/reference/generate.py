"""Hypothesis strategies for configurations and ticks that reach the corners of the contract.

Few distinct values everywhere, so that they meet: prices repeat, times coincide, thresholds sit exactly on the moves
that the prices make, and limits are small enough to bite. Everything generated is valid configuration."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st

from .naive import MINUTE, SECOND, Model

START = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z, not at the start of a minute
TOKENS = (101, 7, 256265, 4_000_000_000)
UNROUTED = 999

RULES = ("momentum", "mean_reversion", "breakout", "sma_crossover")
READY_MADE = ("hybrid_momentum", "hybrid_mean_reversion", "hybrid_breakout")
POLICIES = ("majority", "confirm", "sizer", "guardrail", "threshold_escalation", "probability_weighted")


class Case(NamedTuple):
    """One replay: `naive.run(case.config, case.ticks, models=case.models, sessions=case.sessions)`."""

    config: dict[str, Any]
    ticks: list[dict[str, Any]]
    models: dict[str, Model]
    sessions: SessionTable | None


# --------------------------------------------------------------------------------------------------------------- models


def float32(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


@dataclass
class LinearSoftmax:
    """softmax(bias + weights · row) over SELL, HOLD, BUY: the same answer for the same row, always."""

    features: list[str]
    weights: tuple[tuple[float, ...], ...]  # a row a class, a number a feature
    bias: tuple[float, float, float]
    raises_above: float | None = None  # a first feature above this raises

    def predict(self, row: list[float]) -> tuple[float, float, float]:
        if self.raises_above is not None and row[0] > self.raises_above:
            raise RuntimeError("inference failed")
        scores = []
        for weights, bias in zip(self.weights, self.bias, strict=True):
            score = bias
            for weight, value in zip(weights, row, strict=True):
                score = score + weight * value
            scores.append(score)
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        total = powers[0] + powers[1] + powers[2]
        return float32(powers[0] / total), float32(powers[1] / total), float32(powers[2] / total)


@st.composite
def models(draw: st.DrawFn, *, may_raise: bool = True) -> LinearSoftmax:
    """A small linear model over short features; equal weights make ties, large ones make certainty."""
    names = st.tuples(st.sampled_from(("ret", "vol", "z", "pos")), st.integers(1, 7))
    features = [f"{kind}_{k}" for kind, k in draw(st.lists(names, min_size=1, max_size=4, unique=True))]
    weight = st.sampled_from((0.0, 1.0, -1.0, 2.5, -2.5, 20.0, -20.0, 150.0, -150.0))
    if draw(st.booleans()):
        up = draw(st.sampled_from((1.0, 20.0, 150.0, -20.0)))
        weights = tuple(tuple(side * up for _ in features) for side in (-1.0, 0.0, 1.0))
    else:
        weights = tuple(tuple(draw(weight) for _ in features) for _ in range(3))
    bias = draw(
        st.sampled_from(((0.0, 0.0, 0.0), (0.0, -1.0, 0.0), (1.0, -2.0, 1.0), (0.0, -3.0, 0.5), (0.25, 0.5, 0.0)))
    )
    raises_above = draw(st.sampled_from((None, None, None, None, 0.005, 0.5))) if may_raise else None
    return LinearSoftmax(features, weights, bias, raises_above)


# ------------------------------------------------------------------------------------------------------------- sessions


@dataclass(frozen=True)
class SessionTable:
    """Sessions that turn with the clock: `pattern` is walked in steps of `step_ns`, from an offset a token."""

    pattern: tuple[str, ...]
    step_ns: int

    def __call__(self, token: int, ts_ns: int) -> str:
        return self.pattern[(ts_ns // self.step_ns + token) % len(self.pattern)]


def session_tables() -> st.SearchStrategy[SessionTable]:
    names = st.sampled_from(("regular", "regular", "regular", "regular", "preopen", "closed"))
    pattern = st.lists(names, min_size=2, max_size=5).map(tuple)
    return st.builds(SessionTable, pattern, st.sampled_from((SECOND, 20 * SECOND, MINUTE, 3600 * SECOND)))


# ------------------------------------------------------------------------------------------------------------ callables


@dataclass(frozen=True)
class Scripted:
    """A strategy for rows of type `callable`: its answer is picked from `answers` by the last price alone."""

    answers: tuple[Any, ...]

    def __call__(self, prices: list[float], tick: dict[str, Any]) -> Any:
        answer = self.answers[math.floor(prices[-1] * 10_000.0 + 0.5) % len(self.answers)]
        if answer == "raise":
            raise RuntimeError("scripted failure")
        return answer


@st.composite
def scripted(draw: st.DrawFn) -> Scripted:
    answer = st.fixed_dictionaries(
        {
            "signal_type": st.sampled_from(("BUY", "SELL", "BUY", "SELL", "HOLD")),
            "confidence": st.sampled_from(
                (0.0, 0.3, 0.5, 0.55, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0000000000000002, -0.1, math.nan)
            ),
            "quantity": st.sampled_from((10, 10, 20, 20, 25, 100, 75, 1, 3, 0, -5, 2.5)),
        },
        optional={
            "price": st.sampled_from((Decimal("100"), Decimal("99.995"), 100.1, Decimal("0"), Decimal("-1"))),
            "ref_price": st.sampled_from((100.0, Decimal("101"), 99.5)),
        },
    )
    answers = draw(st.lists(st.one_of(answer, answer, st.none(), st.just("raise")), min_size=2, max_size=7))
    return Scripted(tuple(answers))


# ----------------------------------------------------------------------------------------------------------------- risk


def some(draw: st.DrawFn, *values: Any, one_in: int = 5) -> list[Any]:
    """Nothing, or (once in `one_in`) one of `values`; a list, so that `for value in some(…)` reads well."""
    return [draw(st.sampled_from(values))] if draw(st.integers(1, one_in)) == one_in else []


@st.composite
def risks(draw: st.DrawFn) -> dict[str, Any]:
    """`parameters.risk`: each setting is there now and then, with values of the size of the data."""
    risk: dict[str, Any] = {}
    plain: dict[str, tuple[Any, ...]] = {
        "min_confidence": (0.05, 0.1, 0.25, 0.5, 0.55, 1.0),
        "max_quantity": (9, 10, 75, 100, 300),
        "band_pct": (0.5, 1, 2, 10),
        "slippage_budget": (0, 0.05, 0.5, 1),
        "min_flip_sec": (1, 3, 60),
        "max_exposure": (500, 1000, 1010, 2000, 10_000, 20_200.5),
        "cooldown_sec": (0.001, 1, 2, 5, 60),
        "dedupe_window_sec": (0.5, 1, 3, 10, 60),
        "price_bucket": ("0.01", "0.05", 0.1, 1, 10),
        "min_signal_interval_ms": (1, 100, 1000, 2500),
    }
    for name, values in plain.items():
        for value in some(draw, *values):
            risk[name] = value
    for value in some(draw, True):
        risk["long_only"] = value
    for value in some(draw, 1, 1, 2, 3, one_in=3):
        risk["max_loss_streak"] = value
        for seconds in some(draw, 0.5, 1, 5, 60, one_in=2):
            risk["resume_after_sec"] = seconds
    for value in some(draw, 1, 2, 3, 5):
        risk["max_signals_per_min"] = value
        if draw(st.booleans()):
            risk["pause_on_throttle"] = True
            for seconds in some(draw, 1, 5, 30, one_in=2):
                risk["throttle_pause_sec"] = seconds
    for value in some(draw, ["preopen"], ["closed"], ["preopen", "closed"], one_in=2):
        risk["allow_sessions"] = value
    return risk


@st.composite
def error_settings(draw: st.DrawFn) -> dict[str, Any]:
    """When errors stop a strategy; under `parameters.risk`."""
    return {
        "max_errors": draw(st.sampled_from((0, 1, 2, 5))),
        "error_window_sec": draw(st.sampled_from((1, 5, 60))),
        "retry_backoff_sec": draw(st.sampled_from((0.5, 1, 2))),
        "max_retries": draw(st.sampled_from((0, 1, 3))),
    }


# ----------------------------------------------------------------------------------------------------------------- rows

SIZES = st.sampled_from((1, 3, 10, 10, 75, 100))
CONFIDENCES = st.sampled_from((0.3, 0.34, 0.5, 0.55, 0.6, 0.9))


@st.composite
def rules_parameters(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if kind == "sma_crossover":
        slow = draw(st.integers(2, 8))
        parameters.update(fast_periods=draw(st.integers(1, slow - 1)), slow_periods=slow)
    else:
        parameters["lookback_periods"] = draw(st.integers(2, 8))
    if kind == "momentum":
        # (101 - 100) / 100 is 0.01 itself, and so on: the moves that the prices make.
        parameters["threshold"] = draw(st.sampled_from((0.0001, 0.001, 0.005, 0.01, 0.01, 0.02, 0.05)))
    if kind == "mean_reversion":
        parameters["z_entry"] = draw(st.sampled_from((0.5, 1.0, 1.0, 1.5, 1.7320508075688772, 2.0)))
    if kind == "breakout":
        parameters["buffer"] = draw(st.sampled_from((0.0, 0.0, 0.001, 0.01, 0.02)))
    for size in some(draw, 1, 3, 10, 75, 100, one_in=2):
        parameters["position_size"] = size
    return parameters


@st.composite
def policies(draw: st.DrawFn) -> str | dict[str, Any]:
    kind = draw(st.sampled_from(POLICIES))
    policy: dict[str, Any] = {"type": kind}
    if kind == "majority":
        for key in ("min_ml_conf", "min_conf"):
            for value in some(draw, 0.3, 0.34, 0.5, 0.55, 0.9):
                policy[key] = value
    if kind == "sizer":
        for value in some(draw, 0, 0.1, 0.25, one_in=2):
            policy["min_scale"] = value
        for value in some(draw, 0.29, 0.5, 1, 2, one_in=2):
            policy["max_scale"] = value
        if policy.get("min_scale", 0) > policy.get("max_scale", 1):
            del policy["min_scale"]
    if kind == "guardrail":
        policy["rsi_periods"] = draw(st.integers(1, 3))
        for value in some(draw, 50, 60, 100, one_in=2):
            policy["overbought"] = value
        for value in some(draw, 0, 40, 50, one_in=2):
            policy["oversold"] = value
        if policy.get("oversold", 30) >= policy.get("overbought", 70):
            del policy["oversold"]
    if kind == "threshold_escalation":
        policy["vol_threshold"] = draw(st.sampled_from((0.0, 0.005, 0.01, 0.02)))
        for value in some(draw, 0.6, 0.75, 0.95, one_in=2):
            policy["high_vol_conf"] = value
        for value in some(draw, 0.3, 0.5, 0.55, one_in=2):
            policy["min_conf"] = value
        if policy.get("min_conf", 0.55) > policy.get("high_vol_conf", 0.75):
            del policy["min_conf"]
    return kind if len(policy) == 1 else policy


@st.composite
def rows(
    draw: st.DrawFn,
    number: int,
    tokens: tuple[int, ...],
    brokers: tuple[str, ...],
    paths: tuple[str, ...],
    scripts: bool,
) -> dict[str, Any]:
    kinds = list(RULES)
    if paths:
        kinds += ["ml_momentum", "ml_mean_reversion", "ml_breakout", "hybrid", "hybrid", *READY_MADE]
    if scripts:
        kinds += ["callable", "callable"]
    kind = draw(st.sampled_from(kinds))
    row: dict[str, Any] = {"id": f"strat-{number:03d}", "strategy_type": kind}
    parameters: dict[str, Any] = {}
    risk = draw(risks())
    if kind == "callable" or kind.startswith("hybrid"):
        # Only where quantities vary can one signal flip a position, or a price differ from the tick's.
        for seconds in some(draw, 1, 3, 60, one_in=2):
            risk["min_flip_sec"] = seconds
        if kind == "callable":
            for budget in some(draw, 0, 0.5, 1, one_in=3):
                risk["slippage_budget"] = budget
    if kind in RULES:
        parameters.update(draw(rules_parameters(kind)))
    elif kind == "callable":
        row["callable"] = draw(scripted())
        parameters["lookback_periods"] = draw(st.integers(1, 3))
        if draw(st.booleans()):
            risk.update(draw(error_settings()))
    elif kind == "hybrid":
        rules = draw(st.sampled_from(RULES))
        parameters["rules"] = {"type": rules, **draw(rules_parameters(rules))}
        learned = draw(st.sampled_from(("ml_momentum", "ml_mean_reversion", "ml_breakout")))
        parameters["ml"] = {"type": learned, "model_path": draw(st.sampled_from(paths))}
        for value in some(draw, 0.3, 0.34, 0.5, 0.6, one_in=2):
            parameters["ml"]["min_conf"] = value
        for value in some(draw, 1, 10, 30, one_in=2):
            parameters["ml"]["position_size"] = value
        parameters["policy"] = draw(policies())
    else:
        if kind in READY_MADE:
            parameters.update(draw(rules_parameters(kind.removeprefix("hybrid_"))))
            parameters["policy"] = draw(policies())
        else:
            parameters["position_size"] = draw(SIZES)
        parameters["model_path"] = draw(st.sampled_from(paths))
        policy = parameters.get("policy")
        # A `min_conf` beside a policy's own `min_ml_conf` or `high_vol_conf` would be the same keys from two places.
        if not isinstance(policy, dict) or policy["type"] not in ("majority", "threshold_escalation"):
            for value in some(draw, 0.3, 0.34, 0.5, 0.6, one_in=2):
                parameters["min_conf"] = value
    for value in some(draw, 0.29, "0.1", 0.5, 1, 1.5, 2):
        parameters["risk_multiplier"] = value
    for value in some(draw, 0, 10, 20, 100, 150, 300):
        parameters["max_position_size"] = value
    if risk:
        parameters["risk"] = risk
    row["parameters"] = parameters
    row["instruments"] = draw(st.lists(st.sampled_from(tokens), min_size=1, max_size=len(tokens), unique=True))
    if draw(st.integers(0, 2)):
        row["brokers"] = draw(st.lists(st.sampled_from(brokers), min_size=1, max_size=len(brokers), unique=True))
    if draw(st.integers(0, 9)) == 9:
        row["enabled"] = False
    if draw(st.integers(0, 4)) == 4:
        row["per_instrument"] = True
    return row


# -------------------------------------------------------------------------------------------------------- configuration


@st.composite
def paper_costs(draw: st.DrawFn) -> dict[str, Any]:
    costs: dict[str, Any] = {"type": "paper"}
    for value in some(draw, 0, 1, 2.5, 10, 100, one_in=2):
        costs["fee_bps"] = value
    for value in some(draw, 0, 1, 5, 50, one_in=2):
        costs["slippage_bps"] = value
    for value in some(draw, "next_tick", "same_tick", "same_tick", one_in=2):
        costs["fill"] = value
    return costs


@st.composite
def configs(
    draw: st.DrawFn, tokens: tuple[int, ...], paths: tuple[str, ...] = (), scripts: bool = False
) -> dict[str, Any]:
    """A whole configuration over `tokens`, whose models are at `paths`."""
    config: dict[str, Any] = {"version": 1, "run": {"name": "generated", "rng_seed": draw(st.integers(0, 9))}}
    brokers: dict[str, Any] = {}
    if draw(st.integers(0, 2)):
        brokers["paper"] = draw(paper_costs())
    if draw(st.booleans()):
        brokers["other"] = draw(st.one_of(st.just({"type": "log"}), paper_costs()))
    if brokers:
        config["brokers"] = brokers
    if draw(st.integers(0, 4)):
        config["instruments"] = []
        for token in tokens:
            instrument: dict[str, Any] = {
                "token": token,
                "symbol": f"SYM{token}",
                "exchange": "NSE",
                "tick_size": "0.05",
            }
            for value in some(draw, 1, 3, 10, 75, one_in=2):
                instrument["lot_size"] = value
            for value in some(draw, 2, 10, "0.5", 0.1):
                instrument["multiplier"] = value
            for value in some(draw, True, one_in=3):
                instrument["round_to_lot"] = value
            config["instruments"].append(instrument)
    names = tuple(dict.fromkeys(("paper", *brokers)))
    count = draw(st.integers(1, 6))
    config["strategies"] = [draw(rows(number, tokens, names, paths, scripts)) for number in range(1, count + 1)]
    return config


# ---------------------------------------------------------------------------------------------------------------- ticks

PALETTES: tuple[tuple[float | Decimal | str, ...], ...] = (
    (100.0, 101.0, 99.0, 100.0, 102.0, 98.0),
    (100.0, 100.1, 99.9, 100.01, 100.5, 110.0),
    ("100.5", Decimal("100.50"), 101.505, 99.495, "101.5"),
    (0.29, 0.3, 0.31, 0.28, 0.1),
    (1e-07, 1.01e-07, 9.9e-08, 2e-07),
    (0.1 + 0.2, 0.3, 0.30000000000000027, 0.2999999999999999),
    (100.00000000000001, 100.0, 99.99999999999999, 101.00000000000001),
    (22450.05, 22450.1, 22674.55, 22225.55, 22450.0),
    (1.2345, 1.2346, 1.2344, 1.2469, 1.2221),
    (100.0, 100.0, 100.0, 103.0),
    (50, 51, 49, 50.25),
)
BAD_PRICES: tuple[float, ...] = (math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0)
SHORT_GAPS = (0, 0, 1, 1000, SECOND // 1000, SECOND // 10, SECOND // 2, SECOND, SECOND, SECOND)
LONG_GAPS = (2 * SECOND, 3 * SECOND, 3 * SECOND - 1, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, MINUTE - 1)
GAPS = SHORT_GAPS + LONG_GAPS
RARE_GAPS = (3600 * SECOND, 86_400 * SECOND, 3 * 86_400 * SECOND, -1, -SECOND)


@st.composite
def tick_lists(draw: st.DrawFn, tokens: tuple[int, ...]) -> list[dict[str, Any]]:
    """Some short motifs, each repeated, so that windows fill and prices come back, from few draws."""
    palettes = {token: draw(st.sampled_from(PALETTES)) for token in tokens}
    gap = st.one_of(st.sampled_from(GAPS), st.sampled_from(GAPS), st.sampled_from(GAPS + RARE_GAPS))
    ticks: list[dict[str, Any]] = []
    now = START
    for _ in range(draw(st.integers(2, 6))):
        steps = draw(
            st.lists(
                st.tuples(st.sampled_from(tokens), gap, st.integers(0, 5), st.integers(0, 59)), min_size=1, max_size=9
            )
        )
        for _ in range(draw(st.integers(2, 10))):
            for token, step, choice, odd in steps:
                now += step
                palette = palettes[token]
                tick: dict[str, Any] = {
                    "ts_ns": now,
                    "instrument_token": token,
                    "price": palette[choice % len(palette)],
                }
                if odd in (1, 2):
                    tick["halted"] = odd == 1
                elif odd in (3, 4):
                    tick["auction"] = odd == 3
                elif odd in (5, 6, 7, 8):
                    tick["volatility"] = (0.0, 0.005, 0.01, 0.05)[odd - 5]
                elif odd == 9:
                    tick["price"] = BAD_PRICES[choice]
                elif odd == 10:
                    tick["instrument_token"] = UNROUTED
                elif odd == 11:
                    tick["ts_ns"] = now - 10 * SECOND
                elif odd == 12:
                    tick.update(size=10, bid=1.0, ask=2.0)
                ticks.append(tick)
    return ticks


@st.composite
def cases(draw: st.DrawFn, *, ml: bool = True, sessions: bool = True, scripts: bool = True) -> Case:
    """A replay. Turn `ml`, `sessions` or `scripts` (rows of type `callable`) off where the other side has none of
    them."""
    tokens = TOKENS[: draw(st.sampled_from((1, 1, 2, 2, 3, 4)))]
    paths: dict[str, Model] = {}
    if ml:
        for number in range(draw(st.integers(1, 2))):
            paths[f"models/generated-{number}.onnx"] = draw(models())
    config = draw(configs(tokens, tuple(paths), scripts))
    table = draw(st.one_of(st.none(), st.none(), session_tables())) if sessions else None
    return Case(config, draw(tick_lists(tokens)), paths, table)


def configs_and_ticks() -> st.SearchStrategy[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(config, ticks) of rules alone: no models, no session clock, no callables."""
    return cases(ml=False, sessions=False, scripts=False).map(lambda case: (case.config, case.ticks))
