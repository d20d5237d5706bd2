"""A naive reference implementation of one replay, read off SPEC.md sentence by sentence.

Plain loops over plain lists, standard library only, nothing shared with the engine. It is slow on purpose: each
function quotes the sentence of SPEC.md section 3 that it reads (after "SPEC:"), so that either of the two can be
checked by eye. Where SPEC.md leaves a choice, the reading taken is marked "Reading:".

Not covered: bars, operator commands, the kill switch, `stale` (live only), publishing, and whatever else is no replay.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
MASK = (1 << 64) - 1

# Reading: a contract of multiplier m moves m times the price difference; the fee is as its formula says, without it.
PNL_USES_MULTIPLIER = True

Sessions = Callable[[int, int], str]
Number = float | int | str | Decimal


class Model(Protocol):
    """A classifier: feature names, and probabilities already rounded to float32, in the order SELL, HOLD, BUY."""

    features: list[str]

    def predict(self, row: list[float]) -> tuple[float, float, float]: ...


@dataclass(frozen=True)
class Tick:
    """One accepted tick: its exact price, the nearest double, and its flags."""

    ts: int
    token: int
    exact: Decimal
    price: float
    halted: bool
    auction: bool
    session: str
    volatility: float | None
    raw: dict[str, Any]

    @property
    def fillable(self) -> bool:
        # SPEC: "No fill on a halted, auction or closed tick: the order waits." Reading: a pre-open tick fills.
        return not (self.halted or self.auction or self.session == "closed")


@dataclass(frozen=True)
class Signal:
    """What a processor or a policy answers."""

    side: str
    confidence: float
    quantity: int
    price: Decimal
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Order:
    """An accepted signal that has not been filled yet."""

    side: str
    quantity: int
    price: float


@dataclass
class Position:
    """Signed quantity, average price, and when it was last changed."""

    quantity: int = 0
    average: float = 0.0
    changed_ts: int | None = None


@dataclass
class ExecutorResult:
    """Where one executor stands after the last tick."""

    state: str
    positions: dict[int, tuple[int, float]]
    cash: float
    realised: float
    fees: float
    round_trips: int
    loss_streak: int
    evaluations: int
    holds: int
    errors: int


@dataclass
class Result:
    """Everything that a replay decides. `executors` is keyed (strategy_id, broker), for `per_instrument` rows
    (strategy_id, broker, token)."""

    signals: list[dict[str, Any]] = field(default_factory=list)
    drops: list[dict[str, Any]] = field(default_factory=list)
    tick_drops: Counter[str] = field(default_factory=Counter)
    evaluations: int = 0
    holds: int = 0
    executors: dict[tuple[Any, ...], ExecutorResult] = field(default_factory=dict)


# -------------------------------------------------------------------------------------------------------------- numbers


def exact(value: Number) -> Decimal:
    """SPEC: "a float in the configuration or a file stands for its shortest decimal"."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def fraction(value: Number) -> Fraction:
    """The same number without any rounding (Decimal arithmetic would round to 28 digits)."""
    return Fraction(exact(value))


def nanoseconds(value: Number, unit: int = SECOND) -> int:
    """A configured duration in whole nanoseconds."""
    return math.floor(fraction(value) * unit)


def float32(value: float) -> float:
    """SPEC: features are "computed in float64 and cast once" to float32."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded


def mean_of(values: Sequence[float]) -> float:
    """The mean in doubles: a sum from left to right, then one division."""
    total = 0.0
    for value in values:
        total = total + value
    return total / len(values)


def deviation_of(values: Sequence[float]) -> float:
    """The population standard deviation in doubles: the mean first, the squares in a second loop."""
    mean = mean_of(values)
    total = 0.0
    for value in values:
        distance = value - mean
        total = total + distance * distance
    return math.sqrt(total / len(values))


def is_flat(values: Sequence[float]) -> bool:
    """SPEC: ""Flat" means maximum = minimum."."""
    return max(values) == min(values)


# ------------------------------------------------------------------------------------------------------------- features


def split_feature(name: str) -> tuple[str, int]:
    """SPEC: "`k` is any positive integer in the name"."""
    kind, k = name.rsplit("_", 1)
    return kind, int(k)


def feature_history(name: str) -> int:
    """SPEC: "the history needed follows from the names"."""
    kind, k = split_feature(name)
    return k + 1 if kind in ("ret", "vol") else k


def feature(name: str, prices: Sequence[float]) -> float:
    """SPEC: "Features, over prices `p`, computed in float64 and cast once"; the cast is the caller's."""
    kind, k = split_feature(name)
    if kind == "ret":
        # SPEC: "`ret_k = p[-1]/p[-1-k] - 1`"
        return prices[-1] / prices[-1 - k] - 1.0
    if kind == "vol":
        # SPEC: "`vol_k`, the population standard deviation of the last `k` one-step returns"
        last = list(prices[-(k + 1) :])
        returns = []
        for i in range(1, len(last)):
            returns.append(last[i] / last[i - 1] - 1.0)
        return deviation_of(returns)
    last = list(prices[-k:])
    if kind == "z":
        # SPEC: "`z_k`, the z-score of `p[-1]` in the last `k` prices (0 if flat)"
        return 0.0 if is_flat(last) else (last[-1] - mean_of(last)) / deviation_of(last)
    if kind == "pos":
        # SPEC: "`pos_k`, `(p[-1]-min)/(max-min)` over the last `k` prices (0.5 if flat)"
        return 0.5 if is_flat(last) else (last[-1] - min(last)) / (max(last) - min(last))
    raise ValueError(f"unknown feature {name}")


