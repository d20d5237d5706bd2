"""A snapshot has everything that later outcomes depend on, and is refused where it would mean something else."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from anystrat.domain.bars import BarKind, BarSpec
from anystrat.domain.configuration import RiskLimits, StrategyConfig
from anystrat.domain.errors import SnapshotRefused
from anystrat.domain.events import Arrived, EvaluationLost, FeedStale, InferenceMissed
from anystrat.domain.signal import SignalResult
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import VERSION, fingerprint, restore, snapshot
from anystrat.testing.ticks import START_NS

from .scripted import SECOND, Scripted, tick

EVERY_3 = BarSpec(BarKind.TICKS, Decimal(3))


def engine_of(*, bars: BarSpec | None = EVERY_3, tokens: tuple[int, ...] = (1, 2), **risk: Any) -> Engine:
    """Two strategies, one on ticks and one on bars, which buy at every other price."""
    engine = Engine({})

    def answer(one: Any, _: Any) -> Any:
        return SignalResult("BUY", 0.5, 3, one.last_price) if int(one.last_price) % 2 else None

    engine.register(
        StrategyConfig("t", "scripted", None, tokens, risk=RiskLimits(**risk)), "paper", Scripted(answer, 3)
    )
    engine.register(StrategyConfig("b", "scripted", None, (2,), bars=bars), "paper", Scripted(answer, 2))
    return engine


def lived(engine: Engine, first: int, last: int, **fields: Any) -> list[Any]:
    return [
        outcome for k in range(first, last) for outcome in engine.step(tick(k, str(100 + k % 7), 1 + k % 2, **fields))
    ]


@pytest.mark.parametrize("fields", [{}, {"metadata": {"open": Decimal("99.5")}}], ids=["numbers", "metadata"])
def test_a_restored_engine_is_the_same_to_the_last_bit_and_goes_on_as_the_other_one(fields: dict[str, Any]) -> None:
    engine = engine_of()
    assert lived(engine, 0, 20, **fields)
    engine.step(tick(3, "100", 9))
    again = engine_of()
    restore(again, snapshot(engine))
    assert snapshot(again) == snapshot(engine)
    assert [[row.decimal for row in window.rows()] for window in again.windows] == [
        [row.decimal for row in window.rows()] for window in engine.windows
    ]
    assert again.windows[0].rows()
    assert [[row.decimal for row in feed.window.rows()] for feed in again.bars.feeds.values()] == [
        [row.decimal for row in feed.window.rows()] for feed in engine.bars.feeds.values()
    ]
    assert again.tick_drops == engine.tick_drops != {}
    assert lived(again, 20, 40, **fields) == lived(engine, 20, 40, **fields)
    assert snapshot(again) == snapshot(engine)


def test_what_was_said_of_the_feed_and_of_answers_to_come_is_kept() -> None:
    engine = engine_of()
    engine.step(Arrived(START_NS + 7))
    engine.step(FeedStale(START_NS))
    engine.step(InferenceMissed(START_NS, "t", "paper", 1, 4))
    engine.step(EvaluationLost(START_NS, "t", "paper", 1, 5, "it was killed"))
    again = engine_of()
    restore(again, snapshot(engine))
    assert (again.arrived_ns, again.feed_stale) == (START_NS + 7, True)
    assert snapshot(again) == snapshot(engine)
    assert again.deadlines.dump() == engine.deadlines.dump() != []
    assert again.losses.dump() == engine.losses.dump() != []


OTHERS = {
    "bars of another size": {"bars": BarSpec(BarKind.TICKS, Decimal(4))},
    "no bars": {"bars": None},
    "another instrument": {"tokens": (1, 2, 3)},
    "another limit": {"cooldown_ns": SECOND},
}


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS)
def test_what_was_made_under_another_configuration_is_refused(fields: dict[str, Any]) -> None:
    engine, other = engine_of(), engine_of(**fields)
    assert len(fingerprint(engine)) == 64
    assert fingerprint(engine) == fingerprint(engine_of()) != fingerprint(other)
    lived(engine, 0, 5)
    before = snapshot(other)
    with pytest.raises(SnapshotRefused, match="other strategies, parameters or instruments"):
        restore(other, snapshot(engine))
    assert snapshot(other) == before


def test_what_is_no_snapshot_or_one_of_another_version_is_refused() -> None:
    def sealed(content: bytes) -> bytes:
        return hashlib.sha256(content).digest() + content

    for content in (b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"version": VERSION})):
        with pytest.raises(SnapshotRefused, match="these bytes are no snapshot"):
            restore(engine_of(), sealed(content))
    other = msgspec.msgpack.encode({"version": VERSION + 1, "fingerprint": ""})
    with pytest.raises(SnapshotRefused, match=f"version {VERSION + 1}, this anystrat reads version {VERSION}"):
        restore(engine_of(), sealed(other))


def test_a_tick_that_cannot_be_written_down_is_said() -> None:
    engine = engine_of()
    lived(engine, 0, 3, metadata={"what": object()})
    with pytest.raises(SnapshotRefused, match="a tick in a window cannot be written"):
        snapshot(engine)
