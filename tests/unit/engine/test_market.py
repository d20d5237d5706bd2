"""What the market is in: sessions, halts, auctions, bands by the minute, ticks that are not taken."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from anystrat.domain.configuration import FillTiming, InstrumentSpec, PaperCosts, RiskLimits, Session, StrategyConfig
from anystrat.domain.outcomes import TickDropped
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import TickRow
from anystrat.engine.snapshot import snapshot

from .scripted import SECOND, Rig, Scripted, tick

CLOSED, PREOPEN = Session.CLOSED, Session.PREOPEN
NANO = Decimal("0.000000001")
BAND = RiskLimits(band_pct=5.0)


# ---------------------------------------------------------------------------------------------------- ticks not taken


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_a_tick_without_a_price_is_counted_and_touches_nothing(price: float) -> None:
    rig = Rig(length=2)
    rig.tick(0, 100)
    before = snapshot(rig.engine)
    assert rig.step(tick(1, price)) == "bad_price"
    assert rig.engine.tick_drops == {"bad_price": 1}
    rig.engine.tick_drops.clear()
    assert snapshot(rig.engine) == before


def test_a_tick_older_than_the_last_of_its_instrument_is_dropped_and_an_equal_one_is_taken() -> None:
    rig = Rig(tokens=(1, 2))
    assert rig.tick(10, 100, "BUY") == "emitted"
    assert rig.tick(10 - NANO, 101, "BUY") == "out_of_order"
    assert rig.tick(10, 102, "BUY") == "emitted"
    assert rig.tick(5, 100, "BUY", token=2) == "emitted"  # its own instrument's first


def test_the_first_reason_that_fits_names_a_dropped_tick() -> None:
    rig = Rig()
    rig.tick(10, 100)
    assert rig.step(tick(0, math.nan, token=9)) == "unrouted"
    assert rig.step(tick(0, math.nan)) == "bad_price"
    assert rig.step(tick(0, 100.0)) == "out_of_order"
    assert all(isinstance(outcome, TickDropped) for outcome in rig.everything[2:])


def test_a_tick_that_is_not_taken_moves_no_last_time() -> None:
    rig = Rig()
    rig.tick(0, 100)
    rig.step(tick(100, 0.0))
    assert rig.tick(1, 101, "BUY") == "emitted"


# ------------------------------------------------------------------------------------------------- sessions and halts


@pytest.mark.parametrize("session", [CLOSED, PREOPEN])
def test_signals_outside_the_regular_session_are_dropped_unless_allowed(session: Session) -> None:
    closed = Rig(sessions={0: session})
    assert closed.tick(0, 100, "BUY") == "session_closed"
    assert closed.tick(1, 100, "BUY") == "emitted"
    allowed = Rig(sessions={0: session}, risk=RiskLimits(allow_sessions=frozenset({session})))
    assert allowed.tick(0, 100, "BUY") == "emitted"
    other = CLOSED if session is PREOPEN else PREOPEN
    mistaken = Rig(sessions={0: session}, risk=RiskLimits(allow_sessions=frozenset({other})))
    assert mistaken.tick(0, 100, "BUY") == "session_closed"


def test_an_instrument_without_a_calendar_is_always_in_its_regular_session() -> None:
    rig = Rig(instruments={1: InstrumentSpec(1)}, sessions=None)
    rig.engine.sessions = None
    assert rig.tick(0, 100, "BUY") == "emitted"


@pytest.mark.parametrize("flag", ["halted", "auction"])
def test_nothing_is_emitted_or_filled_on_a_halted_or_auction_tick(flag: str) -> None:
    rig = Rig()
    assert rig.tick(0, 100, "BUY") == "emitted"
    assert rig.tick(1, 101, "SELL", **{flag: True}) == flag
    assert not rig.fills
    assert rig.tick(2, 102, **{flag: True}) == ""
    rig.tick(3, 103)
    assert [(fill.quantity, fill.price) for fill in rig.fills] == [(10, 103.0)]


def test_a_halted_auction_tick_is_called_halted() -> None:
    assert Rig().tick(0, 100, "BUY", halted=True, auction=True) == "halted"


def test_an_order_waits_through_a_closed_session_and_not_through_a_pre_open_one() -> None:
    rig = Rig(sessions={1: CLOSED, 2: PREOPEN})
    rig.tick(0, 100, "BUY")
    rig.tick(1, 101)
    assert not rig.fills
    rig.tick(2, 102)
    assert rig.fills[0].price == 102.0


def test_several_waiting_orders_are_filled_in_their_order_on_one_tick() -> None:
    allowed = RiskLimits(allow_sessions=frozenset({CLOSED}))
    rig = Rig(sessions={0: CLOSED, 1: CLOSED, 2: CLOSED}, risk=allowed)
    for second, (side, quantity) in enumerate((("BUY", 10), ("BUY", 3), ("SELL", 20))):
        assert rig.tick(second, 100 + second, side, quantity) == "emitted"
        assert not rig.fills
    rig.tick(3, 50)
    assert [(fill.quantity, fill.position) for fill in rig.fills] == [(10, 10), (3, 13), (-20, -7)]


def test_an_order_is_filled_before_its_next_tick_is_evaluated() -> None:
    rig = Rig(risk=RiskLimits(max_position_size=Decimal(10)))
    rig.tick(0, 100, "BUY", 10)
    assert rig.tick(1, 101, "BUY", 1) == "position_limit"


def test_an_order_of_the_same_tick_is_filled_at_once_but_not_on_a_closed_one() -> None:
    costs = PaperCosts(fill=FillTiming.SAME_TICK)
    rig = Rig(costs=costs, sessions={5: CLOSED}, risk=RiskLimits(allow_sessions=frozenset({CLOSED})))
    rig.tick(0, 100, "BUY", 10)
    assert [fill.price for fill in rig.fills] == [100.0]
    assert rig.tick(5, 101, "BUY", 5) == "emitted"
    assert not rig.fills
    rig.tick(6, 102)
    assert [fill.price for fill in rig.fills] == [102.0]


def test_an_order_on_one_instrument_does_not_wait_for_another() -> None:
    rig = Rig(tokens=(1, 2))
    rig.tick(0, 100, "BUY", token=1)
    rig.tick(1, 50, token=2)
    assert not rig.fills
    rig.tick(2, 101, token=1)
    assert rig.fills


# --------------------------------------------------------------------------------------------------------- the minute


def test_the_band_is_around_the_minutes_first_tick_and_begins_anew_at_the_border() -> None:
    rig = Rig(risk=BAND)
    rig.tick(0, 100)
    assert rig.tick(60 - NANO, 106, "BUY") == "price_band"
    assert rig.tick(60, 106, "BUY") == "emitted"
    assert rig.tick(61, 100, "BUY") == "price_band"  # 5.7 percent below 106
    assert rig.tick(61, 111, "BUY") == "emitted"


def test_the_minutes_open_is_its_first_tick_that_is_not_halted_auction_or_closed() -> None:
    rig = Rig(risk=BAND, sessions={2: CLOSED})
    rig.tick(0, 50, halted=True)
    rig.tick(1, 60, auction=True)
    rig.tick(2, 70)
    rig.tick(3, 100)
    assert rig.tick(4, 104, "BUY") == "emitted"
    assert rig.tick(5, 106, "BUY") == "price_band"


def test_a_minute_opens_on_a_pre_open_tick() -> None:
    rig = Rig(risk=BAND, sessions={0: PREOPEN})
    rig.tick(0, 100)
    assert rig.tick(1, 106, "BUY") == "price_band"


def test_without_an_open_in_this_minute_there_is_no_band() -> None:
    rig = Rig(risk=RiskLimits(band_pct=5.0, allow_sessions=frozenset({CLOSED})), sessions={61: CLOSED})
    rig.tick(0, 100)
    assert rig.tick(61, 200, "BUY") == "emitted"


def test_a_minute_is_that_of_utc_before_1970_too() -> None:
    rig = Rig(risk=BAND)
    rig.step(TickRow(1, -60 * SECOND, 100.0))
    rig.processor.answer = None
    rig.step(TickRow(1, -1, 100.0))
    assert rig.engine.state.book.instrument.minute_open[0] == 100.0
    rig.step(TickRow(1, 0, 110.0))
    assert rig.engine.state.book.instrument.minute_open[0] == 110.0


def test_a_strategy_that_is_registered_within_a_minute_is_held_to_the_minutes_open() -> None:
    rig = Rig(risk=BAND)
    rig.tick(0, 100)
    late = Scripted(lambda tick, _: SignalResult("BUY", 0.8, 10, tick.last_price))
    rig.engine.register(StrategyConfig("late", "scripted", None, (1,), risk=BAND), "paper", late)
    assert rig.tick(30, 106) == "price_band"
    assert late.calls == 1
