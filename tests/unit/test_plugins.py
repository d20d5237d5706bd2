"""What programs and installed packages add: by call, by entry point, never under a name that is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from anystrat import plugins
from anystrat.adapters.sink_publisher import PublisherSink
from anystrat.bootstrap import open_sink
from anystrat.config import load_configuration
from anystrat.config.schema import json_schema
from anystrat.domain.configuration import BrokerSettings, Secret
from anystrat.domain.endpoints import JsonlBroker, KafkaBroker, LogBroker, NatsBroker
from anystrat.domain.errors import AnystratError, UnknownName
from anystrat.domain.webhook import WebhookBroker
from anystrat.plugins import (
    FEATURE_GROUP,
    BrokenPlugin,
    NoParameters,
    catalog,
    installed,
    register_policy,
    register_publisher,
    register_strategy,
    register_validator,
)
from anystrat.strategies.builtin import STRATEGIES, builtin_catalog
from anystrat.strategies.catalog import PolicyType, PublisherType, StrategyType, ValidatorType
from anystrat.strategies.function_rule import rule
from anystrat.strategies.momentum import MOMENTUM
from anystrat.strategies.policies import POLICIES


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    """Whatever a test registers is gone after it."""
    kept = list(plugins._registered)
    plugins._registered.clear()
    yield
    plugins._registered[:] = kept


@dataclass(frozen=True)
class Parameters:
    size: int = 1


@dataclass(frozen=True)
class Nothing:
    """Never trades."""

    parameters: Any = None


FADE = StrategyType("fade", "rules", Parameters, lambda values, _: Nothing(values), "Fades.", origin="elsewhere")  # type: ignore[arg-type, return-value]
CALM = PolicyType("calm", Parameters, Nothing, "Calm.", origin="elsewhere")  # type: ignore[arg-type]
EVEN = ValidatorType("even", Nothing, "Even.", origin="elsewhere")  # type: ignore[arg-type]

Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Let installed packages offer these objects: (group, name, object or exception)."""

    def offered(*entries: tuple[str, str, Any]) -> None:
        class Point:
            def __init__(self, name: str, found: Any) -> None:
                self.name, self.value, self.found = name, f"somewhere:{name}", found
                self.dist = type("Distribution", (), {"name": "some-package", "version": "2.0"})

            def load(self) -> Any:
                if isinstance(self.found, Exception):
                    raise self.found
                return self.found

        class Points:
            def select(self, *, group: str) -> list[Point]:
                return [Point(name, found) for place, name, found in entries if place == group]

        monkeypatch.setattr(plugins, "entry_points", Points)

    return offered


# ------------------------------------------------------------------------------------------------------------- by call


def test_a_catalogue_begins_with_everything_built_in(offer: Offer) -> None:
    offer()
    found = catalog()
    assert set(found.strategies) == {entry.name for entry in STRATEGIES}
    assert set(found.policies) == {entry.name for entry in POLICIES}
    assert found.validators == {}


def test_a_catalogue_is_its_callers_own() -> None:
    catalog().register(FADE)
    assert "fade" not in catalog().strategies


def test_a_strategy_is_registered_by_name_builder_and_parameters() -> None:
    def build(values: Parameters) -> Any:
        """Fades moves.

        At length.
        """
        return Nothing(values)

    entry = register_strategy("fade", build, parameters=Parameters, kind="rules")
    found = catalog().strategy("fade")
    assert found is entry
    assert (found.kind, found.parameters, found.summary, found.origin) == (
        "rules",
        Parameters,
        "Fades moves.",
        "this program",
    )
    assert found.build(Parameters(3), None).parameters == Parameters(3)  # type: ignore[arg-type, attr-defined]


def test_a_strategy_without_parameters_of_its_own_takes_none() -> None:
    entry = register_strategy("fade", lambda _: Nothing())  # type: ignore[arg-type, return-value]
    assert entry.parameters is NoParameters
    assert entry.summary == ""


def test_a_rule_is_registered_as_it_is() -> None:
    @rule(history=2)
    def chase(prices: Any) -> str | None:
        """Buys a tick up."""
        return "BUY" if prices[-1] > prices[0] else None

    assert register_strategy(chase) is chase
    assert catalog().strategy("chase").summary == "Buys a tick up."


def test_a_name_without_a_builder_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="needs build"):
        register_strategy("fade")


def test_the_same_entry_can_be_registered_again_and_another_of_its_name_cannot() -> None:
    register_strategy(FADE)
    register_strategy(FADE)
    assert catalog().strategy("fade") is FADE
    with pytest.raises(ValueError, match="'fade' is already registered by elsewhere; choose another name"):
        register_strategy("fade", lambda _: Nothing())  # type: ignore[arg-type, return-value]
    assert catalog().strategy("fade") is FADE


