"""`anystrat model`: look into a model file, and verify that its rows do not depend on their batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from anystrat.cli.options import as_json, verbosity

_FILE: Final = click.Path(path_type=Path)
_LONGEST: Final = 240
# What the model itself said already, a line further up; and rows of numbers, which are for `anystrat trust`.
_ABOVE: Final = {"recorded", "features", "history", "schema_version", "sha256"}


@click.group("model", short_help="Look into a model file, and verify it.")
def command() -> None:
    """Look into a model file, and verify it. A model that is refused ends with exit code 3 and the reason."""


@command.command("inspect", short_help="The contract that a model carries.")
@click.argument("file", type=_FILE)
@as_json
@verbosity
def inspect(file: Path, *, as_json: bool) -> None:
    """Load a model as a strategy would, and show what it needs and gives, and the model card beside it if there is one.

    The card of models/momentum.onnx is models/momentum.card.json.
    """
    from anystrat import bootstrap
    from anystrat.cli.failures import say_warning
    from anystrat.cli.screen import heading, line, pairs, print_json

    facts = bootstrap.inspect_model(file)
    if as_json:
        print_json({"schema_version": 1, **facts})
        return
    heading(str(file))
    pairs(
        [
            ("features", ", ".join(facts["features"])),
            ("history", f"{facts['history']:,} ticks"),
            ("input", facts["input"]),
            ("output", f"{facts['output']}: SELL, HOLD, BUY"),
            (
                "batches",
                "one row's result is the same in any batch"
                if facts["batchable"]
                else "rows one by one: a row's result depends on its batch",
            ),
            ("operators", ", ".join(facts["operators"])),
            ("opset", ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in facts["opset"].items())),
            ("producer", facts["producer"] or "not said"),
            ("size", f"{facts['bytes']:,} bytes"),
            ("sha256", facts["sha256"]),
        ]
    )
    card = facts["card"]
    if card is None:
        return
    line()
    heading(f"model card ({facts['card_path']})")
    if not isinstance(card, dict):
        line(str(card))
        return
    pairs([(str(key).replace("_", " "), _short(value)) for key, value in card.items() if key not in _ABOVE])
    if card.get("sha256") not in {None, facts["sha256"]}:
        say_warning(f"the card is of another model: it says sha256 {card['sha256']}")


def _short(value: Any, depth: int = 0) -> str:
    """A value of a card in a line: what is nested deeper, or goes on too long, is for `--json`."""
    if isinstance(value, dict):
        if depth > 1:
            return "…"
        text = "; ".join(f"{str(key).replace('_', ' ')} {_short(each, depth + 1)}" for key, each in value.items())
    elif isinstance(value, list):
        text = ", ".join(_short(each, depth + 1) for each in value)
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


@command.command("verify", short_help="Compare rows one by one with batches, bit for bit.")
@click.argument("file", type=_FILE)
@click.option(
    "--rows", default=2048, show_default=True, type=click.IntRange(2, 1_000_000), help="How many seeded rows."
)
@as_json
@verbosity
@click.pass_context
def verify(context: click.Context, file: Path, *, rows: int, as_json: bool) -> None:
    """Compare seeded rows one by one with the same rows in batches of many sizes, bit for bit.

    A model that differs still runs, row by row. Exits with 1 where it differs, 3 where the model is refused.
    """
    from anystrat import bootstrap
    from anystrat.cli.screen import line, print_json

    report = bootstrap.verify_model(file, rows)
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "path": str(file),
                "batchable": report.batchable,
                "rows": report.rows,
                "batch_sizes": list(report.batch_sizes),
                "differing": report.differing,
                "largest_difference": report.largest_difference,
            }
        )
    elif report.batchable:
        sizes = ", ".join(str(size) for size in report.batch_sizes)
        line(f"{file}: the same bits for {report.rows:,} rows, one by one and in batches of {sizes}.")
    else:
        line(
            f"{file}: {report.differing:,} of {report.rows:,} rows differ in some batch, by up to "
            f"{report.largest_difference:.3g}. It will be run row by row, which is slower and exact."
        )
    if not report.batchable:
        context.exit(1)
