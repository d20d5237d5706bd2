"""The schema for editors: it takes what loads, and sees what a schema can see."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated

import pytest
from ruamel.yaml import YAML

from anystrat.config.describe import describe_common, describe_types
from anystrat.config.schema import json_schema
from anystrat.domain.parameters import Doc, Ge, Unit
from anystrat.strategies.catalog import StrategyType

KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "default", "examples", "x-unit", "patternErrorMessage",
    "type", "enum", "const", "pattern", "minLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "properties", "patternProperties", "additionalProperties", "required", "items", "minItems", "anyOf", "allOf", "not", "if", "then", "else",
}  # fmt: skip
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def is_valid(value, schema, root) -> bool:
    """Just as much of JSON Schema 2020-12 as the schema uses; a keyword beyond that fails the test that uses it."""
    assert set(schema) <= KNOWN, set(schema) - KNOWN

    def holds(sub, what=value):
        return is_valid(what, sub, root)

    if "$ref" in schema and not holds(root["$defs"][schema["$ref"].removeprefix("#/$defs/")]):
        return False
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        fits = any(
            isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
        )
        if not fits:
            return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        return False
    if isinstance(value, str) and (
        not re.search(schema.get("pattern", ""), value) or len(value) < schema.get("minLength", 0)
    ):
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        infinity = float("inf")
        inside = schema.get("minimum", -infinity) <= value <= schema.get("maximum", infinity)
        if not inside or not schema.get("exclusiveMinimum", -infinity) < value < schema.get(
            "exclusiveMaximum", infinity
        ):
            return False
    if isinstance(value, list) and (
        len(value) < schema.get("minItems", 0) or not all(holds(schema.get("items", {}), item) for item in value)
    ):
        return False
    if isinstance(value, dict):
        if not all(key in value for key in schema.get("required", [])):
            return False
        for key, child in value.items():
            subs = [schema["properties"][key]] if key in schema.get("properties", {}) else []
            subs += [sub for pattern, sub in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
            rest = schema.get("additionalProperties", True)
            if not subs and rest is False:
                return False
            subs += [rest] if not subs and isinstance(rest, dict) else []
            if not all(holds(sub, child) for sub in subs):
                return False
    if "not" in schema and holds(schema["not"]):
        return False
    if "anyOf" in schema and not any(holds(sub) for sub in schema["anyOf"]):
        return False
    if not all(holds(sub) for sub in schema.get("allOf", [])):
        return False
    if "if" in schema:
        return holds(schema.get("then", {})) if holds(schema["if"]) else holds(schema.get("else", {}))
    return True


def parsed(text):
    return YAML(typ="safe", pure=True).load(text)


GOOD = [
    "strategies: []",
    "strategies: {include: strategies/*.yaml}",
    "strategies: {from: 'sqlite:///rows.db', table: t}",
    "strategies: [{include: [a, b]}, {from: x}, {id: a, strategy_type: momentum, instruments: [1]}]",
    "x-anything: {a: 1}\nstrategies: []",
    "run:\ninstruments:\nbrokers:\njournal:\nsource:\nstrategies: []",
    "brokers: {paper: {fee_bps: 3}}\nstrategies: []",
    "brokers: {n: {type: nats, url_file: secrets/u}}\nstrategies: []",
    "run: {rng_seed: '${SEED}'}\nstrategies: []",
    "sessions: {overrides: {XBOM: [{date: '2026-11-08', open: '18:00', close: '19:00'}, {date: '2026-11-09', closed: true}]}}\nstrategies: []\ninstruments: [{token: 1, calendar: XBOM}]",
    "sessions: {overrides: , preopen_minutes: {}}\nstrategies: []",
    "metrics: {}\ntracing: {sample: 1, headers: {a: b}}\nlog: {format: json, level: debug}\nstrategies: []",
    "metrics:\ntracing:\nlog:\nstrategies: []",
    "source: {type: file, path: [a, b], pace: 3}\nstrategies: []",
    "notify: {url: 'https://h/', on: [kill, feed], per_minute: 5}\nstrategies: []",
    "source: {type: kafka, bootstrap_servers: 'h:1', topic: t, partitions: [0, 1], start: new, options: {security.protocol: SSL}}\nstrategies: []",
    "source: {type: websocket, url: 'ws://h', tokens: {A: 1}, ticks: [{price: p, instrument: s, where: {e: trade}, time: t, time_unit: iso}]}\nstrategies: []",
    "notify: {type: webhook, url_file: secrets/hook, secret: k}\nstrategies: []",
    "strategies: [{id: a, strategy_type: momentum, instruments: [1], parameters: , brokers: }]",
    "strategies: [{id: a, strategy_type: momentum, instruments: [1], parameters: {risk: {cooldown_sec: , price_bucket: '0.05'}, validator: standard}}]",
    (
        "strategies: [{id: a, strategy_type: hybrid, instruments: [1], parameters: {rules: {type: breakout, buffer: 0}, ml: {type: ml_breakout, model_path: m},"
        " policy: threshold_escalation, vol_threshold: 0.1, max_position_size: 5}}]"
    ),
    "strategies: [{id: a, strategy_type: hybrid_momentum, instruments: [1], parameters: {model_path: m, policy: {type: sizer, min_scale: 0.5}}}]",
]
BAD = [
    "{}",
    "strategies: 5",
    "strategies: []\nstrategie: []",
    "version: 2\nstrategies: []",
    "run: {rng_sed: 1}\nstrategies: []",
    "run: {rng_seed: '1'}\nstrategies: []",
    "run: {overload: drop}\nstrategies: []",
    "sessions: {overrides: {XBOM: [{closed: true}]}}\nstrategies: []",
    "sessions: {overides: {}}\nstrategies: []",
    "metrics: {port: 65536}\nstrategies: []",
    "metrics: true\nstrategies: []",
    "tracing: {sample: 2}\nstrategies: []",
    "log: {level: loud}\nstrategies: []",
    "source: {type: fil}\nstrategies: []",
    "notify: {}\nstrategies: []",
    "source: {type: websocket, url: 'ws://h'}\nstrategies: []",
    "source: {type: kafka, bootstrap_servers: 'h:1', topic: t, partitions: [-1]}\nstrategies: []",
    "source: {type: websocket, url: 'ws://h', ticks: [{prize: p}]}\nstrategies: []",
    "source: {type: websocket, url: 'ws://h', tokens: {A: b}, ticks: [{price: p, token: 1}]}\nstrategies: []",
    "notify: {url: 'https://h/', on: [kil]}\nstrategies: []",
    "notify: {url: 'https://h/', per_minute: 0}\nstrategies: []",
    "notify: {url: 'https://h/', attempts: 2}\nstrategies: []",
    "source: {type: file}\nstrategies: []",
    "brokers: {paper: {fee_bps: -1}}\nstrategies: []",
    "brokers: {n: {type: nats}}\nstrategies: []",
    "strategies: {include: a, b: c}",
    "strategies: [{id: a, strategy_type: momentm, instruments: [1]}]",
    "strategies: [{id: a, strategy_type: momentum, instruments: []}]",
    "strategies: [{id: a, strategy_type: momentum}]",
    "strategies: [{id: a, strategy_type: momentum, instruments: [1], parameters: {threshold: -1}}]",
    "strategies: [{id: a, strategy_type: momentum, instruments: [1], parameters: {z_entry: 1}}]",
    "strategies: [{id: a, strategy_type: momentum, instruments: [1], parameters: {risk: {cooldown: 1}}}]",
    "strategies: [{id: a, strategy_type: ml_momentum, instruments: [1]}]",
    "strategies: [{id: a, strategy_type: ml_momentum, instruments: [1], parameters: {}}]",
    "strategies: [{id: a, strategy_type: hybrid_momentum, instruments: [1], parameters: {model_path: m, policy: majorty}}]",
    "strategies: [{id: a, strategy_type: hybrid, instruments: [1], parameters: {rules: {type: ml_momentum}, ml: {type: ml_momentum, model_path: m}}}]",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_loads_is_valid(load, catalog, text) -> None:
    schema = json_schema(catalog)

    assert is_valid(parsed(text), schema, schema)
    if "from" not in text and "include" not in text:
        load(text, {"SEED": "1"}, {"secrets/u": "nats://h", "secrets/hook": "https://h/"})


@pytest.mark.parametrize("text", BAD)
def test_what_is_refused_is_invalid(refuse, catalog, text) -> None:
    schema = json_schema(catalog)

    assert not is_valid(parsed(text), schema, schema)
    assert refuse(text)


def test_the_example_of_the_contract_is_valid(catalog, spec_example) -> None:
    schema = json_schema(catalog)

    assert is_valid(parsed(spec_example), schema, schema)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("{strategy_type: momentum, instruments: [1]}", True),
        ("[{id: a, strategy_type: momentum, instruments: [1]}]", True),
        ("[{strategy_type: momentum, instruments: [1]}]", False),
        ("{strategy_type: momentum}", False),
        ("strategies: []", False),
    ],
)
def test_the_schema_of_included_files_takes_rows(catalog, text, valid) -> None:
    schema = json_schema(catalog, rows_only=True)

    assert is_valid(parsed(text), schema, schema) is valid


def test_the_schema_is_json_and_refers_only_to_what_it_defines(catalog) -> None:
    for schema in (json_schema(catalog), json_schema(catalog, rows_only=True)):
        text = json.dumps(schema, allow_nan=False)

        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert {reference.removeprefix("#/$defs/") for reference in re.findall(r'"\$ref": "([^"]+)"', text)} <= set(
            schema["$defs"]
        )


def test_every_parameter_carries_title_description_unit_bounds_and_default(catalog) -> None:
    parameter = json_schema(catalog)["$defs"]["strategy.momentum"]["properties"]["lookback_periods"]

    assert (parameter["title"], parameter["default"], parameter["minimum"], parameter["x-unit"]) == (
        "lookback_periods",
        20,
        1,
        "ticks",
    )
    assert parameter["description"].endswith("Unit: ticks.")


@dataclass(frozen=True)
class GapParameters:
    gap: Annotated[float, Ge(0), Unit("ratio"), Doc("How large a gap must be.")] = 0.5


def test_a_type_that_somebody_registers_is_checked_described_and_in_the_schema(refuse, load, row_with, catalog) -> None:
    catalog.register(
        StrategyType("gap", "rules", GapParameters, lambda parameters, context: None, "Trades gaps.", origin="someone")
    )
    schema = json_schema(catalog)

    assert load(row_with("gap: 0.25", "gap")).strategies[0].parameters == GapParameters(0.25)
    assert refuse(row_with("gap: -1", "gap"))[0].path == "strategies[0].parameters.gap"
    assert is_valid(parsed(row_with("gap: 0.25", "gap")), schema, schema)
    assert not is_valid(parsed(row_with("gap: -1", "gap")), schema, schema)
    described = next(each for each in describe_types(catalog) if each.name == "gap")
    (parameter,) = described.parameters
    assert (described.kind, described.summary, described.origin) == ("rules", "Trades gaps.", "someone")
    assert (parameter.name, parameter.type, parameter.default, parameter.bounds, parameter.unit) == (
        "gap",
        "number",
        "0.5",
        "≥ 0",
        "ratio",
    )


def test_every_type_and_policy_is_described_with_the_doc_of_every_parameter(catalog) -> None:
    described = {each.name: each for each in describe_types(catalog)}

    assert set(described) == {*catalog.strategies, *catalog.policies, "standard"}
    for each in described.values():
        assert each.summary
        assert all(parameter.doc and parameter.type for parameter in each.parameters), each
    assert {"rules", "ml", "policy", "on_model_failure"} <= {
        parameter.name for parameter in described["hybrid"].parameters
    }
    assert {"lookback_periods", "model_path", "policy", "min_conf"} <= {
        parameter.name for parameter in described["hybrid_momentum"].parameters
    }


def test_what_all_types_share_is_described_too() -> None:
    common = {parameter.name: parameter for parameter in describe_common()}

    assert common["risk.dedupe_window_sec"].default == "3"
    assert common["risk.cooldown_sec"].default == ""
    assert common["risk_multiplier"].default == "1"
    assert all(parameter.doc for parameter in common.values())
