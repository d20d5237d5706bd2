"""Every metric: its name, its labels, what it says. The exposition and the reference page are made from this table."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One metric. Names and labels are a promise to dashboards."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS: Final[dict[str, Metric]] = _table(
    # What strategies decide.
    Metric("signals_total", "counter", ("strategy", "kind", "side"), "Signals that passed every check."),
    Metric("signals_dropped_total", "counter", ("strategy", "reason"), "Signals that a check refused, by its reason."),
    Metric("signals_held_total", "counter", ("strategy",), "HOLD answers."),
    Metric("evaluations_total", "counter", ("strategy",), "Calls of the strategy's processor while ACTIVE."),
    Metric("ml_inferences_total", "counter", ("strategy",), "Rows on which a model ran for the strategy; a shared answer counts once."),
    Metric("processor_errors_total", "counter", ("strategy",), "What the strategy raised, or answered in place of a signal."),
    Metric("fills_total", "counter", ("strategy",), "Paper fills."),
    Metric(
        "strategy_state",
        "gauge",
        ("strategy",),
        "0 INIT, 1 WARMUP, 2 ACTIVE, 3 PAUSED, 4 ERROR, 5 STOPPED; of several executors the worst: "
        "ERROR, STOPPED, PAUSED, INIT, WARMUP, ACTIVE.",
    ),
    Metric("executors", "gauge", ("state",), "Executors in each state: a strategy has one for each broker, or more."),
    # Ticks.
    Metric("ticks_total", "counter", ("shard",), "Ticks that the shard took."),
    Metric("ticks_dropped_total", "counter", ("reason",), "Ticks that touched nothing, by reason."),
    Metric("ticks_conflated_total", "counter", ("shard",), "Ticks that were left out for newer ones of their instrument."),
    Metric("tick_lag_seconds", "gauge", ("shard",), "Age of the latest tick when it was handled: wall time less event time."),
    Metric("mailbox_depth", "gauge", ("shard",), "Ticks that wait in the shard's mailbox."),
    Metric("mailbox_capacity", "gauge", ("shard",), "Ticks that the shard's mailbox holds at most."),
    Metric("shard_instruments", "gauge", ("shard",), "Instruments that the shard watches: its share of the load."),
    # Time.
    Metric(
        "latency_seconds",
        "histogram",
        ("stage",),
        "Of a sample of ticks: one answer of a strategy (process_tick), its sizing and checks (validate); "
        "of every group: one attempt to send it (publish).",
    ),
    Metric("strategy_stalls_total", "counter", ("strategy",), "Times that the strategy held its shard up too long."),
    Metric("shard_blocked", "gauge", ("shard",), "1 while a strategy holds the shard up."),
    # Processes of isolated strategies.
    Metric("strategy_process_state", "gauge", ("strategy",), "0 starting, 1 ready, 2 failed."),
    Metric("strategy_process_restarts_total", "counter", ("strategy",), "Processes that were lost: killed, crashed, ended."),
    Metric("strategy_process_memory_bytes", "gauge", ("strategy",), "Resident memory of the strategy's process."),
    # The feed.
    Metric("feed_state", "gauge", ("partition",), "0 connecting, 1 fresh, 2 stale, 3 ended."),
    Metric("feed_silent_seconds", "gauge", ("partition",), "How long the feed has said nothing."),
    Metric("feed_ticks_total", "counter", ("partition",), "Ticks received, duplicates included."),
    Metric("feed_duplicates_total", "counter", ("partition",), "Ticks that came again, and were not taken again."),
    Metric("feed_gaps_total", "counter", ("partition",), "Times that ticks were missing for good."),
    Metric("feed_reconnects_total", "counter", ("partition",), "Connections made anew."),
    Metric("feed_quarantined_total", "counter", ("partition",), "Messages that were set aside."),
    # The journal.
    Metric("journal_up", "gauge", (), "1 while the journal takes commits."),
    Metric("journal_waiting", "gauge", (), "Steps that wait for their commit."),
    Metric("journal_commit_seconds", "histogram", (), "One commit."),
    Metric("journal_commit_steps", "histogram", (), "Steps of shards in one commit: the size of its group."),
    Metric("journal_commit_signals", "histogram", (), "Signals in one commit."),
    # Delivery.
    Metric(
        "delivery_signals_total",
        "counter",
        ("broker", "fate"),
        "What became of signals: acked, rejected, expired, dead, unknown.",
    ),
    Metric("delivery_retries_total", "counter", ("broker",), "Attempts after the first."),
    Metric("delivery_queue_depth", "gauge", ("broker",), "Signals that are accepted and not settled."),
    Metric("delivery_oldest_seconds", "gauge", ("broker",), "How long the oldest of them has waited."),
    Metric("delivery_breaker_state", "gauge", ("broker",), "0 closed, 1 half open, 2 open."),
    # The service.
    Metric("notifications_total", "counter", ("outcome",), "Messages to people: sent, failed, left_out for want of room."),
    Metric("service_ready", "gauge", (), "1 while /ready says so."),
    Metric("kill_switch", "gauge", (), "1 while the kill switch is on."),
    Metric("anystrat_info", "gauge", ("run", "version"), "Always 1."),
)  # fmt: skip
