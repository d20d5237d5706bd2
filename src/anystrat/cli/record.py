"""`anystrat record`: a source's ticks into files, without any strategy."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.failures import say, say_warning
from anystrat.cli.options import as_json, configuration, settings_of, verbosity

if TYPE_CHECKING:
    from anystrat.bootstrap.recording import FeedRecorder
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.intake import SourceNotice

_FORMATS: Final = ("parquet", "jsonl")
_WORDS: Final = {
    "gap": "ticks are missing that will not come",
    "reconnected": "connected anew",
    "stale": "the feed is silent",
    "fresh": "the feed speaks again",
    "quarantined": "not decoded",
}


@click.command("record", short_help="Write a source's ticks into files.")
@configuration
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The recording: a new directory, or one to go on with.",
)
@click.option(
    "--format",
    "pieces",
    default="parquet",
    show_default=True,
    type=click.Choice(_FORMATS),
    help="How ticks are written.",
)
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, config: Path, out: Path, pieces: str, *, as_json: bool) -> None:
    """Write the ticks of the configuration's source into a directory, until it ends or you press Ctrl-C.

    CONFIG is a YAML or JSON file, or a directory of them; else $ANYSTRAT_CONFIG, else ./anystrat.yaml. It needs a source,
    and no strategies. Once more into the same directory goes on where it ended. Every command takes the directory for a tick file.

    \b
    anystrat record anystrat.yaml --out monday
    anystrat replay anystrat.yaml --ticks monday
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.bootstrap import default_wiring, open_source
    from anystrat.bootstrap.recording import feed_recorder, open_recorder
    from anystrat.cli.screen import print_json
    from anystrat.config import load_configuration

    settings = settings_of(context)
    configured = load_configuration(config, default_wiring().catalog, strategies_required=False)
    if configured.source is None:
        raise click.UsageError(f"{config} has no source: there is nothing to record.", context)
    source = open_source(configured.source, watched(configured), specs=configured.instruments)
    noticed = _silent if settings.quiet else _said
    start = time.monotonic()
    with open_recorder(out, name=configured.run.name, pieces=pieces) as recording:
        before = recording.ticks(0)
        recorder = feed_recorder(source, recording, configured.source.feed, noticed)
        asyncio.run(_recorded(recorder))
        total = recording.ticks(0)
    tally = recorder.tally
    report: dict[str, Any] = {
        "schema_version": 1,
        "directory": str(out),
        "ticks": tally.ticks,
        "ticks_before": before,
        "ticks_total": total,
        "malformed": tally.malformed,
        "duplicates": tally.duplicates,
        "gaps": tally.gaps,
        "seconds": round(time.monotonic() - start, 3),
    }
    if as_json:
        print_json(report)
    else:
        more = f" ({total:,} in all)" if before else ""
        click.echo(f"{tally.ticks:,} ticks recorded in {out}{more}")
    if tally.malformed and not settings.quiet:
        say_warning(f"{tally.malformed:,} could not be decoded")


def watched(configured: Configuration) -> tuple[int, ...]:
    """The instruments of the strategies, else those that are described, each once."""
    strategies = [token for row in configured.strategies if row.enabled for token in row.instrument_tokens]
    return tuple(dict.fromkeys(strategies or [spec.token for spec in configured.instruments]))


async def _recorded(recorder: FeedRecorder) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        # The second one ends the process as it ends any: that is safe too.
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, first, number)
        except (NotImplementedError, RuntimeError, ValueError):  # not on Windows, not outside the main thread
            break
    await recorder.run(stop)


def _said(notice: SourceNotice) -> None:
    details = ", ".join(f"{key} {value}" for key, value in notice.details.items() if key != "what")
    what = str(notice.details.get("what", ""))
    text = ": ".join(part for part in (_WORDS[notice.kind.value], what, details) if part)
    (say if notice.kind.value in {"fresh", "reconnected"} else say_warning)(f"{notice.partition}: {text}")


def _silent(_notice: SourceNotice) -> None:
    """With -q, nothing."""
