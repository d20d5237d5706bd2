"""`check_strategy` and `all_checks`: the contract of strategies, for any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anystrat.domain.tick import MarketTick
from anystrat.strategies.catalog import Catalog
from anystrat.testing.conformance import calls
from anystrat.testing.conformance.column_rule import column_rule
from anystrat.testing.conformance.columns import columns
from anystrat.testing.conformance.holding import kept, untouched
from anystrat.testing.conformance.restart import restart
from anystrat.testing.conformance.subject import Models, Strategy, Subject, subject_of
from anystrat.testing.conformance.suite import Check, Report, Suite


def check_strategy(
    strategy: Strategy,
    *,
    parameters: Any = None,
    instruments: Sequence[int] = (1,),
    seeds: int = 5,
    ticks: Sequence[MarketTick] | None = None,
    models: Models | None = None,
    catalog: Catalog | None = None,
) -> Report:
    """Hold a strategy to its contract on many price paths. Raises `ContractBroken` with everything that was found.

    `strategy` is a strategy type (what `@rule` makes), a processor, or a function that builds one. A processor is
    copied; one that cannot be copied needs a function. `parameters` (an object, or a mapping of what is not default),
    `models` (by path, or a shelf) and `catalog` (for the parts of a hybrid) are for a strategy type.

    Every seed makes eight paths: trend, noise, flat, jumps, ties, waves, tiny and large prices. `ticks` takes their
    place where the strategy reads what those lack. `instruments` are tokens that the strategy supports.

    The report says how often it was asked and how often it answered: no signals at all is no proof of much.
    """
    __tracebackhide__ = True
    subject = subject_of(
        strategy,
        parameters=parameters,
        instruments=instruments,
        seeds=seeds,
        ticks=ticks,
        models=models,
        catalog=catalog,
    )
    passed, skipped = _suite(subject).run_all()
    return Report(subject.name, passed, skipped, subject.evaluations, subject.signals)


def all_checks(
    strategy: Strategy,
    *,
    parameters: Any = None,
    instruments: Sequence[int] = (1,),
    seeds: int = 5,
    ticks: Sequence[MarketTick] | None = None,
    models: Models | None = None,
    catalog: Catalog | None = None,
) -> list[Check]:
    """The checks of `check_strategy` one by one, for `@pytest.mark.parametrize("check", …)`.

    Nothing is run before a check is called. A check that rests on one that failed is skipped.
    """
    subject = subject_of(
        strategy,
        parameters=parameters,
        instruments=instruments,
        seeds=seeds,
        ticks=ticks,
        models=models,
        catalog=catalog,
    )
    return list(_suite(subject))


def _suite(subject: Subject) -> Suite:
    suite = Suite(subject.name)

    def add(name: str, promise: str, function: Any, *after: str) -> None:
        suite.add(name, promise, lambda: function(subject), *after)

    add("contract", "The methods are there; the history is a constant number of ticks.", calls.contract)
    add("answers", "Every answer is None or a signal that could be emitted.", calls.answers, "contract")
    add("history_length", "The declared history is enough.", calls.history_length, "contract")
    add("determinism", "Fresh processors agree on the same ticks.", calls.determinism, "contract")
    add("untouched", "The history is left as it was.", untouched, "contract")
    add("kept", "Nothing of the history is used after the call.", kept, "contract")
    add("window_only", "What lies before the window changes nothing.", calls.window_only, "determinism")
    pure = ("determinism", "untouched", "kept", "window_only")
    add("memory", "Earlier calls change nothing.", calls.memory, *pure)
    add("price_rule", "decide and process_tick say the same.", calls.price_rule, "memory")
    add(
        "columns", "Columns and single ticks agree, whatever the block.", columns, "answers", "history_length", "memory"
    )
    add("column_rule", "The kernel of fired() and single ticks agree, whatever the block.", column_rule, "columns")
    add("restart", "A restored engine goes on identically.", restart, "memory")
    return suite
