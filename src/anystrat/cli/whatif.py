"""`anystrat whatif`: the same ticks under another policy, risk setting or model, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.recordings import opened, recording, refusals, say_left_out
from anystrat.cli.replay import ManyFiles

if TYPE_CHECKING:
    from anystrat.analysis.runs import Given, Run
    from anystrat.analysis.whatif import SignalDifference, StrategyDifference, WhatIf
    from anystrat.cli.recordings import Opened
    from anystrat.config import Applied
    from anystrat.domain.configuration import Configuration

SCHEMA_VERSION: Final = 1
_SHOWN: Final = 10


@click.command("whatif", cls=ManyFiles, short_help="Compare a configuration with a changed one, on the same ticks.")
@recording
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="A setting to change, such as risk.cooldown_sec=10; may be given several times.",
)
@click.option(
    "--strategy", "strategies", multiple=True, metavar="ID", help="Change only this strategy; may be repeated."
)
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    ticks: tuple[Path, ...],
    settings: tuple[str, ...],
    strategies: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Run the same ticks under the configuration and under a changed one, and say what is different.

    A KEY goes into a row: parameters.NAME, risk.NAME, max_position_size, risk_multiplier, enabled, validator …; or it
    is of the run or of a broker: brokers.paper.fee_bps. A VALUE is YAML. A setting is for every strategy that takes it,
    or for those named. Nothing is written: the configuration's file stays as it is.

    \b
    anystrat whatif --ticks monday.csv --set parameters.policy=confirm
    anystrat whatif --ticks monday.csv --set risk.cooldown_sec=10 --strategy rules
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.analysis.whatif import compare
    from anystrat.config import changes_of, load_configuration

    with refusals(context, as_json=as_json):
        changes = changes_of(settings, strategies)
        found = opened(config, ticks)
        changed = load_configuration(config, found.wiring.catalog, changes=changes)
    before, after = (_run(found, each) for each in (found.configured, changed))
    told = compare(before, after)
    if as_json:
        _print(told, changes.applied)
    else:
        _show(told, changes.applied, found)


def _run(found: Opened, configured: Configuration) -> Run:
    from anystrat import bootstrap
    from anystrat.analysis.runs import run

    wiring = bootstrap.Wiring(found.wiring.catalog, found.wiring.models)
    engine = bootstrap.build_engine(configured, wiring, sessions=bootstrap.session_clock(configured))
    say_left_out(wiring)
    return run(engine, found.reader, compiler=bootstrap.kernel_compiler, expected_rows=found.reader.total_rows)


def _print(told: WhatIf, applied: list[Applied]) -> None:
    import msgspec

    from anystrat.cli.screen import print_json

    print_json(
        {
            "schema_version": SCHEMA_VERSION,
            "changed": [msgspec.to_builtins(each) for each in applied],
            **msgspec.to_builtins(told),
        }
    )


def _show(told: WhatIf, applied: list[Applied], found: Opened) -> None:
    from anystrat.cli.screen import line, money, pairs

    pairs(
        [(each.strategy_id or "all", f"{each.key}: {_value(each.before)} → {_value(each.after)}") for each in applied]
    )
    line()
    _strategies(told.strategies)
    if not any(each.differs for each in told.strategies):
        line("Nothing is different.")
        return
    _drops(told.strategies)
    _signals(told, found)
    line()
    line(f"P&L {money(told.pnl_before)} → {money(told.pnl_after)} ({money(told.pnl_after - told.pnl_before)})")


def _strategies(strategies: tuple[StrategyDifference, ...]) -> None:
    from anystrat.cli.screen import Column, count, line, money, table

    columns = [Column("strategy", style="bold")]
    columns += [
        Column(title, number=True) for title in ("signals", "new", "gone", "changed", "P&L after", "difference")
    ]
    rows = [
        [
            each.strategy_id,
            count(each.signals_before) + (f" → {count(each.signals_after)}" if each.new or each.gone else ""),
            count(each.new),
            count(each.gone),
            count(each.changed),
            money(each.pnl_after),
            money(each.pnl_after - each.pnl_before),
        ]
        for each in strategies
    ]
    table(columns, rows)
    line()


def _drops(strategies: tuple[StrategyDifference, ...]) -> None:
    from anystrat.cli.screen import Column, count, line, table

    rows = [
        [
            each.strategy_id,
            reason,
            count(each.drops_before.get(reason, 0)),
            count(each.drops_after.get(reason, 0)),
        ]
        for each in strategies
        for reason in dict.fromkeys((*each.drops_before, *each.drops_after))
        if each.drops_before.get(reason, 0) != each.drops_after.get(reason, 0)
    ]
    if rows:
        columns = [
            Column("dropped", style="bold"),
            Column("for"),
            Column("before", number=True),
            Column("after", number=True),
        ]
        table(columns, rows)
        line()


def _signals(told: WhatIf, found: Opened) -> None:
    from anystrat.analysis.explaining.numbers import moment
    from anystrat.cli.screen import count, line, pairs

    total = sum(each.new + each.gone + each.changed for each in told.strategies)
    if not total:
        return
    shown = told.differences[:_SHOWN]
    pairs([(moment(each.ts_ns), _difference(each, found)) for each in shown])
    if total > len(shown):
        line(f"… and {count(total - len(shown))} more signals that are different; --json has them.")


def _difference(each: SignalDifference, found: Opened) -> str:
    name = found.symbols.get(each.instrument_token) or str(each.instrument_token)
    said = " → ".join(_given(one) for one in (each.before, each.after) if one is not None)
    return f"{each.kind} {each.strategy_id} {name} {said}"


def _given(given: Given) -> str:
    return f"{given.side} {given.quantity:,} at {given.price}"


def _value(value: Any) -> str:
    if value is None:
        return "(not set)"
    return str(value).lower() if isinstance(value, bool) else str(value)
