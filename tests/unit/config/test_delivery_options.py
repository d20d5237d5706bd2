from __future__ import annotations

from pathlib import Path

import pytest

from anystrat.config import EndpointTypes, load_configuration
from anystrat.config.schema import json_schema
from anystrat.domain.configuration import BrokerSettings, Configuration, DeliveryOptions
from anystrat.domain.endpoints import JsonlBroker
from anystrat.domain.errors import ConfigurationError
from anystrat.strategies.builtin import builtin_catalog

CATALOG = builtin_catalog()


def load(directory: Path, broker: str, endpoints: EndpointTypes | None = None) -> Configuration:
    path = directory / "anystrat.yaml"
    path.write_text(f"brokers: {{out: {broker}}}\nstrategies: []\n", encoding="utf-8")
    return load_configuration(path, CATALOG, endpoints=endpoints or EndpointTypes())


def test_every_broker_has_the_defaults(tmp_path) -> None:
    brokers = load(tmp_path, "{type: log}").brokers

    assert brokers["out"].delivery == brokers["paper"].delivery == DeliveryOptions()


def test_they_stand_beside_the_types_own_options(tmp_path) -> None:
    brokers = load(tmp_path, "{type: jsonl, path: a.jsonl, expire_sec: 60, rate_per_sec: 9.5, attempts: 3}").brokers

    assert brokers["out"] == BrokerSettings(
        "out", "jsonl", JsonlBroker(tmp_path / "a.jsonl"), DeliveryOptions(3, expire_sec=60, rate_per_sec=9.5)
    )


def test_a_plug_ins_broker_takes_them_too_and_does_not_see_them(tmp_path) -> None:
    brokers = load(tmp_path, "{type: kite, account: x, attempts: 3}", EndpointTypes().with_broker("kite")).brokers

    assert brokers["out"].options == {"account": "x"}
    assert brokers["out"].delivery.attempts == 3


@pytest.mark.parametrize(
    ("broker", "says"),
    [
        ("{type: log, attempts: 0}", "brokers.out.attempts"),
        ("{type: log, expire_sec: soon}", "brokers.out.expire_sec"),
        ("{type: log, expire_secs: 5}", "did you mean 'expire_sec'?"),
        ("{type: log, backoff_sec: 50}", "brokers.out.max_backoff_sec"),
        ("{type: paper, attempts: 3}", "brokers.out.attempts"),
    ],
)
def test_what_is_wrong_is_named_at_its_place(tmp_path, broker, says) -> None:
    with pytest.raises(ConfigurationError, match=says.replace(".", r"\.").replace("?", r"\?")):
        load(tmp_path, broker)


def test_the_schema_has_them_for_every_type_but_paper() -> None:
    definitions = json_schema(CATALOG, endpoints=EndpointTypes().with_broker("kite"))["$defs"]
    with_them = {name for name, each in definitions.items() if "rate_per_sec" in each.get("properties", {})}

    assert with_them == {"broker.log", "broker.jsonl", "broker.nats", "broker.kafka", "broker.webhook", "broker.kite"}
