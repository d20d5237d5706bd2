"""`anystrat check`: everything that is wrong with a configuration, at once; otherwise what it would run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.options import as_json, configuration, verbosity

if TYPE_CHECKING:
    from anystrat.bootstrap import Wiring
    from anystrat.domain.configuration import Configuration, StrategyConfig
    from anystrat.domain.errors import Problem
    from anystrat.engine.engine import Engine

_REFUSED: Final = 3


@click.command("check", short_help="Say everything that is wrong with a configuration.")
@configuration
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, config: Path, *, as_json: bool) -> None:
    """Read a configuration whole, load its models, and say everything that is wrong; otherwise what would run.

    CONFIG is a YAML or JSON file, or a directory of them; else $ANYSTRAT_CONFIG, else ./anystrat.yaml. Exits with 3 where
    anything is wrong, a model that does not load included.
    """
    from anystrat import bootstrap
    from anystrat.cli.failures import refused_as_json
    from anystrat.cli.screen import print_json
    from anystrat.config import load_configuration
    from anystrat.domain.errors import ConfigurationError, UnknownName
    from anystrat.engine.engine import Engine

    wiring = bootstrap.default_wiring()
    try:
        configured = load_configuration(config, wiring.catalog)
        sessions = bootstrap.session_clock(configured)
        engine = Engine(
            {spec.token: spec for spec in configured.instruments}, sessions=sessions, account=configured.account
        )
        _refuse_if_any(_built(engine, wiring, configured))
    except (ConfigurationError, UnknownName) as error:
        if as_json:
            print_json(refused_as_json(error))
            context.exit(_REFUSED)
        raise
    failures = {item.strategy_id: item.reason for item in wiring.left_out}
    failures |= {item.strategy_id: item.reason for item in wiring.degraded}
    if as_json:
        print_json(_report(configured, engine, failures))
    else:
        _show(configured, engine, failures)
    if failures:
        context.exit(_REFUSED)


def _built(engine: Engine, wiring: Wiring, configured: Configuration) -> list[Problem]:
    """Register every row; what is refused only then (an instrument, a broker) is gathered over all of them."""
    from anystrat.domain.errors import ConfigurationError

    problems: list[Problem] = []
    for row in configured.strategies:
        try:
            wiring.add_row(engine, row, configured.brokers)
        except ConfigurationError as error:
            problems += error.problems
    return problems


def _refuse_if_any(problems: list[Problem]) -> None:
    from anystrat.domain.errors import ConfigurationError

    if problems:
        raise ConfigurationError(problems)


def _report(configured: Configuration, engine: Engine, failures: dict[str, str]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "ok": not failures,
        "problems": [{"path": f"strategy {name}", "message": reason} for name, reason in failures.items()],
        "run": configured.run.name,
        "files": [str(file) for file in configured.files],
        "instruments": len(_watched(configured)),
        "source": configured.source.type if configured.source else None,
        "brokers": {name: settings.type for name, settings in configured.brokers.items()},
        "journal": configured.journal.type if configured.journal else None,
        "executors": len(engine.executors),
        "strategies": [_strategy(row, engine, failures) for row in configured.strategies],
    }


def _strategy(row: StrategyConfig, engine: Engine, failures: dict[str, str]) -> dict[str, Any]:
    executors = [executor for executor in engine.executors if executor.strategy_id == row.strategy_id]
    state = "disabled" if not row.enabled else "ok" if row.strategy_id not in failures else "model does not load"
    return {
        "id": row.strategy_id,
        "name": row.name,
        "strategy_type": row.strategy_type,
        "kind": executors[0].kind if executors else None,
        "instruments": list(row.instrument_tokens),
        "brokers": list(row.active_brokers),
        "history": executors[0].need if executors else None,
        "bars": str(row.bars) if row.bars is not None else None,
        "executors": len(executors),
        "state": state,
    }


def _history(one: dict[str, Any]) -> str:
    if not one["history"]:
        return ""
    return f"{one['history']:,} " + ("ticks" if one["bars"] is None else f"bars of {one['bars']}")


def _watched(configured: Configuration) -> set[int]:
    return {token for row in configured.strategies if row.enabled for token in row.instrument_tokens}


def _show(configured: Configuration, engine: Engine, failures: dict[str, str]) -> None:
    from anystrat.cli.failures import say_error, say_warning
    from anystrat.cli.screen import Column, line, pairs, table

    columns = (
        Column("strategy", style="bold"),
        Column("type"),
        Column("history", number=True),
        Column("instruments", wrap=True),
        Column("brokers"),
        Column("state"),
    )
    symbols = {spec.token: spec.symbol for spec in configured.instruments}
    rows = [
        [
            one["id"],
            one["strategy_type"],
            _history(one),
            named(one["instruments"], symbols),
            ", ".join(one["brokers"]),
            one["state"],
        ]
        for one in (_strategy(row, engine, failures) for row in configured.strategies)
    ]
    if rows:
        table(columns, rows)
        line()
    pairs(
        [
            ("run", f"{configured.run.name}, seed {configured.run.rng_seed}"),
            ("source", _source(configured)),
            ("brokers", ", ".join(f"{name} ({each.type})" for name, each in configured.brokers.items())),
            ("journal", configured.journal.type if configured.journal else "none"),
            ("executors", f"{len(engine.executors)} on {len(_watched(configured))} instruments"),
        ]
    )
    for name, reason in failures.items():
        say_error(f"strategy {name}: its model does not load: {reason}")
    if not any(row.enabled for row in configured.strategies):
        say_warning("no strategy is enabled: nothing would run")
    line()
    if failures:
        line(f"{len(failures)} of {len(configured.strategies)} strategies cannot run as configured.")
    else:
        line("The configuration is valid.")


def _source(configured: Configuration) -> str:
    from anystrat.domain.endpoints import FileSource

    if configured.source is None:
        return "none: name files with --ticks"
    options = configured.source.options
    if not isinstance(options, FileSource):
        return configured.source.type
    missing = [path for path in options.path if not path.exists()]
    absent = f" (not there yet: {', '.join(map(str, missing))})" if missing else ""
    return f"{configured.source.type}: {', '.join(map(str, options.path))}{absent}"


def named(tokens: list[int], symbols: dict[int, str]) -> str:
    """Instruments by symbol where they have one; the first few, and how many more."""
    shown = [symbols.get(token) or str(token) for token in tokens[:6]]
    more = len(tokens) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
