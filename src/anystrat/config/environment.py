"""Values from the environment: `${NAME}` inside text, and overrides `ANYSTRAT__SECTION__KEY=value`.

`${NAME:-default}` falls back when NAME is unset or empty; `$${` is a literal `${`. Whatever came from the environment is
marked, so that no message and no repr shows it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from anystrat.config.node import Node, Origin
from anystrat.config.problems import Problems
from anystrat.domain.errors import nearest_name

PREFIX = "ANYSTRAT__"
SECTIONS = (
    "run",
    "source",
    "brokers",
    "journal",
    "feature_store",
    "metrics",
    "cluster",
    "control",
    "notify",
    "tracing",
    "log",
)

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?")


def substitute(root: Node, environ: Mapping[str, str], problems: Problems, path: tuple[str | int, ...] = ()) -> Node:
    """The tree with every `${NAME}` replaced; a variable that is not set is a problem."""
    if root.is_mapping:
        entries = {key: substitute(child, environ, problems, (*path, key)) for key, child in root.entries.items()}
        unchanged = all(entries[key] is child for key, child in root.entries.items())
        return root if unchanged else root.with_value(entries)
    if root.is_list:
        items = [substitute(child, environ, problems, (*path, index)) for index, child in enumerate(root.items)]
        unchanged = all(new is old for new, old in zip(items, root.items, strict=True))
        return root if unchanged else root.with_value(items)
    if isinstance(root.value, str) and "${" in root.value:
        return _substituted(root, environ, problems, path)
    return root


def refuse_references(root: Node, problems: Problems, path: tuple[str | int, ...] = ()) -> None:
    """Refuse `${NAME}` where the environment must not be read: whoever may write there could print it."""
    for key, child in root.entries.items():
        refuse_references(child, problems, (*path, key))
    for index, child in enumerate(root.items):
        refuse_references(child, problems, (*path, index))
    if isinstance(root.value, str) and "${" in root.value:
        problems.add(root, path, "the environment is read by files only, not from here")


def _substituted(node: Node, environ: Mapping[str, str], problems: Problems, path: tuple[str | int, ...]) -> Node:
    masked = node.masked

    def replacement(match: re.Match[str]) -> str:
        nonlocal masked
        if match[0] == "$${":
            return "${"
        name, default = match["name"], match["default"]
        if name is None:
            problems.add(
                node, path, "`${` must begin a reference such as ${NAME}; write `$${` for the characters themselves"
            )
            return ""
        value = environ.get(name)
        if value or (value is not None and default is None):
            masked = True
            problems.keep_secret(value)
            return value
        if default is not None:
            return str(default)
        problems.add(
            node,
            path,
            f"the environment variable {name} is not set",
            found="${" + name + "}",
            nearest=nearest_name(name, environ),
        )
        return ""

    value = _REFERENCE.sub(replacement, node.value)
    return node.with_value(value, masked=masked)


def override(root: Node, environ: Mapping[str, str], problems: Problems, brokers: Collection[str] = ("paper",)) -> Node:
    """The top of a configuration with `ANYSTRAT__…` variables laid over it.

    `ANYSTRAT__RUN__RNG_SEED=9` sets `run.rng_seed`; `ANYSTRAT__BROKERS__PAPER__FEE_BPS=3` one option of one broker. A
    key that does not exist is refused later, like one in a file, with the variable's name in the place of the file's.
    """
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        steps = [step.lower() for step in variable.removeprefix(PREFIX).split("__")]
        origin = Origin(f"environment variable {variable}", root.origin.base_dir)
        # Text for now: the key's own type says whether `12` is a number or a name.
        value = Node(environ[variable], origin, masked=True)
        problems.keep_secret(environ[variable])
        if steps[0] not in SECTIONS:
            problems.unknown(Node(None, origin), (), "section to override", steps[0], SECTIONS)
        elif len(steps) < (3 if steps[0] == "brokers" else 2) or not all(steps):
            shape = "BROKERS__NAME__KEY" if steps[0] == "brokers" else f"{steps[0].upper()}__KEY"
            problems.add(
                Node(None, origin), (), "an override names a key of its section", found="", allowed=PREFIX + shape
            )
        elif steps[0] == "brokers" and not _knows(root, steps[1], brokers):
            known = [*brokers, *_section(root, "brokers").entries]
            problems.unknown(Node(None, origin), (), "broker", steps[1], dict.fromkeys(known))
        else:
            root = with_value_at(root, steps, value)
    return root


def _section(root: Node, name: str) -> Node:
    return root.entries.get(name) or Node({}, root.origin, root.line)


def _knows(root: Node, broker: str, undeclared: Collection[str]) -> bool:
    return broker in undeclared or broker in {name.lower() for name in _section(root, "brokers").entries}


def with_value_at(node: Node, steps: list[str], value: Node) -> Node:
    """The tree with one value set; keys are matched without regard to case, as variables are written in capitals."""
    if not steps:
        return value
    entries = dict(node.entries)
    key = next((name for name in entries if name.lower() == steps[0]), steps[0])
    below = entries.get(key) or Node({}, value.origin, masked=False)
    entries[key] = with_value_at(below, steps[1:], value)
    return node.with_value(entries)
