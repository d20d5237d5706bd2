"""The options of every built-in source, broker and journal type, as checked values that the adapters take.

A field of type `Secret` may hold a password, so it never prints; the configuration also takes it from a file, as
`<field>_file`. Paths are resolved against the file that named them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from anystrat.domain.configuration import Secret
from anystrat.domain.parameters import Doc, Ge, Gt, Le, ParameterError, Unit

Pace = Annotated[
    float | Literal["max"],
    Gt(0),
    Unit("multiple of real time"),
    Doc("How fast a recording is played: max, or a multiple of real time."),
]


class TickFormat(StrEnum):
    """How a tick is written in a line of text."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A recording: Parquet, JSONL or CSV by its suffix; several merge by timestamp."""

    path: Annotated[tuple[Path, ...], Doc("The file, or a list of files.")]
    pace: Pace = "max"


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """Seeded random ticks, for demos and load tests."""

    ticks: Annotated[
        int | Literal["endless"], Ge(1), Unit("ticks"), Doc("How many ticks are made in all, or endless.")
    ] = 10_000
    seed: Annotated[int, Ge(0), Doc("The same seed makes the same ticks.")] = 0
    instruments: Annotated[tuple[int, ...], Doc("Tokens; without any, those that the strategies watch.")] = ()
    start: Annotated[str, Doc("Time of the first tick, ISO 8601; or now, for a live demo.")] = "2024-01-02T09:15:00Z"
    start_price: Annotated[float, Gt(0), Unit("price"), Doc("Price of every instrument's first tick.")] = 100.0
    tick_size: Annotated[Decimal, Gt(0), Unit("price"), Doc("Prices are whole multiples of it.")] = Decimal("0.01")
    volatility: Annotated[float, Ge(0), Le(1), Unit("ratio"), Doc("Standard deviation of one step's return.")] = 0.001
    interval_ms: Annotated[float, Gt(0), Unit("milliseconds"), Doc("Event time between two ticks.")] = 100.0
    pace: Pace = "max"

    def __post_init__(self) -> None:
        if self.start != "now":
            self.start_ns()

    def start_ns(self) -> int:
        """The first tick's time where `start` says it. Raises `ParameterError`."""
        try:
            moment = datetime.fromisoformat(self.start)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        except (ValueError, OverflowError):
            raise ParameterError("start", "must be now, or an ISO 8601 time as 2024-01-02T09:15:00Z") from None
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


@dataclass(frozen=True, slots=True)
class StdinSource:
    """Ticks from standard input, a line each."""

    format: Annotated[TickFormat, Doc("How the lines are written.")] = TickFormat.JSONL


@dataclass(frozen=True, slots=True)
class NatsSource:
    """Ticks from a NATS JetStream stream, through a durable pull consumer."""

    url: Annotated[Secret, Doc("Server, nats://host:4222; several separated by commas.")]
    stream: Annotated[str, Doc("Stream that holds the ticks.")] = "TICKS"
    subject: Annotated[str, Doc("Subject, with `>` or `*` as NATS has them.")] = "ticks.>"
    durable: Annotated[str, Doc("Name of the durable consumer, which is this run's alone.")] = "anystrat"
    start: Annotated[
        Literal["all", "new"],
        Doc("Where a run without a journal of its own begins: all that there is, or what comes next."),
    ] = "all"
    batch: Annotated[int, Ge(1), Le(100_000), Unit("messages"), Doc("Messages asked for at once.")] = 256
    user: Annotated[Secret | None, Doc("User name.")] = None
    password: Annotated[Secret | None, Doc("Password.")] = None
    token: Annotated[Secret | None, Doc("Authentication token.")] = None
    credentials: Annotated[Path | None, Doc("A NATS .creds file.")] = None


