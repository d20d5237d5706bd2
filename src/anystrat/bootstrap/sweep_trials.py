"""Trials of a sweep, run: many variants of one strategy in one engine where that is the same as one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest.accounts import name_of
from anystrat.backtest.figures import figures_of
from anystrat.backtest.recorder import Recorder
from anystrat.backtest.replay import Speed, replay
from anystrat.backtest.statistics import periods_of
from anystrat.bootstrap import Wiring, build_engine, default_wiring, kernel_compiler, open_ticks, session_clock
from anystrat.config import change_to, configuration_variants
from anystrat.domain.errors import ConfigurationError
from anystrat.sweeps.space import Settings
from anystrat.sweeps.trial import Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.backtest.accounts import Account
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.configuration import Configuration, StrategyConfig
    from anystrat.engine.engine import Engine

_BLOCK_ROWS: Final = 131_072


@dataclass(frozen=True, slots=True)
class Setup:
    """What all trials of a sweep share; another process can be given it.

    `source` is a configuration's path or mapping, `only` the strategies whose settings vary (empty: all that take them),
    `ticks` the tick files, or none where the ticks are in this process's memory.
    """

    source: Path | Mapping[str, Any]
    only: tuple[str, ...] = ()
    ticks: tuple[Path, ...] = ()
    cash: float = 1_000_000.0
    days_per_year: int | None = None


@dataclass(frozen=True, slots=True)
class _Variant:
    """A trial that the configuration takes: the rows that its settings are of."""

    settings: Settings
    configured: Configuration
    rows: tuple[StrategyConfig, ...]
    common: bool

    @property
    def alone(self) -> bool:
        """Whether it needs an engine of its own: for the sum of several accounts, and for limits over the account."""
        return (
            not self.common
            or self.configured.account is not None
            or len(self.rows) != 1
            or len(self.rows[0].active_brokers) != 1
        )


class TrialRunner:
    """Runs trials over the same ticks. `days` are the UTC days that the ticks are of, once one was run."""

    def __init__(self, setup: Setup, wiring: Wiring | None = None, blocks: Iterable[TickColumns] | None = None) -> None:
        self._setup = setup
        self._wiring = wiring or default_wiring()
        self._blocks = blocks if blocks is not None else open_ticks(setup.ticks, block_rows=_BLOCK_ROWS)
        self._configure = configuration_variants(setup.source, self._wiring.catalog)
        self.days: NDArray[np.int64] = np.zeros(0, np.int64)
        self.periods = 0

    def check(self, settings: Settings) -> Configuration:
        """The configuration with these settings. Raises `ConfigurationError`."""
        return self._configure(change_to(settings, self._setup.only))

    def run(self, trials: Sequence[Settings]) -> list[Trial]:
        """Run these trials, together where they can be; in their order."""
        found: dict[int, Trial] = {}
        together: list[tuple[int, _Variant]] = []
        for at, settings in enumerate(trials):
            try:
                variant = self._variant(settings)
            except ConfigurationError as error:
                found[at] = Trial(settings, refused=_said(error))
                continue
            if variant.alone:
                found[at] = self._run_alone(variant)
            else:
                together.append((at, variant))
        if together:
            ran = self._run_together([variant for _, variant in together])
            found |= {at: trial for (at, _), trial in zip(together, ran, strict=True)}
        return [found[at] for at in range(len(trials))]

    def _variant(self, settings: Settings) -> _Variant:
        changes = change_to(settings, self._setup.only)
        configured = self._configure(changes)
        touched = {each.strategy_id for each in changes.applied}
        common = "" not in touched
        rows = tuple(row for row in configured.strategies if row.enabled and (not common or row.strategy_id in touched))
        if not rows:
            raise ConfigurationError([])
        return _Variant(settings, configured, rows, common)

    def _run_alone(self, variant: _Variant) -> Trial:
        configured = replace(variant.configured, strategies=variant.rows)
        wiring = Wiring(self._wiring.catalog, self._wiring.models)
        engine = build_engine(configured, wiring, sessions=session_clock(configured))
        if wiring.left_out:
            return Trial(variant.settings, refused=wiring.left_out[0].reason)
        return _trial(variant.settings, self._accounts(engine, alone=False)[-2], self.periods)

    def _run_together(self, variants: list[_Variant]) -> list[Trial]:
        """Every variant is a strategy of its own, with an account of its own: strategies do not see each other."""
        names = [f"{variant.rows[0].strategy_id}~{k}" for k, variant in enumerate(variants)]
        rows = tuple(replace(variant.rows[0], strategy_id=name) for name, variant in zip(names, variants, strict=True))
        configured = replace(variants[0].configured, strategies=rows)
        wiring = Wiring(self._wiring.catalog, self._wiring.models)
        seeds = {name: variant.rows[0].strategy_id for name, variant in zip(names, variants, strict=True)}
        engine = build_engine(configured, wiring, sessions=session_clock(configured), seeded_as=seeds)
        lost = {each.strategy_id: each.reason for each in wiring.left_out}
        accounts: dict[str, Account] = {}
        if len(lost) < len(names):
            accounts = {account.name: account for account in self._accounts(engine, alone=True)[:-2]}
        return [
            Trial(variant.settings, refused=lost[name])
            if name in lost
            else _trial(variant.settings, accounts[name_of(name, variant.rows[0].active_brokers[0])], self.periods)
            for name, variant in zip(names, variants, strict=True)
        ]

    def _accounts(self, engine: Engine, *, alone: bool) -> list[Account]:
        """The accounts after all ticks; `alone`: the strategies', without their sum."""
        recorder = Recorder(engine, cash=self._setup.cash, accounts_alone=alone)
        replay(engine, self._blocks, speed=Speed.COLUMNS, compiler=kernel_compiler, recorder=recorder)
        accounts = recorder.accounts.accounts()
        self.days = accounts[-1].days
        self.periods = self._setup.days_per_year or periods_of(self.days)
        return accounts


def _trial(settings: Settings, account: Account, periods: int) -> Trial:
    return Trial(settings, figures_of(account, periods).to_dict(), account.marks, account.start)


def _said(error: ConfigurationError) -> str:
    if not error.problems:
        return "no enabled strategy takes these settings"
    first = error.problems[0]
    more = len(error.problems) - 1
    return f"{first.message}" + (f" (and {more} more)" if more else "")


# --------------------------------------------------------------------------------------------------- in another process

_runner: TrialRunner | None = None


def begin(setup: Setup) -> None:
    """Make this process ready for `run_here`."""
    global _runner  # noqa: PLW0603  a process that works for a sweep has one
    _runner = TrialRunner(setup)


def run_here(trials: Sequence[Settings]) -> tuple[list[Trial], NDArray[np.int64], int]:
    """(the trials, run by this process; the days of the ticks; how many of them make a year)."""
    assert _runner is not None
    return _runner.run(trials), _runner.days, _runner.periods
