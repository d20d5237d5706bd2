"""`anystrat init`: a project that runs at once: rules, a trained model, a hybrid of both, and a strategy of one's own."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.options import settings_of, verbosity

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

# Name in the project -> name in the package. The `.txt` keeps tools from taking them for parts of anystrat itself.
_FILES: Final = {
    "README.md": "README.md.txt",
    "anystrat.yaml": "anystrat.yaml.txt",
    "live.yaml": "live.yaml.txt",
    "my_rule.py": "my_rule.py.txt",
    "test_my_rule.py": "test_my_rule.py.txt",
    "with_my_rule.yaml": "with_my_rule.yaml.txt",
    "run.py": "run.py.txt",
    "train.py": "train.py.txt",
    "pyproject.toml": "pyproject.toml.txt",
    ".gitignore": "gitignore.txt",
    "models/momentum.onnx": "models/momentum.onnx",
    "models/momentum.card.json": "models/momentum.card.json",
}
SCHEMA: Final = "anystrat.schema.json"
TICKS: Final = "ticks.csv"


@click.command("init", short_help="Make a project that runs at once.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write into a directory that is not empty, over files of the same names.")
@verbosity
@click.pass_context
def command(context: click.Context, directory: Path, *, force: bool) -> None:
    """Make a project in DIR that runs at once, with nothing to install and no data to fetch.

    It has a configuration with rules, a trained model and a hybrid of both, a strategy of your own in one function with its
    tests, and synthetic ticks.
    """
    from anystrat.cli.screen import heading, line, pairs

    _refuse_occupied(directory, force=force)
    written = write_project(directory)
    if settings_of(context).quiet:
        return
    heading(f"{directory}: {len(written)} files")
    line()
    change = [] if directory.resolve() == Path.cwd() else [(f"cd {_quoted(directory)}", "")]
    pairs(
        [
            *change,
            ("anystrat check", "is the configuration right, do the models load"),
            ("anystrat replay", "synthetic ticks through rules, a model, and both"),
            ("anystrat backtest --report report.html", "what they would have earned, as a page to look at"),
            ("anystrat run live.yaml", "the same live: a feed, a journal, signals to a file; Ctrl-C ends it"),
            ("python run.py", "the same with a rule of your own: my_rule.py"),
        ]
    )


def write_project(directory: Path) -> list[Path]:
    """Write every file of the project; what was written. Raises `OSError`."""
    from anystrat.cli.starter_ticks import ticks_csv

    source = files("anystrat.cli") / "starter"
    contents = {name: _bytes(source, stored) for name, stored in _FILES.items()}
    contents[TICKS] = ticks_csv().encode("ascii")
    contents[SCHEMA] = (json.dumps(_schema(contents["my_rule.py"]), indent=2, ensure_ascii=False) + "\n").encode()
    written = []
    for name, content in contents.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        written.append(target)
    return written


def _bytes(source: Traversable, stored: str) -> bytes:
    return source.joinpath(*stored.split("/")).read_bytes()


def _refuse_occupied(directory: Path, *, force: bool) -> None:
    if directory.exists() and not directory.is_dir():
        raise click.UsageError(f"{directory} is a file; name a directory.")
    if directory.exists() and not force and any(directory.iterdir()):
        raise click.UsageError(
            f"{directory} is not empty. Name a new directory, or add --force to write over files of the same names."
        )


def _schema(my_rule: bytes) -> dict[str, Any]:
    """The schema with the project's own rule in it, so that the editor knows both configurations."""
    from anystrat import bootstrap
    from anystrat.config.schema import json_schema
    from anystrat.strategies.catalog import StrategyType

    catalog = bootstrap.default_catalog()
    namespace: dict[str, Any] = {"__name__": "my_rule"}
    exec(compile(my_rule, "my_rule.py", "exec"), namespace)  # noqa: S102  our own file, shipped with the package
    rule = namespace["my_rule"]
    if isinstance(rule, StrategyType) and rule.name not in catalog.strategies:
        catalog.register(rule)
    return json_schema(catalog)


def _quoted(path: Path) -> str:
    text = os.fspath(path)
    return f'"{text}"' if " " in text else text
