"""Which part of a venue's message is a tick, and that no digit of it is lost."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.adapters.message_mapping import MessageMapper
from anystrat.adapters.tick_messages import Decoded
from anystrat.domain.exact import plain_text
from anystrat.domain.parameters import ParameterError
from anystrat.domain.websocket import MessageFormat, TickMapping, TimeUnit, WebSocketSource

ARRIVED = 1_700_000_000_000_000_000
BINANCE = TickMapping("p", each="data", where={"e": "trade"}, instrument="s", time="T", size="q")
BEST = TickMapping("b", each="data", where={"/stream": "btcusdt@bookTicker"}, instrument="s", bid="b", ask="a")
TOKENS = {"BTCUSDT": 1, "ETHUSDT": 2}


def mapped(
    *messages: Any, by: TickMapping | tuple[TickMapping, ...] = BINANCE, form: MessageFormat = MessageFormat.JSON
) -> Decoded:
    mapper = MessageMapper(by if isinstance(by, tuple) else (by,), form, TOKENS)
    sent = [each if isinstance(each, str | bytes) else json.dumps(each) for each in messages]
    return mapper.decoded([(each, ARRIVED + at) for at, each in enumerate(sent)], 1)


def ticks(found: Decoded) -> list[tuple[int, int, str]]:
    return [(row.ts_ns, row.instrument_token, plain_text(row.decimal)) for row in found.ticks.rows()]


def trade(price: str = "61837.63000000", symbol: str = "BTCUSDT", at: int = 1_723_161_255_208) -> dict[str, Any]:
    data = {"e": "trade", "E": at, "s": symbol, "t": 1, "p": price, "q": "0.00150000", "T": at, "m": True, "M": True}
    return {"stream": f"{symbol.lower()}@trade", "data": data}


class TestVenues:
    def test_binance_trades(self) -> None:
        found = mapped(trade(), trade("2500.10000000", "ETHUSDT"))
        assert ticks(found) == [
            (1_723_161_255_208_000_000, 1, "61837.63"),
            (1_723_161_255_208_000_000, 2, "2500.1"),
        ]
        assert next(found.ticks.rows()).volume == 0.0015
        assert found.counts.tolist() == [1, 1]

    def test_binance_best_prices_which_have_no_time(self) -> None:
        best = {"s": "BTCUSDT", "b": "1.5", "B": "3.78", "a": "1.6", "A": "1.5"}
        found = mapped(trade(), {"stream": "btcusdt@bookTicker", "data": best}, by=(BINANCE, BEST))
        assert ticks(found)[1] == (ARRIVED + 1, 1, "1.5")
        _, best_row = found.ticks.rows()
        assert (best_row.bid, best_row.ask) == (1.5, 1.6)

    def test_alpaca_whose_messages_are_lists_of_several_kinds(self) -> None:
        by = TickMapping("p", where={"T": "t"}, instrument="S", time="t", time_unit=TimeUnit.ISO, size="s")
        one = {"T": "t", "S": "BTCUSDT", "p": 126.55, "s": 1, "t": "2021-02-22T15:51:44.208123456Z"}
        found = mapped([one, {"T": "q", "S": "BTCUSDT"}, {**one, "p": 126.56}], by=by)
        assert ticks(found) == [(1_614_009_104_208_123_456, 1, "126.55"), (1_614_009_104_208_123_456, 1, "126.56")]
        assert found.counts.tolist() == [2]

    def test_kraken_whose_ticks_are_lists(self) -> None:
        by = TickMapping(
            "0", each="1", where={"/2": "trade"}, instrument="/3", time="2", time_unit=TimeUnit.S, size="1"
        )
        rows = [
            ["5541.20000", "0.15850568", "1534614057.321597", "s"],
            ["6060.00000", "0.02", "1534614057.324998", "b"],
        ]
        found = mapped([0, rows, "trade", "BTCUSDT"], {"event": "heartbeat"}, by=by)
        assert ticks(found) == [(1_534_614_057_321_597_000, 1, "5541.2"), (1_534_614_057_324_998_000, 1, "6060")]

    def test_okx_whose_times_are_texts(self) -> None:
        by = TickMapping("px", each="data", where={"/arg.channel": "trades"}, instrument="instId", time="ts", size="sz")
        row = {"instId": "BTCUSDT", "px": "42219.9", "sz": "0.12", "ts": "1630048897897"}
        found = mapped({"arg": {"channel": "trades"}, "data": [row]}, {"event": "subscribe"}, by=by)
        assert ticks(found) == [(1_630_048_897_897_000_000, 1, "42219.9")]

    def test_one_instrument_without_a_name_in_messagepack(self) -> None:
        by = TickMapping("p", token=7, time="t", time_unit=TimeUnit.NS)
        message = msgspec.msgpack.encode({"p": 0.1, "t": ARRIVED})
        assert ticks(mapped(message, by=by, form=MessageFormat.MSGPACK)) == [(ARRIVED, 7, "0.1")]

    def test_numbers_for_names_in_messagepack(self) -> None:
        by = TickMapping("2", instrument="1")
        message = msgspec.msgpack.encode({1: 256265, 2: 100})
        assert ticks(mapped(message, by=by, form=MessageFormat.MSGPACK)) == [(ARRIVED, 256265, "100")]


class TestNumbers:
    @given(st.decimals(min_value=Decimal("0.00000001"), max_value=10**15, places=8))
    def test_a_price_is_the_decimal_that_is_written_as_text_or_as_a_number(self, price) -> None:
        written = format(price, "f")
        as_number = json.dumps(trade()).replace('"61837.63000000"', written)
        for message in (json.dumps(trade(written)), as_number):
            (row,) = mapped(message).ticks.rows()
            assert row.decimal == price

    @given(st.integers(0, 2**62), st.sampled_from([TimeUnit.S, TimeUnit.MS, TimeUnit.US, TimeUnit.NS]))
    def test_a_time_is_exact_in_every_unit(self, ns, unit) -> None:
        places = {"s": 9, "ms": 6, "us": 3, "ns": 0}[unit.value]
        text = format(Decimal(ns).scaleb(-places), "f")
        by = TickMapping("p", token=1, time="t", time_unit=unit)
        assert ticks(mapped({"p": 1, "t": text}, f'{{"p": 1, "t": {text}}}', by=by)) == [(ns, 1, "1")] * 2


class TestWhatIsNoTick:
    @pytest.mark.parametrize(
        ("message", "said"),
        [
            ("nothing", "message 1: no JSON"),
            ("[" * 100_000, "message 1: no JSON"),
            (b"\xff\xfe", "message 1: no JSON"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "T": 1}}, "the price at p is not there, expected a number"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "T": 1, "p": True}}, "the price at p is True"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "T": 1, "p": "1_0"}}, "expected a number"),
            ({"data": {"e": "trade", "T": 1, "p": "1"}}, "the instrument at s is not there"),
            ({"data": {"e": "trade", "s": None, "T": 1, "p": "1"}}, "the instrument at s is None"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "p": "1"}}, "the time at T is not there"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "T": "x", "p": "1"}}, "the time is 'x', expected a number"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "T": 10**30, "p": "1"}}, "beyond 64 bits"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "T": "1e999999", "p": "1"}}, "beyond 64 bits"),
            ({"data": {"e": "trade", "s": "BTCUSDT", "T": 1, "p": "1", "q": {}}}, "size at its path is {}"),
        ],
    )
    def test_is_counted_and_named(self, message, said) -> None:
        found = mapped(message, trade())
        assert found.malformed.tolist() == [1, 0]
        assert said in found.tally.first[0]
        assert len(found.ticks) == 1

    @pytest.mark.parametrize("message", [{"result": None, "id": 1}, [], "5", "null", {"data": {"e": "depthUpdate"}}])
    def test_of_another_kind_is_passed_over(self, message) -> None:
        found = mapped(message)
        assert (len(found.ticks), found.tally.malformed) == (0, 0)

    def test_the_good_ones_beside_a_bad_one_count(self) -> None:
        by = TickMapping("p", each="data", token=1)
        found = mapped({"data": [{"p": 1}, {}, {"p": 2}]}, by=by)
        assert found.counts.tolist() == [2]
        assert found.malformed.tolist() == [1]
        assert found.tally.first == ["message 1[2]: the price at p is not there, expected a number"]

    def test_a_symbol_without_a_token_is_passed_over_and_remembered_once(self) -> None:
        mapper = MessageMapper((BINANCE,), MessageFormat.JSON, TOKENS)
        found = mapper.decoded([(json.dumps(trade(symbol="XRPUSDT")), 0)] * 3, 1)
        assert (len(found.ticks), found.tally.malformed) == (0, 0)
        assert mapper.strangers == ["XRPUSDT"]

    @given(
        st.binary()
        | st.text()
        | st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists).map(json.dumps)
    )
    def test_nothing_that_comes_in_ends_the_reading(self, message) -> None:
        for form in MessageFormat:
            found = mapped(message, trade(), by=(BINANCE, BEST, TickMapping("0", instrument="1")), form=form)
            assert len(found.counts) == 2


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: TickMapping(""), "price"),
        (lambda: TickMapping("p"), "instrument"),
        (lambda: TickMapping("p", instrument="s", token=1), "instrument"),
        (lambda: WebSocketSource(_url("http://h"), (BINANCE,)), "url"),
        (lambda: WebSocketSource(_url("wss://h/ x"), (BINANCE,)), "url"),
        (lambda: WebSocketSource(_url("wss://h"), ()), "ticks"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(make, field) -> None:
    with pytest.raises(ParameterError) as refused:
        make()
    assert refused.value.field == field


def _url(text: str) -> Any:
    from anystrat.domain.configuration import Secret

    return Secret(text)
