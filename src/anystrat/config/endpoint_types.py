"""Which sources, brokers, journals and feature stores a configuration can name, and how the options of one are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anystrat.config.fields import fields_of, holds_secret
from anystrat.config.node import Node
from anystrat.config.problems import Problems
from anystrat.config.shapes import Steps, checked
from anystrat.domain.configuration import EnvironmentText, PaperCosts, Secret
from anystrat.domain.endpoints import (
    FileHistory,
    FileSource,
    JournalHistory,
    JsonlBroker,
    KafkaBroker,
    KafkaSource,
    LogBroker,
    MemoryFeatures,
    MemoryJournal,
    NatsBroker,
    NatsSource,
    PostgresHistory,
    PostgresJournal,
    RedisFeatureStore,
    RedisHistory,
    SourceHistory,
    SqliteJournal,
    StdinSource,
    SyntheticSource,
)
from anystrat.domain.webhook import WebhookBroker
from anystrat.domain.websocket import WebSocketSource
from anystrat.strategies.catalog import Catalog

# A type's options: a frozen dataclass, or None for a plug-in that reads its own mapping.
Options = type[Any] | None

# Keys of a plug-in's options that may be given as a file.
_SECRET_KEYS = frozenset({"access_token", "api_key", "api_secret", "passphrase", "password", "secret", "token", "url"})
_LONGEST_SECRET = 100_000


@dataclass(frozen=True, slots=True)
class EndpointTypes:
    """Names to options classes. Plug-ins are added with `dataclasses.replace` or the two methods."""

    sources: Mapping[str, Options] = field(
        default_factory=lambda: {
            "file": FileSource,
            "synthetic": SyntheticSource,
            "stdin": StdinSource,
            "nats": NatsSource,
            "kafka": KafkaSource,
            "websocket": WebSocketSource,
        }
    )
    brokers: Mapping[str, Options] = field(
        default_factory=lambda: {
            "paper": PaperCosts,
            "log": LogBroker,
            "jsonl": JsonlBroker,
            "nats": NatsBroker,
            "kafka": KafkaBroker,
            "webhook": WebhookBroker,
        }
    )
    journals: Mapping[str, Options] = field(
        default_factory=lambda: {"sqlite": SqliteJournal, "postgres": PostgresJournal, "memory": MemoryJournal}
    )

    histories: Mapping[str, Options] = field(
        default_factory=lambda: {
            "file": FileHistory,
            "journal": JournalHistory,
            "postgres": PostgresHistory,
            "redis": RedisHistory,
            "source": SourceHistory,
        }
    )
    notifiers: Mapping[str, Options] = field(default_factory=lambda: {"webhook": WebhookBroker})
    feature_stores: Mapping[str, Options] = field(
        default_factory=lambda: {"memory": MemoryFeatures, "redis": RedisFeatureStore}
    )

    def with_source(self, name: str, options: Options = None) -> EndpointTypes:
        """These types and one more source."""
        return replace(self, sources={**self.sources, name: options})

    def with_broker(self, name: str, options: Options = None) -> EndpointTypes:
        """These types and one more broker."""
        return replace(self, brokers={**self.brokers, name: options})

    def with_catalog(self, catalog: Catalog) -> EndpointTypes:
        """These types, and those of the catalogue: its publishers as brokers, its sources."""
        return replace(
            self,
            sources={**self.sources, **{each.name: each.options for each in catalog.sources.values()}},
            brokers={**self.brokers, **{each.name: each.options for each in catalog.publishers.values()}},
        )


def read_endpoint(
    node: Node,
    path: Steps,
    what: str,
    known: Mapping[str, Options],
    problems: Problems,
    *,
    default: str = "",
    beside: Collection[str] = (),
) -> tuple[str, Any] | None:
    """The type and the checked options of a source, a broker or a journal; None after adding what is wrong with it.

    `beside` are keys that every type has and that somebody else checks.
    """
    if not node.is_mapping:
        problems.add(node, path, "must be a mapping with a `type`", allowed="{type: " + " | ".join(known) + ", …}")
        return None
    kind = node.entries.get("type")
    if kind is None and not default:
        problems.add(node, (*path, "type"), "required, and not there", found="", allowed=known)
        return None
    name = default if kind is None else kind.value
    if kind is not None and not isinstance(name, str):
        problems.add(kind, (*path, "type"), "must be text", allowed=known)
        return None
    if name not in known:
        problems.unknown(kind or node, (*path, "type"), f"{what} type", name, known)
        return None
    shape = known[name]
    options = _with_secret_files(node, path, shape, problems)
    if shape is None:
        return name, {
            key: _opaque(child) for key, child in options.entries.items() if key != "type" and key not in beside
        }
    made = checked(shape, options, path, problems, more_keys=("type", *beside))
    return None if made is None else (name, made)


def _with_secret_files(node: Node, path: Steps, shape: Options, problems: Problems) -> Node:
    """The mapping with `<key>_file: path` replaced by `key: what the file holds`."""
    secret_keys = (
        _SECRET_KEYS if shape is None else {each.name for each in fields_of(shape) if holds_secret(each.annotation)}
    )
    entries = dict(node.entries)
    for key, child in node.entries.items():
        name = key.removesuffix("_file")
        if name == key or name not in secret_keys:
            continue
        del entries[key]
        if name in node.entries:
            problems.add(child, (*path, key), f"`{name}` and `{key}` are both given; keep one of them", found="")
        elif not isinstance(child.value, str):
            problems.add(child, (*path, key), "must be a path")
        elif (text := _secret_text(child, (*path, key), problems)) is not None:
            problems.keep_secret(text)
            entries[name] = child.with_value(text, masked=True)
    return node.with_value(entries)


def _secret_text(node: Node, path: Steps, problems: Problems) -> str | None:
    try:
        with (Path(node.origin.base_dir) / str(node.value)).open(encoding="utf-8") as stream:
            return stream.read(_LONGEST_SECRET).rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        problems.add(node, path, f"the file cannot be read: {reason}")
        return None


def _opaque(node: Node) -> Any:
    value = node.plain()
    return _sealed(value)


def _sealed(value: Any) -> Any:
    """Text from the environment as `Secret`, at any depth: what a plug-in's option is for is not known."""
    if isinstance(value, dict):
        return {key: _sealed(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_sealed(child) for child in value]
    return Secret(str(value)) if isinstance(value, EnvironmentText) else value
