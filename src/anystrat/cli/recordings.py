"""What commands that look into a recording share: a configuration, its ticks, and an engine for them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from anystrat.cli.options import as_json, configuration, verbosity

if TYPE_CHECKING:
    from anystrat.bootstrap import TickReader, Wiring
    from anystrat.domain.configuration import Configuration

F = TypeVar("F", bound=Callable[..., Any])

FILE: Final = click.Path(path_type=Path)
TICKS_HELP: Final = "Parquet, JSONL or CSV (also .gz); several merge by time. Without it: the configuration's source."


def recording(function: F) -> F:
    """CONFIG, `--ticks FILE…`, `--json` and verbosity, for a command of class `ManyFiles`."""
    for each in (
        verbosity,
        as_json,
        click.option("--ticks", multiple=True, type=FILE, metavar="FILE...", help=TICKS_HELP),
        configuration,
    ):
        function = each(function)
    return function


@dataclass(frozen=True, slots=True)
class Opened:
    """A configuration and its recording, read as far as the first tick."""

    configured: Configuration
    wiring: Wiring
    reader: TickReader

    @property
    def symbols(self) -> dict[int, str]:
        """Symbols by token, of the instruments that have one."""
        return {spec.token: spec.symbol for spec in self.configured.instruments if spec.symbol}


def opened(config: Path, ticks: tuple[Path, ...], *, block_rows: int = 65_536) -> Opened:
    """Load the configuration and open the ticks, the configuration's own where none are named."""
    from anystrat import bootstrap
    from anystrat.config import load_configuration

    wiring = bootstrap.default_wiring()
    configured = load_configuration(config, wiring.catalog)
    return Opened(
        configured, wiring, bootstrap.open_ticks(ticks or source_of(configured, config), block_rows=block_rows)
    )


def source_of(configured: Configuration, config: Path) -> tuple[Path, ...]:
    """The tick files that the configuration itself names. Raises `click.UsageError` where it names none."""
    from anystrat.domain.endpoints import FileSource

    source = configured.source
    if source is None:
        raise click.UsageError(f"There are no ticks: name files with --ticks, or give {config} a source of type file.")
    if not isinstance(source.options, FileSource):
        raise click.UsageError(
            f"A replay reads files, and the source of {config} is of type {source.type}: name files with --ticks."
        )
    return source.options.path


def say_left_out(wiring: Wiring) -> None:
    """Warn of the strategies that take no part, or only with their rules, because a model does not load."""
    from anystrat.cli.replay_notes import ReplayNotes

    ReplayNotes(quiet=True).models(wiring.left_out, wiring.degraded)


@contextmanager
def refusals(context: click.Context, *, as_json: bool) -> Generator[None]:
    """With `--json`, a configuration that is refused is answered in JSON, as `check` does; the exit code is the same."""
    from anystrat.cli.failures import refused_as_json
    from anystrat.cli.screen import print_json
    from anystrat.domain.errors import ConfigurationError, UnknownName

    try:
        yield
    except (ConfigurationError, UnknownName) as error:
        if not as_json:
            raise
        print_json(refused_as_json(error))
        context.exit(error.exit_code)
