"""Rows from a database table, through SQLAlchemy: SQLite, PostgreSQL, or whatever else it speaks.

The table has columns `id`, `strategy_type`, `parameters` (JSON, or text that holds JSON), `instruments` (the same) and
optionally `brokers`, `enabled`, `name`, `validator`, `per_instrument`, `bars`, `isolate`; rows come in the order of a column
`position` where there is one, else of `id`. Other columns are the table's own affair.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anystrat.config.node import Node, Origin, node_from_value
from anystrat.config.problems import Problems
from anystrat.config.shapes import Steps
from anystrat.domain.errors import MissingDriver, MissingExtra, nearest_name

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

REQUIRED = ("id", "strategy_type", "instruments")
OPTIONAL = (
    "parameters",
    "brokers",
    "enabled",
    "name",
    "strategy_name",
    "validator",
    "per_instrument",
    "bars",
    "isolate",
)
_JSON = ("parameters", "instruments", "brokers", "bars", "isolate")
# Parts of a URL's query that a driver's message may repeat; every other may be a secret.
_HARMLESS = frozenset({"application_name", "host", "mode", "port", "sslmode"})
_FLAGS = ("enabled", "per_instrument")


@dataclass(frozen=True, slots=True)
class TableReference:
    """Where a configuration says that rows come from; `node` and `path` are the place that says it."""

    url: str
    table: str
    node: Node
    path: Steps


def read_rows(reference: TableReference, problems: Problems) -> list[Node]:
    """The table's rows as nodes, in order. Adds to `problems` whatever stands in the way.

    Nothing is created: a SQLite file that is not there is a problem. Raises `MissingExtra`.
    """
    url = _url(reference, problems)
    if url is None:
        return []
    try:
        with _engine(url) as engine:
            return _rows(engine, reference, problems)
    except MissingExtra:
        raise
    except Exception as error:  # noqa: BLE001  drivers raise what they like, and their words may quote the URL
        problems.add(reference.node, reference.path, f"the table cannot be read: {_reason(error)}", found=_shown(url))
    return []


def _url(reference: TableReference, problems: Problems) -> URL | None:
    try:
        from sqlalchemy import make_url  # noqa: PLC0415
        from sqlalchemy.exc import ArgumentError  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("reading rows from a database", "database") from None
    node, path = reference.node, reference.path
    try:
        url = make_url(reference.url)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password that was written where a URL does not have one.
        problems.add(
            node, path, "not a database URL", found="", allowed="sqlite:///rows.db, postgresql://user@host/database"
        )
        return None
    for secret in (url.password, *(url.query[key] for key in url.query if key not in _HARMLESS)):
        problems.keep_secret(str(secret or ""))
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        return _sqlite_url(url, reference, problems)
    return url


def _sqlite_url(url: URL, reference: TableReference, problems: Problems) -> URL | None:
    if not url.database or url.database == ":memory:":
        problems.add(
            reference.node, reference.path, "a SQLite database in memory holds no rows", allowed="sqlite:///rows.db"
        )
        return None
    file = Path(reference.node.origin.base_dir) / url.database
    if not file.is_file():
        others = [str(other) for other in file.parent.glob("*.db")] if file.parent.is_dir() else []
        problems.add(
            reference.node,
            reference.path,
            "there is no such SQLite file",
            found=str(file),
            nearest=nearest_name(str(file), others),
        )
        return None
    # Read only: loading a configuration never writes, and never creates a file that went missing in between.
    return url.set(database=f"{file.resolve().as_uri()}", query={"mode": "ro", "uri": "true"})


@contextmanager
def _engine(url: URL) -> Generator[Engine]:
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.exc import NoSuchModuleError  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    except NoSuchModuleError:
        raise MissingDriver(f"SQLAlchemy knows no database {url.drivername!r} without a package that adds it") from None
    except ModuleNotFoundError as error:
        if url.drivername == "postgresql+psycopg":
            raise MissingExtra(f"the database driver {error.name!r}", "postgres") from None
        message = (
            f"the database {url.get_backend_name()!r} needs the package of its driver, which is not installed: "
            f"there is no module {error.name!r}, and no extra of anystrat brings it"
        )
        raise MissingDriver(message) from None
    try:
        yield engine
    finally:
        engine.dispose()


def _rows(engine: Engine, reference: TableReference, problems: Problems) -> list[Node]:
    from sqlalchemy import MetaData, Table, inspect, select  # noqa: PLC0415

    schema, _, name = reference.table.rpartition(".")
    inspector = inspect(engine)
    if not inspector.has_table(name, schema=schema or None):
        names = [*inspector.get_table_names(schema=schema or None), *inspector.get_view_names(schema=schema or None)]
        place = reference.node.with_value(None, masked=False)
        problems.unknown(place, (*reference.path[:-1], "table"), "table", reference.table, sorted(names))
        return []
    table = Table(name, MetaData(), schema=schema or None, autoload_with=engine)
    columns = [column.name for column in table.columns]
    missing = [column for column in REQUIRED if column not in columns]
    for column in missing:
        message = f"the table {reference.table} has no column {column}"
        problems.add(
            reference.node, reference.path, message, found=", ".join(columns), nearest=nearest_name(column, columns)
        )
    if missing:
        return []
    wanted = [table.columns[column] for column in (*REQUIRED, *OPTIONAL) if column in columns]
    order = [table.columns[column] for column in ("position", "id") if column in columns]
    with engine.connect() as connection:
        found = connection.execute(select(*wanted).order_by(*order)).mappings().all()
    return [_row(dict(row), reference, problems) for row in found]


def _row(row: dict[str, Any], reference: TableReference, problems: Problems) -> Node:
    identity = row["id"]
    origin = Origin(f"table {reference.table}, row id={identity}", reference.node.origin.base_dir)
    # A number for an id is a table's habit, not a mistake.
    values: dict[str, Any] = {**row, "id": str(identity)} if isinstance(identity, int) else dict(row)
    entries: dict[str, Node] = {}
    for column, value in values.items():
        if value is None and column not in REQUIRED:
            continue
        if column in _JSON and isinstance(value, (str, bytes)):
            entries[column] = _json(value, column, origin, problems)
        elif column in _FLAGS and isinstance(value, int) and value in {0, 1}:
            entries[column] = node_from_value(bool(value), origin)  # SQLite has no type for it
        else:
            entries[column] = node_from_value(value, origin)
    return Node(entries, origin)


def _json(text: str | bytes, column: str, origin: Origin, problems: Problems) -> Node:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for index, (key, _) in enumerate(items):
            if any(key == other for other, _ in items[:index]):
                problems.add(Node(None, origin), (column,), f"the key {key!r} is there twice", found="")
        return dict(items)

    try:
        return node_from_value(json.loads(text, object_pairs_hook=pairs), origin)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        problems.add(Node(None, origin), (column,), f"not valid JSON: {reason}", found="")
        # Left out of the row, it would be reported a second time, as missing.
        return Node({} if column == "parameters" else [], origin)


def _shown(url: URL) -> str:
    """Where the database is; never who asks for it, nor with what."""
    host = url.host or url.query.get("host", "")
    return f"{url.get_backend_name()} database {url.database or ''!r}" + (f" at {host}" if host else "")


def _reason(error: Exception) -> str:
    """The driver's first line, without SQLAlchemy's background links; secrets are masked where problems are raised."""
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    return lines[0] if lines else type(original).__name__


__all__ = ["OPTIONAL", "REQUIRED", "TableReference", "read_rows"]
