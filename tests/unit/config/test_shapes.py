"""Every kind of field that a parameters class of a plug-in may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from anystrat.config.describe import describe_types
from anystrat.config.node import Origin, node_from_value
from anystrat.config.problems import Problems
from anystrat.config.schema import json_schema
from anystrat.config.shapes import checked
from anystrat.domain.configuration import EnvironmentText, Secret
from anystrat.domain.parameters import Ge, Le, PathParameter
from anystrat.strategies.catalog import StrategyType


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Band:
    low: Annotated[float, Ge(0)] = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


@dataclass(frozen=True)
class Everything:
    schema: str = "a name that Pydantic has taken"
    model_config: int = 1
    _private: int = 1
    colour: Colour = Colour.RED
    side: Literal["long", "short"] = "long"
    levels: tuple[Annotated[float, Ge(0)], ...] = ()
    pair: tuple[int, str] = (1, "a")
    names: frozenset[str] = frozenset()
    weights: Mapping[str, Annotated[float, Le(1)]] = field(default_factory=dict)
    files: Annotated[tuple[str, ...], PathParameter()] = ()
    key: Secret | None = None
    where: Path | None = None
    step: Annotated[Decimal | None, Ge(0)] = None
    count_or_name: int | str = 0
    band: Band = field(default_factory=Band)
    anything: Any = None
    derived: int = field(init=False, default=5)


def check(values: Mapping[str, Any]) -> tuple[Everything | None, list[tuple[str, str]]]:
    problems = Problems()
    made = checked(Everything, node_from_value(values, Origin("", Path("/base"))), ("p",), problems)
    return made, [(problem.path, problem.message) for problem in problems.found]


@pytest.mark.parametrize(
    ("name", "given", "made"),
    [
        ("schema", "s", "s"),
        ("model_config", 3, 3),
        ("_private", 3, 3),
        ("colour", "blue", Colour.BLUE),
        ("colour", EnvironmentText("blue"), Colour.BLUE),
        ("side", "short", "short"),
        ("side", EnvironmentText("short"), "short"),
        ("levels", [1, 2.5], (1.0, 2.5)),
        ("pair", [2, "b"], (2, "b")),
        ("names", ["a", "b", "a"], frozenset("ab")),
        ("weights", {"a": 1, "b": 0.5}, {"a": 1.0, "b": 0.5}),
        ("files", ["a", "/b"], ("/base/a", "/b")),
        ("key", "k", Secret("k")),
        ("key", None, None),
        ("where", "w", Path("/base/w")),
        ("step", "0.10", Decimal("0.10")),
        ("step", None, None),
        ("count_or_name", 5, 5),
        ("count_or_name", "five", "five"),
        ("band", {"low": 0.25}, Band(0.25, 1.0)),
        ("anything", {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_a_good_value_of_every_kind_is_made_into_what_the_field_says(name, given, made) -> None:
    result, problems = check({name: given})

    assert problems == []
    assert getattr(result, name) == made
    assert type(getattr(result, name)) is type(made)


@pytest.mark.parametrize(
    ("name", "given", "path"),
    [
        ("schema", 5, "p.schema"),
        ("model_config", "3", "p.model_config"),
        ("colour", "green", "p.colour"),
        ("colour", 5, "p.colour"),
        ("side", "both", "p.side"),
        ("side", ["long"], "p.side"),
        ("levels", [1, -1], "p.levels[1]"),
        ("levels", 5, "p.levels"),
        ("levels", {"a": 1}, "p.levels"),
        ("names", ["a", 5], "p.names[1]"),
        ("weights", {"a": 2}, "p.weights.a"),
        ("weights", [1], "p.weights"),
        ("files", ["a", 5], "p.files[1]"),
        ("files", ["a\0b"], "p.files[0]"),
        ("key", 5, "p.key"),
        ("where", "", "p.where"),
        ("step", -1, "p.step"),
        ("step", float("nan"), "p.step"),
        ("count_or_name", 2.5, "p.count_or_name"),
        ("band", {"low": -1}, "p.band.low"),
        ("band", {"lo": 1}, "p.band.lo"),
        ("band", {"low": 2}, "p.band"),
        ("band", 5, "p.band"),
        ("derived", 6, "p.derived"),
    ],
)
def test_a_wrong_value_of_every_kind_is_one_problem_at_its_place(name, given, path) -> None:
    result, problems = check({name: given})

    assert result is None
    assert [found for found, _ in problems] == [path]


def test_a_class_that_refuses_its_values_without_naming_one_is_a_problem_of_the_whole() -> None:
    problems = Problems()

    assert checked(Band, node_from_value({"low": 2}, Origin()), ("p",), problems) is None
    assert [(problem.path, problem.message) for problem in problems.found] == [("p", "low is above high")]


def test_every_kind_of_field_has_a_schema_and_a_description(catalog) -> None:
    catalog.register(StrategyType("everything", "rules", Everything, lambda parameters, context: None, "All kinds."))  # type: ignore[arg-type]
    properties = json_schema(catalog)["$defs"]["strategy.everything"]["properties"]
    described = next(each for each in describe_types(catalog) if each.name == "everything")

    assert properties["colour"]["anyOf"][0] == {"enum": ["red", "blue"]}
    assert properties["band"]["properties"]["low"]["minimum"] == 0
    assert properties["weights"]["additionalProperties"]["maximum"] == 1
    assert set(properties) >= {"key", "where"}
    assert not {"derived", "key_file"} & set(properties)
    types = {parameter.name: parameter.type for parameter in described.parameters}
    assert (types["levels"], types["colour"], types["count_or_name"]) == (
        "list of numbers",
        "red or blue",
        "whole number or text",
    )
