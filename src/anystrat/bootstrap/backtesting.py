"""A whole backtest in one call, and what it needs of the outside: where its tables go, and what its inputs are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat import __version__
from anystrat.backtest.recorder import Recorder
from anystrat.backtest.replay import Speed, replay
from anystrat.backtest.report import replay_report
from anystrat.backtest.result import BacktestResult, RunFacts
from anystrat.bootstrap import Wiring, build_engine, default_wiring, kernel_compiler, open_ticks, session_clock
from anystrat.config import configuration_from_mapping, load_configuration
from anystrat.domain.configuration import Configuration
from anystrat.domain.endpoints import FileSource
from anystrat.domain.errors import TickFileError
from anystrat.observability.log import OutcomeLog
from anystrat.strategies.catalog import StrategyType

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns

_BLOCK_ROWS: Final = 131_072


def check_table_path(path: str | os.PathLike[str]) -> None:
    """Refuse a place that no table can be written to, before there is one. Raises `TableFileError`, `MissingExtra`."""
    from anystrat.adapters.table_files import check_table_path as checked

    checked(path)


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Any]) -> int:
    """Write columns by the file's suffix; how many rows. Raises `TableFileError`, `MissingExtra`."""
    from anystrat.adapters.table_files import write_table as written

    return written(path, columns)


def run_facts(
    configuration: Configuration, wiring: Wiring, ticks: Iterable[tuple[str, str] | os.PathLike[str]]
) -> RunFacts:
    """What a run is made of, with the SHA-256 of every file: configuration, models, ticks. Names stand without directories.

    What is no file among `ticks` comes as (name, digest).
    """
    models = dict.fromkeys(path for row in configuration.strategies for path in _model_paths(row.parameters))
    inputs = [("configuration", path.name, _sha256(path)) for path in configuration.files]
    inputs += [("model", Path(path).name, _sha256(path)) for path in models if Path(path).is_file()]
    for each in ticks:
        inputs.append(("ticks", *each) if isinstance(each, tuple) else ("ticks", Path(each).name, _sha256(each)))
    left_out = {item.strategy_id: item.reason for item in wiring.left_out}
    return RunFacts(configuration.run.name, __version__, configuration.run.rng_seed, tuple(inputs), left_out)


def _model_paths(parameters: Any) -> Iterable[str]:
    """Every `model_path` of a row's parameters and of its parts'."""
    for each in fields(parameters) if is_dataclass(parameters) else ():
        value = getattr(parameters, each.name)
        if each.name == "model_path" and value:
            yield str(value)
        elif is_dataclass(value):
            yield from _model_paths(value)


def _sha256(path: str | os.PathLike[str]) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------------------ one call

Strategies = str | os.PathLike[str] | Configuration | Mapping[str, Any] | StrategyType | Sequence[Any]


def backtest(
    strategies: Strategies,
    ticks: Any = None,
    *,
    cash: float = 1_000_000.0,
    shared: bool = False,
    days_per_year: int | None = None,
    instruments: Iterable[int] | None = None,
    fee_bps: float | None = None,
    slippage_bps: float | None = None,
    fill: str | None = None,
    schedule: str | None = None,
    charges: Sequence[Mapping[str, Any]] | None = None,
    fill_at: str | None = None,
    impact_bps: float | None = None,
    latency_ms: int | None = None,
    speed: str = "columns",
) -> BacktestResult:
    """Run strategies over recorded ticks, and account for every paper fill: `backtest("anystrat.yaml", frame).stats.sharpe`.

    Args:
        strategies: A configuration (its path, a mapping with `strategies`, a `Configuration`), or strategies alone: a type's
            name, a type such as a function under `@rule`, a row as under `strategies:`, or a list of them. A row may leave
            out its id (the type's name) and its instruments.
        ticks: A tick file or several; a pandas or Polars frame, an Arrow table, a mapping of arrays, with the columns of tick
            files; `TickColumns`; ticks. None: the configuration's source.
        cash: What every strategy's account starts with.
        shared: One account for all, which starts with `cash` once.
        days_per_year: Daily marks that make a year. None: 365 where ticks come at weekends, else 252.
        instruments: What strategies watch that do not say so, and whose the ticks are that do not say so. None: all of the ticks.
        fee_bps: A fill's fee; with strategies alone, a configuration has its own. So have the next seven.
        slippage_bps: How much worse than its tick a fill is.
        fill: `next_tick`, `same_tick`, or `next_open`: the next tick's `open`, where ticks are bars.
        schedule: An example of a market's charges: `nse_intraday_2024`, `nse_delivery_2024`, `us_stocks_2024`.
        charges: Parts of what a fill is charged, as under `brokers: paper: charges:`.
        fill_at: `price`, or `quote`: the tick's ask for a BUY, its bid for a SELL.
        impact_bps: How much worse a fill is that is as large as its tick's volume.
        latency_ms: No tick fills an order sooner after its signal.
        speed: `columns`, `scalar` or `auto`; what comes out is the same.

    Raises:
        ConfigurationError: For whatever the configuration refuses.
        TickFileError: For ticks that cannot be used.
        TypeError: For costs beside a configuration, which has its own.
    """
    wiring = default_wiring()
    named = list(instruments) if instruments is not None else None
    costs = {
        "fee_bps": fee_bps,
        "slippage_bps": slippage_bps,
        "fill": fill,
        "schedule": schedule,
        "charges": list(charges) if charges is not None else None,
        "fill_at": fill_at,
        "impact_bps": impact_bps,
        "latency_ms": latency_ms,
    }
    given = {name: value for name, value in costs.items() if value is not None}
    configured = _configured(strategies, wiring)
    if configured is not None and given:
        raise TypeError(f"{', '.join(given)}: the configuration has its own costs, under brokers: paper:")
    source: Any = ticks
    if source is None:
        source = configured_ticks(configured)
    watched = named or ([spec.token for spec in configured.instruments] if configured is not None else [])
    blocks, inputs = blocks_and_names(source, watched[0] if len(watched) == 1 else None)
    if configured is None:
        mapping = mapping_of_rows(strategies, wiring, named or tokens_of(blocks), given)
        configured = configuration_from_mapping(mapping, wiring.catalog)
    engine = build_engine(configured, wiring, sessions=session_clock(configured))
    OutcomeLog().models(wiring.left_out, wiring.degraded)
    recorder = Recorder(engine, cash=cash, shared=shared)
    done = replay(engine, blocks, speed=Speed(speed), compiler=kernel_compiler, recorder=recorder)
    counts = replay_report(engine, done, malformed=getattr(blocks, "malformed", 0))
    counts["left_out"] = {item.strategy_id: item.reason for item in wiring.left_out}
    return BacktestResult(recorder, counts, run_facts(configured, wiring, inputs), periods=days_per_year)


