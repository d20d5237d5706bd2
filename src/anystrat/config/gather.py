"""Finding the rows: written in place, in included files, in database tables, or a mixture of all three."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anystrat.config.database import TableReference, read_rows
from anystrat.config.environment import refuse_references, substitute
from anystrat.config.node import Node, Origin
from anystrat.config.problems import Problems
from anystrat.config.shapes import Steps
from anystrat.config.yaml_reader import read_yaml_file
from anystrat.domain.configuration import Secret, WatchedTable
from anystrat.domain.errors import ConfigurationError

#: PostgreSQL cuts longer names.
_LONGEST_CHANNEL = 64
_INCLUDE, _FROM = ("include",), ("from", "table", "watch")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row that was found, not yet checked. `default_id` serves it where it has no id of its own."""

    node: Node
    path: Steps
    default_id: str = ""


@dataclass(slots=True)
class RowGatherer:
    """Gathers rows; remembers every file that it read, and every table that is to be watched."""

    environ: Mapping[str, str]
    problems: Problems
    files: list[Path] = field(default_factory=list)
    watches: list[WatchedTable] = field(default_factory=list)

    def rows(self, strategies: Node, path: Steps) -> Iterator[FoundRow]:
        """The rows of a `strategies` value, in order; files and tables are read when their turn comes."""
        if strategies.is_list:
            for index, item in enumerate(strategies.items):
                yield from self._item(item, (*path, index))
        elif _is_reference(strategies):
            yield from self._item(strategies, path)
        else:
            allowed = "a list of rows, {include: strategies/*.yaml} or {from: sqlite:///rows.db}"
            self.problems.add(strategies, path, "must be a list of rows, or say where they come from", allowed=allowed)

    def file_rows(self, file: Path) -> list[FoundRow]:
        """The rows of a file that holds one row or a list of them."""
        self.files.append(file)
        try:
            node = read_yaml_file(file)
        except ConfigurationError as error:
            self.problems.extend(error.problems)
            return []
        return self.rows_in(node, file)

    def rows_in(self, node: Node | None, file: Path) -> list[FoundRow]:
        """The rows in the tree of a file."""
        if node is None:
            self.problems.add(_file_node(file), (), "the file is empty", found="", allowed="one row, or a list of rows")
            return []
        node = substitute(node, self.environ, self.problems)
        if node.is_list:
            return [FoundRow(item, (index,)) for index, item in enumerate(node.items)]
        if "strategies" in node.entries:
            self.problems.add(
                node,
                ("strategies",),
                "an included file holds one row or a list of rows, without `strategies:`",
                found="",
            )
            return []
        return [FoundRow(node, (), file.stem)]

    def _item(self, item: Node, path: Steps) -> Iterator[FoundRow]:
        if not _is_reference(item):
            yield FoundRow(item, path)
            return
        allowed = _INCLUDE if "include" in item.entries else _FROM
        for key, child in item.entries.items():
            if key not in allowed:
                self.problems.unknown(child, (*path, key), "key", key, allowed, line=child.key_line)
        if "include" in item.entries:
            yield from self._included(item.entries["include"], (*path, "include"))
        else:
            yield from self._from_table(item, path)

    def _included(self, node: Node, path: Steps) -> Iterator[FoundRow]:
        for pattern, place in _patterns(node, path):
            if not isinstance(pattern.value, str) or not pattern.value or "\0" in pattern.value:
                self.problems.add(pattern, place, "must be a path or a pattern", allowed="strategies/*.yaml")
                continue
            files = _matches(pattern)
            if not files:
                self.problems.add(pattern, place, f"no file matches, in {pattern.origin.base_dir}")
            for file in files:
                yield from self.file_rows(file)

    def _from_table(self, item: Node, path: Steps) -> Iterator[FoundRow]:
        url, table = item.entries["from"], item.entries.get("table")
        if not isinstance(url.value, str):
            self.problems.add(url, (*path, "from"), "must be a database URL", allowed="sqlite:///rows.db")
            return
        if table is not None and not (isinstance(table.value, str) and table.value):
            self.problems.add(table, (*path, "table"), "must be the name of a table")
            return
        watch = item.entries.get("watch")
        if watch is not None:
            if not isinstance(watch.value, str) or not 0 < len(watch.value.encode()) < _LONGEST_CHANNEL:
                self.problems.add(watch, (*path, "watch"), "must be the name of a channel", allowed="1 to 63 bytes")
                return
            if not url.value.startswith(("postgresql:", "postgres:", "postgresql+psycopg:")):
                self.problems.add(
                    watch, (*path, "watch"), "only a PostgreSQL database says that rows changed", found=""
                )
                return
            self.watches.append(WatchedTable(Secret(str(url.value)), str(watch.value)))
        # The URL may hold a password wherever it was written, so it is never shown as it is.
        masked = url.with_value(url.value, masked=True)
        name = "strategies" if table is None else table.value
        for node in read_rows(TableReference(url.value, name, masked, (*path, "from")), self.problems):
            refuse_references(node, self.problems)
            yield FoundRow(node, ())


def included_files(strategies: Node) -> set[Path]:
    """Every file that a `strategies` value includes."""
    items = strategies.items if strategies.is_list else [strategies]
    includes = [item.entries["include"] for item in items if "include" in item.entries]
    patterns = [pattern for include in includes for pattern, _ in _patterns(include, ())]
    usable = [pattern for pattern in patterns if isinstance(pattern.value, str) and "\0" not in pattern.value]
    return {file.resolve() for pattern in usable for file in _matches(pattern)}


def _patterns(node: Node, path: Steps) -> list[tuple[Node, Steps]]:
    return [(child, (*path, index)) for index, child in enumerate(node.items)] if node.is_list else [(node, path)]


def _matches(pattern: Node) -> list[Path]:
    """The files that a pattern names, in the order of their names. The directory's own name is no pattern."""
    whole = Path(glob.escape(str(pattern.origin.base_dir))) / pattern.value
    matches = glob.glob(str(whole), recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
    return [Path(match) for match in sorted(matches) if Path(match).is_file()]


def _is_reference(node: Node) -> bool:
    return "include" in node.entries or "from" in node.entries


def _file_node(file: Path) -> Node:
    return Node(None, Origin(str(file), file.parent), 1)
