"""What a configuration becomes once it is checked: plain frozen values that the engine is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from anystrat.domain.account import AccountLimits
from anystrat.domain.bars import BarSpec
from anystrat.domain.charges import SCHEDULES, ChargePart, Schedule, check_parts
from anystrat.domain.cluster import ClusterSettings
from anystrat.domain.isolation import Isolation
from anystrat.domain.notifying import NotifySettings
from anystrat.domain.parameters import Doc, Ge, Gt, Le, ParameterError, Unit
from anystrat.domain.sessions import SessionSettings
from anystrat.domain.sizing import Sizing

_INT64_MAX = 2**63 - 1


class Session(StrEnum):
    """Where an exchange's day stands."""

    PREOPEN = "preopen"
    REGULAR = "regular"
    CLOSED = "closed"


class FillTiming(StrEnum):
    """When the paper broker fills an accepted signal."""

    NEXT_TICK = "next_tick"
    SAME_TICK = "same_tick"
    NEXT_OPEN = "next_open"


class Overload(StrEnum):
    """What happens when ticks come faster than they are handled."""

    BLOCK = "block"
    CONFLATE = "conflate"


class OnStale(StrEnum):
    """What a feed's silence does: signals are dropped as `stale`, or strategies are PAUSED, until it speaks again."""

    GATE = "gate"
    PAUSE = "pause"


class OnGap(StrEnum):
    """What is done where ticks are missing that will not come.

    A note alone; windows that begin anew; strategies PAUSED until an operator resumes them; windows filled from the history.
    """

    NOTE = "note"
    REWARM = "rewarm"
    PAUSE = "pause"
    BACKFILL = "backfill"


class Sharding(StrEnum):
    """How an instrument finds its shard."""

    HASH = "hash"
    MODULO = "modulo"


