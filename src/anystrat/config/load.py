"""The way in: a file, a directory or a mapping becomes a `Configuration`, or a `ConfigurationError` with every problem."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from anystrat.config.changes import Changes
from anystrat.config.cluster import check_cluster
from anystrat.config.directory import read_directory
from anystrat.config.endpoint_types import EndpointTypes, read_endpoint
from anystrat.config.environment import override, substitute
from anystrat.config.fields import fields_of
from anystrat.config.gather import FoundRow, RowGatherer
from anystrat.config.node import Node, Origin, node_from_value
from anystrat.config.problems import Problems
from anystrat.config.rows import Known, RowReader
from anystrat.config.sessions import read_sessions
from anystrat.config.shapes import checked
from anystrat.config.yaml_reader import read_yaml_file
from anystrat.domain.account import AccountLimits
from anystrat.domain.cluster import ClusterSettings
from anystrat.domain.configuration import (
    BrokerSettings,
    Configuration,
    ControlSettings,
    DeliveryOptions,
    FeatureStoreSettings,
    FeedSettings,
    HistorySettings,
    InstrumentSpec,
    JournalSettings,
    LogSettings,
    MetricsSettings,
    PaperCosts,
    RunSettings,
    SourceSettings,
    StrategyConfig,
    TracingSettings,
)
from anystrat.domain.endpoints import JsonlBroker
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.domain.notifying import NotifyRules, NotifySettings
from anystrat.domain.sessions import SessionSettings
from anystrat.strategies.catalog import Catalog

VERSION = 1
KEYS = (
    "version", "run", "instruments", "sessions", "source", "brokers", "account", "journal", "history", "feature_store", "strategies", "metrics",
    "control", "notify", "tracing", "log", "cluster",
)  # fmt: skip
ENDPOINTS = EndpointTypes()
T = TypeVar("T")
_FEED_KEYS = tuple(each.name for each in fields_of(FeedSettings))
_DELIVERY_KEYS = tuple(each.name for each in fields_of(DeliveryOptions))
_NOTIFY_KEYS = tuple(each.name for each in fields_of(NotifyRules))


def load_configuration(
    path: str | Path,
    catalog: Catalog,
    *,
    environ: Mapping[str, str] | None = None,
    endpoints: EndpointTypes = ENDPOINTS,
    strategies_required: bool = True,
    changes: Changes | None = None,
) -> Configuration:
    """The configuration in a YAML or JSON file, or in all such files of a directory.

    `${NAME}` and `ANYSTRAT__SECTION__KEY` are looked up in `environ`, by default the process's. Relative paths are
    relative to the file that names them. `changes` are laid over what was read, and checked with it.

    Raises:
        ConfigurationError: With every problem that was found; nothing of a configuration is used unless all of it is.
        MissingExtra: Rows come from a database whose extra, or driver, is not installed.
    """
    environ = os.environ if environ is None else environ
    problems = Problems()
    gatherer = RowGatherer(environ, problems)
    root = _root(Path(path), gatherer, problems)
    assembly = _Assembly(catalog, environ, endpoints, problems, gatherer, strategies_required, changes)
    return assembly.configuration(root, _home(Path(path)))


def configuration_variants(source: Path | Mapping[str, Any], catalog: Catalog) -> Callable[[Changes], Configuration]:
    """`load_configuration` of a path, or `configuration_from_mapping`, under many changes, in a fraction of the time.

    Files are read once, and what no change is for is checked once. The function raises as those two do.
    """
    found = Problems()
    environ: Mapping[str, str] = {} if isinstance(source, Mapping) else os.environ
    gathered = RowGatherer(environ, found)
    if isinstance(source, Mapping):
        home = Path()
        root = node_from_value(source, Origin("", home))
    else:
        home, root = _home(source), _root(source, gathered, found)
    settled: list[tuple[Configuration, Node]] = []
    known: Known = {}

    def variant(changes: Changes) -> Configuration:
        problems = Problems()
        problems.extend(found.found)
        gatherer = RowGatherer(environ, problems)
        gatherer.files += gathered.files
        assembly = _Assembly(catalog, environ, ENDPOINTS, problems, gatherer, changes=changes, known=known)
        of_rows = not any(change.top for change in changes.changes)
        if of_rows and settled:
            return assembly.with_other_rows(*settled[0])
        made = assembly.configuration(root, home)
        if of_rows:
            settled.append((made, assembly.root))
        return made

    return variant


def _root(file: Path, gatherer: RowGatherer, problems: Problems) -> Node:
    """What the files of a configuration hold."""
    if file.is_dir():
        root = read_directory(file, gatherer, problems)
    else:
        root = read_yaml_file(file)
        gatherer.files.append(file)
    if root is None:
        problems.raise_if_any()
        raise ConfigurationError(
            [Problem("the file is empty", str(file), 1, allowed=f"a mapping with {', '.join(KEYS)}")]
        )
    return root


def _home(file: Path) -> Path:
    return file if file.is_dir() else file.parent


def configuration_from_mapping(
    mapping: Mapping[str, Any],
    catalog: Catalog,
    *,
    base_dir: str | Path = ".",
    environ: Mapping[str, str] | None = None,
    file: str = "",
    endpoints: EndpointTypes = ENDPOINTS,
    changes: Changes | None = None,
) -> Configuration:
    """The configuration in a mapping of the same shape as a file. The environment is read only where `environ` is given.

    Raises as `load_configuration` does; `file` is what problems call the mapping.
    """
    problems = Problems()
    root = node_from_value(mapping, Origin(file, Path(base_dir)))
    variables = {} if environ is None else environ
    gatherer = RowGatherer(variables, problems)
    assembly = _Assembly(catalog, variables, endpoints, problems, gatherer, changes=changes)
    return assembly.configuration(root, Path(base_dir))


def row_from_mapping(
    mapping: Mapping[str, Any],
    catalog: Catalog,
    *,
    base_dir: str | Path = ".",
    environ: Mapping[str, str] | None = None,
    brokers: Collection[str] | None = None,
) -> StrategyConfig:
    """One row, in the shape that it has under `strategies:`.

    `brokers` are the names that it may send to; None lets it name any. The environment is read only where `environ` is
    given. Raises `ConfigurationError` with every problem of the row.
    """
    problems = Problems()
    node = substitute(
        node_from_value(mapping, Origin("", Path(base_dir))), {} if environ is None else environ, problems
    )
    row = RowReader(catalog, brokers, problems).read(node)
    problems.raise_if_any()
    if row is None:
        raise ConfigurationError([Problem("the row is refused")])
    return row


@dataclass(slots=True)
class _Assembly:
    """One configuration being put together, section by section; every section is checked, whatever the others are."""

    catalog: Catalog
    environ: Mapping[str, str]
    endpoints: EndpointTypes
    problems: Problems
    gatherer: RowGatherer
    strategies_required: bool = True
    changes: Changes | None = None
    known: Known = field(default_factory=dict)
    root: Node = field(init=False)
    _ids: dict[str, Node] = field(default_factory=dict)

    def with_other_rows(self, like: Configuration, root: Node) -> Configuration:
        """A configuration that was made from `root`, with the rows as these changes leave them."""
        rows = self._strategies(root, self._declared(root))
        self.problems.raise_if_any()
        return replace(like, strategies=rows)

    def configuration(self, root: Node, directory: Path) -> Configuration:
        if not root.is_mapping:
            self.problems.add(root, (), "a configuration must be a mapping", allowed=KEYS)
            self.problems.raise_if_any()
        root = override(substitute(root, self.environ, self.problems), self.environ, self.problems)
        if self.changes is not None:
            root = self.changes.to_top(root)
        self.root = root
        self._top(root)
        brokers = self._brokers(_given(root.entries.get("brokers")))
        configuration = Configuration(
            run=self._section(RunSettings, root, "run") or RunSettings(),
            instruments=self._instruments(_given(root.entries.get("instruments"))),
            source=self._source(_given(root.entries.get("source"))),
            brokers=brokers,
            journal=self._journal(_given(root.entries.get("journal"))),
            strategies=self._strategies(root, self._declared(root)),
            sessions=self._sessions(root),
            metrics=self._section(MetricsSettings, root, "metrics"),
            control=self._section(ControlSettings, root, "control"),
            notify=self._notify(_given(root.entries.get("notify"))),
            tracing=self._section(TracingSettings, root, "tracing"),
            history=self._history(_given(root.entries.get("history"))),
            account=self._account(root, brokers),
            feature_store=self._feature_store(_given(root.entries.get("feature_store"))),
            log=self._section(LogSettings, root, "log") or LogSettings(),
            directory=directory,
            files=tuple(dict.fromkeys(self.gatherer.files)),
            watches=tuple(self.gatherer.watches),
            cluster=self._section(ClusterSettings, root, "cluster"),
        )
        check_cluster(root, configuration, self.problems)
        self.problems.raise_if_any()
        return configuration

    def _top(self, root: Node) -> None:
        for key, child in root.entries.items():
            # As in Compose files: a place for anchors that rows share.
            if key not in KEYS and not key.startswith("x-"):
                self.problems.unknown(
                    child.with_value(None, masked=False), (key,), "key", key, KEYS, line=child.key_line
                )
        version = root.entries.get("version")
        if version is not None and (type(version.value) is not int or version.value != VERSION):
            self.problems.add(version, ("version",), "this version of the format is not known", allowed=str(VERSION))

    def _section(self, shape: type[T], root: Node, name: str) -> T | None:
        node = _given(root.entries.get(name))
        return None if node is None else checked(shape, node, (name,), self.problems)

    def _instruments(self, node: Node | None) -> tuple[InstrumentSpec, ...]:
        if node is None:
            return ()
        if not node.is_list:
            self.problems.add(node, ("instruments",), "must be a list", allowed="[{token: 256265, …}, …]")
            return ()
        specs: list[InstrumentSpec] = []
        lines: dict[int, int] = {}
        for index, item in enumerate(node.items):
            spec = checked(InstrumentSpec, item, ("instruments", index), self.problems)
            if spec is None:
                continue
            if spec.token in lines:
                message = _twice(f"the token {spec.token}", item, lines[spec.token])
                self.problems.add(item.at(("token",)), ("instruments", index, "token"), message, found="")
            lines.setdefault(spec.token, item.line)
            specs.append(spec)
        return tuple(specs)

    def _sessions(self, root: Node) -> SessionSettings:
        node, instruments = _given(root.entries.get("sessions")), root.entries.get("instruments")
        if node is None:
            return SessionSettings()
        # Of instruments with problems too: that they have a calendar is right.
        named = [item.entries.get("calendar") for item in ([] if instruments is None else instruments.items)]
        calendars = {str(each.value) for each in named if each is not None and each.value is not None}
        return read_sessions(node, calendars, self.problems)

    def _source(self, node: Node | None) -> SourceSettings | None:
        if node is None:
            return None
        made = read_endpoint(
            node,
            ("source",),
            "source",
            self.endpoints.with_catalog(self.catalog).sources,
            self.problems,
            beside=_FEED_KEYS,
        )
        feed = self._shared(FeedSettings, _FEED_KEYS, node, ("source",))
        return None if made is None or feed is None else SourceSettings(*made, feed)

    def _journal(self, node: Node | None) -> JournalSettings | None:
        if node is None:
            return None
        made = read_endpoint(node, ("journal",), "journal", self.endpoints.journals, self.problems)
        return None if made is None else JournalSettings(*made)

    def _account(self, root: Node, brokers: Mapping[str, BrokerSettings]) -> AccountLimits | None:
        account = self._section(AccountLimits, root, "account")
        for name in account.per_broker if account is not None else ():
            if name not in brokers:
                node = root.entries["account"].entries["per_broker"].entries[name]
                self.problems.unknown(node, ("account", "per_broker", name), "broker", name, list(brokers))
        return account

    def _notify(self, node: Node | None) -> NotifySettings | None:
        if node is None:
            return None
        known, path = self.endpoints.notifiers, ("notify",)
        made = read_endpoint(node, path, "notify", known, self.problems, default="webhook", beside=_NOTIFY_KEYS)
        rules = self._shared(NotifyRules, _NOTIFY_KEYS, node, path)
        return None if made is None or rules is None else NotifySettings(*made, rules)

    def _history(self, node: Node | None) -> HistorySettings | None:
        if node is None:
            return None
        made = read_endpoint(node, ("history",), "history", self.endpoints.histories, self.problems)
        return None if made is None else HistorySettings(*made)

    def _feature_store(self, node: Node | None) -> FeatureStoreSettings | None:
        if node is None:
            return None
        known = self.endpoints.feature_stores
        made = read_endpoint(node, ("feature_store",), "feature store", known, self.problems)
        return None if made is None else FeatureStoreSettings(*made)

    def _brokers(self, node: Node | None) -> dict[str, BrokerSettings]:
        brokers: dict[str, BrokerSettings] = {}
        if node is not None and not node.is_mapping:
            self.problems.add(
                node, ("brokers",), "must be a mapping of names to brokers", allowed="{paper: {type: paper, …}, …}"
            )
        known = self.endpoints.with_catalog(self.catalog).brokers
        for name, child in ({} if node is None else node.entries).items():
            if not name or "|" in name or not name.isprintable():
                # Ids of signals are made of `strategy|broker`.
                self.problems.add(
                    child, ("brokers", name), "a broker's name must be printable text without `|`", found=repr(name)
                )
            default, path = "paper" if name == "paper" else "", ("brokers", name)
            kind = child.entries.get("type")
            # Paper signals go nowhere, so that there is nothing to say about how.
            beside = () if (default if kind is None else kind.value) == "paper" else _DELIVERY_KEYS
            made = read_endpoint(child, path, "broker", known, self.problems, default=default, beside=beside)
            delivery = self._shared(DeliveryOptions, beside, child, path)
            if made is not None and delivery is not None:
                brokers[name] = BrokerSettings(name, *made, delivery)
                self._own_file(brokers, name, child.entries.get("path", child))
        brokers.setdefault("paper", BrokerSettings("paper", "paper", PaperCosts()))
        return brokers

    def _own_file(self, brokers: Mapping[str, BrokerSettings], name: str, node: Node) -> None:
        """Two brokers that append to one file would cut off what looks like the other's torn last line."""
        options = brokers[name].options
        if not isinstance(options, JsonlBroker):
            return
        place = options.path.resolve()
        if place.exists() and not place.is_file():
            return  # a pipe or a terminal has no last line
        for other, settings in brokers.items():
            shared = isinstance(settings.options, JsonlBroker) and settings.options.path.resolve() == place
            if other != name and shared:
                message = f"broker {other!r} writes to this file already; give each its own"
                self.problems.add(node, ("brokers", name, "path"), message)

    def _shared(self, shape: type[T], keys: Collection[str], node: Node, path: tuple[str, ...]) -> T | None:
        """What every type takes beside its own options; None after adding what is wrong with it."""
        given = {key: child for key, child in node.entries.items() if key in keys}
        return checked(shape, node.with_value(given), path, self.problems) if given else shape()

    @staticmethod
    def _declared(root: Node) -> set[str]:
        """The brokers' names, those with problems included: a row that names one is right."""
        node = root.entries.get("brokers")
        return {"paper", *(node.entries if node is not None else {})}

    def _strategies(self, root: Node, brokers: Collection[str]) -> tuple[StrategyConfig, ...]:
        node = root.entries.get("strategies")
        if node is None or node.value is None:
            if not self.strategies_required:
                return ()
            self.problems.add(
                node or root, ("strategies",), "required, and not there", found="", allowed="a list of rows"
            )
            return ()
        reader = RowReader(self.catalog, brokers, self.problems, self.known)
        rows = []
        for found in self.gatherer.rows(node, ("strategies",)):
            row = None
            if self.changes is not None:
                found, row = self._changed(found, brokers, self.changes)  # noqa: PLW2901  the row as it is to be read
            if row is None:
                row = reader.read(found.node, found.path, default_id=found.default_id)
            self._unique(found)
            if row is not None:
                rows.append(row)
        if self.changes is not None:
            self.changes.finish(self.problems)
        return tuple(rows)

    def _changed(
        self, found: FoundRow, brokers: Collection[str], changes: Changes
    ) -> tuple[FoundRow, StrategyConfig | None]:
        def check(node: Node, problems: Problems) -> StrategyConfig | None:
            reader = RowReader(self.catalog, brokers, problems, self.known)
            return reader.read(node, found.path, default_id=found.default_id)

        node, made = changes.to_row(found.node, found.default_id, check)
        return FoundRow(node, found.path, found.default_id), made

    def _unique(self, found: FoundRow) -> None:
        node = found.node.entries.get("id") or (found.node.with_value(found.default_id) if found.default_id else None)
        if node is None or not isinstance(node.value, str):
            return
        first = self._ids.setdefault(node.value, node)
        if first is not node:
            shown = "***" if node.masked else repr(node.value)
            message = _twice(f"the id {shown}", node, first.line, first.origin.name)
            self.problems.add(node, (*found.path, "id"), message, found="")


def _twice(what: str, node: Node, line: int, file: str = "") -> str:
    elsewhere = file if file and file != node.origin.name else ""
    place = " ".join(
        part for part in (f"in {elsewhere}" if elsewhere else "", f"on line {line}" if line else "") if part
    )
    return f"{what} is there twice" + (f", first {place}" if place else "")


def _given(node: Node | None) -> Node | None:
    """The node; None where the key is not there, or there without a value."""
    return None if node is None or node.value is None else node