def rsi(prices: Sequence[float], n: int) -> float:
    """SPEC: "RSI over the last `5n+1` prices: first averages are the means of the first n gains and losses, Wilder's
    smoothing after; no losses: 100, neither: 50."."""
    last = list(prices[-(5 * n + 1) :])
    gains, losses = [], []
    for i in range(1, len(last)):
        change = last[i] - last[i - 1]
        gains.append(change if change > 0.0 else 0.0)
        losses.append(-change if change < 0.0 else 0.0)
    gain, loss = mean_of(gains[:n]), mean_of(losses[:n])
    for i in range(n, len(gains)):
        gain = (gain * (n - 1) + gains[i]) / n
        loss = (loss * (n - 1) + losses[i]) / n
    if loss == 0.0:
        return 50.0 if gain == 0.0 else 100.0
    # Reading: the textbook form, with this order of operations.
    return 100.0 - 100.0 / (1.0 + gain / loss)


# ----------------------------------------------------------------------------------------------------------- processors


class Processor(Protocol):
    """SPEC: "`process_tick(tick, history)`, `get_required_history_length()`"; the window's last tick is the current
    one."""

    needed: int

    def evaluate(self, window: list[Tick]) -> Signal | None: ...


def size_of(parameters: Mapping[str, Any]) -> int:
    """SPEC: "`position_size` (100) is the quantity"."""
    return int(parameters.get("position_size", 100))


class Momentum:
    """SPEC: "`c = (now - start) / start`, `start = history[-lookback_periods]`; `c > threshold` BUY, `c < -threshold`
    SELL; confidence `min(1, 5|c|)`. History needed: `lookback_periods`."."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.needed = int(parameters.get("lookback_periods", 20))
        self.threshold = float(parameters.get("threshold", 0.01))
        self.size = size_of(parameters)

    def evaluate(self, window: list[Tick]) -> Signal | None:
        now, start = window[-1].price, window[-self.needed].price
        c = (now - start) / start
        confidence = min(1.0, 5.0 * abs(c))
        if c > self.threshold:
            return Signal("BUY", confidence, self.size, window[-1].exact)
        if c < -self.threshold:
            return Signal("SELL", confidence, self.size, window[-1].exact)
        return None


class MeanReversion:
    """SPEC: "population mean and standard deviation of the last `lookback_periods` prices, the current one included;
    flat: no signal; `z <= -z_entry` BUY, `z >= z_entry` SELL; confidence `min(1, |z|/3)`."."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.needed = int(parameters.get("lookback_periods", 20))
        self.z_entry = float(parameters.get("z_entry", 1.0))
        self.size = size_of(parameters)

    def evaluate(self, window: list[Tick]) -> Signal | None:
        prices = [tick.price for tick in window[-self.needed :]]
        if is_flat(prices):
            return None
        z = (prices[-1] - mean_of(prices)) / deviation_of(prices)
        confidence = min(1.0, abs(z) / 3.0)
        if z <= -self.z_entry:
            return Signal("BUY", confidence, self.size, window[-1].exact)
        if z >= self.z_entry:
            return Signal("SELL", confidence, self.size, window[-1].exact)
        return None


class Breakout:
    """SPEC: "against the high `H` and low `L` of the `lookback_periods` ticks *before* the current one; `now >
    H(1+buffer)` BUY, `now < L(1-buffer)` SELL; confidence `min(1, 0.5 + 50·excess)`, excess `now/(H(1+buffer)) - 1` or
    `1 - now/(L(1-buffer))`. Needs `lookback_periods + 1`."."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.lookback = int(parameters.get("lookback_periods", 20))
        self.needed = self.lookback + 1
        self.buffer = float(parameters.get("buffer", 0.0))
        self.size = size_of(parameters)

    def evaluate(self, window: list[Tick]) -> Signal | None:
        before = [tick.price for tick in window[-self.needed : -1]]
        now = window[-1].price
        upper = max(before) * (1.0 + self.buffer)
        lower = min(before) * (1.0 - self.buffer)
        if now > upper:
            return Signal("BUY", min(1.0, 0.5 + 50.0 * (now / upper - 1.0)), self.size, window[-1].exact)
        if now < lower:
            return Signal("SELL", min(1.0, 0.5 + 50.0 * (1.0 - now / lower)), self.size, window[-1].exact)
        return None


class SmaCrossover:
    """SPEC: "simple means of the last `fast` and `slow` prices; BUY on the tick where the fast mean passes from ≤ to >
    the slow one, SELL where from ≥ to <, compared exactly (`slow_periods·Σfast` with `fast_periods·Σslow` on decimal
    prices; `fast_periods < slow_periods`); confidence `min(1, 100·|fast/slow - 1|)`. Needs `slow_periods + 1`."."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.fast = int(parameters.get("fast_periods", 10))
        self.slow = int(parameters.get("slow_periods", 30))
        self.needed = self.slow + 1
        self.size = size_of(parameters)

    def difference(self, ticks: list[Tick]) -> Fraction:
        """slow·Σfast - fast·Σslow over the end of `ticks`, without rounding."""
        fast_sum, slow_sum = Fraction(0), Fraction(0)
        for tick in ticks[-self.fast :]:
            fast_sum += Fraction(tick.exact)
        for tick in ticks[-self.slow :]:
            slow_sum += Fraction(tick.exact)
        return self.slow * fast_sum - self.fast * slow_sum

    def evaluate(self, window: list[Tick]) -> Signal | None:
        before, now = self.difference(window[:-1]), self.difference(window)
        fast = mean_of([tick.price for tick in window[-self.fast :]])
        slow = mean_of([tick.price for tick in window[-self.slow :]])
        confidence = min(1.0, 100.0 * abs(fast / slow - 1.0))
        if before <= 0 < now:
            return Signal("BUY", confidence, self.size, window[-1].exact)
        if before >= 0 > now:
            return Signal("SELL", confidence, self.size, window[-1].exact)
        return None