class Secret:
    """Text that must not be printed: a password, a token, a URL that may hold either. `reveal()` gives it.

    It is not a `str` on purpose: formatting, logging or dumping one shows `***`, and `json.dumps` refuses it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it where it is used, and keep the result nowhere."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class EnvironmentText(str):
    """Ordinary text that came from the environment or a secret file: usable as any `str`, masked in every repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """One instrument. Without a `calendar` it is always in its regular session."""

    token: Annotated[int, Ge(0), Le(_INT64_MAX), Doc("The number that ticks and rows call the instrument by.")]
    symbol: Annotated[str, Doc("Its name, for people and venues.")] = ""
    exchange: Annotated[str, Doc("Where it is traded.")] = ""
    tick_size: Annotated[Decimal | None, Gt(0), Unit("price"), Doc("Smallest step of its price.")] = None
    lot_size: Annotated[int, Ge(1), Unit("units"), Doc("Units in a lot.")] = 1
    multiplier: Annotated[Decimal, Gt(0), Unit("ratio"), Doc("Value of one unit at a price of one.")] = Decimal(1)
    quantity_step: Annotated[
        Decimal, Gt(0), Unit("venue units"), Doc("What one unit of a signal's quantity is in the venue's terms.")
    ] = Decimal(1)
    round_to_lot: Annotated[bool, Doc("Round quantities down to a multiple of `lot_size`.")] = False
    calendar: Annotated[
        str | None, Doc("Exchange calendar, XBOM for example; without one the session is always regular.")
    ] = None


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """The checks of one strategy; None means that the check is off. Durations are whole nanoseconds of event time."""

    max_position_size: Decimal = Decimal(0)
    risk_multiplier: Decimal = Decimal(1)
    min_confidence: float | None = None
    max_quantity: int | None = None
    band_pct: float | None = None
    slippage_budget: float | None = None
    min_flip_ns: int | None = None
    long_only: bool = False
    max_exposure: float | None = None
    max_loss_streak: int | None = None
    resume_after_ns: int | None = None
    cooldown_ns: int | None = None
    dedupe_window_ns: int = 3_000_000_000
    price_bucket: Decimal = Decimal("0.01")
    min_signal_interval_ns: int | None = None
    max_signals_per_min: int | None = None
    pause_on_throttle: bool = False
    throttle_pause_ns: int = 60_000_000_000
    max_tick_age_ns: int | None = None
    allow_sessions: frozenset[Session] = frozenset()
    max_errors: int = 5
    error_window_ns: int = 60_000_000_000
    retry_backoff_ns: int = 1_000_000_000
    max_retries: int = 3
    #: Quantities by what the paper account is worth; None: the strategy's own.
    sizing: Sizing | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PaperCosts:
    """What a paper fill costs, and when it happens: basis points on the price, basis points and charges on the turnover."""

    fee_bps: Annotated[float, Ge(0), Unit("basis points"), Doc("Fee on a fill's turnover.")] = 0.0
    slippage_bps: Annotated[
        float, Ge(0), Le(10_000), Unit("basis points"), Doc("How much worse than the tick a fill is.")
    ] = 0.0
    fill: Annotated[
        FillTiming,
        Doc(
            "The tick that fills an order: the instrument's next one, the signal's own, or the next one at its `open`."
        ),
    ] = FillTiming.NEXT_TICK
    schedule: Annotated[
        Schedule | None, Doc("What a fill is charged beside `fee_bps`: an example of a market's charges at a date.")
    ] = None
    charges: Annotated[tuple[ChargePart, ...], Doc("Parts of your own, after those of the schedule.")] = ()
    fill_at: Annotated[
        Literal["price", "quote"],
        Doc("A fill is at the tick's price, or a BUY at its ask and a SELL at its bid (its price where it has none)."),
    ] = "price"
    impact_bps: Annotated[
        float,
        Ge(0),
        Le(10_000),
        Unit("basis points"),
        Doc("How much worse a fill is that is as large as its tick's volume; half as large, a quarter of it."),
    ] = 0.0
    latency_ms: Annotated[
        int, Ge(0), Le(86_400_000), Unit("milliseconds"), Doc("No tick fills an order sooner after its signal.")
    ] = 0

    def __post_init__(self) -> None:
        if self.latency_ms and self.fill is FillTiming.SAME_TICK:
            raise ParameterError("latency_ms", "an order that its own tick fills knows no latency", self.latency_ms)
        if self.fill_at == "quote" and self.fill is FillTiming.NEXT_OPEN:
            raise ParameterError("fill_at", "a bar has no quote at its open", self.fill_at)
        check_parts(SCHEDULES[self.schedule] if self.schedule else (), self.charges)

    @property
    def by_tick(self) -> bool:
        """Whether fills depend on more than the tick's price, so that no compiled code knows them."""
        at_open = self.fill is FillTiming.NEXT_OPEN
        return at_open or self.fill_at != "price" or self.impact_bps > 0.0 or self.latency_ms > 0

    @property
    def parts(self) -> tuple[ChargePart, ...]:
        """All that a fill is charged beside `fee_bps`, in order."""
        return (*(SCHEDULES[self.schedule] if self.schedule else ()), *self.charges)


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How signals are sent to a broker; every type of broker takes these beside its own options, but for `paper`."""

    attempts: Annotated[
        int, Ge(1), Le(1_000), Doc("How often a signal is tried before it goes to the dead letters.")
    ] = 8
    expire_sec: Annotated[
        float | None,
        Gt(0),
        Unit("seconds"),
        Doc("A signal that waits longer is not sent any more; without it, none expires."),
    ] = None
    rate_per_sec: Annotated[
        float | None, Gt(0), Unit("signals a second"), Doc("Never more than this in any second; without it, no limit.")
    ] = None
    timeout_sec: Annotated[float, Gt(0), Le(600), Unit("seconds"), Doc("How long an answer is waited for.")] = 10.0
    backoff_sec: Annotated[
        float, Gt(0), Le(3_600), Unit("seconds"), Doc("Longest wait before the second attempt; it doubles with each.")
    ] = 0.5
    max_backoff_sec: Annotated[float, Gt(0), Le(3_600), Unit("seconds"), Doc("What the wait doubles up to.")] = 30.0
    breaker_failures: Annotated[
        int, Ge(1), Le(1_000), Doc("Failures of the broker itself in a row after which it is left alone for a while.")
    ] = 5
    largest_group: Annotated[
        int,
        Ge(1),
        Le(65_536),
        Unit("signals"),
        Doc("How many signals are sent together at most, if the broker takes so many."),
    ] = 4_096

    def __post_init__(self) -> None:
        if self.max_backoff_sec < self.backoff_sec:
            raise ParameterError("max_backoff_sec", "must not be below backoff_sec", self.max_backoff_sec)


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """One row: a strategy, what it watches, where its signals go.

    `parameters` is the checked parameters object of its type (a frozen dataclass), not a mapping of strings.
    """

    strategy_id: str
    strategy_type: str
    parameters: Any
    instrument_tokens: tuple[int, ...]
    active_brokers: tuple[str, ...] = ("paper",)
    name: str = ""
    validator: str = "standard"
    per_instrument: bool = False
    enabled: bool = True
    risk: RiskLimits = field(default_factory=RiskLimits)
    #: Closed bars instead of ticks; None: ticks.
    bars: BarSpec | None = field(default=None, repr=False)
    #: What the process may take that the strategy has to itself in a live run; None: it has none.
    isolation: Isolation | None = field(default=None, repr=False)

    @property
    def max_position_size(self) -> Decimal:
        """Largest absolute position, in units; 0 is no limit."""
        return self.risk.max_position_size

    @property
    def risk_multiplier(self) -> Decimal:
        """What a strategy's quantity is multiplied with before the checks."""
        return self.risk.risk_multiplier


