"""A directory as one configuration: its YAML and JSON files, in the order of their names.

One file may hold the settings of the run (any key beside `version` and `strategies`). Every other file holds rows: a
mapping with `strategies:`, a list of rows, or a single row. Folders inside are read only where an `include` names them.
"""

from __future__ import annotations

from pathlib import Path

from anystrat.config.gather import RowGatherer
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
        problems.add(
            Node(None, origin),
            (),
            "the directory holds no configuration",
            found="",
            allowed="*.yaml, *.yml or *.json files",
        )
        return None
    entries: dict[str, Node] = {}
    items: list[Node] = []
    main = ""
    for file in files:
        gatherer.files.append(file)
        try:
            node = read_yaml_file(file)
        except ConfigurationError as error:
            problems.extend(error.problems)
            continue
        if node is None:
            problems.add(Node(None, Origin(str(file), directory), 1), (), "the file is empty", found="")
            continue
        if _is_row(node):
            items.append(_with_id(node, file))
            continue
        if node.is_list:
            items.extend(node.items)
            continue
        settings = {key: child for key, child in node.entries.items() if key not in _ROWS_ONLY}
        if settings and main:
            problems.add(
                node,
                (),
                f"only one file of a directory may hold more than rows, and {main} does",
                found=", ".join(settings),
            )
            continue
        main = str(file) if settings else main
        entries |= settings
        if "version" in node.entries:
            entries["version"] = node.entries["version"]
        strategies = node.entries.get("strategies")
        if strategies is not None:
            items.extend(strategies.items if strategies.is_list else [strategies])
    entries["strategies"] = Node(items, origin)
    return Node(entries, origin)


def _is_row(node: Node) -> bool:
    return "strategy_type" in node.entries or "id" in node.entries


def _with_id(node: Node, file: Path) -> Node:
    if "id" in node.entries:
        return node
    return node.with_value({"id": Node(file.stem, node.origin, node.line), **node.entries})
