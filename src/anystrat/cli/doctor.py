"""`anystrat doctor`: what this installation can do, and what it lacks."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import click

import anystrat
from anystrat.cli.options import as_json, verbosity

# SQLite before this can corrupt a database when its write-ahead log is reset.
_SQLITE: Final = (3, 51, 3)
_META: Final = {"all", "train"}


@click.command("doctor", short_help="Say what this installation can do, and what it lacks.")
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Say what this installation can do, and what it lacks. Exits with 1 where something that is there does not work."""
    from anystrat.cli.screen import print_json

    del context
    report = examined()
    if as_json:
        print_json(report)
    else:
        _show(report)
    broken = [check for check in report["checks"].values() if check["state"] == "broken"]
    if broken:
        click.get_current_context().exit(1)


def examined() -> dict[str, Any]:
    """Everything that was looked at, as one JSON-able object. Nothing of the environment's values is in it."""
    return {
        "schema_version": 1,
        "anystrat": anystrat.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": _packages(None),
        "extras": _extras(),
        "checks": {
            "sqlite": _sqlite(),
            "cache": _cache(),
            "onnx": _onnx(),
            "plugins": _plugins(),
            "terminal": _terminal(),
        },
    }


def _requirements() -> dict[str | None, list[str]]:
    """The packages that are needed, by extra; None for those that every run needs."""
    found: dict[str | None, list[str]] = {}
    for text in metadata.requires("anystrat") or []:
        name = re.match(r"[A-Za-z0-9._-]+", text)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", text)
        if name and name[0].lower() != "anystrat":
            found.setdefault(extra[1] if extra else None, []).append(name[0])
    return found


def _packages(extra: str | None) -> dict[str, str | None]:
    """Package -> its version, None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in _requirements().get(extra, []):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _extras() -> dict[str, dict[str, Any]]:
    result = {}
    for extra in sorted(key for key in _requirements() if key is not None and key != "all"):
        packages = _packages(extra)
        there = all(version is not None for version in packages.values())
        result[extra] = {
            "installed": there,
            "packages": packages,
            "install": None if there else f"pip install 'anystrat[{extra}]'",
        }
    return result


def _check(state: str, text: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "text": text, **more}


def _sqlite() -> dict[str, Any]:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _SQLITE:
        wanted = ".".join(map(str, _SQLITE))
        return _check(
            "note", f"{version}; before {wanted} a reset of the write-ahead log can corrupt a database", version=version
        )
    return _check("ok", version, version=version)


def _cache() -> dict[str, Any]:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    there = next((path for path in (root, *root.parents) if path.exists()), root)
    if os.access(there, os.W_OK):
        return _check("ok", f"{root} can be written", path=str(root))
    return _check("note", f"{root} cannot be written; what is compiled will be compiled at every start", path=str(root))


def _onnx() -> dict[str, Any]:
    from anystrat import bootstrap
    from anystrat.domain.errors import MissingExtra

    try:
        from anystrat.testing.models import linear_model

        with tempfile.TemporaryDirectory() as folder:
            facts = bootstrap.inspect_model(linear_model(Path(folder) / "doctor.onnx", ["ret_1", "vol_5"]))
    except MissingExtra as error:
        return _check("missing", str(error))
    except Exception as error:  # noqa: BLE001  a broken native library may raise anything; that is what is asked here
        return _check("broken", f"a tiny model does not run: {type(error).__name__}: {error}")
    if not facts["batchable"]:
        return _check("note", "a tiny model runs, but rows depend on their batch: models run row by row")
    return _check("ok", "a tiny model loads, runs, and is the same in batches")


def _plugins() -> dict[str, Any]:
    from anystrat.plugins import installed

    found = installed()
    broken = [f"{each.name} ({each.package})" for each in found if each.error]
    if broken:
        return _check("broken", f"do not load: {', '.join(broken)}; see anystrat plugins list", count=len(found))
    return _check("ok", f"{len(found)} installed", count=len(found))


def _terminal() -> dict[str, Any]:
    from anystrat.cli.screen import fancy

    parts = ["a terminal" if sys.stdout.isatty() else "no terminal"]
    parts.append("colour" if fancy(sys.stdout) else "no colour")
    parts.append(sys.stdout.encoding or "?")
    return _check(
        "ok", ", ".join(parts), tty=sys.stdout.isatty(), colour=fancy(sys.stdout), encoding=sys.stdout.encoding
    )


def _show(report: dict[str, Any]) -> None:
    from anystrat.cli.screen import Column, line, pairs, table

    pairs(
        [
            ("anystrat", report["anystrat"]),
            ("python", f"{report['python']} ({report['implementation']})"),
            ("platform", f"{report['platform']}, {report['processors']} processors"),
            ("packages", _versions(report["packages"])),
        ]
    )
    line()
    columns = (Column("extra", style="bold"), Column("installed"), Column("packages", wrap=True))
    rows = [
        [name, "yes" if one["installed"] else "no", _versions(one["packages"]) if one["installed"] else one["install"]]
        for name, one in report["extras"].items()
    ]
    table(columns, rows)
    line()
    columns = (Column("check", style="bold"), Column("state"), Column("what was found", wrap=True))
    table(columns, [[name, check["state"], check["text"]] for name, check in report["checks"].items()])


def _versions(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'MISSING'}" for name, version in packages.items())
