"""`anystrat types`: what a configuration can name, and the parameters of each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.options import as_json, verbosity
from anystrat.domain.configuration import PaperCosts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anystrat.config.describe import ParameterDescription, TypeDescription

_COMMON: Final = "risk"
_DELIVERY: Final = "delivery"
_STRATEGIES: Final = ("rules", "ml", "hybrid")
_WIDEST_TYPE: Final = 40
_FEATURES: Final = {
    "ret": "Return over the last k ticks: p[-1] / p[-1-k] - 1.",
    "vol": "Population standard deviation of the last k one-step returns.",
    "z": "Z-score of the price in the last k prices; 0 if they are flat.",
    "pos": "Place of the price in the range of the last k, from 0 to 1; 0.5 if they are flat.",
}


@click.command("types", short_help="List what a configuration can name, and its parameters.")
@click.argument("name", required=False)
@as_json
@verbosity
def command(name: str | None, *, as_json: bool) -> None:
    """List strategies, policies, validators, features, sources, brokers and journals; with NAME, one of them whole.

    \b
    anystrat types
    anystrat types hybrid_momentum
    anystrat types risk              what every strategy takes beside its own parameters
    anystrat types delivery          what every broker takes beside its own
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat import bootstrap
    from anystrat.cli.screen import print_json
    from anystrat.domain.errors import UnknownName

    described = _described(bootstrap.default_catalog())
    if name is not None:
        wanted = _feature_family(name)
        described = [each for each in described if each.name in {name, wanted}]
        if not described:
            known = {each.name for each in _described(bootstrap.default_catalog())}
            raise click.UsageError(str(UnknownName("type", name, known)))
    if as_json:
        print_json({"schema_version": 1, "types": [asdict(each) for each in described]})
    elif name is None:
        _list(described)
    else:
        for at, each in enumerate(described):
            _show(each, first=at == 0)


def _described(catalog: Any) -> list[TypeDescription]:
    from anystrat.config.describe import TypeDescription, describe_common, describe_delivery, describe_types
    from anystrat.config.endpoint_types import EndpointTypes

    endpoints = EndpointTypes().with_catalog(catalog)
    found = [
        *describe_types(catalog),
        TypeDescription(
            _COMMON, "common", "What every strategy takes beside its own parameters.", "anystrat", describe_common()
        ),
        TypeDescription(
            _DELIVERY, "common", "What every broker but paper takes beside its own.", "anystrat", describe_delivery()
        ),
        *_features(),
    ]
    for kind, shelf in (
        ("source", endpoints.sources),
        ("broker", endpoints.brokers),
        ("journal", endpoints.journals),
        ("history", endpoints.histories),
    ):
        found += _endpoints(kind, shelf, catalog)
    return found


def _features() -> list[TypeDescription]:
    from anystrat.config.describe import TypeDescription
    from anystrat.strategies.features import FEATURES

    fixed = [
        TypeDescription(
            name, "feature", f"A registered feature; needs {feature.history_length} prices.", "this program", ()
        )
        for name, feature in FEATURES.fixed.items()
    ]
    families = []
    for prefix, family in FEATURES.families.items():
        more = family.history(1_000) - 1_000
        needs = f"needs k{f' + {more}' if more > 0 else ''} prices"
        origin = "anystrat" if prefix in _FEATURES else "this program"
        summary = f"{_FEATURES.get(prefix, 'A registered family of features.')[:-1]}; {needs}."
        families.append(TypeDescription(f"{prefix}_k", "feature", summary, origin, ()))
    return [*families, *fixed]


