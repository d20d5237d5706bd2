"""`anystrat trust`: can these strategies be believed? Each check with a verdict and the number that decides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from anystrat.cli.recordings import opened, recording, refusals, say_left_out
from anystrat.cli.replay import ManyFiles

if TYPE_CHECKING:
    from anystrat.analysis.trust.verdict import Verdict
    from anystrat.cli.recordings import Opened

SCHEMA_VERSION: Final = 1
_FOUND: Final = 1
_WORDS: Final = {"pass": "pass", "fail": "FAIL", "not applicable": "–"}


@click.command(
    "trust", cls=ManyFiles, short_help="Check whether strategies can be believed: peeking, warm-up, costs, luck."
)
@recording
@click.option("--check", "checks", multiple=True, metavar="NAME", help="Only this check; may be repeated.")
@click.option("--strategy", "strategies", multiple=True, metavar="ID", help="Only this strategy; may be repeated.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    metavar="N",
    help="How many signals of a strategy are looked at one by one.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="What samples and draws are made from."
)
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    ticks: tuple[Path, ...],
    checks: tuple[str, ...],
    strategies: tuple[str, ...],
    sample: int,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Hold every strategy to what a trustworthy one keeps, on its own ticks. Exits with 1 where something was found.

    \b
    peeking      nothing but the window decides, later ticks least of all
    warmup       how many ticks it needs, against how many it declares
    purity       the same ticks give the same: again, restarted, in blocks, beside another
    costs        the fee at which the edge is gone
    monte_carlo  the same trades in another order, or drawn again: could it be luck?
    skew         a model's features are served as they were trained
    drift        the market is still the one that the model was trained in

    \b
    anystrat trust --ticks monday.csv
    anystrat trust --ticks monday.csv --check peeking --strategy mine
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.analysis.trust.suite import trust
    from anystrat.bootstrap.analysing import trust_case
    from anystrat.cli.openings import Openings

    with Openings() as openings, refusals(context, as_json=as_json):
        found = opened(config, ticks)
        _say_left_out(found)
        case = trust_case(
            found.configured,
            found.wiring,
            found.reader,
            seed=seed,
            sample=sample,
            openings=lambda: openings.of(found.reader.paths),
        )
        verdicts = list(trust(case, checks, strategies=strategies))
    if as_json:
        _print(verdicts)
    else:
        _show(verdicts)
    if any(each.outcome == "fail" for each in verdicts):
        context.exit(_FOUND)


def _say_left_out(found: Opened) -> None:
    """Whose models do not load, as one engine of everything finds out."""
    from anystrat import bootstrap

    bootstrap.build_engine(found.configured, found.wiring)
    say_left_out(found.wiring)


def _print(verdicts: list[Verdict]) -> None:
    import msgspec

    from anystrat.cli.screen import print_json

    print_json(
        {
            "schema_version": SCHEMA_VERSION,
            "ok": all(each.outcome != "fail" for each in verdicts),
            "verdicts": [msgspec.to_builtins(each) for each in verdicts],
        }
    )


def _show(verdicts: list[Verdict]) -> None:
    from anystrat.cli.screen import heading, line, pairs

    for place, strategy in enumerate(dict.fromkeys(each.strategy_id for each in verdicts)):
        if place:
            line()
        heading(strategy)
        mine = [each for each in verdicts if each.strategy_id == strategy]
        pairs([(f"{_WORDS[each.outcome]:<4}  {each.check}", _told(each)) for each in mine])
    line()
    failures = sum(each.outcome == "fail" for each in verdicts)
    judged = sum(each.outcome != "not applicable" for each in verdicts)
    if failures:
        line(f"{failures} of {judged} checks found something.")
    else:
        line(f"All {judged} checks passed.")


def _told(verdict: Verdict) -> str:
    return f"{verdict.found}\nTo do: {verdict.advice}" if verdict.advice else verdict.found
