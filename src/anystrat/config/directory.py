"""A directory as one configuration: its YAML and JSON files, in the order of their names.

One file may hold the settings of the run (any key beside `version` and `strategies`). Every other file holds rows: a
mapping with `strategies:`, a list of rows, or a single row. Folders inside are read only where an `include` names them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from anystrat.config.gather import RowGatherer, included_files
from anystrat.config.node import Node, Origin
from anystrat.config.problems import Problems
from anystrat.config.yaml_reader import read_yaml_file
from anystrat.domain.errors import ConfigurationError

SUFFIXES = frozenset({".json", ".yaml", ".yml"})
_ROWS_ONLY = frozenset({"version", "strategies"})


def read_directory(directory: Path, gatherer: RowGatherer, problems: Problems) -> Node | None:
    """The top of the merged configuration; None after adding what is wrong with the directory itself."""
    origin = Origin(str(directory), directory)
    files = sorted(
        file for file in directory.iterdir() if file.suffix in SUFFIXES and file.is_file() and file.name[0] != "."
    )
    if not files:
        allowed = "*.yaml, *.yml or *.json files"
        problems.add(Node(None, origin), (), "the directory holds no configuration", found="", allowed=allowed)
        return None
    nodes = {file: _read(file, gatherer, problems) for file in files}
    parts = [node.entries["strategies"] for node in nodes.values() if node is not None and "strategies" in node.entries]
    included = {file for part in parts for file in included_files(part)}
    merged = _Merged(problems)
    for file, node in nodes.items():
        # Rows that another file includes come where it includes them.
        if node is not None and file.resolve() not in included:
            merged.add(file, node)
    return Node({**merged.settings, "strategies": Node(merged.items, origin)}, origin)


def _read(file: Path, gatherer: RowGatherer, problems: Problems) -> Node | None:
    gatherer.files.append(file)
    try:
        node = read_yaml_file(file)
    except ConfigurationError as error:
        problems.extend(error.problems)
        return None
    if node is None or not (node.is_mapping or node.is_list):
        place = node or Node(None, Origin(str(file), file.parent), 1)
        problems.add(place, (), "a file of the directory holds settings or rows, and this one neither")
        return None
    return node


@dataclass(slots=True)
class _Merged:
    """What the files have given so far."""

    problems: Problems
    settings: dict[str, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    main: str = ""

    def add(self, file: Path, node: Node) -> None:
        if node.is_list:
            self.items.extend(node.items)
            return
        if _is_row(node):
            self.items.append(_with_id(node, file))
            return
        own = {key: child for key, child in node.entries.items() if key not in _ROWS_ONLY}
        if own and self.main:
            message = f"only one file of a directory may hold more than rows, and {self.main} does"
            self.problems.add(node, (), message, found=", ".join(own))
            return
        self.main = str(file) if own else self.main
        self.settings |= own
        if "version" in node.entries:
            self.settings["version"] = node.entries["version"]
        strategies = node.entries.get("strategies")
        if strategies is not None:
            self.items.extend(strategies.items if strategies.is_list else [strategies])


def _is_row(node: Node) -> bool:
    return "strategy_type" in node.entries or "id" in node.entries


def _with_id(node: Node, file: Path) -> Node:
    if "id" in node.entries:
        return node
    return node.with_value({"id": Node(file.stem, node.origin, node.line), **node.entries})