@dataclass(frozen=True, slots=True)
class PortfolioState:
    """The paper account of one executor at a moment. Quantities are signed; prices and cash are doubles."""

    positions: Mapping[int, int] = field(default_factory=dict)
    average_prices: Mapping[int, float] = field(default_factory=dict)
    cash: float = 0.0
    realised: float = 0.0
    fees: float = 0.0
    loss_streak: int = 0


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """What a validator may know beside the signal, the tick and the history."""

    strategy_id: str
    broker: str
    ts_ns: int
    market_session: Session
    risk_limits: RiskLimits
    portfolio_state: PortfolioState


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What belongs to a run as a whole."""

    name: Annotated[str, Doc("Name of the run, in logs, metrics and the journal.")] = "anystrat"
    rng_seed: Annotated[int, Ge(0), Le(_INT64_MAX), Doc("The seed that every strategy's seed is derived from.")] = 0
    shards: Annotated[int, Ge(1), Le(1024), Doc("Number of consumers that the instruments are shared out to.")] = 1
    overload: Annotated[Overload, Doc("Hold the source back, or go on with the latest tick of each instrument.")] = (
        Overload.BLOCK
    )
    sharding: Annotated[Sharding, Doc("A mixed hash of the token, or the token modulo the number of shards.")] = (
        Sharding.HASH
    )
    mailbox: Annotated[int, Ge(1), Le(1 << 24), Unit("ticks"), Doc("Capacity of a shard's mailbox.")] = 4096
    watchdog_sec: Annotated[
        float, Gt(0), Unit("seconds"), Doc("A strategy that holds everything up for longer is named in the log.")
    ] = 5.0


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What is made of a feed's silence and gaps; every type of source takes it beside its own options."""

    stale_after_sec: Annotated[
        float | None, Gt(0), Unit("seconds"), Doc("Silence after which the feed counts as stale; without it, never.")
    ] = None
    on_stale: Annotated[OnStale, Doc("Drop signals, or pause strategies, until the feed speaks again.")] = OnStale.GATE
    on_gap: Annotated[
        OnGap, Doc("Where ticks are missing: a note, windows anew, a pause, or windows filled from the history.")
    ] = OnGap.REWARM


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where ticks come from. `options` is the typed options object of `type` (`domain.endpoints`).

    For a plug-in's type without options of its own it is a mapping, in which values from the environment are `Secret`.
    """

    type: str
    options: Any
    feed: FeedSettings = field(default_factory=FeedSettings)


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where signals go under one name; `options` as in `SourceSettings`, `PaperCosts` for type paper."""

    name: str
    type: str
    options: Any
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)

    @property
    def costs(self) -> PaperCosts | None:
        """The costs of a paper broker; None for every other type."""
        return self.options if isinstance(self.options, PaperCosts) else None


