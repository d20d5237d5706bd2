"""What a running service shows of itself: plain values, made of what its engines hold, when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from anystrat.control import models
from anystrat.domain.health import Phase
from anystrat.engine.state import LONG_AGO
from anystrat.engine.tally import tally_of
from anystrat.observability.endpoint import readiness

if TYPE_CHECKING:
    from anystrat.domain.health import ProcessHealth
    from anystrat.domain.journal import OutboxEntry
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.runner.runner import Runner


def executors_of(runner: Runner) -> Iterator[tuple[int, StrategyExecutor]]:
    """Every executor with its shard, shard by shard."""
    for shard in runner.shards:
        for executor in shard.driver.engine.executors:
            yield shard.number, executor


def health(runner: Runner) -> models.Health:
    """Whether it lives."""
    return models.Health(alive=runner.phase is not Phase.FAILED, phase=runner.phase.value)


def ready(runner: Runner) -> models.Ready:
    """Part by part."""
    return models.Ready(**readiness(runner.health()))


def status(runner: Runner) -> models.Status:
    """At a glance."""
    found, accounts = readiness(runner.health()), runner.accounts
    return models.Status(
        run=found["run"],
        version=runner.version,
        phase=found["phase"],
        ready=found["ready"],
        troubles=found["troubles"],
        killed=found["killed"],
        reduce_only=None if runner.account is None else runner.account.reduce_only or runner.reduce_only,
        epoch=(found["journal"] or {}).get("epoch", 0),
        ticks=models.Ticks(
            received=accounts.received,
            processed=accounts.processed,
            duplicates=accounts.duplicates,
            dropped=dict(accounts.dropped),
            shed=accounts.shed,
        ),
        strategies=strategies(runner),
        brokers=found["brokers"],
    )


def strategies(runner: Runner, among: Iterable[tuple[int, StrategyExecutor]] | None = None) -> list[models.Strategy]:
    """These executors, with their shards; all, where none are named."""
    apart = {each.strategy_id: each for each in runner.health().processes}
    return [_strategy(shard, each, apart.get(each.strategy_id)) for shard, each in among or executors_of(runner)]


def _strategy(shard: int, executor: StrategyExecutor, apart: ProcessHealth | None) -> models.Strategy:
    """One executor, with its strategy's process where it has one to itself."""
    one, since = tally_of(executor), executor.last_transition_ns
    return models.Strategy(
        strategy_id=one.strategy_id,
        strategy_type=executor.config.strategy_type,
        broker=one.broker,
        shard=shard,
        kind=one.kind,
        state=one.state.name,
        since_ns=None if since == LONG_AGO else int(since),
        instruments=len(executor.tokens),
        ticks=one.ticks,
        evaluations=one.evaluations,
        signals=one.signals,
        holds=one.holds,
        drops=dict(one.drops),
        errors=one.errors,
        fills=one.fills,
        process=None
        if apart is None
        else models.StrategyProcess(
            state=apart.state.name.lower(),
            pid=apart.pid,
            restarts=apart.restarts,
            resident_bytes=apart.resident_bytes,
            problem=apart.problem,
        ),
    )


def positions(runner: Runner) -> models.Positions:
    """All accounts."""
    accounts = [
        _account(executor, shard.driver.engine.instruments)
        for shard in runner.shards
        for executor in shard.driver.engine.executors
    ]
    return models.Positions(
        accounts=accounts,
        realised=math.fsum(each.realised for each in accounts),
        unrealised=_sum([each.unrealised for each in accounts]),
        fees=math.fsum(each.fees for each in accounts),
        net=_sum([each.net for each in accounts]),
    )


def _account(executor: StrategyExecutor, instruments: Any) -> models.Account:
    book, portfolio = executor.book, executor.portfolio
    held = []
    for token, quantity in portfolio.positions.items():
        slot = executor.slots[token]
        last = _finite(book.instrument.last_price[book.slot.instrument[slot]])
        average, spec = portfolio.average_prices[token], instruments.get(token)
        gain = None if last is None else quantity * (last - average) * book.slot.multiplier[slot]
        held.append(
            models.Position(
                instrument_token=token,
                symbol="" if spec is None else str(spec.symbol or ""),
                quantity=int(quantity),
                average_price=average,
                last_price=last,
                unrealised=_finite(gain),
            )
        )
    return models.Account(
        strategy_id=executor.strategy_id,
        broker=executor.broker,
        cash=portfolio.cash,
        realised=portfolio.realised,
        unrealised=_finite(executor.unrealised),
        fees=portfolio.fees,
        net=_finite(portfolio.cash + executor.market_value),
        positions=held,
    )


def dead_letter(entry: OutboxEntry) -> models.DeadLetter:
    """One dead letter, with the signal as the broker would get it."""
    signal = entry.signal
    return models.DeadLetter(
        signal_id=signal.signal_id,
        broker=signal.broker,
        number=signal.number,
        fate=entry.fate.name.lower(),
        strategy_id=signal.strategy_id,
        instrument_token=signal.instrument_token,
        ts_ns=signal.ts_ns,
        attempts=entry.attempts,
        reason=entry.reason,
        signal=msgspec.json.decode(signal.body, type=dict[str, Any]),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