class Learned:
    """SPEC: "`ml_momentum`, `ml_mean_reversion`, `ml_breakout` … The three `ml_*` types differ in name and default
    features only; their quantity is `position_size` (100), their price the tick's."."""

    def __init__(self, parameters: Mapping[str, Any], model: Model) -> None:
        self.model = model
        self.needed = 1
        for name in model.features:
            self.needed = max(self.needed, feature_history(name))
        self.min_conf = float(parameters.get("min_conf", 0.5))
        self.size = size_of(parameters)

    def evaluate(self, window: list[Tick]) -> Signal | None:
        prices = [tick.price for tick in window]
        row = [float32(feature(name, prices)) for name in self.model.features]
        try:
            sell, hold, buy = self.model.predict(row)
        except Exception:
            # SPEC: "`predict_signal` raising gives `None` and a count; it never ends the strategy."
            return None
        # SPEC: "The largest probability decides (ties: HOLD); HOLD gives `None`; confidence is that probability; below
        # `min_conf` (0.5): `None`." Reading: any tie for the largest is HOLD, and so is a NaN.
        if buy > hold and buy > sell:
            side, confidence = "BUY", buy
        elif sell > hold and sell > buy:
            side, confidence = "SELL", sell
        else:
            return None
        if confidence < self.min_conf:
            return None
        return Signal(side, confidence, self.size, window[-1].exact)


class CallableProcessor:
    """A test's own strategy: `callable(prices, raw tick)` gives None, a dict (signal_type, confidence, quantity, and
    perhaps price, ref_price, metadata), anything else, or raises. It needs `lookback_periods` (1) ticks."""

    def __init__(self, function: Callable[[list[float], dict[str, Any]], Any], parameters: Mapping[str, Any]) -> None:
        self.function = function
        self.needed = int(parameters.get("lookback_periods", 1))

    def evaluate(self, window: list[Tick]) -> Signal | None:
        answer = self.function([tick.price for tick in window[-self.needed :]], window[-1].raw)
        if answer is None:
            return None
        # SPEC: "A processor's answer that is neither `None` nor a `SignalResult` with an integer quantity is a
        # processor error, like an exception."
        if not isinstance(answer, dict) or answer.get("signal_type") not in ("BUY", "SELL", "HOLD"):
            raise TypeError("no signal")
        quantity = answer.get("quantity")
        if not isinstance(quantity, int) or isinstance(quantity, bool):
            raise TypeError("no integer quantity")
        price = answer.get("price")
        metadata = dict(answer.get("metadata") or {})
        if answer.get("ref_price") is not None:
            metadata["ref_price"] = answer["ref_price"]
        at = window[-1].exact if price is None else exact(price)
        return Signal(answer["signal_type"], float(answer["confidence"]), quantity, at, metadata)


# ------------------------------------------------------------------------------------------------------------- policies


def without_hold(signal: Signal | None) -> Signal | None:
    """SPEC: "Policies treat HOLD as no signal"."""
    return None if signal is None or signal.side == "HOLD" else signal


def merge(rules: Signal, learned: Signal) -> Signal:
    """SPEC: "*Merge*: same side, mean confidence, larger quantity, ML's price"."""
    confidence = (rules.confidence + learned.confidence) / 2.0
    return Signal(rules.side, confidence, max(rules.quantity, learned.quantity), learned.price)