def _configured(strategies: Any, wiring: Wiring) -> Configuration | None:
    """The configuration that is meant; None where strategies stand alone."""
    if isinstance(strategies, Configuration):
        return strategies
    if isinstance(strategies, Mapping):
        return configuration_from_mapping(strategies, wiring.catalog) if "strategies" in strategies else None
    if isinstance(strategies, os.PathLike) or (
        isinstance(strategies, str) and strategies not in wiring.catalog.strategies
    ):
        return load_configuration(Path(strategies), wiring.catalog)
    return None


def mapping_of_rows(strategies: Any, wiring: Wiring, tokens: list[int], costs: dict[str, Any]) -> dict[str, Any]:
    """Rows, types and their names as a whole configuration, with what they leave out."""
    alone = isinstance(strategies, str | StrategyType | Mapping)
    rows: list[dict[str, Any]] = []
    for item in [strategies] if alone else strategies:
        row = dict(item) if isinstance(item, Mapping) else {"strategy_type": item}
        kind = row.get("strategy_type")
        if isinstance(kind, StrategyType):
            if kind.name not in wiring.catalog.strategies:
                wiring.catalog.register(kind)
            row["strategy_type"] = kind = kind.name
        row.setdefault("instruments", tokens)
        if "id" not in row:
            taken = {one["id"] for one in rows}
            names = (str(kind) if n == 1 else f"{kind}-{n}" for n in range(1, len(rows) + 2))
            row["id"] = next(name for name in names if name not in taken)
        rows.append(row)
    return {
        "version": 1,
        "run": {"name": "backtest"},
        "brokers": {"paper": {"type": "paper", **costs}},
        "strategies": rows,
    }


def configured_ticks(configured: Configuration | None) -> Sequence[Path]:
    """The tick files that a configuration names. Raises `TickFileError` where it names none."""
    options = configured.source.options if configured is not None and configured.source is not None else None
    if not isinstance(options, FileSource):
        raise TickFileError("there are no ticks: name a tick file, or pass a data frame, an Arrow table or columns")
    return options.path


def blocks_and_names(source: Any, instrument: int | None) -> tuple[Iterable[TickColumns], list[Any]]:
    """The blocks, which can be gone over again, and what they are called with their digests."""
    several = isinstance(source, list | tuple) and source and all(isinstance(one, str | os.PathLike) for one in source)
    if isinstance(source, str | os.PathLike) or several:
        reader = open_ticks([source] if isinstance(source, str | os.PathLike) else source, block_rows=_BLOCK_ROWS)
        return reader, list(reader.paths)
    from anystrat.adapters.tick_frames import blocks_of, ticks_of

    columns = ticks_of(source, instrument=instrument)
    digest = hashlib.sha256()
    tokens = columns.instrument_token
    if len(tokens) and tokens.min() == tokens.max():
        tokens = tokens[:1]  # the others say nothing more
    for column in (columns.ts_ns, tokens, columns.price):
        digest.update(np.ascontiguousarray(column).data)
    return blocks_of(columns, _BLOCK_ROWS), [(f"{len(columns):,} rows in memory", digest.hexdigest())]


def tokens_of(blocks: Iterable[TickColumns]) -> list[int]:
    """Every instrument that has a tick, in ascending order."""
    seen: set[int] = set()
    for block in blocks:
        token = block.instrument_token
        if len(token) and token.min() == token.max():
            seen.add(int(token[0]))
            continue
        # Often one instrument's ticks stand together.
        turns = np.flatnonzero(token[1:] != token[:-1]) + 1
        seen.update(token[:1].tolist(), np.unique(token[turns]).tolist())
    return sorted(seen)
