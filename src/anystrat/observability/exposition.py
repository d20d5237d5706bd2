"""Metrics for Prometheus: read from what the service keeps anyway, when a scraper asks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.account import AccountReason
from anystrat.domain.errors import MissingExtra
from anystrat.domain.health import ExecutorTally, HealthReport, Reporter
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import Reason
from anystrat.observability.measurements import Buckets, Measurements
from anystrat.observability.metric_table import METRICS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

#: A strategy with several executors is as bad as the worst of them.
_SEVERITY: Final = (State.ACTIVE, State.WARMUP, State.INIT, State.PAUSED, State.STOPPED, State.ERROR)
#: A validator of one's own may make up its labels; a metric must not grow with them.
OWN_REASONS: Final = 32
_OTHER: Final = "other"
_STANDARD: Final = frozenset(reason.value for reason in (*Reason, *AccountReason))
_EOF: Final = b"# EOF\n"
_AT_ONCE: Final = 200

Row = tuple[tuple[str, ...], float]


class Exposition:
    """The metrics of one service, in a registry of their own, with those of the process (memory, CPU, files).

    Raises `MissingExtra` without prometheus-client.
    """

    def __init__(self, reporter: Reporter, measurements: Measurements, *, version: str, process: bool = True) -> None:
        library = _library()
        self._encoders = import_module("prometheus_client.exposition")
        families = import_module("prometheus_client.metrics_core")
        self._families: dict[str, Any] = {
            "counter": families.CounterMetricFamily,
            "gauge": families.GaugeMetricFamily,
            "histogram": families.HistogramMetricFamily,
        }
        self._reporter = reporter
        self._measurements = measurements
        self._version = version
        self.registry = library.CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        if process:
            library.ProcessCollector(registry=self.registry)
            library.PlatformCollector(registry=self.registry)
            library.GCCollector(registry=self.registry)

    async def page(self, accept: str = "") -> tuple[bytes, str]:
        """What a scraper gets, and its content type: OpenMetrics where it asks for that, else Prometheus' own text.

        The event loop has its turn after every few hundred lines, so that a scrape of many strategies holds no tick up.
        """
        choose: Callable[[str], tuple[Callable[[Any], bytes], str]] = self._encoders.choose_encoder
        encode, content_type = choose(accept)
        parts: list[bytes] = []
        for family in self.registry.collect():
            for begin in range(0, max(len(family.samples), 1), _AT_ONCE):
                lines = encode(_Piece(family, begin)).removesuffix(_EOF)
                while begin and lines.startswith(b"# "):  # the head is there already
                    lines = lines.partition(b"\n")[2]
                parts.append(lines)
                await asyncio.sleep(0)
        if "openmetrics" in content_type:
            parts.append(_EOF)
        return b"".join(parts), content_type

    def collect(self) -> Iterator[Family]:
        """Every metric now; called by the registry."""
        report = self._reporter.health()
        tallies = list(self._reporter.executors())
        rows = {
            **self._strategies(tallies),
            **_ticks(report),
            **_processes(report),
            **_feeds(report),
            **_delivery(report),
        }
        rows |= _service(report, self._version)
        told = self._measurements.notifications
        rows["notifications_total"] = [((how,), told[how]) for how in ("sent", "failed", "left_out")]
        rows["ticks_dropped_total"] = [((reason,), n) for reason, n in self._reporter.tick_drops().items()]
        measured: dict[str, list[tuple[tuple[str, ...], Buckets]]] = {
            "latency_seconds": [((stage.value,), buckets) for stage, buckets in self._measurements.stages.items()],
            "journal_commit_seconds": [((), self._measurements.commit_seconds)],
            "journal_commit_steps": [((), self._measurements.commit_steps)],
            "journal_commit_signals": [((), self._measurements.commit_signals)],
        }
        for name, metric in METRICS.items():
            family = self._families[metric.kind](name, metric.help, labels=metric.labels)
            if metric.kind == "histogram":
                for labels, buckets in measured[name]:
                    family.add_metric(labels, buckets.cumulative(), buckets.total)
            else:
                for labels, value in rows[name]:
                    family.add_metric(labels, value)
            yield family

    def _strategies(self, tallies: Iterable[ExecutorTally]) -> dict[str, list[Row]]:
        kinds: dict[str, str] = {}
        states: dict[str, State] = {}
        sums: dict[str, dict[str, int]] = {name: {} for name in _SUMMED}
        drops: dict[str, dict[str, int]] = {}
        population = {state.name: 0 for state in State}
        for tally in tallies:
            strategy = tally.strategy_id
            kinds[strategy] = tally.kind
            states[strategy] = max(states.get(strategy, tally.state), tally.state, key=_SEVERITY.index)
            population[tally.state.name] += 1
            for name, attribute in _SUMMED.items():
                if name != "ml_inferences_total" or tally.kind != "rules":
                    sums[name][strategy] = sums[name].get(strategy, 0) + getattr(tally, attribute)
            dropped = drops.setdefault(strategy, {})
            for reason, n in tally.drops.items():
                dropped[reason] = dropped.get(reason, 0) + n
        signals = self._measurements.signals
        return {
            **{name: [((strategy,), n) for strategy, n in counted.items()] for name, counted in sums.items()},
            "signals_total": [
                ((strategy, kind, side), signals[strategy, side])
                for strategy, kind in kinds.items()
                for side in ("BUY", "SELL")
            ],
            "signals_dropped_total": [
                ((strategy, reason), n)
                for strategy, reasons in drops.items()
                for reason, n in _bounded(reasons).items()
            ],
            "strategy_state": [((strategy,), state) for strategy, state in states.items()],
            "executors": [((state,), n) for state, n in population.items()],
        }


_SUMMED: Final = {
    "signals_held_total": "holds",
    "evaluations_total": "evaluations",
    "ml_inferences_total": "inferences",
    "processor_errors_total": "errors",
    "fills_total": "fills",
}


class _Piece:
    """A registry of some samples of one metric, for an encoder."""

    def __init__(self, family: Family, begin: int) -> None:
        self._piece = copy(family)
        self._piece.samples = family.samples[begin : begin + _AT_ONCE]

    def collect(self) -> Iterable[Family]:
        return (self._piece,)


def _bounded(reasons: Mapping[str, int]) -> Mapping[str, int]:
    """The reasons as they are while there are few of one's own; the rest under `other`."""
    own = [reason for reason in reasons if reason not in _STANDARD]
    if len(own) <= OWN_REASONS:
        return reasons
    beyond = set(own[OWN_REASONS:])
    kept = {reason: n for reason, n in reasons.items() if reason not in beyond}
    kept[_OTHER] = kept.get(_OTHER, 0) + sum(reasons[reason] for reason in beyond)
    return kept


