"""What the control API takes and gives, as its OpenAPI document says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

Operated = Literal["pause", "resume", "stop", "enable"]
Kind = Literal["signal", "drop", "transition", "error", "fill", "note", "dead_letter", "breaker", "expired"]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CommandOne(_Given):
    """A command for one strategy, on all of its brokers or on one."""

    operation: Operated
    strategy: Annotated[str, Field(min_length=1, max_length=200, description="Id of the strategy.")]
    broker: Annotated[str | None, Field(max_length=200, description="Only its executor on this broker.")] = None


class CommandAll(_Given):
    """A command for every strategy that it can move."""

    operation: Operated
    all: Literal[True]


class KillOrder(_Given):
    """The kill switch as it is to be."""

    on: StrictBool
    reason: Annotated[str, Field(max_length=500, description="Why: for the audit log.")] = ""


_Expires = Annotated[
    float | None,
    Field(
        gt=0, le=31_536_000, strict=False, description="Seconds from now after which they are not sent. None: never."
    ),
]


class ReplayIds(_Given):
    """Dead letters by their signals' ids."""

    ids: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=1_000)]
    expires_in_sec: _Expires = None


class ReplayBroker(_Given):
    """All dead letters of a broker."""

    broker: Annotated[str, Field(min_length=1, max_length=200)]
    expires_in_sec: _Expires = None


class ReplayAll(_Given):
    """All dead letters."""

    all: Literal[True]
    expires_in_sec: _Expires = None


class Problem(BaseModel):
    """Something that is wrong: where, what was found, what is allowed, and the nearest right name."""

    file: str = ""
    line: int | None = None
    path: str = ""
    message: str
    found: str = ""
    allowed: str = ""
    nearest: str = ""


class ErrorBody(BaseModel):
    """Why a request was refused, in a word for programs and a sentence for people."""

    code: str
    message: str
    problems: list[Problem] = []


class Error(BaseModel):
    """Every answer that is no success."""

    error: ErrorBody


class Health(BaseModel):
    """Whether the service lives: its event loop answers, and it has not given up."""

    alive: bool
    phase: str


class Ready(BaseModel):
    """Whether ticks are taken and signals delivered; part by part, with what is wrong."""

    ready: bool
    run: str
    phase: str
    killed: bool
    troubles: dict[str, str]
    shards: list[dict[str, Any]]
    feeds: list[dict[str, Any]]
    journal: dict[str, Any] | None
    brokers: list[dict[str, Any]]


class Ticks(BaseModel):
    """Where every tick went: received = processed + duplicates + dropped + shed."""

    received: int
    processed: int
    duplicates: int
    dropped: dict[str, int]
    shed: int


class StrategyProcess(BaseModel):
    """The process that an isolated strategy has to itself. `problem` is how the last one was lost."""

    state: Annotated[str, Field(pattern="^(starting|ready|failed)$")]
    pid: int | None
    restarts: int
    resident_bytes: int
    problem: str


class Strategy(BaseModel):
    """An executor: one strategy on one broker. Counts are since its first tick, restarts included."""

    strategy_id: str
    strategy_type: str
    broker: str
    shard: int
    kind: str
    state: Annotated[str, Field(pattern="^(INIT|WARMUP|ACTIVE|PAUSED|ERROR|STOPPED)$")]
    since_ns: Annotated[int | None, Field(description="Event time of its last transition.")]
    instruments: int
    ticks: int
    evaluations: int
    signals: int
    holds: int
    drops: dict[str, int]
    errors: int
    fills: int
    process: Annotated[StrategyProcess | None, Field(description="Where the strategy is isolated.")] = None


class Status(BaseModel):
    """The service at a glance."""

    run: str
    version: str
    phase: str
    ready: bool
    troubles: dict[str, str]
    killed: bool
    reduce_only: Annotated[bool | None, Field(description="None: the run has no account limits.")] = None
    epoch: int
    ticks: Ticks
    strategies: list[Strategy]
    brokers: list[dict[str, Any]]


class Strategies(BaseModel):
    """All executors, in the order of the configuration's rows and brokers."""

    strategies: list[Strategy]


class Commanded(BaseModel):
    """What a command came to: the executors that it meant, as they are now. `done`: it was handled within a second or two."""

    operation: Operated
    done: bool
    strategies: list[Strategy]


class Kill(BaseModel):
    """The kill switch. On: no send begins, no signal is accepted; kept over restarts."""

    on: bool
    queued: Annotated[int, Field(description="Signals that are accepted and not sent.")]


class ReduceOnly(BaseModel):
    """The account's mode in which only what reduces a position may pass; kept over restarts.

    `configured`: it is on whatever an operator says. `done`: what was asked is in force and durable.
    """

    on: bool
    configured: bool
    done: bool = True


class Position(BaseModel):
    """An executor's position in one instrument."""

    instrument_token: int
    symbol: str
    quantity: int
    average_price: float
    last_price: float | None
    unrealised: float | None


class Account(BaseModel):
    """The paper account of an executor. `realised` is net of fees of closing fills; `net` is cash plus market value."""

    strategy_id: str
    broker: str
    cash: float
    realised: float
    unrealised: float | None
    fees: float
    net: float | None
    positions: list[Position]


class Positions(BaseModel):
    """All accounts, and their sums."""

    accounts: list[Account]
    realised: float
    unrealised: float | None
    fees: float
    net: float | None


class Signal(BaseModel):
    """An emitted signal; `id` is its number in the stream of outcomes."""

    id: int
    kind: Literal["signal"]
    ts_ns: int
    strategy_id: str
    broker: str
    instrument_token: int
    signal_type: str
    quantity: int
    price: str
    confidence: float
    signal_id: str
    reasoning: str


class Drop(BaseModel):
    """A signal that a check refused."""

    id: int
    kind: Literal["drop"]
    ts_ns: int
    strategy_id: str
    broker: str
    instrument_token: int
    signal_type: str
    quantity: int
    price: str
    confidence: float | None
    reason: str
    reasoning: str


class Signals(BaseModel):
    """The latest signals of this process, newest first. The stream goes on behind them at `last_event_id`."""

    last_event_id: str
    signals: list[Signal]


class Drops(BaseModel):
    """The latest drops of this process, newest first; `counts` by reason are of all time."""

    drops: list[Drop]
    counts: dict[str, int]


class DeadLetter(BaseModel):
    """A signal that was not delivered (`dead`), or of which nobody knows (`unknown`)."""

    signal_id: str
    broker: str
    number: int
    fate: str
    strategy_id: str
    instrument_token: int
    ts_ns: int
    attempts: int
    reason: str
    signal: dict[str, Any]


class DeadLetters(BaseModel):
    """Dead letters, oldest first; `total` counts those that are not listed, too."""

    dead_letters: list[DeadLetter]
    total: int


class Replayed(BaseModel):
    """How many signals are pending again."""

    revived: int


class Change(BaseModel):
    """One thing that a reload changed."""

    what: str
    name: str
    how: str


class Reloaded(BaseModel):
    """What a reload changed; nothing where the configuration is the same."""

    changes: list[Change]
    files: list[str]
