"""The JSON Schema of a configuration, for editors: derived from the catalogue and from the classes that check it.

It accepts every configuration that loads. It also lets pass what only the loader can see: names of brokers, duplicate
ids, values that are impossible together, and in a hybrid's flat parameters the keys of a policy that was not chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from anystrat.config.bars import bars_schema
from anystrat.config.endpoint_types import EndpointTypes
from anystrat.config.fields import fields_of
from anystrat.config.isolation import isolation_schema
from anystrat.config.risk import RiskShape, SizingShape
from anystrat.config.rows import RowShape
from anystrat.config.value_schema import Schema, field_schema, object_schema
from anystrat.domain.account import AccountLimits
from anystrat.domain.cluster import ClusterSettings
from anystrat.domain.configuration import (
    ControlSettings,
    DeliveryOptions,
    FeedSettings,
    InstrumentSpec,
    LogSettings,
    MetricsSettings,
    RunSettings,
    TracingSettings,
)
from anystrat.domain.notifying import NotifyRules
from anystrat.domain.sessions import SessionOverride, SessionSettings
from anystrat.strategies.catalog import Catalog, Composition, StrategyType
from anystrat.strategies.hybrid import HybridParameters
from anystrat.strategies.hybrid_layout import NO_PART_KEYS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ENDPOINTS = EndpointTypes()
_SECTIONS = {
    "run": RunSettings,
    "account": AccountLimits,
    "metrics": MetricsSettings,
    "control": ControlSettings,
    "tracing": TracingSettings,
    "log": LogSettings,
    "cluster": ClusterSettings,
}
#: What every type of a kind takes beside its own options.
_BESIDE: dict[str, dict[str, Schema]] = {
    what: {each.name: field_schema(each) for each in fields_of(shape)}
    for what, shape in (("source", FeedSettings), ("broker", DeliveryOptions), ("notify", NotifyRules))
}


def json_schema(catalog: Catalog, *, endpoints: EndpointTypes = _ENDPOINTS, rows_only: bool = False) -> dict[str, Any]:
    """The schema of a configuration file, draft 2020-12; with `rows_only` of an included file, which holds rows."""
    endpoints = endpoints.with_catalog(catalog)
    head: Schema = {"$schema": DRAFT, "$defs": _definitions(catalog, endpoints)}
    if rows_only:
        rows: Schema = {"type": "array", "items": _ref("row")}
        return {
            **head,
            "title": "anystrat rows",
            "description": "One strategy, or a list of them, for `strategies: {include: …}`.",
            "if": {"type": "array"},
            "then": rows,
            "else": _ref("row_with_name"),
        }
    return {
        **head,
        "title": "anystrat configuration",
        "description": "What anystrat runs: instruments, a source of ticks, brokers for the signals, and strategies.",
        "type": "object",
        "properties": {
            "version": {"const": 1, "title": "version", "description": "Version of this format."},
            **{name: _section(name, shape) for name, shape in _SECTIONS.items()},
            "instruments": {
                "type": ["array", "null"],
                "title": "instruments",
                "description": "May be left out where no check needs them.",
                "items": object_schema(InstrumentSpec, title="instrument"),
            },
            "sessions": _sessions(),
            "source": _optional(_endpoint("source", "Where ticks come from.", endpoints.sources)),
            "brokers": {
                "type": ["object", "null"],
                "title": "brokers",
                "description": "Where signals go, by name. `paper` exists undeclared.",
                "properties": {"paper": _endpoint("broker", "The paper broker.", endpoints.brokers, default="paper")},
                "additionalProperties": _endpoint("broker", "Where signals go.", endpoints.brokers),
            },
            "journal": _optional(
                _endpoint("journal", "Where state and accepted signals are kept.", endpoints.journals)
            ),
            "history": _optional(
                _endpoint("history", "Where windows are filled from before the first tick.", endpoints.histories)
            ),
            "feature_store": _optional(
                _endpoint("feature_store", "Where features declared as cached are kept.", endpoints.feature_stores)
            ),
            "notify": _optional(
                _endpoint("notify", "Where people are told of what happens.", endpoints.notifiers, default="webhook")
            ),
            "strategies": _strategies(),
        },
        "patternProperties": {"^x-": {"description": "Not read: a place for YAML anchors."}},
        "additionalProperties": False,
        "required": ["strategies"],
    }


def _definitions(catalog: Catalog, endpoints: EndpointTypes) -> dict[str, Schema]:
    definitions: dict[str, Schema] = {
        "row": _row(catalog, required_id=True),
        "row_with_name": _row(catalog, required_id=False),
        "risk": _optional(object_schema(RiskShape, title="risk", summary="The checks; whatever is left out is off.")),
        "include": _include(),
        "from": _from(),
        "policy": _policy(catalog),
    }
    for strategy in catalog.strategies.values():
        parameters = _parameters(strategy, catalog)
        definitions[f"strategy.{strategy.name}"] = parameters if parameters.get("required") else _optional(parameters)
        if strategy.composition is None:
            definitions[f"part.{strategy.name}"] = _typed(strategy.name, strategy.parameters, strategy.summary)
    for policy in catalog.policies.values():
        definitions[f"policy.{policy.name}"] = _typed(policy.name, policy.parameters, policy.summary)
    shelves = (
        ("source", endpoints.sources),
        ("broker", endpoints.brokers),
        ("journal", endpoints.journals),
        ("history", endpoints.histories),
        ("feature_store", endpoints.feature_stores),
        ("notify", endpoints.notifiers),
    )
    for what, known in shelves:
        for name, shape in known.items():
            shared = {} if (what, name) == ("broker", "paper") else _BESIDE.get(what, {})
            opaque: Schema = {"type": "object", "title": name, "properties": {"type": {"const": name}, **shared}}
            summary = "" if shape is None else (shape.__doc__ or "").split("\n", 1)[0]
            definitions[f"{what}.{name}"] = (
                opaque if shape is None else _typed(name, shape, summary, extra=shared, secret_files=True)
            )
    return definitions


def _section(name: str, shape: type[Any]) -> Schema:
    return _optional(object_schema(shape, title=name, summary=(shape.__doc__ or "").split("\n", 1)[0]))


def _sessions() -> Schema:
    described = "Dates on which an exchange does not keep to its calendar, by calendar."
    dates: Schema = {"type": "array", "items": object_schema(SessionOverride, title="date")}
    overrides: Schema = {
        "type": "object",
        "additionalProperties": dates,
        "title": "overrides",
        "description": described,
    }
    schema = object_schema(SessionSettings, title="sessions", summary="What the exchanges' calendars do not know.")
    schema["properties"]["overrides"] = _optional(overrides)
    return _optional(schema)


def _strategies() -> Schema:
    item: Schema = {
        "if": {"type": "object", "required": ["include"]},
        "then": _ref("include"),
        "else": {"if": {"type": "object", "required": ["from"]}, "then": _ref("from"), "else": _ref("row")},
    }
    reference = {"if": {"type": "object", "required": ["from"]}, "then": _ref("from"), "else": _ref("include")}
    return {
        "type": ["array", "object"],
        "title": "strategies",
        "description": "Rows; or {include: strategies/*.yaml}; or {from: sqlite:///rows.db}; or a list that mixes them.",
        "if": {"type": "array"},
        "then": {"items": item},
        "else": reference,
    }


def _include() -> Schema:
    pattern = {"type": "string", "minLength": 1}
    described = {
        "anyOf": [pattern, {"type": "array", "items": pattern}],
        "title": "include",
        "description": "Files with rows, by path or pattern, relative to this file.",
    }
    return {
        "type": "object",
        "properties": {"include": described},
        "required": ["include"],
        "additionalProperties": False,
    }


def _from() -> Schema:
    properties = {
        "from": {"type": "string", "title": "from", "description": "URL of a database with a table of rows."},
        "table": {"type": "string", "title": "table", "description": "Name of the table.", "default": "strategies"},
        "watch": {
            "type": "string",
            "title": "watch",
            "description": "Channel on which a PostgreSQL database says that rows changed.",
        },
    }
    return {"type": "object", "properties": properties, "required": ["from"], "additionalProperties": False}


def _row(catalog: Catalog, *, required_id: bool) -> Schema:
    properties = {each.name: field_schema(each) for each in fields_of(RowShape)}
    for name in ("brokers", "enabled", "name", "strategy_name", "validator", "per_instrument"):
        properties[name] = _optional(properties[name])
    properties["strategy_type"] |= {"enum": sorted(catalog.strategies)}
    properties["validator"] = _validator(catalog)
    properties["parameters"] = {
        "type": ["object", "null"],
        "title": "parameters",
        "description": "As its strategy type has them.",
    }
    properties["bars"] = bars_schema()
    properties["isolate"] = isolation_schema()
    required = ["strategy_type", "instruments"]
    return {
        "type": "object",
        "title": "strategy",
        "properties": properties,
        "required": ["id", *required] if required_id else required,
        "additionalProperties": False,
        "allOf": [
            _when(
                "strategy_type",
                entry.name,
                {
                    "properties": {"parameters": _ref(f"strategy.{entry.name}")},
                    **_needs_parameters(entry, catalog),
                },
            )
            for entry in catalog.strategies.values()
        ],
    }


def _needs_parameters(entry: StrategyType, catalog: Catalog) -> Schema:
    return {"required": ["parameters"]} if _parameters(entry, catalog).get("required") else {}


def _parameters(entry: StrategyType, catalog: Catalog) -> Schema:
    shared: dict[str, Schema] = {each.name: field_schema(each) for each in fields_of(SizingShape)}
    shared["risk"] = _ref("risk")
    shared["validator"] = _validator(catalog)
    if entry.composition is not None:
        return _hybrid(entry, entry.composition, catalog, shared)
    return object_schema(entry.parameters, extra=shared, title=entry.name, summary=entry.summary)


def _hybrid(entry: StrategyType, composition: Composition, catalog: Catalog, shared: Mapping[str, Schema]) -> Schema:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for policy in catalog.policies.values():
        properties |= {each.name: field_schema(each) for each in fields_of(policy.parameters)}
    if composition.rules is not None and composition.ml is not None:
        for name in (composition.rules, composition.ml):
            described = fields_of(catalog.strategy(name).parameters)
            properties |= {each.name: field_schema(each) for each in described}
            required += [each.name for each in described if each.required and each.name not in required]
    else:
        for kind in ("rules", "ml"):
            names = [each.name for each in catalog.strategies.values() if each.kind == kind]
            properties[kind] = _discriminated(f"{kind} of the hybrid", "part", names)
            required.append(kind)
    own = {each.name: field_schema(each) for each in fields_of(HybridParameters) if each.name in NO_PART_KEYS}
    properties |= own | {"policy": {**_ref("policy"), "default": composition.default_policy}, **shared}
    schema: Schema = {
        "type": "object",
        "title": entry.name,
        "description": entry.summary,
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": required} if required else schema


def _policy(catalog: Catalog) -> Schema:
    names = sorted(catalog.policies)
    return {
        "title": "policy",
        "description": "How one decision is made of two: a name, or a mapping with `type` and the policy's own keys.",
        "if": {"type": "object"},
        "then": _discriminated("policy", "policy", names),
        "else": {"anyOf": [{"enum": names}, {"type": "null"}, {"type": "string", "pattern": r"\$\{"}]},
    }


def _endpoint(what: str, summary: str, known: Iterable[str], *, default: str = "") -> Schema:
    schema = {**_discriminated(what, what, list(known)), "description": summary}
    if default:
        # Without `type`, the default's keys are the ones to offer.
        schema["required"] = []
        schema["if"], schema["then"] = {"type": "object", "not": {"required": ["type"]}}, _ref(f"{what}.{default}")
    return schema


def _discriminated(title: str, prefix: str, names: Iterable[str]) -> Schema:
    """A mapping whose `type` says which definition holds for the rest of it."""
    listed = list(names)
    return {
        "type": "object",
        "title": title,
        "properties": {"type": {"enum": listed}},
        "required": ["type"],
        "allOf": [_when("type", name, _ref(f"{prefix}.{name}")) for name in listed],
    }


def _typed(
    name: str, shape: type[Any], summary: str, *, extra: Mapping[str, Schema] | None = None, secret_files: bool = False
) -> Schema:
    keys: dict[str, Schema] = {"type": {"const": name}, **(extra or {})}
    return object_schema(shape, extra=keys, title=name, summary=summary, secret_files=secret_files)


def _validator(catalog: Catalog) -> Schema:
    names = sorted({"standard", *catalog.validators})
    described = "Who checks signals beside the standard checks."
    return {"enum": [*names, None], "title": "validator", "description": described, "default": "standard"}


def _when(key: str, value: str, then: Schema) -> Schema:
    return {"if": {"type": "object", "properties": {key: {"const": value}}, "required": [key]}, "then": then}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _optional(schema: Schema) -> Schema:
    """The same, or nothing: a key without a value counts as left out."""
    kinds = schema.get("type")
    if isinstance(kinds, (str, list)):
        listed = [kinds] if isinstance(kinds, str) else kinds
        return {**schema, "type": [*listed, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
