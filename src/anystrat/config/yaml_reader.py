"""YAML 1.2 with line numbers, for files that nobody has vouched for.

Only plain data comes out: text, numbers, booleans, null, lists and mappings with text keys. Every tag beyond those is
refused before anything is built from it, duplicate keys are refused with both lines, and what aliases would expand to
is counted, not expanded. JSON is YAML, so JSON files are read here too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from anystrat.config.node import Node, Origin
from anystrat.config.problems import Problems
from anystrat.domain.errors import ConfigurationError, Problem, nearest_name

MAX_BYTES = 5_000_000
MAX_NODES = 200_000
MAX_DEPTH = 64

_CORE = "tag:yaml.org,2002:"
_MERGE = _CORE + "merge"
# What plain text resolves to in YAML 1.1's leftovers is text here: `2024-01-02` and `=` mean what they say.
_TEXT_TAGS = {_CORE + "str", _CORE + "timestamp", _CORE + "value"}
_NUMBER_TAGS = {_CORE + "int", _CORE + "float"}
_OTHER_VERSION = re.compile(r"^%YAML\s+(?!1\.2\b)(\S*)", re.MULTILINE)


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_yaml_file(path: Path) -> Node | None:
    """The tree of a file; None for an empty one. Raises `ConfigurationError` with everything that is wrong with it."""
    name = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        others = [str(other) for other in path.parent.glob("*") if other.suffix in {".yaml", ".yml", ".json"}]
        nearest = nearest_name(name, others)
        raise ConfigurationError([Problem("there is no such file", file=name, nearest=nearest)]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError([Problem(f"the file cannot be read: {reason}", file=name)]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigurationError([Problem("the file is too large", file=name, allowed=f"at most {MAX_BYTES:,} bytes")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([Problem("the file is not UTF-8 text", file=name, line=line)]) from None
    return read_yaml(text, Origin(name, path.parent))


def read_yaml(text: str, origin: Origin) -> Node | None:
    """The tree of a text; None for one without content. Raises `ConfigurationError`."""
    if other := _OTHER_VERSION.search(text):
        line = text.count("\n", 0, other.start()) + 1
        problem = Problem("only YAML 1.2 is read", origin.name, line, found=f"YAML {other[1]}", allowed="%YAML 1.2")
        raise ConfigurationError([problem])
    composed = _composed(text, origin)
    if composed is None:
        return None
    problems = Problems()
    try:
        _refuse_bombs(composed, origin)
        node = _Builder(origin, problems).build(composed, ())
    except _Refused as refused:
        problems.extend([refused.problem])
        node = None
    problems.raise_if_any()
    return node


def scalar_value(text: str) -> Any:
    """What a lone YAML scalar stands for; the text itself when it is not one."""
    try:
        node = read_yaml(text, Origin())
    except ConfigurationError:
        return text
    return text if node is None or node.is_mapping or node.is_list else node.value


def _composed(text: str, origin: Origin) -> Any:
    """The composed node graph: syntax is checked, nothing is built yet."""
    # Imported here: a program that reads no YAML does not pay for it.
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import MarkedYAMLError  # noqa: PLC0415
    from ruamel.yaml.reader import ReaderError  # noqa: PLC0415

    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    yaml.composer.warn_double_anchors = False
    line = 0
    try:
        return yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        parts = [part for part in (error.context, error.problem) if part]
        reason = ", ".join(parts)
        if "single document" in reason:
            reason = "one document is expected, another begins here"
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = "it holds a control character, which YAML does not allow"
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:  # noqa: BLE001  mangled input makes the parser raise almost anything
        reason = f"the parser gave up ({type(error).__name__})"
    raise ConfigurationError([Problem(f"this is not valid YAML: {reason}", file=origin.name, line=line)])


def _refuse_bombs(root: Any, origin: Origin) -> None:
    """Count what the aliases would expand to, without expanding: each node once, children before parents."""
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    open_nodes: set[int] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, children_done = stack.pop()
        key = id(node)
        line = node.start_mark.line + 1
        if children_done:
            children = _children(node)
            open_nodes.discard(key)
            sizes[key] = 1 + sum(sizes[id(child)] for child in children)
            depths[key] = 1 + max((depths[id(child)] for child in children), default=0)
            if sizes[key] > MAX_NODES:
                problem = Problem(
                    "the values are too many, with all aliases expanded",
                    origin.name,
                    line,
                    allowed=f"at most {MAX_NODES:,}",
                )
                raise _Refused(problem)
            if depths[key] > MAX_DEPTH:
                raise _Refused(Problem("nested too deeply", origin.name, line, allowed=f"at most {MAX_DEPTH} levels"))
            continue
        if key in sizes:
            continue
        if key in open_nodes:
            raise _Refused(Problem("a value contains itself, through an alias", origin.name, line))
        open_nodes.add(key)
        stack.append((node, True))
        stack.extend((child, False) for child in _children(node) if id(child) not in sizes)


def _children(node: Any) -> list[Any]:
    if node.id == "mapping":
        return [part for pair in node.value for part in pair]
    return list(node.value) if node.id == "sequence" else []


class _Builder:
    """Builds `Node` trees of a composed graph; aliased parts once."""

    def __init__(self, origin: Origin, problems: Problems) -> None:
        self._origin = origin
        self._problems = problems
        self._built: dict[tuple[int, int], Node] = {}

    def build(self, node: Any, path: tuple[str | int, ...], key_line: int = 0) -> Node:
        line = node.start_mark.line + 1
        built = self._built.get((id(node), key_line))
        if built is None:
            built = Node(self._value(node, path, line), self._origin, line, key_line or line)
            self._built[id(node), key_line] = built
        return built

    def _value(self, node: Any, path: tuple[str | int, ...], line: int) -> Any:
        tag = str(node.tag)
        if node.id == "mapping" and tag == _CORE + "map":
            return self._mapping(node, path)
        if node.id == "sequence" and tag == _CORE + "seq":
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        if node.id == "scalar":
            # A number with underscores is one in YAML 1.1 alone; the parser would take it for one still.
            if tag in _TEXT_TAGS or (tag in _NUMBER_TAGS and "_" in node.value):
                return node.value
            try:
                return _scalar(tag, node.value)
            except (ValueError, OverflowError):
                self._refuse(path, line, f"not a {tag.removeprefix(_CORE)}", repr(node.value[:40]))
                return None
            except KeyError:
                pass
        shown = "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
        self._refuse(
            path, line, "tags are not read", shown, "plain text, numbers, true, false, null, lists and mappings"
        )
        return None

    def _mapping(self, node: Any, path: tuple[str | int, ...]) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: list[dict[str, Node]] = []
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            tag = str(key_node.tag)
            if tag == _MERGE:
                merged.extend(self._merged(value_node, path, line))
                continue
            if key_node.id != "scalar" or tag not in _TEXT_TAGS:
                shown = repr(key) if key_node.id == "scalar" else f"a {key_node.id}"
                self._refuse(path, line, "a key must be text (put it in quotes)", shown)
                continue
            if key in lines:
                self._refuse((*path, key), line, f"the key is there twice, first on line {lines[key]}", "")
                continue
            lines[key] = line
            entries[key] = self.build(value_node, (*path, key), line)
        # As the merge key is defined: a mapping's own keys win, then the earlier of the merged mappings.
        for more in merged:
            for key, value in more.items():
                entries.setdefault(key, value)
        return entries

    def _merged(self, node: Any, path: tuple[str | int, ...], line: int) -> list[dict[str, Node]]:
        parts = node.value if node.id == "sequence" else [node]
        built = [self.build(part, path) for part in parts]
        if not all(part.is_mapping for part in built):
            self._refuse(path, line, "`<<` takes a mapping or a list of mappings", "")
        return [part.entries for part in built]

    def _refuse(self, path: tuple[str | int, ...], line: int, message: str, found: str, allowed: str = "") -> None:
        self._problems.add(Node(None, self._origin, line), path, message, found=found, allowed=allowed)


def _scalar(tag: str, text: str) -> Any:
    """The value of a scalar that is not text. Raises `KeyError` for a tag that is not read, `ValueError` for nonsense."""
    if tag == _CORE + "null":
        return None
    if tag == _CORE + "bool":
        return {"true": True, "false": False}[text.lower()]
    digits = text.lower()
    if tag == _CORE + "int":
        sign, bare = (-1 if digits.startswith("-") else 1), digits.lstrip("+-")
        base = {"0x": 16, "0o": 8, "0b": 2}.get(bare[:2], 10)
        return sign * int(bare[2:] if base != 10 else bare, base)
    if tag == _CORE + "float":
        if digits.lstrip("+-") in {".inf", ".nan"}:
            return float(digits.replace(".", ""))
        return float(digits)
    raise KeyError(tag)
