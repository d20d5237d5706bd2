"""A day of synthetic ticks of twenty instruments through four strategies, one of them our own, with limits that bite.

    .venv/bin/python examples/intraday/run.py

The ticks are random walks made from a seed: what a rule earns here is luck, and what it pays in costs is not. What there
is to see is which signals were dropped, and why. Strategies and limits are in anystrat.yaml beside this file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystrat import StrategyRunnerService, open_signals, register_strategy, rule
from anystrat.backtest.report import executor_report
from anystrat.cli.screen import Column, count, heading, line, pairs, table
from anystrat.domain.outcomes import Dropped, Outcome
from anystrat.domain.tick import datetime_of
from anystrat.testing.ticks import synthetic_ticks

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "out" / "intraday"
TOKENS = range(101, 121)
TICKS, SEED = 30_000, 7

WHY = {
    "below_min_confidence": "less sure than risk.min_confidence asks for",
    "price_band": "the price is further than risk.band_pct from the minute's open",
    "position_limit": "it would take the position beyond max_position_size",
    "exposure": "all positions together would be worth more than risk.max_exposure",
    "circuit_open": "risk.max_loss_streak losing fills in a row; paused for risk.resume_after_sec",
    "cooldown": "within risk.cooldown_sec of the last signal on this instrument",
    "duplicate": "same side and price as a signal less than risk.dedupe_window_sec (3) ago",
    "rate_limited": "risk.max_signals_per_min were emitted within the last 60 seconds",
}


@rule(history=30)
def fade(prices: NDArray[np.float64], jump: float = 0.004) -> tuple[str, float] | None:
    """Against a jump: sell what stands far above the median of its window, buy what stands far below."""
    distance = float(prices[-1] / np.median(prices) - 1)
    if abs(distance) < jump:
        return None
    return "SELL" if distance > 0 else "BUY", min(1.0, abs(distance) / (2 * jump))


def main() -> None:
    """Replay, write signals and drops, and explain the first drop of each kind."""
    register_strategy(fade)
    firsts: dict[tuple[str, str], Dropped] = {}
    numbers: Counter[tuple[str, str]] = Counter()

    def watch(outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Dropped):
                key = (outcome.strategy_id, str(outcome.reason))
                firsts.setdefault(key, outcome)
                numbers[key] += 1

    OUT.mkdir(parents=True, exist_ok=True)
    with (
        open_signals(OUT / "signals.jsonl", reasons=True) as signals,
        open_signals(OUT / "drops.jsonl", reasons=True, drops=True) as drops,
    ):
        service = StrategyRunnerService.from_file(HERE / "anystrat.yaml", observers=[signals.write, drops.write, watch])
        emitted = sum(1 for _ in service.run(synthetic_ticks(SEED, TOKENS, TICKS)))

    heading("Synthetic ticks: random walks, never from a market")
    line(f"{count(TICKS)} ticks of {len(TOKENS)} instruments, seed {SEED}; profits here mean nothing.\n")
    summary([executor_report(executor) for executor in service.executors])
    line("\nThe first drop of each kind:")
    for (strategy, reason), drop in firsts.items():
        signal = drop.signal
        at = f"{datetime_of(drop.ts_ns):%H:%M:%S}"
        what = f"{signal.signal_type} {signal.quantity} of {drop.instrument_token} at {signal.price}, {at}"
        line(f"\n{strategy}: {reason}, {count(numbers[strategy, reason])} in all")
        pairs([("  signal", f"{what}, confidence {signal.confidence:.2f}"), ("  why", WHY.get(reason, reason))])
    where = os.path.relpath(OUT)
    line(f"\nWritten: {where}/signals.jsonl ({count(emitted)}), {where}/drops.jsonl ({count(drops.rows)})")


def summary(reports: list[dict[str, Any]]) -> None:
    """What every strategy did, over all of its executors."""
    titles = ("strategy", "executors", "signals", "dropped", "trips", "P&L")
    rows = []
    for strategy in dict.fromkeys(report["strategy_id"] for report in reports):
        own = [report for report in reports if report["strategy_id"] == strategy]
        dropped = sum(sum(report["drops"].values()) for report in own)
        sums = [sum(report[key] for report in own) for key in ("signals", "round_trips", "pnl")]
        rows.append([strategy, *map(count, (len(own), sums[0], dropped, sums[1])), f"{sums[2]:+,.0f}"])
    table([Column(titles[0], style="bold"), *(Column(title, number=True) for title in titles[1:])], rows)


if __name__ == "__main__":
    main()
