"""The quickstart: real prices through rules, a model, and a hybrid of both, with paper fills and what they cost.

    make run                          # or: .venv/bin/python examples/quickstart/run.py

What runs is in anystrat.yaml beside this file. The model was trained on earlier days; it sees only later ones here.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from data import tick_columns, write_csv

from anystrat import StrategyRunnerService, open_signals
from anystrat.backtest.report import executor_report
from anystrat.cli.screen import Column, count, heading, line, pairs, table
from anystrat.domain.columns import TickColumns
from anystrat.domain.outcomes import Filled, Outcome
from anystrat.domain.tick import datetime_of
from anystrat.paper.fills import fill_fee, fill_price

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "out" / "quickstart"
RESULTS = ("strategy", "signals", "invested", "fees", "P&L", "of holding")
NEXT = """\
Next, from the directory of the Makefile:

# the same by the command line
.venv/bin/anystrat replay examples/quickstart/anystrat.yaml
# a rule of your own, in ten lines
.venv/bin/python examples/snippets/own_rule.py
# a project of your own
.venv/bin/anystrat init my-strategies"""


def main() -> None:
    """Replay the days that the model has not seen, write the signals, and say what came of them."""
    card = json.loads((HERE / "models" / "momentum.card.json").read_text(encoding="utf-8"))
    ticks = tick_columns(first=date.fromisoformat(card["split"]["date"]))
    start, end = int(ticks.ts_ns[0]), int(ticks.ts_ns[-1])
    share_time: Counter[str] = Counter()

    def watch(outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Filled):
                share_time[outcome.strategy_id] += outcome.quantity * (end - outcome.ts_ns)

    OUT.mkdir(parents=True, exist_ok=True)
    write_csv(OUT / "ticks.csv", ticks)
    with open_signals(OUT / "signals.jsonl") as signals, open_signals(OUT / "drops.jsonl", drops=True) as drops:
        service = StrategyRunnerService.from_file(HERE / "anystrat.yaml", observers=[signals.write, drops.write, watch])
        emitted = sum(1 for _ in service.run(ticks))

    shares, hold_fees, hold = holding(service, ticks)
    reports = [executor_report(executor) for executor in service.executors]
    rows = []
    for report in reports:
        strategy, pnl = report["strategy_id"], report["pnl"]
        invested = share_time[strategy] / (shares * len(report["instruments"]) * (end - start))
        rows.append(
            [
                strategy,
                count(report["signals"]),
                f"{invested:.0%}",
                count(report["fees"]),
                dollars(pnl),
                f"{pnl / hold:.0%}",
            ]
        )
    rows.append(["holding", "", "100%", count(hold_fees), dollars(hold), "100%"])
    reasons = sorted({reason for report in reports for reason in report["drops"]})

    heading(f"Daily closes of {', '.join(spec.symbol for spec in service.configuration.instruments)}")
    line(f"{count(len(ticks))} of them, {day(start)} to {day(end)}; the model was trained on the days before.\n")
    show(RESULTS, rows)
    line()
    show(
        ("dropped", *reasons),
        [[report["strategy_id"], *(count(report["drops"].get(reason, 0)) for reason in reasons)] for report in reports],
    )
    line()
    where = os.path.relpath(OUT)
    pairs(
        [
            ("P&L", "dollars, positions at the last close included, all fees and slippage paid"),
            ("strategies", f"0 or {shares} of each share, never short, orders filled at the next close"),
            ("holding", f"{shares} of each share bought at the first close and kept, at the same costs"),
            ("invested", "shares held, averaged over the time, as a part of what holding has"),
            ("dropped", f"position_limit: {shares} held already, or none to sell; cooldown: within a week of a signal"),
            ("written", f"{where}/signals.jsonl ({count(emitted)}), {where}/drops.jsonl ({count(drops.rows)})"),
        ]
    )
    ahead = sum(report["pnl"] > hold for report in reports)
    line(
        f"\nAhead of holding: {ahead} of {len(reports)}. Not advice: these four are known today because they did well.\n"
    )
    print(NEXT)


def holding(service: StrategyRunnerService, ticks: TickColumns) -> tuple[int, float, float]:
    """What buy-and-hold has: the shares of each instrument, as the strategies at most; its fees; its P&L."""
    config, costs = service.configuration.strategies[0], service.configuration.brokers["paper"].costs
    assert costs is not None
    shares = int(config.max_position_size)
    fees = pnl = 0.0
    for token in config.instrument_tokens:
        prices = ticks.price[ticks.instrument_token == token]
        bought = fill_price(float(prices[0]), shares, costs.slippage_bps)
        fee = fill_fee(bought, shares, costs.fee_bps)
        fees += fee
        pnl += shares * (float(prices[-1]) - bought) - fee
    return shares, fees, pnl


def show(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: the first column is text, the others are numbers."""
    first, *others = titles
    table([Column(first, style="bold"), *(Column(title, number=True) for title in others)], rows)


def dollars(amount: float) -> str:
    """Whole dollars, with their sign."""
    return f"{amount:+,.0f}"


def day(ts_ns: int) -> date:
    """The day of a tick."""
    return datetime_of(ts_ns).date()


if __name__ == "__main__":
    main()