class Policy:
    """SPEC: "A policy's keys come from the `policy` mapping, then `parameters`, then the defaults."."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        policy = parameters.get("policy", "majority")  # Reading: the default is majority.
        self.own: Mapping[str, Any] = {"type": policy} if isinstance(policy, str) else policy
        self.parameters = parameters
        self.type = str(self.own["type"])
        # SPEC: "A hybrid needs the longest history of rules, ML and policy."
        self.needed = 1
        if self.type == "guardrail":
            self.needed = 5 * int(self.key("rsi_periods", 14)) + 1
        if self.type == "threshold_escalation":
            self.needed = feature_history("vol_20")

    def key(self, name: str, default: Any) -> Any:
        if name in self.own:
            return self.own[name]
        return self.parameters.get(name, default)

    def decide(self, rules: Signal | None, learned: Signal | None, window: list[Tick]) -> Signal | None:
        rules, learned = without_hold(rules), without_hold(learned)
        agreed = rules is not None and learned is not None and rules.side == learned.side
        if self.type == "majority":
            # SPEC: "(`min_ml_conf`, else `min_conf`, else 0.55): same side: merge; otherwise ML if its confidence ≥
            # `min_ml_conf`; otherwise rules (perhaps none)."
            if rules is not None and learned is not None and agreed:
                return merge(rules, learned)
            min_ml_conf = float(self.key("min_ml_conf", self.key("min_conf", 0.55)))
            if learned is not None and learned.confidence >= min_ml_conf:
                return learned
            return rules
        if self.type == "confirm":
            # SPEC: "the merge if both give the same side; else none."
            return merge(rules, learned) if rules is not None and learned is not None and agreed else None
        if self.type == "sizer":
            # SPEC: "side and price from rules; quantity `floor(q·(min_scale + (max_scale-min_scale)·c))` in doubles,
            # `c` ML's confidence if it agrees, else 0; none if that is 0." Reading: the confidence stays the rules'.
            if rules is None:
                return None
            low, high = float(self.key("min_scale", 0.0)), float(self.key("max_scale", 1.0))
            c = learned.confidence if learned is not None and agreed else 0.0
            quantity = math.floor(rules.quantity * (low + (high - low) * c))
            if quantity == 0:
                return None
            return Signal(rules.side, rules.confidence, quantity, rules.price, rules.metadata)
        if self.type == "guardrail":
            # SPEC: "ML trades; a BUY at RSI ≥ overbought and a SELL at RSI ≤ oversold give none. …
            # `overbought`/`oversold: true` in the rules signal's metadata overrides it."
            if learned is None:
                return None
            flags = {} if rules is None else rules.metadata
            if flags.get("overbought") is True or flags.get("oversold") is True:
                overbought, oversold = flags.get("overbought") is True, flags.get("oversold") is True
            else:
                strength = rsi([tick.price for tick in window], int(self.key("rsi_periods", 14)))
                overbought = strength >= float(self.key("overbought", 70))
                oversold = strength <= float(self.key("oversold", 30))
            if (learned.side == "BUY" and overbought) or (learned.side == "SELL" and oversold):
                return None
            return learned
        if self.type == "threshold_escalation":
            # SPEC: "ML alone trades; its confidence must reach `high_vol_conf` while volatility (tick metadata
            # `volatility`, else `vol_20`) > `vol_threshold`, `min_conf` otherwise; none below."
            if learned is None:
                return None
            volatility = window[-1].volatility
            if volatility is None:
                volatility = feature("vol_20", [tick.price for tick in window])
            high = volatility > float(self.key("vol_threshold", None))
            needed = float(self.key("high_vol_conf", 0.75) if high else self.key("min_conf", 0.55))
            return learned if learned.confidence >= needed else None
        if self.type == "probability_weighted":
            # SPEC: "same side: the merge with quantity `floor(max(q_r, q_m)·c_r·c_m)`; none if that is 0, or on
            # different sides." Reading: none too where either gives no signal.
            if rules is None or learned is None or not agreed:
                return None
            both = merge(rules, learned)
            quantity = math.floor(both.quantity * rules.confidence * learned.confidence)
            return None if quantity == 0 else Signal(both.side, both.confidence, quantity, both.price)
        raise ValueError(f"unknown policy {self.type}")


class Hybrid:
    """SPEC: "Any rules processor with any ML processor under any policy"."""

    def __init__(self, rules: Processor, learned: Processor, policy: Policy) -> None:
        self.rules, self.learned, self.policy = rules, learned, policy
        # SPEC: "A hybrid needs the longest history of rules, ML and policy."
        self.needed = max(rules.needed, learned.needed, policy.needed)

    def evaluate(self, window: list[Tick]) -> Signal | None:
        return self.policy.decide(self.rules.evaluate(window), self.learned.evaluate(window), window)


def build_rules(kind: str, parameters: Mapping[str, Any], function: Any = None) -> Processor:
    if kind == "momentum":
        return Momentum(parameters)
    if kind == "mean_reversion":
        return MeanReversion(parameters)
    if kind == "breakout":
        return Breakout(parameters)
    if kind == "sma_crossover":
        return SmaCrossover(parameters)
    if kind == "callable":
        return CallableProcessor(function if function is not None else parameters["callable"], parameters)
    raise ValueError(f"unknown strategy type {kind}")


def build(row: Mapping[str, Any], models: Mapping[str, Model]) -> Processor | None:
    """The processor of a row, or None where its model does not load (a path that `models` does not hold)."""
    kind: str = row["strategy_type"]
    parameters: Mapping[str, Any] = row.get("parameters") or {}
    if kind == "hybrid":
        # SPEC: "`hybrid` with `rules: {type: momentum, …}`, `ml: {type: ml_momentum, …}`, `policy: …`". Reading: each
        # part reads its own mapping alone; only the policy looks into `parameters` too.
        rules, ml = parameters["rules"], parameters["ml"]
        rules_kind = str(rules["type"])
    elif kind.startswith("hybrid_"):
        # SPEC: "the ready-made `hybrid_momentum`, `hybrid_mean_reversion`, `hybrid_breakout`, whose flat parameters
        # feed both parts and the policy (`min_conf` both ML and policy)"
        rules = ml = parameters
        rules_kind = kind.removeprefix("hybrid_")
    elif kind.startswith("ml_"):
        model = models.get(parameters["model_path"])
        # SPEC: "`on_model_failure: skip` (default) leaves a strategy out whose model does not load"
        return None if model is None else Learned(parameters, model)
    else:
        return build_rules(kind, parameters, row.get("callable"))
    model = models.get(ml["model_path"])
    if model is None:
        # SPEC: "`rules_only`, for hybrids alone, goes on with the rules and their history."
        only_rules = parameters.get("on_model_failure", "skip") == "rules_only"
        return build_rules(rules_kind, rules) if only_rules else None
    return Hybrid(build_rules(rules_kind, rules), Learned(ml, model), Policy(parameters))


# ------------------------------------------------------------------------------------------------------------------- id


def mix(x: int) -> int:
    """SPEC: "`mix(x)`: `x ^= x>>30; x *= 0xbf58476d1ce4e5b9; x ^= x>>27; x *= 0x94d049bb133111eb; x ^= x>>31`"."""
    x ^= x >> 30
    x = (x * 0xBF58476D1CE4E5B9) & MASK
    x ^= x >> 27
    x = (x * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def bucket_of(price: Decimal, price_bucket: Number) -> int:
    """SPEC: "`floor(price/price_bucket)`"; "Sizing and price buckets use exact decimals"."""
    return math.floor(Fraction(price) / fraction(price_bucket))


def signal_id(strategy_id: str, broker: str, token: int, side: str, bucket: int, ts: int, window: int) -> str:
    """SPEC: "128 bits as 32 hex digits … two 64-bit halves, each from its own base."."""
    # SPEC: "Bases: the first and the second 8 bytes (big-endian) of SHA-256 over `strategy_id|broker`"
    digest = hashlib.sha256(f"{strategy_id}|{broker}".encode()).digest()
    halves = []
    for base in (int.from_bytes(digest[0:8], "big"), int.from_bytes(digest[8:16], "big")):
        h = base
        # SPEC: "for each `v` of (`instrument_token`, side BUY = 1, SELL = 2, `floor(price/price_bucket)`, `ts_ns //
        # w`), as 64-bit two's complement, mod 2^64: `h = mix((h ^ v) + 0x9e3779b97f4a7c15)`"
        for v in (token, 1 if side == "BUY" else 2, bucket, ts // window):
            h = mix(((h ^ (v & MASK)) + 0x9E3779B97F4A7C15) & MASK)
        halves.append(f"{h:016x}")
    return "".join(halves)


# ------------------------------------------------------------------------------------------------------------- executor


class Executor:
    """One (strategy, broker), or one (strategy, broker, instrument) for `per_instrument` rows."""

    def __init__(
        self, row: Mapping[str, Any], broker: str, tokens: list[int], processor: Processor, config: Mapping[str, Any]
    ) -> None:
        self.strategy_id: str = row["id"]
        self.broker = broker
        self.tokens = tokens
        self.processor = processor
        self.parameters: Mapping[str, Any] = row.get("parameters") or {}
        self.risk: Mapping[str, Any] = self.parameters.get("risk") or {}
        self.instruments: dict[int, Mapping[str, Any]] = {}
        for instrument in config.get("instruments") or []:
            self.instruments[instrument["token"]] = instrument
        # SPEC: "A strategy's paper positions are kept whatever its broker, with `paper`'s costs (else none)". Reading:
        # the broker named `paper`, and its `fill` with its costs; a broker of type paper under another name has its
        # own.
        brokers: Mapping[str, Any] = config.get("brokers") or {}
        own = brokers.get(broker) or {}
        self.costs: Mapping[str, Any] = own if own.get("type") == "paper" else (brokers.get("paper") or {})

        # SPEC: "INIT→WARMUP on registration"
        self.state = "WARMUP"
        self.due: int | None = None
        self.resume_clears_streak = False
        self.windows: dict[int, list[Tick]] = {token: [] for token in tokens}
        self.last: dict[int, float] = {}
        self.opens: dict[int, tuple[int, float]] = {}
        self.pending: dict[int, list[Order]] = {token: [] for token in tokens}
        self.positions: dict[int, Position] = {token: Position() for token in tokens}
        self.emitted: list[tuple[int, int, str, int]] = []  # ts, token, side, bucket
        self.error_times: list[int] = []
        self.retries = 0
        self.cash = self.realised = self.fees = 0.0
        self.round_trips = self.loss_streak = 0
        self.evaluations = self.holds = 0

    # ---- configuration

    def limit(self, name: str) -> Any:
        """SPEC: "`risk_multiplier` and `max_position_size` sit directly under `parameters`, all else under
        `parameters.risk`; … whatever else is not configured is off."."""
        return self.risk.get(name)

    def duration(self, name: str, default: Number) -> int:
        return nanoseconds(self.risk.get(name, default))

    def multiplier(self, token: int) -> float:
        """SPEC: "More instrument keys: `multiplier` (1)"."""
        return float(self.instruments.get(token, {}).get("multiplier", 1))

    # ---- one tick

    def on_tick(self, tick: Tick, result: Result) -> None:
        """SPEC: "One tick, step by step"; step 1 is `run`'s."""
        token = tick.token
        # SPEC: "2. fill the pending order of this instrument". Reading: several that waited all fill, in order.
        if tick.fillable:
            for order in self.pending[token]:
                self.fill(token, order, tick)
            self.pending[token] = []
        # SPEC: "3. set the minute's open and the last price"; `open` is "the instrument's first tick of the current UTC
        # minute that is not halted, auction or closed". Reading: a pre-open tick can be it.
        minute = tick.ts // MINUTE
        if tick.fillable and (token not in self.opens or self.opens[token][0] != minute):
            self.opens[token] = (minute, tick.price)
        self.last[token] = tick.price
        # SPEC: "4. append to the window". It holds as many ticks as the processor needs.
        window = self.windows[token]
        window.append(tick)
        if len(window) > self.processor.needed:
            window.pop(0)
        full = len(window) == self.processor.needed
        # SPEC: "WARMUP→ACTIVE when the first instrument's window is full". Reading: on that very tick, which is
        # evaluated.
        if self.state == "WARMUP" and full:
            self.state = "ACTIVE"
        # SPEC: "5. run the timers that are due (`ts >= due`)"
        if self.state in ("PAUSED", "ERROR") and self.due is not None and tick.ts >= self.due:
            self.state, self.due = "ACTIVE", None
            # SPEC: "resuming clears the streak". Reading: resuming from an open circuit, not from a throttle or an
            # error.
            if self.resume_clears_streak:
                self.loss_streak, self.resume_clears_streak = 0, False
        # SPEC: "6. if the executor is ACTIVE and the window full: evaluate, size, check, emit."
        if self.state == "ACTIVE" and full:
            self.evaluate(tick, list(window), result)

    def evaluate(self, tick: Tick, window: list[Tick], result: Result) -> None:
        # SPEC: "`evaluations` counts processor calls while ACTIVE"
        self.evaluations += 1
        try:
            signal = self.processor.evaluate(window)
        except Exception:
            self.on_error(tick.ts)
            return
        if signal is None:
            return
        if signal.side == "HOLD":
            # SPEC: "HOLD from a strategy skips sizing and checks, changes no state, is counted and kept as an outcome"
            self.holds += 1
            return
        quantity = self.sized(signal.quantity, tick.token)
        bucket = bucket_of(signal.price, self.risk.get("price_bucket", "0.01"))
        record: dict[str, Any] = {
            "ts_ns": tick.ts,
            "strategy_id": self.strategy_id,
            "broker": self.broker,
            "instrument_token": tick.token,
            "signal_type": signal.side,
            "confidence": signal.confidence,
            "quantity": quantity,
            "price": signal.price,
        }
        reason = self.first_failure(signal, quantity, bucket, tick)
        if reason is not None:
            result.drops.append({**record, "reason": reason})
            self.pause_after(reason, tick.ts)
            return
        window_ns = self.duration("dedupe_window_sec", 3)
        record["signal_id"] = signal_id(
            self.strategy_id, self.broker, tick.token, signal.side, bucket, tick.ts, window_ns
        )
        result.signals.append(record)
        self.emitted.append((tick.ts, tick.token, signal.side, bucket))
        order = Order(signal.side, quantity, float(signal.price))
        # SPEC: "fills at the instrument's next tick, before that tick is evaluated (configurable: the same tick)"
        if self.costs.get("fill", "next_tick") == "same_tick" and tick.fillable:
            self.fill(tick.token, order, tick)
        else:
            self.pending[tick.token].append(order)

    def sized(self, quantity: int, token: int) -> int:
        """SPEC: "`quantity = floor(quantity · risk_multiplier)` before the checks, then down to a multiple of
        `lot_size` where the instrument says `round_to_lot: true`. Sizing and price buckets use exact decimals"."""
        sized = math.floor(quantity * fraction(self.parameters.get("risk_multiplier", 1)))
        instrument = self.instruments.get(token, {})
        if instrument.get("round_to_lot", False):
            lot = int(instrument.get("lot_size", 1))
            sized = sized // lot * lot
        return sized

    # ---- checks

    def first_failure(self, signal: Signal, quantity: int, bucket: int, tick: Tick) -> str | None:
        """SPEC: "Checks, in this order; the first that fails names the drop … Time in checks is event time: the
        tick's."."""
        now, token, price = tick.ts, tick.token, float(signal.price)
        # SPEC: "1. `killed`: the kill switch is on." It never is, in a replay without commands.
        # SPEC: "2. `session_closed` (outside `regular`, unless in `allow_sessions`), `halted`, `auction`"
        if tick.session != "regular" and tick.session not in (self.limit("allow_sessions") or []):
            return "session_closed"
        if tick.halted:
            return "halted"
        if tick.auction:
            return "auction"
        # SPEC: "3. `invalid_confidence` (outside 0..1, NaN), `invalid_quantity` (≤ 0, or over `max_quantity`),
        # `invalid_price` (≤ 0), `below_min_confidence` (`min_confidence`)."
        if not 0.0 <= signal.confidence <= 1.0:
            return "invalid_confidence"
        if quantity <= 0 or (self.limit("max_quantity") is not None and quantity > self.limit("max_quantity")):
            return "invalid_quantity"
        if not price > 0.0:
            return "invalid_price"
        if self.limit("min_confidence") is not None and signal.confidence < float(self.limit("min_confidence")):
            return "below_min_confidence"
        # SPEC: "4. `price_band`: `|last_price/open - 1| > band_pct/100`". Reading: passes while the minute has no open.
        if self.limit("band_pct") is not None and token in self.opens:
            minute, opened = self.opens[token]
            band = float(self.limit("band_pct")) / 100.0
            if minute == now // MINUTE and abs(tick.price / opened - 1.0) > band:
                return "price_band"
        # SPEC: "5. `slippage`: `|last_price - ref_price| > slippage_budget`, `ref_price` from the signal's metadata,
        # else the signal's price."
        if self.limit("slippage_budget") is not None:
            named = signal.metadata.get("ref_price")
            reference = price if named is None else float(exact(named))
            if abs(tick.price - reference) > float(self.limit("slippage_budget")):
                return "slippage"
        position = self.positions[token]
        signed = quantity if signal.side == "BUY" else -quantity
        after = position.quantity + signed
        flips = position.quantity * after < 0
        # SPEC: "6. `position_guard`: would flip the side of a position that was last changed less than `min_flip_sec`
        # ago."
        guarded = self.limit("min_flip_sec") is not None and flips and position.changed_ts is not None
        if guarded and now - (position.changed_ts or 0) < self.duration("min_flip_sec", 0):
            return "position_guard"
        # SPEC: "A signal that brings the position strictly nearer zero, without flipping it, passes 7 and 8."
        reduces = abs(after) < abs(position.quantity) and not flips
        # SPEC: "7. `position_limit`: `|position + signed quantity| > max_position_size` (0 = no limit), or below zero
        # with `long_only`." Reading: the filled position, without what is pending.
        most = float(self.parameters.get("max_position_size", 0))
        if not reduces and most != 0.0 and abs(after) > most:
            return "position_limit"
        if not reduces and self.limit("long_only") and after < 0:
            return "position_limit"
        # SPEC: "8. `exposure`: `|Σ position·last price·multiplier + signed quantity·price·multiplier| > max_exposure`"
        if self.limit("max_exposure") is not None and not reduces:
            total = self.exposure_without(token) + (signed * price) * self.multiplier(token)
            if abs(total) > float(self.limit("max_exposure")):
                return "exposure"
        # SPEC: "9. `circuit_open`: `max_loss_streak` losing fills in a row"
        if self.limit("max_loss_streak") is not None and self.loss_streak >= int(self.limit("max_loss_streak")):
            return "circuit_open"
        # SPEC: "10. `cooldown`: less than `cooldown_sec` since this instrument's last emitted signal."
        if self.limit("cooldown_sec") is not None:
            here = [ts for ts, other, _, _ in self.emitted if other == token]
            if here and now - here[-1] < self.duration("cooldown_sec", 0):
                return "cooldown"
        # SPEC: "11. `duplicate`: same side and price bucket as any signal that this executor emitted on this instrument
        # less than `dedupe_window_sec` (3; must be > 0) ago."
        for ts, other, side, earlier in self.emitted:
            same = other == token and side == signal.side and earlier == bucket
            if same and now - ts < self.duration("dedupe_window_sec", 3):
                return "duplicate"
        # SPEC: "12. `min_interval`: less than `min_signal_interval_ms` since this executor's last emitted signal."
        if self.limit("min_signal_interval_ms") is not None and self.emitted:
            interval = nanoseconds(self.limit("min_signal_interval_ms"), SECOND // 1000)
            if now - self.emitted[-1][0] < interval:
                return "min_interval"
        # SPEC: "13. `rate_limited`: `max_signals_per_min` already emitted less than 60 s ago"
        if self.limit("max_signals_per_min") is not None:
            recent = [ts for ts, _, _, _ in self.emitted if now - ts < MINUTE]
            if len(recent) >= int(self.limit("max_signals_per_min")):
                return "rate_limited"
        return None

    def exposure_without(self, token: int) -> float:
        """SPEC: "over all instruments of this executor"; "Exposure counts an accepted signal that is not yet filled, on
        another instrument, at its price."

        Reading: positions first, in the row's order, then what is pending, in the row's order and by age.
        """
        total = 0.0
        for held in self.tokens:
            if held in self.last:
                total += (self.positions[held].quantity * self.last[held]) * self.multiplier(held)
        for other in self.tokens:
            if other != token:
                for order in self.pending[other]:
                    signed = order.quantity if order.side == "BUY" else -order.quantity
                    total += (signed * order.price) * self.multiplier(other)
        return total

    # ---- lifecycle

    def pause_after(self, reason: str, now: int) -> None:
        if reason == "circuit_open":
            # SPEC: "the strategy is PAUSED too, until an operator resumes it or `resume_after_sec` passes"
            self.state, self.resume_clears_streak = "PAUSED", True
            resumes = self.limit("resume_after_sec") is not None
            self.due = now + self.duration("resume_after_sec", 0) if resumes else None
        if reason == "rate_limited" and self.limit("pause_on_throttle"):
            # SPEC: "with `pause_on_throttle`, PAUSED too, for `throttle_pause_sec` (60)"
            self.state, self.resume_clears_streak = "PAUSED", False
            self.due = now + self.duration("throttle_pause_sec", 60)

    def error_key(self, name: str, default: Number) -> Any:
        """Reading: these sit under `parameters.risk` like the rest; under `parameters` they are understood as well."""
        return self.risk.get(name, self.parameters.get(name, default))

    def on_error(self, now: int) -> None:
        """SPEC: "more than `max_errors` (5) processor errors less than `error_window_sec` (60) ago → ERROR, retried (→
        ACTIVE) after `retry_backoff_sec` (1)·2^k of event time, `max_retries` (3) times, then PAUSED until an
        operator".

        Reading: the error itself counts; the list outlives a retry; k is 0 again once an error finds no earlier one
        within the window; the ERROR after the last retry is PAUSED without a timer."""
        window = nanoseconds(self.error_key("error_window_sec", 60))
        earlier = [ts for ts in self.error_times if now - ts < window]
        if not earlier:
            self.retries = 0
        self.error_times.append(now)
        if len(earlier) + 1 <= int(self.error_key("max_errors", 5)):
            return
        self.resume_clears_streak = False
        if self.retries < int(self.error_key("max_retries", 3)):
            self.state = "ERROR"
            self.due = now + nanoseconds(self.error_key("retry_backoff_sec", 1)) * 2**self.retries
            self.retries += 1
        else:
            self.state, self.due = "PAUSED", None

    # ---- paper fills

    def fill(self, token: int, order: Order, tick: Tick) -> None:
        """SPEC: "at price `p·(1 ± slippage_bps/10⁴)`, fee `price·quantity·fee_bps/10⁴`, in doubles"."""
        slippage = float(self.costs.get("slippage_bps", 0)) / 10_000.0
        price = tick.price * (1.0 + slippage if order.side == "BUY" else 1.0 - slippage)
        fee = price * order.quantity * float(self.costs.get("fee_bps", 0)) / 10_000.0
        scale = self.multiplier(token) if PNL_USES_MULTIPLIER else 1.0
        signed = order.quantity if order.side == "BUY" else -order.quantity
        position = self.positions[token]
        before, after = position.quantity, position.quantity + signed
        self.fees += fee
        self.cash = self.cash - signed * price * scale - fee

        if before * signed < 0:
            # SPEC: "A fill that reduces, closes or flips realises P&L, net of that fill's whole fee (opening fees are
            # not carried): below zero adds one to the loss streak, above zero clears it."
            closed = min(abs(before), order.quantity)
            gained = (price - position.average) * closed if before > 0 else (position.average - price) * closed
            net = gained * scale - fee
            self.realised += net
            if net < 0.0:
                self.loss_streak += 1
            elif net > 0.0:
                self.loss_streak = 0
            # Reading: a round trip ends when a position is closed or flipped.
            if after == 0 or before * after < 0:
                self.round_trips += 1

        # SPEC: "Opening from flat and flipping set the average to the fill price; adding averages by quantity; reducing
        # keeps it."
        if after == 0:
            position.average = 0.0
        elif before == 0 or before * after < 0:
            position.average = price
        elif before * signed > 0:
            held = abs(before)
            position.average = (position.average * held + price * order.quantity) / (held + order.quantity)
        position.quantity = after
        position.changed_ts = tick.ts

    def summary(self) -> ExecutorResult:
        return ExecutorResult(
            state=self.state,
            positions={token: (held.quantity, held.average) for token, held in self.positions.items()},
            cash=self.cash,
            realised=self.realised,
            fees=self.fees,
            round_trips=self.round_trips,
            loss_streak=self.loss_streak,
            evaluations=self.evaluations,
            holds=self.holds,
            errors=len(self.error_times),
        )


# ------------------------------------------------------------------------------------------------------------------ run


def build_executors(config: Mapping[str, Any], models: Mapping[str, Model]) -> dict[tuple[Any, ...], Executor]:
    """SPEC: "in the order of the configuration's rows and then of a row's brokers"; "`per_instrument: true` (one
    executor per instrument)"; "`brokers` defaults to `[paper]`"."""
    executors: dict[tuple[Any, ...], Executor] = {}
    for row in config.get("strategies") or []:
        if not row.get("enabled", True):
            continue
        for broker in row.get("brokers") or ["paper"]:
            tokens = list(row.get("instruments") or [])
            groups = [[token] for token in tokens] if row.get("per_instrument", False) else [tokens]
            for group in groups:
                processor = build(row, models)
                if processor is None:
                    continue
                key = (row["id"], broker, group[0]) if row.get("per_instrument", False) else (row["id"], broker)
                executors[key] = Executor(row, broker, group, processor, config)
    return executors


def run(
    config: dict[str, Any],
    ticks: list[dict[str, Any]],
    *,
    models: Mapping[str, Model] | None = None,
    sessions: Sessions | None = None,
) -> Result:
    """Replay `ticks` through `config`, which is taken to be valid."""
    result = Result()
    executors = build_executors(config, models or {})
    last_accepted: dict[int, int] = {}
    for raw in ticks:
        ts, token = int(raw["ts_ns"]), int(raw["instrument_token"])
        price = exact(raw["price"])
        watching = [executor for executor in executors.values() if token in executor.tokens]
        # SPEC: "A tick is dropped, and counted under the first of these that fits: … `unrouted` (no enabled strategy
        # subscribes to its instrument), `bad_price` (NaN, infinite, zero or negative), `out_of_order` (older than the
        # last accepted tick of its instrument; equal is accepted). A dropped tick touches nothing else."
        if not watching:
            result.tick_drops["unrouted"] += 1
            continue
        if not price.is_finite() or price <= 0:
            result.tick_drops["bad_price"] += 1
            continue
        if token in last_accepted and ts < last_accepted[token]:
            result.tick_drops["out_of_order"] += 1
            continue
        last_accepted[token] = ts
        volatility = raw.get("volatility")
        tick = Tick(
            ts=ts,
            token=token,
            exact=price,
            price=float(price),
            halted=bool(raw.get("halted", False)),
            auction=bool(raw.get("auction", False)),
            session="regular" if sessions is None else sessions(token, ts),
            volatility=None if volatility is None else float(volatility),
            raw=raw,
        )
        for executor in watching:
            executor.on_tick(tick, result)
    for key, executor in executors.items():
        result.executors[key] = executor.summary()
        result.evaluations += executor.evaluations
        result.holds += executor.holds
    return result