def _endpoints(kind: str, shelf: Mapping[str, Any], catalog: Any) -> list[TypeDescription]:
    from anystrat.config.describe import ParameterDescription, TypeDescription, default_text
    from anystrat.config.fields import fields_of

    found = []
    for name, shape in shelf.items():
        parameters = tuple(
            ParameterDescription(
                each.name,
                each.type_text,
                each.required,
                "" if each.required else default_text(each.default),
                each.bounds_text,
                each.unit,
                each.doc,
            )
            for each in (fields_of(shape) if shape is not None else ())
        )
        shelf_of_plugins = {"broker": catalog.publishers, "source": catalog.sources}.get(kind, {})
        plugin = shelf_of_plugins.get(name)
        if plugin is not None:
            found.append(TypeDescription(name, kind, plugin.summary, plugin.origin, parameters))
            continue
        summary = "Of a plug-in." if shape is None else _summary(shape)
        found.append(TypeDescription(name, kind, summary, "anystrat", parameters))
    return found


def _summary(shape: type[Any]) -> str:
    if shape is PaperCosts:  # which describes costs: it is the paper account's as well
        return "Fills on paper, at the next tick, with slippage and fees."
    return (shape.__doc__ or "").strip().split("\n")[0]


def _feature_family(name: str) -> str:
    """`ret_20` is described by `ret_k`."""
    head, _, number = name.rpartition("_")
    return f"{head}_k" if number.isdigit() else name


def _list(described: Sequence[TypeDescription]) -> None:
    from anystrat.cli.screen import Column, line, table

    foreign = any(each.origin != "anystrat" for each in described)
    columns = [Column("name", style="bold"), Column("kind", style="cyan"), Column("what it is", wrap=True)]
    rows = [[each.name, each.kind, each.summary] for each in described]
    if foreign:
        columns.insert(2, Column("from"))
        for row, each in zip(rows, described, strict=True):
            row.insert(2, each.origin)
    table(columns, rows)
    line()
    line("One of them with its parameters: anystrat types NAME")


def _show(described: TypeDescription, *, first: bool) -> None:
    from anystrat.cli.screen import Column, heading, line, table

    if not first:
        line()
    origin = "" if described.origin == "anystrat" else f", from {described.origin}"
    what = "" if described.kind == "common" else f" ({described.kind}{origin})"
    heading(f"{described.name}{what}")
    line(described.summary)
    if described.parameters:
        line()
        columns = (
            Column("parameter", style="bold"),
            Column("type"),
            Column("default"),
            Column("bounds"),
            Column("unit"),
            Column("meaning", wrap=True),
        )
        table(columns, [_parameter_row(each) for each in described.parameters])
    elif described.kind not in {"feature", "validator"}:
        line("It takes no parameters.")
    if described.kind == "broker" and described.name != "paper":
        line()
        line("Every broker also takes expire_sec, rate_per_sec, attempts and more: anystrat types delivery")
    if described.kind in _STRATEGIES:
        line()
        line("Every strategy also takes risk_multiplier, max_position_size and risk: anystrat types risk")
        line()
        click.echo(example(described))


def _parameter_row(each: ParameterDescription) -> list[str]:
    kind, meaning = each.type, each.doc
    if len(kind) > _WIDEST_TYPE:
        # A list of names would push all other columns off the screen.
        kind, meaning = "choice", f"{meaning} {kind[0].upper()}{kind[1:]}."
    return [each.name, kind, "required" if each.required else each.default, each.bounds, each.unit, meaning]


def example(described: TypeDescription) -> str:
    """A row that loads, once paths and instruments are one's own."""
    samples = {
        "model_path": "models/my_model.onnx",
        "rules": "{type: momentum}",
        "ml": "{type: ml_momentum, model_path: models/my_model.onnx}",
    }
    given = {
        each.name: samples.get(each.name, "…") if each.required else each.default
        for each in described.parameters
        if each.required or each.default
    }
    parameters = "".join(f"\n      {name}: {value}" for name, value in given.items()) or " {}"
    return (
        "strategies:\n"
        f"  - id: my-{described.name.replace('_', '-')}\n"
        f"    strategy_type: {described.name}\n"
        f"    parameters:{parameters}\n"
        "    instruments: [256265]"
    )