@dataclass(frozen=True, slots=True)
class FeatureStoreSettings:
    """Where features that are dear to compute are kept; `options` as in `SourceSettings`."""

    type: str
    options: Any


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Where windows are filled from before a run's first tick; `options` as in `SourceSettings`."""

    type: str
    options: Any


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Where state and accepted signals are kept; `options` as in `SourceSettings`."""

    type: str
    options: Any


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where a running service answers /metrics, /health and /ready."""

    host: Annotated[str, Doc("Address to listen on. Anything but this machine's own needs `expose`.")] = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65_535), Doc("Port; 0 takes any that is free.")] = 9464
    expose: Annotated[bool, Doc("Let other machines read it: there is no password and no encryption.")] = False
    hosts: Annotated[
        tuple[str, ...], Doc("Names that a request may call this machine by, beside `localhost` and any address.")
    ] = ()
    sample: Annotated[
        float, Ge(0), Le(1), Unit("ratio"), Doc("Share of the ticks whose stages are timed; 0: none.")
    ] = 0.01

    def __post_init__(self) -> None:
        try:
            loopback = is_loopback(self.host)
        except ValueError:
            raise ParameterError("host", "must be an address, or localhost") from None
        if not (loopback or self.expose):
            raise ParameterError("host", "other machines could read this; with `expose: true` they may")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificate that the control API shows, with its chain, and its key; both PEM."""

    certificate: Annotated[Path, Doc("Certificate, with its chain, in PEM.")]
    key: Annotated[Path, Doc("Its private key, in PEM, without a pass phrase.")]


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Where a running service takes commands. Whoever may not be known by a token may do what `anonymous` says, on this machine."""

    listen: Annotated[str, Doc("Address and port. Anything but this machine's own needs `tls`.")] = "127.0.0.1:8088"
    tls: Annotated[TlsFiles | None, Doc("Certificate and key: with them, https.")] = None
    insecure: Annotated[bool, Doc("Let other machines in without `tls`: tokens can be read on the way.")] = False
    anonymous: Annotated[
        Literal["none", "read", "operate"],
        Doc("What may be done without a token, and only on this machine's own address."),
    ] = "read"
    hosts: Annotated[
        tuple[str, ...], Doc("Names that a request may call this machine by, beside `localhost` and any address.")
    ] = ()
    tokens: Annotated[Path | None, Doc("File of the tokens' hashes; without, beside the journal.")] = None
    audit: Annotated[Path | None, Doc("File of who did what; without, beside the journal.")] = None
    events: Annotated[int, Ge(100), Le(1_000_000), Doc("Outcomes that are kept for readers of the stream.")] = 10_000
    requests_per_sec: Annotated[
        float, Gt(0), Doc("Requests of one client, on average; the kill switch is not counted.")
    ] = 50.0

    def __post_init__(self) -> None:
        try:
            host, _ = self.address
            loopback = is_loopback(host)
        except ValueError:
            raise ParameterError("listen", "must be ADDRESS:PORT, such as 127.0.0.1:8088 or [::1]:8088") from None
        if not (loopback or self.tls or self.insecure):
            raise ParameterError(
                "listen", "other machines could read tokens on the way: give `tls`, or say `insecure: true`"
            )

    @property
    def address(self) -> tuple[str, int]:
        """Where to listen: an address, and a port (0: any that is free). Raises `ValueError`."""
        host, _, port = self.listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        number = int(port)
        if not (host and 0 <= number <= 65_535 and port.isascii() and port.isdigit()):
            raise ValueError(self.listen)
        return ("127.0.0.1" if host == "localhost" else str(ip_address(host))), number

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.address[0])


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own. Raises `ValueError` for what is none."""
    return host == "localhost" or ip_address(host).is_loopback


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Spans of a sample of ticks, for OpenTelemetry."""

    sample: Annotated[float, Ge(0), Le(1), Unit("ratio"), Doc("Share of the ticks that get a span; 0: none.")] = 0.01
    endpoint: Annotated[
        str | None, Doc("OTLP collector, http://localhost:4318/v1/traces; without one, spans go to standard error.")
    ] = None
    headers: Annotated[Mapping[str, Secret], Doc("Headers of every request to the collector.")] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise ParameterError("endpoint", "must begin with http:// or https://")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a running service writes to standard error."""

    format: Annotated[Literal["console", "json"], Doc("Lines for people, or one JSON object a line.")] = "console"
    level: Annotated[Literal["debug", "info", "warning", "error"], Doc("The least that is written.")] = "info"


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """A channel of a PostgreSQL database, on which it says that rows changed."""

    url: Secret
    channel: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration, checked. Paths in it are absolute or relative to the working directory, ready to open.

    `brokers` always holds `paper`. `part` is the number of the part of a cluster that this is the configuration of; None: of a
    whole run. `metrics`, `control` and `tracing` are None where the file does not have them: off. `directory` is where the configuration was found, `files` everything that was read.
    """

    run: RunSettings = field(default_factory=RunSettings)
    instruments: tuple[InstrumentSpec, ...] = ()
    source: SourceSettings | None = None
    brokers: Mapping[str, BrokerSettings] = field(
        default_factory=lambda: {"paper": BrokerSettings("paper", "paper", PaperCosts())}
    )
    journal: JournalSettings | None = None
    strategies: tuple[StrategyConfig, ...] = ()
    sessions: SessionSettings = field(default_factory=SessionSettings)
    metrics: MetricsSettings | None = None
    tracing: TracingSettings | None = None
    log: LogSettings = field(default_factory=LogSettings)
    directory: Path = Path()
    files: tuple[Path, ...] = ()
    feature_store: FeatureStoreSettings | None = None
    history: HistorySettings | None = None
    control: ControlSettings | None = None
    notify: NotifySettings | None = None
    account: AccountLimits | None = None
    watches: tuple[WatchedTable, ...] = ()
    cluster: ClusterSettings | None = None
    part: int | None = None