#: What a guarantee rests on, or another option says.
_NOT_AN_OPTION = (
    *("acks", "auto.offset.reset", "bootstrap.servers", "enable.auto.commit", "enable.auto.offset.store"),
    *("enable.idempotence", "enable.partition.eof", "group.id", "message.timeout.ms", "delivery.timeout.ms"),
    *(
        "group.protocol",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "request.required.acks",
        "transactional.id",
    ),
)


def _check_librdkafka(options: Mapping[str, Secret]) -> None:
    for name in options:
        if name in _NOT_AN_OPTION:
            raise ParameterError("options", f"{name} cannot be set here: it is decided by the other options")


@dataclass(frozen=True, slots=True)
class KafkaSource:
    """Ticks from a Kafka topic, shared out by a consumer group, or read by this run alone."""

    bootstrap_servers: Annotated[str, Doc("host:port, several separated by commas.")]
    topic: Annotated[str, Doc("Topic that holds the ticks.")]
    group_id: Annotated[str, Doc("Consumer group: runs that share it share the topic's partitions.")] = "anystrat"
    partitions: Annotated[
        tuple[int, ...],
        Ge(0),
        Doc("Partitions that this run reads whoever else does; without any, the group shares them out."),
    ] = ()
    start: Annotated[
        Literal["all", "new"],
        Doc(
            "Where a partition begins that neither this run nor its group has read: all that there is, or what comes next."
        ),
    ] = "all"
    batch: Annotated[int, Ge(1), Le(100_000), Unit("messages"), Doc("Messages asked for at once.")] = 256
    options: Annotated[Mapping[str, Secret], Doc("More librdkafka settings, security.protocol for example.")] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        _check_librdkafka(self.options)


@dataclass(frozen=True, slots=True)
class LogBroker:
    """Signals to the log."""

    level: Annotated[Literal["debug", "info", "warning"], Doc("Level of the lines.")] = "info"


@dataclass(frozen=True, slots=True)
class JsonlBroker:
    """Signals appended to a JSONL file."""

    path: Annotated[Path, Doc("The file; it is made when missing.")]


@dataclass(frozen=True, slots=True)
class NatsBroker:
    """Signals to NATS JetStream; the signal id is the message id."""

    url: Annotated[Secret, Doc("Server, nats://host:4222; several separated by commas.")]
    subject: Annotated[str, Doc("Subject; `{strategy_id}`, `{broker}` and `{instrument_token}` are filled in.")] = (
        "signals.{strategy_id}.{instrument_token}"
    )
    stream: Annotated[str | None, Doc("Stream that must hold the subject.")] = None
    user: Annotated[Secret | None, Doc("User name.")] = None
    password: Annotated[Secret | None, Doc("Password.")] = None
    token: Annotated[Secret | None, Doc("Authentication token.")] = None
    credentials: Annotated[Path | None, Doc("A NATS .creds file.")] = None


@dataclass(frozen=True, slots=True)
class KafkaBroker:
    """Signals to a Kafka topic; the signal id is the record's id header."""

    bootstrap_servers: Annotated[str, Doc("host:port, several separated by commas.")]
    topic: Annotated[str, Doc("Topic for the signals.")]
    format: Annotated[Literal["json", "msgpack"], Doc("How a record's value is written.")] = "json"
    options: Annotated[Mapping[str, Secret], Doc("More librdkafka settings, security.protocol for example.")] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        _check_librdkafka(self.options)


@dataclass(frozen=True, slots=True)
class MemoryFeatures:
    """Feature vectors in memory, those that were asked for last."""

    size: Annotated[int, Ge(1), Le(1 << 30), Unit("vectors"), Doc("How many it may hold.")] = 100_000


