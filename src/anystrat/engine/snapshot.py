"""The engine's whole state as bytes, and back: a restored engine goes on as if nothing had happened, to the last bit."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from anystrat.domain.errors import SnapshotRefused
from anystrat.domain.tick_fields import fields_of_tick, tick_of_fields
from anystrat.engine.models import serve_again, serving

if TYPE_CHECKING:
    from anystrat.domain.window import Window
    from anystrat.engine.bars import BarFeed
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

VERSION: Final = 6
_DIGEST: Final = hashlib.sha256().digest_size


def snapshot(engine: Engine) -> bytes:
    """Everything that later outcomes depend on: gates, timers, paper accounts, waiting orders, windows, counters.

    Raises `SnapshotRefused` when a tick's metadata holds what cannot be written down (anything but numbers, text,
    booleans, None, decimals, lists and mappings of such).
    """
    engine.settle()
    try:
        content = msgspec.msgpack.encode(
            {
                "version": VERSION,
                "fingerprint": fingerprint(engine),
                "killed": engine.killed,
                "feed": [engine.arrived_ns, engine.feed_stale],
                "models": serving(engine.executors),
                "missed": engine.deadlines.dump(),
                "lost": engine.losses.dump(),
                "outside_calendar": sorted(engine.outside_calendar),
                "ticks": engine.ticks,
                "tick_drops": dict(engine.tick_drops),
                "state": engine.state.dump(),
                "windows": [_window_out(window) for window in engine.windows],
                "bars": [_feed_out(feed) for feed in engine.bars.feeds.values()],
                "account": engine.account.dump() if engine.account is not None else None,
                "executors": [[executor.error_times, executor.own_drops] for executor in engine.executors],
            }
        )
        return hashlib.sha256(content).digest() + content
    except (TypeError, OverflowError) as error:
        raise SnapshotRefused(f"a tick in a window cannot be written into a snapshot: {error}") from error


def restore(engine: Engine, data: bytes) -> None:
    """Take over a snapshot into an engine that has the same executors registered and has seen no tick.

    Raises `SnapshotRefused` for another version or another configuration, leaving the engine as it was, and for a model
    that served then and cannot be had now.
    """
    digest, body = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise SnapshotRefused("the snapshot is damaged: its checksum does not fit; take an earlier one")
    try:
        content = msgspec.msgpack.decode(body)
        version, found = content["version"], content["fingerprint"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise SnapshotRefused(f"these bytes are no snapshot: {error}") from error
    if version != VERSION:
        raise SnapshotRefused(f"the snapshot has version {version}, this anystrat reads version {VERSION}")
    if found != fingerprint(engine):
        raise SnapshotRefused(
            "the snapshot was made with other strategies, parameters or instruments than are registered now; "
            "start without it, or restore it under the configuration that made it"
        )
    serve_again(engine.executors, content["models"])
    engine.settle()
    engine.state.load(content["state"])
    engine.killed = content["killed"]
    engine.arrived_ns, engine.feed_stale = content["feed"]
    engine.deadlines.load(content["missed"])
    engine.losses.load(content.get("lost", ()))
    engine.outside_calendar = set(content["outside_calendar"])
    engine.ticks = content["ticks"]
    engine.tick_drops = Counter(content["tick_drops"])
    for window, (numbers, rows) in zip(engine.windows, content["windows"], strict=True):
        window.clear()
        if numbers is not None:
            window.load(numbers)
        for fields in rows:
            window.push(tick_of_fields(fields))
    for feed, (numbers, rows, held) in zip(engine.bars.feeds.values(), content.get("bars", []), strict=True):
        feed.clear()
        for fields in held:
            feed.window.push(tick_of_fields(fields))
        feed.load(numbers, [tick_of_fields(fields) for fields in rows])
    if engine.account is not None:
        there = content.get("account")
        engine.account.load(there) if there is not None else engine.account.begin()
    for executor, (error_times, own_drops) in zip(engine.executors, content["executors"], strict=True):
        executor.error_times[:] = error_times
        executor.own_drops = dict(own_drops)


def fingerprint(engine: Engine) -> str:
    """What a snapshot is bound to: the executors in their order, with their parameters, limits, costs and instruments."""
    parts = [repr(engine.tokens), *map(identity, engine.executors)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def identity(executor: StrategyExecutor) -> str:
    """All that its state is bound to: parameters, limits, costs, instruments, broker."""
    # A set has no order of its own, and would print in another one in the next process.
    sessions = sorted(executor.risk.allow_sessions)
    config = replace(executor.config, risk=replace(executor.risk, allow_sessions=frozenset()))
    wiring = (executor.broker, executor.tokens, executor.costs, executor.need, sorted(executor.lots.items()))
    bars = f" bars {executor.bars}" if executor.bars is not None else ""
    sizing = f" sizing {executor.risk.sizing}" if executor.risk.sizing is not None else ""
    return repr((config, sessions, wiring)) + bars + sizing


def _window_out(window: Window) -> tuple[tuple[bytes, bytes, bytes] | None, list[list[Any]]]:
    """A window's numbers, where its ticks are nothing else; else its ticks one by one."""
    numbers = window.dump()
    return numbers, [] if numbers is not None else [fields_of_tick(row) for row in window.rows()]


def _feed_out(feed: BarFeed) -> tuple[list[Any], list[list[Any]], list[list[Any]]]:
    """The open bar, and the closed ones."""
    numbers, rows = feed.dump()
    return numbers, [fields_of_tick(row) for row in rows], [fields_of_tick(row) for row in feed.window.rows()]