def _ticks(report: HealthReport) -> dict[str, list[Row]]:
    stalls: Counter[str] = Counter()
    for one in report.shards:
        stalls.update(one.stalls)
    shards = [((str(one.shard),), one) for one in report.shards]
    return {
        "ticks_total": [(label, one.ticks) for label, one in shards],
        "ticks_conflated_total": [(label, one.conflated) for label, one in shards],
        "tick_lag_seconds": [(label, one.lag_sec) for label, one in shards if one.lag_sec is not None],
        "mailbox_depth": [(label, one.depth) for label, one in shards],
        "mailbox_capacity": [(label, one.capacity) for label, one in shards],
        "shard_instruments": [(label, one.instruments) for label, one in shards],
        "shard_blocked": [(label, bool(one.blocked_by)) for label, one in shards],
        "strategy_stalls_total": [((strategy,), n) for strategy, n in stalls.items()],
    }


def _processes(report: HealthReport) -> dict[str, list[Row]]:
    processes = [((one.strategy_id,), one) for one in report.processes]
    return {
        "strategy_process_state": [(label, one.state) for label, one in processes],
        "strategy_process_restarts_total": [(label, one.restarts) for label, one in processes],
        "strategy_process_memory_bytes": [(label, one.resident_bytes) for label, one in processes],
    }


def _feeds(report: HealthReport) -> dict[str, list[Row]]:
    feeds = [((one.partition,), one) for one in report.feeds]
    return {
        "feed_state": [(label, one.state) for label, one in feeds],
        "feed_silent_seconds": [(label, one.silent_sec) for label, one in feeds if one.silent_sec is not None],
        "feed_ticks_total": [(label, one.received) for label, one in feeds],
        "feed_duplicates_total": [(label, one.duplicates) for label, one in feeds],
        "feed_gaps_total": [(label, one.gaps) for label, one in feeds],
        "feed_reconnects_total": [(label, one.reconnects) for label, one in feeds],
        "feed_quarantined_total": [(label, one.quarantined) for label, one in feeds],
    }


def _delivery(report: HealthReport) -> dict[str, list[Row]]:
    brokers = [((one.broker,), one) for one in report.brokers]
    return {
        "delivery_signals_total": [
            ((one.broker, fate), getattr(one, fate))
            for one in report.brokers
            for fate in ("acked", "rejected", "expired", "dead", "unknown")
        ],
        "delivery_retries_total": [(label, one.retries) for label, one in brokers],
        "delivery_queue_depth": [(label, one.queued) for label, one in brokers],
        "delivery_oldest_seconds": [(label, one.oldest_sec) for label, one in brokers],
        "delivery_breaker_state": [(label, one.breaker) for label, one in brokers],
    }


def _service(report: HealthReport, version: str) -> dict[str, list[Row]]:
    journal = report.journal
    return {
        "journal_up": [] if journal is None else [((), not journal.problem)],
        "journal_waiting": [] if journal is None else [((), journal.waiting)],
        "service_ready": [((), not report.troubles())],
        "kill_switch": [((), report.killed)],
        "anystrat_info": [((report.run, version), 1)],
    }


def _library() -> Any:
    try:
        return import_module("prometheus_client")
    except ModuleNotFoundError:
        raise MissingExtra("metrics", "live") from None
