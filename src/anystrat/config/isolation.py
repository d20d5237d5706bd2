"""`isolate:` of a row: `process`, or a mapping of what that process may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anystrat.config.shapes import checked
from anystrat.config.value_schema import object_schema
from anystrat.domain.errors import nearest_name
from anystrat.domain.isolation import Isolation

if TYPE_CHECKING:
    from anystrat.config.node import Node
    from anystrat.config.problems import Problems
    from anystrat.config.shapes import Steps

_PROCESS: Final = "process"
_ALLOWED: Final = "process, or {deadline_ms: 250, memory_mb: 512}"


def read_isolation(node: Node, path: Steps, problems: Problems) -> Isolation | None:
    """What the node says, or None after adding what is wrong with it."""
    if node.is_mapping:
        return checked(Isolation, node, path, problems)
    if node.value == _PROCESS:
        return Isolation()
    nearest = nearest_name(str(node.value), [_PROCESS])
    problems.add(
        node, path, "a strategy can have a process to itself, and nothing else", allowed=_ALLOWED, nearest=nearest
    )
    return None


def isolation_schema() -> dict[str, Any]:
    """The JSON Schema of `isolate:`."""
    summary = "A process for this strategy alone, which is killed when it takes too long or too much memory."
    return {"description": summary, "anyOf": [{"const": _PROCESS}, object_schema(Isolation, title="isolate")]}
