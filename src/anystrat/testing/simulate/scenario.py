"""What a history is about: strategies, ticks, brokers, all drawn by its seed; faults apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.bootstrap import Wiring, default_catalog, default_wiring
from anystrat.bootstrap.running import build_engines, run_fingerprint
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.configuration import FeedSettings, OnGap, OnStale
from anystrat.domain.delivery import Guarantee, Idempotent, Neither, Reconcilable
from anystrat.runner.plan import ShardPlan, plan_shards
from anystrat.testing.simulate.dice import Dice
from anystrat.testing.simulate.models import ModelFile, SimulatedShelf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.configuration import Configuration
    from anystrat.engine.engine import Engine
    from anystrat.strategies.catalog import Catalog

TOKENS: Final = (1, 2, 3, 4, 5, 6)
#: Nobody watches it.
STRANGER: Final = 99
#: A history's first tick, where its ticks are as old as its clock, and where they are a recording's.
LIVE_NS: Final = 1_700_000_000_000_000_000
RECORDED_NS: Final = 1_600_000_000_000_000_000
_TICK: Final = 0.05
#: Where the paths of a configuration begin; there is nothing there.
_NOWHERE: Final = Path("/simulated")
_BREAK_SEC: Final = 130.0


@dataclass(frozen=True, slots=True)
class Message:
    """What the source sends as one: some ticks (places in the scenario's block), published at `second`; none: malformed."""

    offset: int
    second: float
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SinkModel:
    """How a broker behaves when nothing goes wrong. `refuses`: the share of signals that it rejects for good."""

    guarantee: Guarantee
    largest_group: int
    refuses: float


@dataclass(frozen=True, slots=True)
class Setting:
    """A configuration with what follows from it. `catalog` is None for those that the simulator draws."""

    configuration: Configuration
    plan: ShardPlan
    fingerprint: str
    catalog: Catalog | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """Strategies of one's own, to be simulated in the place of drawn ones. The first tick comes at `start_ns`."""

    configuration: Configuration
    catalog: Catalog
    start_ns: int = LIVE_NS


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a history starts from. `live`: event time follows the wall clock."""

    seed: int
    live: bool
    start_ns: int
    block: TickColumns
    messages: Mapping[str, tuple[Message, ...]]
    last_second: float
    feed: FeedSettings
    settings: tuple[Setting, ...]
    sinks: Mapping[str, SinkModel]
    sqlite: bool
    keep_inputs: int
    checkpoint_inputs: int

    @property
    def plan(self) -> ShardPlan:
        """The plan at the start."""
        return self.settings[0].plan

    @property
    def takeover(self) -> bool:
        """Whether another runner may take the journal over: what the first was sending then, only an id can tell."""
        return all(isinstance(each.guarantee, Idempotent) for each in self.sinks.values())

    @property
    def ordered(self) -> bool:
        """Whether the source alone decides the order of all ticks."""
        return len(self.messages) == 1


@cache
def catalog() -> Catalog:
    """The catalogue, without what is installed beside: the same on every machine."""
    return default_catalog()


def engines_of(setting: Setting, file: ModelFile) -> tuple[list[Engine], Wiring]:
    """New engines of a setting, which take their models from this file."""
    own = setting.catalog
    wiring = Wiring(catalog(), SimulatedShelf(file)) if own is None else default_wiring(own)
    return build_engines(setting.configuration, wiring, setting.plan), wiring


def drawn(seed: int, ticks: int, subject: Subject | None = None) -> Scenario:
    """The scenario of a seed, with `ticks` ticks; with a `subject`, of its strategies."""
    dice = Dice(seed, "scenario")
    live = dice.chance(0.5)
    partitions = ["feed"] if dice.chance(0.6) else ["feed.a", "feed.b"]
    brokers = ["alpha"] if dice.chance(0.6) else ["alpha", "beta"]
    start_ns = (LIVE_NS if live else RECORDED_NS) if subject is None else subject.start_ns
    settings = _drawn_settings(dice, seed, brokers, live=live) if subject is None else (_own_setting(subject, seed),)
    configuration = settings[0].configuration
    tokens = TOKENS if subject is None else tuple(sorted(settings[0].plan.shard_of))
    block, messages, last = _ticks(Dice(seed, "ticks"), ticks, partitions, tokens, start_ns)
    return Scenario(
        seed=seed,
        live=live or subject is not None,
        start_ns=start_ns if live or subject is not None else LIVE_NS,
        block=block,
        messages=messages,
        last_second=last,
        feed=FeedSettings(
            stale_after_sec=dice.one_of([None, 0.5, 2.0]),
            on_stale=dice.one_of([OnStale.GATE, OnStale.PAUSE]),
            on_gap=dice.one_of([OnGap.NOTE, OnGap.REWARM, OnGap.PAUSE]),
        ),
        settings=settings,
        sinks={name: _sink(dice) for name, each in configuration.brokers.items() if each.costs is None},
        sqlite=dice.chance(0.25),
        keep_inputs=dice.one_of([0, 50, 1_000_000]),
        checkpoint_inputs=dice.one_of([7, 40, 65_536]),
    )


def _own_setting(subject: Subject, seed: int) -> Setting:
    return _with_fingerprint(subject.configuration, subject.catalog, seed)


def _drawn_settings(dice: Dice, seed: int, brokers: list[str], *, live: bool) -> tuple[Setting, ...]:
    rows = _rows(dice, brokers, live=live)
    top = {
        "version": 1,
        "run": {
            "shards": dice.one_of([1, 1, 2, 4]),
            "mailbox": dice.one_of([4, 16, 4096]),
            "rng_seed": seed % 1000,
            "overload": "conflate" if live and dice.chance(0.15) else "block",
        },
        "brokers": {each: {"type": "log", **_delivery(dice)} for each in brokers},
    }
    first = _setting({**top, "strategies": rows}, seed)
    others = [_setting({**top, "strategies": each}, seed) for each in _changed(dice, rows)]
    return (first, *(each for each in others if _fits(first, each)))


def _fits(first: Setting, other: Setting) -> bool:
    """Whether a running service could take it over: see `bootstrap.reloading`."""
    here, there = first.plan.shard_of, other.plan.shard_of
    used = {broker for row in first.configuration.strategies for broker in row.active_brokers}
    named = {broker for row in other.configuration.strategies for broker in row.active_brokers}
    return all(here.get(token) == shard for token, shard in there.items()) and named <= used


def _changed(dice: Dice, rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Other rows that an operator might come to: one without the last, one with another limit in the first."""
    limit = {
        **rows[0]["parameters"],
        "risk": {**rows[0]["parameters"]["risk"], "max_signals_per_min": dice.integer(2, 9)},
    }
    found = [[{**rows[0], "parameters": limit}, *rows[1:]]]
    return [*found, rows[:-1]] if len(rows) > 1 else found


def _setting(mapping: Mapping[str, Any], seed: int) -> Setting:
    return _with_fingerprint(configuration_from_mapping(mapping, catalog(), base_dir=_NOWHERE), None, seed)


def _with_fingerprint(configuration: Configuration, own: Catalog | None, seed: int) -> Setting:
    run = configuration.run
    plan = plan_shards(configuration.strategies, run.shards, run.sharding, together=configuration.account is not None)
    setting = Setting(configuration, plan, "", own)
    engines, _ = engines_of(setting, ModelFile(seed))
    return replace(setting, fingerprint=run_fingerprint(plan, engines))


def _rows(dice: Dice, brokers: list[str], *, live: bool) -> list[dict[str, Any]]:
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "momentum": lambda: {"lookback_periods": dice.integer(2, 6), "threshold": 0.0004},
        "mean_reversion": lambda: {"lookback_periods": dice.integer(3, 8), "z_entry": 1.1},
        "breakout": lambda: {"lookback_periods": dice.integer(2, 6)},
        "ml_momentum": lambda: {"model_path": "model.onnx", "min_conf": 0.4},
        "sma_crossover": lambda: {"fast_periods": 2, "slow_periods": dice.integer(3, 6)},
    }
    rows = []
    for number in range(dice.integer(1, 3)):
        kind = dice.one_of(sorted(kinds))
        tokens = dice.some_of(TOKENS, 0.5) or [dice.one_of(TOKENS)]
        risk: dict[str, Any] = {
            name: value
            for name, value in (
                ("cooldown_sec", 3),
                ("max_signals_per_min", 6),
                ("max_loss_streak", 2),
                ("resume_after_sec", 5),
                ("min_signal_interval_ms", 300),
                ("max_exposure", 2_000.0),
                ("long_only", True),
            )
            if dice.chance(0.3)
        }
        risk["dedupe_window_sec"] = dice.one_of([0.5, 3])
        if "max_signals_per_min" in risk and dice.chance(0.5):
            risk["pause_on_throttle"] = True
        if live and dice.chance(0.3):
            risk["max_tick_age_sec"] = dice.one_of([0.2, 2])
        rows.append(
            {
                "id": f"{kind}-{number}",
                "strategy_type": kind,
                "parameters": {**kinds[kind](), "risk": risk},
                "instruments": tokens,
                "per_instrument": dice.chance(0.5),
                "brokers": dice.some_of([*brokers, "paper"], 0.6) or [brokers[0]],
            }
        )
    return rows


