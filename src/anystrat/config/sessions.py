"""The section `sessions`: dates on which an exchange does not keep to its calendar."""

from __future__ import annotations

from collections.abc import Collection

from anystrat.config.node import Node
from anystrat.config.problems import Problems
from anystrat.config.shapes import Steps, checked
from anystrat.domain.sessions import DAY_SEC, SessionOverride, SessionSettings

_PATH: Steps = ("sessions",)
_OVERRIDES: Steps = (*_PATH, "overrides")


def read_sessions(node: Node, calendars: Collection[str], problems: Problems) -> SessionSettings:
    """The settings in the section. `calendars` are those that instruments name: of others nobody would ever ask."""
    if not node.is_mapping:
        problems.add(node, _PATH, "must be a mapping", allowed="keys overrides, preopen_minutes")
        return SessionSettings()
    rest = {key: child for key, child in node.entries.items() if key != "overrides"}
    shape = checked(SessionSettings, node.with_value(rest), _PATH, problems)
    minutes = node.entries.get("preopen_minutes")
    for name, child in ({} if minutes is None else minutes.entries).items():
        _named(name, child, (*_PATH, "preopen_minutes", name), calendars, problems)
    found = node.entries.get("overrides")
    if found is not None and found.value is not None and not found.is_mapping:
        problems.add(found, _OVERRIDES, "must be a mapping of calendars", allowed="{XBOM: [{date: 2026-11-08, …}]}")
    overrides: dict[str, tuple[SessionOverride, ...]] = {}
    for name, child in ({} if found is None else found.entries).items():
        _named(name, child, (*_OVERRIDES, name), calendars, problems)
        overrides[name] = _dates(child, (*_OVERRIDES, name), problems)
    return SessionSettings(overrides, {} if shape is None else shape.preopen_minutes)


def _named(name: str, node: Node, path: Steps, calendars: Collection[str], problems: Problems) -> None:
    if name not in calendars:
        problems.unknown(
            node.with_value(None, masked=False),
            path,
            "calendar: no instrument has it",
            name,
            sorted(calendars),
            line=node.key_line,
        )


def _dates(node: Node, path: Steps, problems: Problems) -> tuple[SessionOverride, ...]:
    if not node.is_list:
        problems.add(node, path, "must be a list", allowed="[{date: 2026-11-08, open: 18:00, close: 19:00}, …]")
        return ()
    found: list[tuple[SessionOverride, int]] = []
    for index, item in enumerate(node.items):
        made = checked(SessionOverride, item, (*path, index), problems)
        if made is None:
            continue
        for other, line in found:
            if _collide(made, other):
                problems.add(
                    item.at(("date",)),
                    (*path, index),
                    f"does not go with the one on line {line}: they overlap",
                    found="",
                )
                break
        found.append((made, item.line))
    return tuple(made for made, _ in found)


def _collide(one: SessionOverride, other: SessionOverride) -> bool:
    if one.closed or other.closed:
        return one.day == other.day
    first, second = sorted(
        (each.day * DAY_SEC + each.times.open, each.day * DAY_SEC + each.times.close) for each in (one, other)
    )
    return second[0] < first[1]