@pytest.mark.parametrize(
    "register",
    [
        lambda: register_strategy("momentum", lambda _: Nothing()),  # type: ignore[arg-type, return-value]
        lambda: register_policy("majority", lambda _: Nothing()),  # type: ignore[arg-type, return-value]
    ],
)
def test_a_built_ins_name_is_taken(register: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="is already registered by anystrat; choose another name"):
        register()
    assert catalog().strategy("momentum") is MOMENTUM


def test_policies_and_validators_are_registered_by_call() -> None:
    policy = register_policy("calm", Nothing, parameters=Parameters, summary="Calm.")  # type: ignore[arg-type]
    validator = register_validator("even", Nothing, summary="Even.")  # type: ignore[arg-type]
    found = catalog()
    assert found.policy("calm") is policy
    assert (policy.parameters, policy.summary, policy.origin) == (Parameters, "Calm.", "this program")
    assert found.validator("even") is validator
    assert found.validator("standard") is None


def test_standard_is_no_name_for_a_validator_of_ones_own() -> None:
    with pytest.raises(ValueError, match="'standard' is the built-in validator"):
        register_validator("standard", Nothing)  # type: ignore[arg-type]


def test_what_a_program_registers_may_share_a_name_with_another_kind() -> None:
    register_strategy(FADE)
    register_policy("fade", Nothing)  # type: ignore[arg-type]
    assert catalog().strategy("fade") is FADE


def test_an_unknown_name_is_answered_with_what_was_registered_too() -> None:
    register_strategy(FADE)
    with pytest.raises(UnknownName, match="did you mean 'fade'"):
        catalog().strategy("fad")


# ------------------------------------------------------------------------------------------------------ by entry point


def test_installed_packages_are_asked_for_every_kind(offer: Offer) -> None:
    calls: list[str] = []
    offer(
        ("anystrat.strategies", "fade", FADE),
        ("anystrat.policies", "calm", CALM),
        ("anystrat.validators", "even", EVEN),
        (FEATURE_GROUP, "wiggle", lambda: calls.append("registered")),
    )
    found = catalog()
    assert (found.strategy("fade"), found.policy("calm"), found.validator("even")) == (FADE, CALM, EVEN)
    assert calls == ["registered"]


def test_what_is_installed_is_listed_with_its_package(offer: Offer) -> None:
    offer(("anystrat.policies", "calm", CALM), ("anystrat.strategies", "gone", ImportError("no such library")))
    listed = {each.name: each for each in installed()}
    assert (listed["calm"].package, listed["calm"].version, listed["calm"].error) == ("some-package", "2.0", "")
    assert listed["gone"].error == (
        "plug-in 'gone' of some-package (somewhere:gone) does not load: ImportError: no such library"
    )


@pytest.mark.parametrize(
    ("group", "found", "text"),
    [
        ("anystrat.strategies", ImportError("no such library"), "does not load: ImportError: no such library"),
        ("anystrat.strategies", SyntaxError("bad"), "does not load: SyntaxError: bad"),
        ("anystrat.strategies", CALM, "is PolicyType; expected StrategyType"),
        ("anystrat.policies", "calm", "is str; expected PolicyType"),
        ("anystrat.validators", Nothing, "is type; expected ValidatorType"),
        (FEATURE_GROUP, 3, "is int; expected a function that registers features"),
    ],
)
def test_a_broken_package_is_refused_by_name(offer: Offer, group: str, found: Any, text: str) -> None:
    offer((group, "shaky", found))
    with pytest.raises(BrokenPlugin) as caught:
        catalog()
    assert str(caught.value) == f"plug-in 'shaky' of some-package (somewhere:shaky) {text}"
    assert caught.value.exit_code == 4
    assert [each.error for each in installed()] == [str(caught.value)]


def test_a_package_is_never_loaded_before_a_catalogue_is_asked_for(offer: Offer) -> None:
    offer(("anystrat.strategies", "shaky", RuntimeError("loaded")))
    assert builtin_catalog().strategy("momentum") is MOMENTUM
    register_strategy(FADE)


def test_a_package_that_is_installed_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = {plugin.name for plugin in installed()}
    facts = tmp_path / "late-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[anystrat.strategies]\nlate = nowhere:late\n", encoding="utf-8")
    assert {plugin.name for plugin in installed()} - before == {"late"}


def test_real_entry_points_have_what_is_read_from_them() -> None:
    point = EntryPoint("name", "module:object", "anystrat.strategies")
    assert (point.name, point.value, point.dist) == ("name", "module:object", None)