@dataclass(frozen=True, slots=True)
class RedisFeatureStore:
    """Feature vectors in Redis, shared with other processes, those that were asked for last in memory as well."""

    url: Annotated[Secret, Doc("redis://, rediss:// or unix:// address.")]
    size: Annotated[int, Ge(1), Le(1 << 30), Unit("vectors"), Doc("How many memory may hold.")] = 100_000
    prefix: Annotated[str, Doc("What every key begins with.")] = "anystrat:features:"
    ttl_sec: Annotated[
        int, Ge(1), Le(1_000_000_000), Unit("seconds"), Doc("A vector that nobody asks for so long is forgotten.")
    ] = 86_400
    timeout_sec: Annotated[
        float, Gt(0), Le(10), Unit("seconds"), Doc("How long the server is waited for; features are computed then.")
    ] = 0.05


@dataclass(frozen=True, slots=True)
class FileHistory:
    """What tick files hold from before the run: Parquet, JSONL, CSV, or the directory of a recording."""

    path: Annotated[tuple[Path, ...], Doc("The file or directory, or a list of them.")]


@dataclass(frozen=True, slots=True)
class JournalHistory:
    """What the SQLite journal of an earlier run keeps: under another configuration, for example."""

    path: Annotated[Path, Doc("The journal's file.")]


@dataclass(frozen=True, slots=True)
class PostgresHistory:
    """What a PostgreSQL table holds from before the run, in columns instrument_token, price, and ts_ns or timestamp."""

    url: Annotated[Secret, Doc("postgresql:// address.")]
    table: Annotated[str, Doc("The table, with its schema where it is not on the search path.")] = "ticks"


@dataclass(frozen=True, slots=True)
class RedisHistory:
    """What Redis streams hold from before the run, one an instrument, in fields ts_ns and price."""

    url: Annotated[Secret, Doc("redis://, rediss:// or unix:// address.")]
    key: Annotated[str, Doc("Name of an instrument's stream, `{token}` standing for the instrument.")] = "ticks:{token}"

    def __post_init__(self) -> None:
        if "{token}" not in self.key:
            raise ParameterError("key", "must hold {token}: each instrument has a stream of its own", self.key)


@dataclass(frozen=True, slots=True)
class SourceHistory:
    """What the run's own source holds from before the run: `nats` with `start: new`, `kafka` with `partitions` too. The run begins where it ends."""

    messages: Annotated[int, Ge(1), Le(100_000_000), Unit("messages"), Doc("Messages looked back at, at most.")] = (
        1_000_000
    )


@dataclass(frozen=True, slots=True)
class SqliteJournal:
    """A SQLite file."""

    path: Annotated[Path, Doc("The file, on a local disk; it is made when missing.")]
    keep_inputs: Annotated[
        int, Ge(0), Unit("inputs"), Doc("Inputs of each shard kept beside those that a restart needs: history, export.")
    ] = 1_000_000
    keep_settled: Annotated[
        int, Ge(0), Unit("signals"), Doc("Delivered, rejected and expired signals kept of each broker.")
    ] = 100_000
    busy_timeout_sec: Annotated[
        float, Gt(0), Le(300), Unit("seconds"), Doc("How long a program that locks the file (a backup) is waited for.")
    ] = 5.0


@dataclass(frozen=True, slots=True)
class PostgresJournal:
    """A PostgreSQL database, for several machines."""

    url: Annotated[Secret, Doc("postgresql:// address.")]
    schema: Annotated[str, Doc("Schema that holds the tables; it is made when missing.")] = "public"
    keep_inputs: Annotated[
        int, Ge(0), Unit("inputs"), Doc("Inputs of each shard kept beside those that a restart needs.")
    ] = 1_000_000
    keep_settled: Annotated[
        int, Ge(0), Unit("signals"), Doc("Delivered, rejected and expired signals kept of each broker.")
    ] = 100_000


@dataclass(frozen=True, slots=True)
class MemoryJournal:
    """Nothing outlives the process."""

    keep_inputs: Annotated[int, Ge(0), Unit("inputs"), Doc("Inputs of each shard kept before its checkpoint.")] = (
        100_000
    )
    keep_settled: Annotated[
        int, Ge(0), Unit("signals"), Doc("Delivered, rejected and expired signals kept of each broker, at least.")
    ] = 10_000
