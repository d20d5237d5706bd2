"""What a backtest needs of the outside: where its tables go, and what its inputs are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anystrat import __version__
from anystrat.backtest.result import RunFacts

if TYPE_CHECKING:
    from anystrat.bootstrap import Wiring
    from anystrat.domain.configuration import Configuration


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
