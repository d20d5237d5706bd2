"""What a runner is wired of, and the ports of those that it drives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from anystrat.domain.configuration import FeedSettings
from anystrat.runner.committer import Recorder
from anystrat.runner.shard import Encode, Observer

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import RunSettings
    from anystrat.domain.events import RecordedEvent
    from anystrat.domain.health import BrokerHealth, ProcessHealth
    from anystrat.domain.intake import LiveSource
    from anystrat.domain.journal import Journal, OutboxSignal
    from anystrat.domain.measuring import StepProbe
    from anystrat.domain.notices import Listener
    from anystrat.domain.protocols import Compiler, HistoryProvider, InferencePort, StrategyProcessor
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.runner.plan import ShardPlan
    from anystrat.runner.quarantine import MarkStore


#: Awaited before these signals become dead letters; returns once what follows for their strategies is durable.
OnDead: TypeAlias = "Callable[[Sequence[OutboxSignal]], Awaitable[None]]"


class Delivery(Protocol):
    """One broker's delivery, as the runner drives it."""

    @property
    def broker(self) -> str:
        """The broker's name."""
        ...

    async def accept(self, signals: Sequence[OutboxSignal]) -> None:
        """Take over signals that are durable, in order; never waits for the sink."""
        ...

    async def run(self) -> None:
        """Send, from what a crash left unsettled on, until `drain` is done or this is cancelled."""
        ...

    async def drain(self, deadline_sec: float) -> None:
        """Send what can be sent by the deadline; the rest stays for the next start."""
        ...

    def kill(self) -> None:
        """Begin no send from now on."""
        ...

    def unkill(self) -> None:
        """Send again."""
        ...

    def recall(self) -> None:
        """Dead letters were revived in the journal: take them up."""
        ...

    def health(self) -> BrokerHealth:
        """How the broker is, now."""
        ...


class Models(Protocol):
    """Says, as events, which versions of the models serve."""

    def at_start(self, ts_ns: int) -> Sequence[RecordedEvent]:
        """What serves before the first tick."""
        ...

    def look(self) -> None:
        """Look at every file once; may take long, and run beside the ticks."""
        ...

    def events(self, ts_ns: int) -> Sequence[RecordedEvent]:
        """What has to be done about what was seen; quick."""
        ...


class Processes(Protocol):
    """The processes of isolated strategies. `prepare`, `settle` and `close` may take long: they are called beside the loop."""

    def prepare(self, engines: Sequence[Engine]) -> Callable[[StrategyExecutor], StrategyProcessor]:
        """A process for every isolated strategy of the engines, ready to be asked through what this gives for an executor.

        Until `settle` they are patient: a loss is tried again. Raises `AnystratError` for one that can never be ready.
        """
        ...

    def settle(self) -> None:
        """Those that were prepared last serve from now on; the others end."""
        ...

    def news(self) -> Sequence[tuple[str, bool, str]]:
        """(strategy, whether it has a process again, in words) since this was asked last; quick."""
        ...

    def health(self) -> tuple[ProcessHealth, ...]:
        """How each is, now."""
        ...

    def close(self) -> None:
        """End all of them."""
        ...


@dataclass(slots=True, eq=False)
class RunnerParts:
    """Everything that a runner is wired of. `deliveries(on_dead)` makes one delivery for each broker in use."""

    settings: RunSettings
    fingerprint: str
    plan: ShardPlan
    engines: Sequence[Engine]
    source: LiveSource
    journal: Journal
    clock: Clock
    encode: Encode
    deliveries: Callable[[OnDead], Sequence[Delivery]]
    #: The delivery of a broker that no executor sends to any more; None for one that is not configured.
    left_over: Callable[[str, OnDead], Delivery | None]
    lifetime_ns: Mapping[str, int] = field(default_factory=dict)
    compiler: Compiler | None = None
    observers: Sequence[Observer] = ()
    listener: Listener | None = None
    recorder: Recorder | None = None
    history: HistoryProvider | None = None
    models: Models | None = None
    #: Where it is marked what is being evaluated; None: what kills the process will kill the next one, too.
    marks: MarkStore | None = None
    #: Makes what measures inference deadlines, where a strategy has one.
    inference: Callable[[], InferencePort] | None = None
    #: The processes of isolated strategies; None: they are asked in this one.
    processes: Processes | None = None
    #: Does what would keep the loop waiting; None: on the spot.
    offload: Callable[[Callable[[], None]], Awaitable[None]] | None = None
    on_commit: Callable[[float, int, int], object] | None = None
    probe: Callable[[Engine], StepProbe] | None = None
    version: str = ""
    source_name: str = ""
    journal_name: str = ""
    feed: FeedSettings = field(default_factory=FeedSettings)
    drain_sec: float = 10.0
    keep_inputs: int = 1_000_000
    keep_settled: int = 1_000_000
    #: After so many inputs a shard leaves a checkpoint; None: after as many as its windows make worth it.
    checkpoint_inputs: int | None = None