@pytest.mark.parametrize(
    "entry", [StrategyType("momentum", "rules", Parameters, Nothing, ""), MOMENTUM], ids=["other", "same"]
)
def test_a_package_cannot_take_a_built_ins_name(offer: Offer, entry: StrategyType) -> None:
    offer(("anystrat.strategies", "mine", entry))
    if entry is MOMENTUM:
        assert catalog().strategy("momentum") is MOMENTUM
        return
    with pytest.raises(
        BrokenPlugin, match=r"plug-in 'mine' of some-package .* 'momentum' is already registered by anystrat"
    ):
        catalog()
    assert "already registered" in installed()[0].error


def test_a_package_cannot_offer_a_validator_called_standard(offer: Offer) -> None:
    offer(("anystrat.validators", "mine", ValidatorType("standard", Nothing, "")))  # type: ignore[arg-type]
    with pytest.raises(BrokenPlugin, match="'standard' is the built-in validator"):
        catalog()


def test_features_are_registered_once_in_a_process_however_often_a_catalogue_is_made(offer: Offer) -> None:
    calls: list[int] = []
    offer((FEATURE_GROUP, "once", lambda: calls.append(1)))
    for _ in range(3):
        catalog()
        assert not installed()[0].error
    assert calls == [1]


def test_features_that_cannot_be_registered_are_refused_by_name(offer: Offer) -> None:
    def old() -> None:
        raise RuntimeError("too old")

    offer((FEATURE_GROUP, "old", old))
    with pytest.raises(BrokenPlugin, match=r"plug-in 'old' of some-package .* RuntimeError: too old"):
        catalog()
    assert "too old" in installed()[0].error


class TestPublishers:
    DESK = PublisherType("desk", Parameters, Nothing, "A desk.", origin="elsewhere")  # type: ignore[arg-type]

    def test_a_registered_publisher_is_a_type_of_broker(self, tmp_path) -> None:
        register_publisher("desk", Nothing, options=Parameters)  # type: ignore[arg-type]
        path = tmp_path / "anystrat.yaml"
        path.write_text("brokers: {out: {type: desk, size: 3, attempts: 2}}\nstrategies: []\n", encoding="utf-8")
        known = catalog()

        settings = load_configuration(path, known).brokers["out"]

        assert (settings.type, settings.options, settings.delivery.attempts) == ("desk", Parameters(3), 2)
        assert "broker.desk" in json_schema(known)["$defs"]
        assert known.publishers["desk"].summary == "Never trades."

    def test_an_installed_one_as_well(self, offer) -> None:
        offer(("anystrat.publishers", "desk", self.DESK))

        assert catalog().publishers == {"desk": self.DESK}
        assert [(each.group, each.error) for each in installed()] == [("anystrat.publishers", "")]

    @pytest.mark.parametrize("name", ["paper", "jsonl"])
    def test_the_name_of_a_built_in_broker_is_taken(self, offer, name) -> None:
        with pytest.raises(ValueError, match="built-in type of broker"):
            register_publisher(name, Nothing)  # type: ignore[arg-type]
        offer(("anystrat.publishers", name, PublisherType(name, Parameters, Nothing, "")))  # type: ignore[arg-type]
        with pytest.raises(BrokenPlugin, match="built-in type of broker"):
            catalog()

    def test_a_sink_is_made_of_a_publisher_and_a_whole_sink_is_left_as_it_is(self) -> None:
        class Whole:
            async def send(self, signals: Any) -> Any: ...

        register_publisher("desk", Nothing)  # type: ignore[arg-type]
        register_publisher("whole", lambda _: Whole())  # type: ignore[arg-type, return-value]

        assert isinstance(open_sink(BrokerSettings("out", "desk", None)), PublisherSink)
        assert isinstance(open_sink(BrokerSettings("out", "whole", None)), Whole)


@pytest.mark.parametrize(
    ("kind", "options", "sink"),
    [
        ("log", LogBroker(), "LogSink"),
        ("jsonl", JsonlBroker(Path("a.jsonl")), "JsonlSink"),
        ("nats", NatsBroker(Secret("nats://h")), "NatsSink"),
        ("kafka", KafkaBroker("h:1", "t"), "KafkaSink"),
        ("webhook", WebhookBroker(Secret("https://h/")), "WebhookSink"),
    ],
)
def test_a_built_in_broker_has_a_built_in_sink(kind, options, sink) -> None:
    assert type(open_sink(BrokerSettings("out", kind, options))).__name__ == sink


def test_a_type_that_nothing_can_be_sent_to_yet_is_refused_by_its_name() -> None:
    with pytest.raises(AnystratError, match="'out': nothing can be sent to type 'pigeon'"):
        open_sink(BrokerSettings("out", "pigeon", None))
