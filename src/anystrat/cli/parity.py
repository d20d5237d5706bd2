"""`anystrat parity`: does a replay of what a live run recorded decide what the run decided? Else the first difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.failures import say_warning
from anystrat.cli.options import as_json, configuration, verbosity
from anystrat.cli.recordings import FILE, refusals, say_left_out
from anystrat.cli.replay import BLOCK_ROWS, engines_of

if TYPE_CHECKING:
    from anystrat.analysis.parity import Difference, Row
    from anystrat.bootstrap.recording import RecordedRun
    from anystrat.engine.engine import Engine

SCHEMA_VERSION: Final = 1
_FOUND: Final = 1
_SIGNAL_FILES: Final = {".jsonl", ".ndjson"}
_KEY: Final = ("ts_ns", "strategy_id", "broker", "instrument_token", "signal_id")


@click.command("parity", short_help="Hold a live run's signals against a replay of its recording.")
@click.argument("live", type=FILE)
@click.argument("recording", type=FILE)
@configuration
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, live: Path, recording: Path, config: Path, *, as_json: bool) -> None:
    """Replay a RECORDING under the configuration and compare its signals with those of the LIVE run, field by field.

    LIVE is a signal file (.jsonl), such as a broker of type jsonl writes, or the run's journal. RECORDING is what
    `anystrat run --record` wrote, or a tick file. Compared are the brokers that LIVE has signals of. Exits with 1 where a
    signal differs, and names the first.

    \b
    anystrat run --record today
    anystrat parity state/journal.db today
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat import bootstrap
    from anystrat.analysis.parity import first_difference
    from anystrat.bootstrap.models import models_directory
    from anystrat.bootstrap.recording import open_recording
    from anystrat.config import load_configuration

    with refusals(context, as_json=as_json):
        catalog = bootstrap.default_catalog()
        configured = load_configuration(config, catalog)
        wiring = bootstrap.default_wiring(catalog, model_store=models_directory(configured))
        recorded = open_recording(recording)
        engines = engines_of(configured, wiring, recorded)
    say_left_out(wiring)
    sent = _live(live)
    brokers = {str(row["broker"]) for row in sent}
    again = [row for row in _replayed(engines, recorded, recording) if not brokers or row["broker"] in brokers]
    if not sent:
        say_warning(f"there is no signal in {live}: every signal of the replay is a difference")
    difference = first_difference(_ordered(sent), _ordered(again))
    if as_json:
        _print(len(sent), len(again), sorted(brokers), difference)
    else:
        _show(len(sent), len(again), sorted(brokers), difference)
    if difference is not None:
        context.exit(_FOUND)


def _live(path: Path) -> list[Row]:
    if path.suffix.lower() in _SIGNAL_FILES:
        return list(_file_rows(path))
    from anystrat.bootstrap.journals import look_into_journal
    from anystrat.cli.journal_lines import outbox_row

    with look_into_journal(path) as journal:
        return [_with_broker(row) for row in map(outbox_row, journal.outbox(None))]


def _file_rows(path: Path) -> Iterator[Row]:
    import msgspec

    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = msgspec.json.decode(line)
            except msgspec.DecodeError as error:
                raise click.UsageError(f"{path}:{number}: this is no line of a signal file: {error}") from error
            if not isinstance(row, dict) or not all(name in row for name in _KEY):
                raise click.UsageError(f"{path}:{number}: a signal has {', '.join(_KEY)}; this line lacks some.")
            yield row


def _with_broker(entry: dict[str, Any]) -> Row:
    """A journal's signal as a line of a signal file: what the sink gets, and what the journal knows beside it."""
    known = {name: entry[name] for name in _KEY}
    return {**(entry["signal"] if isinstance(entry["signal"], dict) else {}), **known}


def _replayed(engines: list[Engine], recorded: RecordedRun | None, path: Path) -> Iterator[Row]:
    from anystrat import bootstrap
    from anystrat.analysis.parity import rows_of
    from anystrat.backtest.replay import replay
    from anystrat.backtest.shards import replay_shards
    from anystrat.domain.outcomes import Emitted, Outcome

    found: list[Outcome] = []

    def take(outcomes: Iterable[Outcome]) -> None:
        found.extend(each for each in outcomes if isinstance(each, Emitted))

    if recorded is None:
        replay(engines[0], bootstrap.open_ticks([path]), on_outcomes=take)
    else:
        inputs = [recorded.inputs(shard, block_rows=BLOCK_ROWS) for shard in range(recorded.shards)]
        replay_shards(engines, inputs, on_outcomes=take)
    return rows_of(found)


def _ordered(rows: Iterable[Row]) -> list[Row]:
    """By time: shards and brokers write in an order of their own."""
    return sorted(rows, key=lambda row: tuple(row[name] for name in _KEY))


def _print(sent: int, again: int, brokers: list[str], difference: Difference | None) -> None:
    import msgspec

    from anystrat.cli.screen import print_json

    print_json(
        {
            "schema_version": SCHEMA_VERSION,
            "ok": difference is None,
            "live": sent,
            "replayed": again,
            "brokers": brokers,
            "difference": None if difference is None else msgspec.to_builtins(difference),
        }
    )


def _show(sent: int, again: int, brokers: list[str], difference: Difference | None) -> None:
    from anystrat.cli.screen import line, pairs

    if difference is None:
        line(f"The same {sent:,} signals, to the last bit ({', '.join(brokers) or 'no broker'}).")
        return
    text = difference.text
    for name, meant in (("left", "live run"), ("right", "replay")):
        text = text.replace(f"on the {name}", f"in the {meant}")
    pairs(
        [
            ("live", f"{sent:,} signals of {', '.join(brokers) or 'no broker'}"),
            ("replay", f"{again:,} signals"),
            ("first", text),
        ]
    )
