"""Single settings laid over a configuration before it is checked: what `--set parameters.policy=confirm` stands for.

A changed configuration is checked like any other: what is wrong with a setting is said of the setting, with the nearest
right name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from anystrat.config.environment import with_value_at
from anystrat.config.node import Node, Origin, node_from_value, path_text
from anystrat.config.problems import Problems
from anystrat.config.risk import RISK_KEYS, SIZING_KEYS
from anystrat.config.yaml_reader import read_yaml
from anystrat.domain.errors import ConfigurationError, Problem, nearest_name

T = TypeVar("T")
#: What a setting of a row can begin with.
ROW_PLACES: Final = (
    "parameters",
    "risk",
    *SIZING_KEYS,
    "enabled",
    "bars",
    "isolate",
    "instruments",
    "per_instrument",
    "validator",
)
_TOP: Final = ("brokers", "run")
_EXAMPLE: Final = "KEY=VALUE, such as parameters.threshold=0.02, risk.cooldown_sec=10 or brokers.paper.fee_bps=5"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One setting: where it goes, in a row or (`top`) in the configuration itself, and its value."""

    steps: tuple[str, ...]
    value: Node
    top: bool = False

    @property
    def key(self) -> str:
        """Where it goes, as people write it."""
        return path_text(self.steps)


@dataclass(frozen=True, slots=True)
class Applied:
    """A setting that took the place of another: `strategy_id` is empty for one of the configuration itself.

    `before` and `after` are plain values; `before` is None where the setting was not given.
    """

    strategy_id: str
    key: str
    before: Any
    after: Any


@dataclass(slots=True)
class Changes:
    """Settings to lay over a configuration; `applied` says afterwards which of them went where.

    With `strategies` they are for those rows alone; without, each is for every row that takes such a key.
    """

    changes: tuple[Change, ...]
    strategies: frozenset[str] | None = None
    applied: list[Applied] = field(default_factory=list)
    _ids: list[str] = field(default_factory=list)
    _refused: dict[Change, list[Problem]] = field(default_factory=dict)
    _taken: set[Change] = field(default_factory=set)

    def to_top(self, root: Node) -> Node:
        """The configuration with the settings that are not of a row."""
        for change in self.changes:
            if change.top:
                self._note("", root, change)
                root = with_value_at(root, list(change.steps), change.value)
        return root

    def to_row(self, node: Node, default_id: str, check: Callable[[Node, Problems], T]) -> tuple[Node, T | None]:
        """A row with the settings that are meant for it, and what `check` made of it where all of them are right.

        `check(row, problems)` adds what would be wrong with one.
        """
        named = node.entries.get("id")
        strategy_id = str(named.value) if named is not None else default_id
        self._ids.append(strategy_id)
        if self.strategies is not None and strategy_id not in self.strategies:
            return node, None
        own = [change for change in self.changes if not change.top]
        whole = node
        for change in own:
            whole = with_value_at(whole, list(change.steps), change.value)
        trial = Problems()
        made = check(whole, trial)
        if not trial.found:
            for change in own:
                self._taken.add(change)
                self._note(strategy_id, node, change)
            return whole, made
        for change in own:
            changed = with_value_at(node, list(change.steps), change.value)
            trial = Problems()
            check(changed, trial)
            unknown = [each for each in trial.found if _is_of(each, change) and each.message.startswith("unknown key")]
            if unknown and self.strategies is None:
                # The row that knows a similar name has the better words.
                if not any(each.nearest for each in self._refused.get(change, ())):
                    self._refused[change] = unknown
                continue
            self._taken.add(change)
            self._note(strategy_id, node, change)
            node = changed
        return node, None

    def finish(self, problems: Problems) -> None:
        """Add what was meant for nobody: a setting that no row takes, a strategy that is not there."""
        for change in self.changes:
            if not change.top and change not in self._taken:
                problems.extend(self._refused.get(change, ()))
        for name in sorted((self.strategies or frozenset()) - set(self._ids)):
            allowed = ", ".join(self._ids)
            problems.extend(
                [
                    Problem(
                        "there is no such strategy",
                        found=repr(name),
                        allowed=allowed,
                        nearest=nearest_name(name, self._ids),
                    )
                ]
            )

    def _note(self, strategy_id: str, node: Node, change: Change) -> None:
        before: Node | None = node
        for step in change.steps:
            before = before.entries.get(step) if before is not None else None
        plain = before.plain() if before is not None and not before.masked else None
        self.applied.append(Applied(strategy_id, change.key, plain, change.value.plain()))


def changes_of(settings: Iterable[str], strategies: Sequence[str] = ()) -> Changes:
    """The changes that these settings (`KEY=VALUE`) say; values are YAML, paths as they would be in the row itself.

    Raises `ConfigurationError` with everything that is wrong with their form.
    """
    problems: list[Problem] = []
    made = [change for text in settings if (change := _change(text, problems)) is not None]
    if problems:
        raise ConfigurationError(problems)
    return Changes(tuple(made), frozenset(strategies) or None)


def change_to(settings: Mapping[str, Any], strategies: Sequence[str] = ()) -> Changes:
    """The changes that these settings (`{key: plain value}`) say; else as `changes_of`."""
    problems: list[Problem] = []
    made = []
    for key, value in settings.items():
        origin = Origin(f"{key}={value}")
        change = _placed(key, node_from_value(value, origin), origin, problems)
        if change is not None:
            made.append(change)
    if problems:
        raise ConfigurationError(problems)
    return Changes(tuple(made), frozenset(strategies) or None)


def _change(text: str, problems: list[Problem]) -> Change | None:
    name = f"--set {text}"
    key, equals, written = text.partition("=")
    origin = Origin(name)
    if not equals:
        problems.append(Problem("a setting names a key and its value", name, found=repr(text), allowed=_EXAMPLE))
        return None
    try:
        value = read_yaml(written, origin) or Node(None, origin)
    except ConfigurationError as error:
        problems += error.problems
        return None
    return _placed(key, value, origin, problems)


def _placed(key: str, value: Node, origin: Origin, problems: list[Problem]) -> Change | None:
    steps, name = key.strip().split("."), origin.name
    if not all(steps):
        problems.append(Problem("a setting names a key and its value", name, found=repr(key), allowed=_EXAMPLE))
        return None
    if steps[0] in _TOP and len(steps) > 1:
        return Change(tuple(steps), _at(value, origin), top=True)
    if steps[0] not in ROW_PLACES:
        meant = steps[-1]
        place = "risk." if meant in RISK_KEYS else "parameters."
        nearest = nearest_name(steps[0], ROW_PLACES) if len(steps) > 1 else f"{place}{meant}"
        problems.append(
            Problem("this is no place for a setting", name, found=repr(key), allowed=_EXAMPLE, nearest=nearest)
        )
        return None
    if steps[0] == "risk" or steps[0] in SIZING_KEYS:
        steps = ["parameters", *steps]
    return Change(tuple(steps), _at(value, origin))


def _at(value: Node, origin: Origin) -> Node:
    """The value without a line: the setting is one."""
    if value.is_mapping:
        return Node({key: _at(child, origin) for key, child in value.entries.items()}, origin)
    if value.is_list:
        return Node([_at(child, origin) for child in value.items], origin)
    return Node(value.value, origin)


def _is_of(problem: Problem, change: Change) -> bool:
    return problem.file == change.value.origin.name