def _delivery(dice: Dice) -> dict[str, Any]:
    options: dict[str, Any] = {
        "attempts": dice.integer(1, 5),
        "timeout_sec": 2.0,
        "backoff_sec": 0.2,
        "max_backoff_sec": 3.0,
        "breaker_failures": dice.integer(1, 4),
        "largest_group": dice.one_of([1, 3, 64]),
    }
    if dice.chance(0.3):
        options["expire_sec"] = dice.one_of([1.0, 5.0, 30.0])
    if dice.chance(0.3):
        options["rate_per_sec"] = dice.one_of([0.5, 2.0, 20.0])
    return options


def _sink(dice: Dice) -> SinkModel:
    guarantees: list[Guarantee] = [Idempotent(), Idempotent(), Reconcilable(), Neither()]
    guarantee = dice.one_of(guarantees)
    return SinkModel(guarantee, dice.one_of([1, 4, 64]), 0.05 if dice.chance(0.3) else 0.0)


def _ticks(
    dice: Dice, count: int, partitions: list[str], watched: Sequence[int], start: int
) -> tuple[TickColumns, dict[str, tuple[Message, ...]], float]:
    """Random walks; `volume` says which tick it is. Now and then a tick that must be dropped, or a message that holds none."""
    stranger = max(STRANGER, *(token + 1 for token in watched))
    pause = dice.scale(0.02, 0.2)
    bursts, strange = dice.one_of([0.2, 0.6, 0.95]), dice.one_of([0.0, 0.04])
    levels = {token: 2_000 + 20 * (token % 100) for token in (*watched, stranger)}
    second = 0.0
    rows: list[tuple[int, int, float, bool]] = []
    messages: dict[str, list[Message]] = {name: [] for name in partitions}
    halted_until = dict.fromkeys(levels, 0.0)
    pause_at = dice.integer(1, count) if dice.chance(0.15) else count
    while len(rows) < count:
        if len(rows) >= pause_at:
            # As over lunch: long enough for the housekeeping to clear up.
            second, pause_at = second + _BREAK_SEC, count
        if not dice.chance(bursts):
            second += pause * 2 * dice.random() / (1 - bursts)
        size = min(1 if dice.chance(0.7) else dice.integer(2, 4), count - len(rows))
        at = dice.integer(0, len(partitions) - 1)
        own = [token for token in levels if token % len(partitions) == at] or list(levels)
        first = len(rows)
        for _ in range(size):
            token = stranger if dice.chance(strange) and stranger in own else dice.one_of(own)
            levels[token] = max(100, levels[token] + dice.integer(-3, 3))
            price = levels[token] * _TICK
            stamp = start + round(second * 1e9)
            if dice.chance(strange):
                price = dice.one_of([0.0, -1.0, float("nan"), float("inf")])
            if dice.chance(strange):
                stamp -= 5_000_000_000
            if dice.chance(strange / 2):
                halted_until[token] = second + 1.0
            rows.append((stamp, token, price, second < halted_until[token]))
        partition = messages[partitions[at]]
        places = tuple(range(first, len(rows)))
        partition.append(Message(len(partition), second, places))
        if dice.chance(strange):
            partition.append(Message(len(partition), second, ()))
    stamps, tokens, prices, halted = zip(*rows, strict=True)
    volumes: NDArray[np.float64] = np.arange(1, len(rows) + 1, dtype=np.float64)
    block = TickColumns(
        np.array(stamps, np.int64),
        np.array(tokens, np.int64),
        np.array(prices, np.float64),
        volume=volumes,
        halted=np.array(halted, np.bool_),
    )
    return block, {name: tuple(each) for name, each in messages.items()}, second
