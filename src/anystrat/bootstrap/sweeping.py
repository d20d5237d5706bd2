"""A whole sweep in one call: trials are chosen, run in as many processes as wanted, and kept."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from anystrat import __version__
from anystrat.bootstrap import Wiring, default_wiring
from anystrat.bootstrap.backtesting import (
    Strategies,
    blocks_and_names,
    configured_ticks,
    mapping_of_rows,
    tokens_of,
)
from anystrat.bootstrap.sweep_trials import Setup, TrialRunner, begin, run_here
from anystrat.config import configuration_from_mapping, load_configuration
from anystrat.domain.configuration import Configuration
from anystrat.domain.errors import ConfigurationError, nearest_name
from anystrat.sweeps.result import SweepResult
from anystrat.sweeps.space import Settings, Space, SpaceError, key_of, space_of
from anystrat.sweeps.trial import Objective, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.adapters.study_file import StudyFile
    from anystrat.domain.columns import TickColumns

SEARCHES: Final = ("grid", "random", "optuna")
#: Variants of a strategy in one engine: more share more, and are longer on the way before any of them is kept.
_TOGETHER: Final = 128
_DAYS: Final = "days"
#: Ticks times trials from which on more processes are worth the seconds that they take to start.
_WORTH_PROCESSES: Final = 50_000_000


class Search(Protocol):
    """Where trials come from."""

    def ask(self, count: int) -> list[Settings]:
        """So many more, or fewer at the end."""
        ...

    def tell(self, trials: Sequence[Trial]) -> None:
        """What became of some, in the order in which they were asked for."""
        ...


class Listed:
    """Trials that are known before the first is run: a grid, or draws."""

    def __init__(self, trials: Iterator[Settings]) -> None:
        self._trials = trials

    def ask(self, count: int) -> list[Settings]:
        """See `Search`."""
        return list(itertools.islice(self._trials, count))

    def tell(self, trials: Sequence[Trial]) -> None:
        """Nothing follows from them."""


def sweep(
    strategies: Strategies,
    ticks: Any = None,
    *,
    over: Mapping[str, Any] | Sequence[str],
    search: str = "grid",
    trials: int | None = None,
    by: str = "sharpe",
    seed: int = 0,
    only: Iterable[str] = (),
    study: str | os.PathLike[str] | None = None,
    workers: int | None = 1,
    ray: str | None = None,
    cash: float = 1_000_000.0,
    days_per_year: int | None = None,
    instruments: Iterable[int] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    **costs: Any,
) -> SweepResult:
    """Run many variants of strategies over the same ticks: `sweep("momentum", frame, over={"parameters.threshold": [0.01, 0.02]})`.

    Args:
        strategies: As `backtest` takes them; a configuration as its path or a mapping.
        ticks: As `backtest` takes them.
        over: What varies: settings by name (`parameters.threshold`, `risk.cooldown_sec`, `brokers.paper.fee_bps`), each with
            a list of values, a range, a `Span`, or a text such as `5..50:5`. Or texts, `KEY=VALUES`.
        search: `grid` (every combination), `random`, or `optuna`, which chooses by what became of earlier trials.
        trials: How many; a grid has all of its own.
        by: The figure by which trials are ranked.
        seed: What draws are made from.
        only: The strategies whose settings vary; without any, each setting is for every strategy that takes it. An account
            is that of the strategies whose settings vary, and the others are not run.
        study: A file that keeps every trial; a sweep goes on where one with the same file was interrupted.
        workers: Processes, for tick files; None: one a processor where that is worth it. Ticks in memory are run in this one.
        ray: A Ray cluster to run on, instead of processes here: its address, `auto`, or `local` to start one on this machine.
            Tick files and the configuration have to lie on every node under the same path.
        cash: What every strategy's account starts with.
        days_per_year: As `backtest` takes it.
        instruments: As `backtest` takes them.
        on_progress: Called with the trials that are done, and how many there are in all (None: not known).
        costs: As `backtest` takes them, for strategies alone.

    Raises:
        SpaceError: For what cannot be varied, or ranked by.
        ConfigurationError: For whatever the configuration refuses of every trial.
        TickFileError: For ticks that cannot be used.
        StudyError: For a file that is of another sweep, or none at all.
        RayRefused: Where no cluster answers.
    """
    objective, space = Objective(by), space_of(over)
    wiring = default_wiring()
    setup, blocks, facts = _set_up(strategies, ticks, wiring, tuple(only), cash, days_per_year, instruments, costs)
    runner = TrialRunner(setup, wiring, blocks)
    source, total = _search(search, space, trials, seed, objective)
    known = _Known(study, facts)
    try:
        _warn_of_all(runner, space)
        work = (getattr(blocks, "total_rows", None) or _WORTH_PROCESSES) * (total or _TOGETHER)
        portable = bool(setup.ticks) and isinstance(strategies, str | os.PathLike)
        if ray is not None and not portable:
            raise SpaceError("a cluster reads files: name a configuration's and ticks' files, or leave `ray` out")
        pool = _Pool(setup, runner, _workers(workers, portable=portable, work=work))
        with pool.open(ray, workers):
            asked = _run_all(source, total, pool, known, on_progress)
    finally:
        known.close()
    found = [known.trials[key] for key in asked]
    return SweepResult(found, known.days, known.periods, objective, space.keys, facts)


# ------------------------------------------------------------------------------------------------------- what is run


def _set_up(
    strategies: Any,
    ticks: Any,
    wiring: Wiring,
    only: tuple[str, ...],
    cash: float,
    days_per_year: int | None,
    instruments: Iterable[int] | None,
    costs: Mapping[str, Any],
) -> tuple[Setup, Iterable[TickColumns], dict[str, str]]:
    named = list(instruments) if instruments is not None else None
    if isinstance(strategies, Configuration):
        raise TypeError("a configuration's settings vary in its text: pass its path or a mapping")
    source: Path | Mapping[str, Any] | None = None
    if isinstance(strategies, Mapping) and "strategies" in strategies:
        source = dict(strategies)
    elif isinstance(strategies, os.PathLike) or (
        isinstance(strategies, str) and strategies not in wiring.catalog.strategies
    ):
        source = Path(strategies)
    configured = None
    if isinstance(source, Path):
        configured = load_configuration(source, wiring.catalog)
    elif source is not None:
        configured = configuration_from_mapping(source, wiring.catalog)
    if configured is not None and costs:
        raise TypeError(f"{', '.join(costs)}: the configuration has its own costs, under brokers: paper:")
    of: Any = ticks if ticks is not None else configured_ticks(configured)
    watched = named or ([spec.token for spec in configured.instruments] if configured is not None else [])
    blocks, inputs = blocks_and_names(of, watched[0] if len(watched) == 1 else None)
    if source is None:
        source = mapping_of_rows(strategies, wiring, named or tokens_of(blocks), dict(costs))
        configured = configuration_from_mapping(source, wiring.catalog)
    assert configured is not None
    _known_strategies(only, configured)
    files = tuple(Path(each) for each in inputs if not isinstance(each, tuple))
    setup = Setup(source, only, files, cash, days_per_year)
    facts = {
        "name": configured.run.name,
        "ticks": ", ".join(
            f"{each[0]} {each[1][:16]}" if isinstance(each, tuple) else _digest(each) for each in inputs
        ),
        "configuration": _configuration_digest(source, configured),
        "strategies": ", ".join(only) or "all",
        "cash": f"{cash:g}",
        "days a year": str(days_per_year or "by the ticks"),
        "anystrat": __version__,
    }
    return setup, blocks, facts


def _known_strategies(only: tuple[str, ...], configured: Configuration) -> None:
    names = [row.strategy_id for row in configured.strategies]
    for name in only:
        if name not in names:
            nearest = nearest_name(name, names)
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            raise SpaceError(f"there is no strategy {name!r}{hint} (there are: {', '.join(names)})")


def _digest(path: str | os.PathLike[str]) -> str:
    with Path(path).open("rb") as file:
        return f"{Path(path).name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _configuration_digest(source: Path | Mapping[str, Any], configured: Configuration) -> str:
    if isinstance(source, Path):
        return ", ".join(_digest(path) for path in configured.files)
    return hashlib.sha256(json.dumps(source, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def _workers(asked: int | None, *, portable: bool, work: int) -> int:
    """How many processes; `work` is ticks times trials."""
    if not portable:
        return 1  # what lies in this process's memory, or was registered by call, is not there in another
    if asked is not None:
        return asked
    return (os.cpu_count() or 1) if work >= _WORTH_PROCESSES else 1


def _search(kind: str, space: Space, trials: int | None, seed: int, objective: Objective) -> tuple[Search, int | None]:
    """Where trials come from, and how many there will be."""
    if kind not in SEARCHES:
        nearest = nearest_name(kind, SEARCHES)
        hint = f"; did you mean {nearest}?" if nearest else ""
        raise SpaceError(f"there is no search {kind!r}{hint} (there are: {', '.join(SEARCHES)})")
    if kind == "grid":
        if trials is not None:
            raise SpaceError("a grid has as many trials as it has combinations; --trials goes with random and optuna")
        listed = list(space.grid())
        return Listed(iter(listed)), len(listed)
    if trials is None or trials < 1:
        raise SpaceError(f"a {kind} search needs to know how many trials: --trials 200")
    if kind == "random":
        return Listed(itertools.islice(space.drawn(Random(seed)), trials)), trials  # noqa: S311  no secret follows from it
    from anystrat.adapters.optuna_search import OptunaSearch

    return OptunaSearch(space, trials, seed, low=objective.low, figure=objective.name), trials


def _warn_of_all(runner: TrialRunner, space: Space) -> None:
    """A setting that no strategy knows is found before anything is run."""
    random, last = Random(0), None  # noqa: S311  as above
    for settings in itertools.islice(space.drawn(random), _TOGETHER):
        try:
            runner.check(settings)
        except ConfigurationError as error:
            last = error
        else:
            return
    if last is not None:
        raise last


# --------------------------------------------------------------------------------------------------------- running it


class _Known:
    """The trials that are done, in memory and, with a file, on disk."""

    def __init__(self, path: str | os.PathLike[str] | None, facts: dict[str, str]) -> None:
        self.trials: dict[str, Trial] = {}
        self.days: NDArray[np.int64] = np.zeros(0, np.int64)
        self.periods = 252
        self._file: StudyFile | None = None
        if path is not None:
            from anystrat.adapters.study_file import StudyFile

            self._file = StudyFile(path, facts)
            for row in self._file.rows():
                if row.key == _DAYS:
                    self._learn_days(np.frombuffer(row.marks, "<i8"), int(row.start))
                    continue
                marks = np.frombuffer(row.marks, "<f8")
                settings, figures = json.loads(row.settings), json.loads(row.figures)
                self.trials[row.key] = Trial(settings, figures, marks, row.start, row.refused)

    def add(self, trials: Sequence[Trial], days: NDArray[np.int64], periods: int) -> None:
        """Keep what was run."""
        new = not len(self.days) and bool(len(days))
        if new:
            self._learn_days(days, periods)
        for trial in trials:
            self.trials[trial.key] = trial
        if self._file is None:
            return
        from anystrat.adapters.study_file import StudyRow

        rows = [
            StudyRow(
                trial.key,
                json.dumps(trial.settings),
                json.dumps(dict(trial.figures)),
                trial.start,
                trial.marks.astype("<f8").tobytes(),
                trial.refused,
            )
            for trial in trials
        ]
        if new:
            rows.append(StudyRow(_DAYS, "{}", "{}", float(periods), days.astype("<i8").tobytes(), ""))
        self._file.keep(rows)

    def _learn_days(self, days: NDArray[np.int64], periods: int) -> None:
        self.days, self.periods = days, periods

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


Ran = tuple[list[Trial], "NDArray[np.int64]", int]


class _Processes(Protocol):
    def submit(self, trials: list[Settings], /) -> Future[Ran]: ...


@dataclass(slots=True)
class _Pool:
    """Where trials are run: in this process, in several others, or on a cluster."""

    setup: Setup
    runner: TrialRunner
    workers: int
    _others: _Processes | None = None

    @contextmanager
    def open(self, ray: str | None, asked: int | None) -> Generator[None]:
        """Workers that end with the block, whatever ends it; what is not begun by then is not run."""
        if ray is not None:
            from anystrat.adapters.ray_pool import RayPool

            cluster = RayPool(ray, asked, begin, run_here, self.setup)
            self._others, self.workers = cluster, cluster.workers
            try:
                yield
            finally:
                cluster.close()
        elif self.workers > 1:
            # Fresh interpreters: a fork would carry this one's threads and compiled code along half-way.
            method = multiprocessing.get_context("spawn")
            processes = ProcessPoolExecutor(self.workers, method, begin, (self.setup,))
            self._others = _Local(processes)
            try:
                yield
            finally:
                processes.shutdown(cancel_futures=True)
        else:
            yield

    def submit(self, trials: list[Settings]) -> Future[Ran]:
        """Have these trials run."""
        if self._others is not None:
            return self._others.submit(trials)
        done: Future[Ran] = Future()
        done.set_result((self.runner.run(trials), self.runner.days, self.runner.periods))
        return done


@dataclass(frozen=True, slots=True)
class _Local:
    processes: ProcessPoolExecutor

    def submit(self, trials: list[Settings]) -> Future[Ran]:
        return self.processes.submit(run_here, trials)


def _run_all(
    source: Search,
    total: int | None,
    pool: _Pool,
    known: _Known,
    on_progress: Callable[[int, int | None], None] | None,
) -> list[str]:
    """Run what the search asks for; the keys of all trials in the order in which they were asked for."""
    asked: list[str] = []
    under_way: dict[Future[Any], list[Settings]] = {}
    size = _TOGETHER if total is None else max(1, min(_TOGETHER, -(-total // (2 * pool.workers))))
    done = 0

    def take(future: Future[Any]) -> None:
        nonlocal done
        batch = under_way.pop(future)
        known.add(*future.result())
        source.tell([known.trials[key_of(settings)] for settings in batch])
        done += len(batch)
        if on_progress is not None:
            on_progress(done, total)

    while True:
        batch = source.ask(size)
        if not batch:
            break
        asked += [key_of(settings) for settings in batch]
        there = [settings for settings in batch if key_of(settings) in known.trials]
        if there:
            source.tell([known.trials[key_of(settings)] for settings in there])
            done += len(there)
        new = [settings for settings in batch if key_of(settings) not in known.trials]
        if new:
            under_way[pool.submit(new)] = new
        if len(under_way) >= pool.workers:
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                take(future)
    while under_way:
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            take(future)
    return list(dict.fromkeys(asked))


__all__ = ["SEARCHES", "sweep"]
