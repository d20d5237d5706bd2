"""A value of a configuration together with the place where it was written.

YAML files, database rows and Python mappings all become `Node` trees, so that every later step, and every message,
treats them alike. Aliased YAML nodes are shared, never copied.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from anystrat.domain.configuration import EnvironmentText

MASK = "***"
_SHORT = 60


@dataclass(frozen=True, slots=True)
class Origin:
    """What a node was read from: a name for messages, and the directory that its relative paths start at."""

    name: str = ""
    base_dir: Path = Path()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A scalar, a list of nodes or a mapping of text to nodes.

    `masked`: the value came from the environment or a secret file, and must not be shown. `key_line` is the line of
    the key in its mapping, which may differ from the value's.
    """

    value: Any
    origin: Origin
    line: int = 0
    key_line: int = 0
    masked: bool = False

    @property
    def is_mapping(self) -> bool:
        """Whether this is a mapping of text to nodes."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether this is a list of nodes."""
        return isinstance(self.value, list)

    @property
    def entries(self) -> dict[str, Node]:
        """The mapping's nodes by key; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The list's nodes; empty for anything else."""
        return self.value if isinstance(self.value, list) else []

    def plain(self) -> Any:
        """The bare value. Text that must not be shown comes as `EnvironmentText`."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        if self.masked and isinstance(self.value, str):
            return EnvironmentText(self.value)
        return self.value

    def found(self) -> str:
        """The value as a message shows it: short, with its kind, and never what must not be shown."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "an empty list" if not self.value else "a list"
        if self.masked:
            return MASK
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, str):
            text = self.value if len(self.value) <= _SHORT else self.value[: _SHORT - 1] + "…"
            return f"the text {text!r}"
        text = str(self.value)
        return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"

    def at(self, path: Sequence[str | int]) -> Node:
        """The deepest node on `path` that exists: the place to point at for a problem there."""
        node = self
        for step in path:
            if isinstance(step, str) and step in node.entries:
                node = node.entries[step]
            elif isinstance(step, int) and 0 <= step < len(node.items):
                node = node.items[step]
        return node

    def with_value(self, value: Any, *, masked: bool | None = None) -> Node:
        """The same place with another value."""
        return Node(value, self.origin, self.line, self.key_line, self.masked if masked is None else masked)


def node_from_value(value: Any, origin: Origin, *, masked: bool = False) -> Node:
    """A tree of a Python value. Mapping keys become text; NumPy scalars, tuples, sets and paths their plain kin."""
    if isinstance(value, Mapping):
        children = {str(key): node_from_value(child, origin, masked=masked) for key, child in value.items()}
        return Node(children, origin, masked=masked)
    if isinstance(value, (list, tuple, AbstractSet)):
        # A set has no order of its own, and the same rows must give the same configuration.
        ordered = sorted(value, key=repr) if isinstance(value, AbstractSet) else value
        return Node([node_from_value(child, origin, masked=masked) for child in ordered], origin, masked=masked)
    return Node(_plain_scalar(value), origin, masked=masked or isinstance(value, EnvironmentText))


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def path_text(path: Sequence[str | int]) -> str:
    """A path as people write it: `strategies[0].parameters.lookback_periods`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
