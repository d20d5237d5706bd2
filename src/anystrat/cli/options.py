"""What several commands take: the configuration, verbosity, JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

CONFIG_VARIABLE: Final = "ANYSTRAT_CONFIG"
DEBUG_VARIABLE: Final = "ANYSTRAT_DEBUG"
DEFAULT_CONFIG: Final = "anystrat.yaml"


@dataclass(slots=True)
class Settings:
    """What holds for the whole call: how much is said on standard error."""

    quiet: bool = False
    verbose: int = 0

    @property
    def debug(self) -> bool:
        """Whether a traceback was asked for."""
        return self.verbose > 0 or bool(os.environ.get(DEBUG_VARIABLE))


def settings_of(context: click.Context) -> Settings:
    """The settings of this call."""
    found: Settings = context.find_root().ensure_object(Settings)
    return found


def verbosity(function: F) -> F:
    """`-q` and `-v`, which may stand before or after the command's name."""

    def quiet(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  click's signature
        settings_of(context).quiet |= value

    def verbose(context: click.Context, _parameter: click.Parameter, value: int) -> None:
        settings_of(context).verbose += value

    options = (
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=quiet,
            help="Only errors on standard error.",
        ),
        click.option(
            "-v",
            "--verbose",
            count=True,
            expose_value=False,
            is_eager=True,
            callback=verbose,
            help="More on standard error: the log, and tracebacks.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def as_json(function: F) -> F:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(function)


def part(function: F) -> F:
    """`--part`, as the argument `part`: None means all parts."""
    return click.option(
        "--part",
        type=click.IntRange(0),
        metavar="N",
        help="Only this part (or worker) of a run that is shared out; else all that run on this machine.",
    )(function)


def account(what: str) -> Callable[[F], F]:
    """`--cash` and `--days-per-year`, for a command that keeps an account for every `what`."""
    options = (
        click.option(
            "--cash",
            type=click.FloatRange(min=0, min_open=True),
            default=1_000_000.0,
            show_default="1,000,000",
            metavar="AMOUNT",
            help=f"What every {what}'s account starts with.",
        ),
        click.option(
            "--days-per-year",
            type=click.IntRange(min=1, max=366),
            metavar="DAYS",
            help="Daily marks that make a year. Without it: 365 where ticks come at weekends, else 252.",
        ),
    )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def configuration(function: F) -> F:
    """CONFIG or `-c FILE`, as the argument `config`: a path, found as `found_config` says."""

    def resolved(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
        return value

    def take(context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path:
        option = context.params.pop("config_option", None)
        if option is not None and value is not None:
            raise click.UsageError(f"The configuration is named twice: {value} and -c {option}. Keep one.", context)
        return found_config(option or value)

    decorate = (
        click.option(
            "-c", "config_option", type=click.Path(path_type=Path), metavar="FILE", is_eager=True, callback=resolved,
            help=f"The configuration, if it is not named as CONFIG; else ${CONFIG_VARIABLE}, else ./{DEFAULT_CONFIG}.",
        ),
        click.argument("config", required=False, type=click.Path(path_type=Path), metavar="[CONFIG]", callback=take),
    )  # fmt: skip
    for each in decorate:
        function = each(function)
    return function


def found_config(named: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The configuration to use: the one named, else `$ANYSTRAT_CONFIG`, else `./anystrat.yaml`.

    Raises `click.UsageError` where there is none of them.
    """
    if named is not None:
        return named
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    default = Path(DEFAULT_CONFIG)
    if default.exists():
        return default
    raise click.UsageError(
        f"No configuration is named, and there is no {DEFAULT_CONFIG} here. Name one (CONFIG or -c FILE), "
        f"set ${CONFIG_VARIABLE}, or make a project with: anystrat init demo"
    )
