from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.adapters.recording.recorded import blocks, one_by_one

from anystrat.adapters.tick_messages import MAX_BYTES, MessageDecoder
from anystrat.domain.columns import TickColumns
from anystrat.testing.messages import columns_message, json_lines_message, json_message, packed_message
from anystrat.testing.ticks import columns, row

FORMS = (json_message, json_lines_message, packed_message, columns_message)
pack = msgspec.msgpack.encode


def decoded(*messages: bytes) -> tuple[list[float], list[int], list[str]]:
    found = MessageDecoder().decoded(messages)
    assert found.counts.sum() == len(found.ticks)
    assert found.tally.malformed == len(found.tally.first) or found.tally.malformed > 5
    return found.ticks.price.tolist(), found.counts.tolist(), found.tally.first


TICK = {"ts_ns": 5, "instrument_token": 7, "price": 1.5}


class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    @given(st.lists(blocks(), min_size=1, max_size=4))
    @settings(max_examples=40)
    def test_what_is_sent_arrives_to_the_last_bit(self, form, sent):
        found = MessageDecoder().decoded([form(block) for block in sent])
        assert found.tally.malformed == 0, found.tally.first
        assert found.counts.tolist() == [len(block) for block in sent]
        assert one_by_one([found.ticks]) == one_by_one(sent)

    @given(st.lists(st.tuples(st.sampled_from(FORMS), blocks()), max_size=6))
    @settings(max_examples=40)
    def test_forms_may_be_mixed(self, sent):
        found = MessageDecoder().decoded([form(block) for form, block in sent])
        assert one_by_one([found.ticks]) == one_by_one(block for _, block in sent)

    def test_one_object_may_be_broken_into_lines(self):
        assert decoded(json.dumps(TICK, indent=2).encode()) == ([1.5], [1], [])

    def test_a_timestamp_does_as_well(self):
        when = {"timestamp": "2024-01-02T09:15:00.5Z", "instrument_token": 7, "price": 1.5}
        for message in (json.dumps(when).encode(), pack(when), pack([when])):
            found = MessageDecoder().decoded([message])
            assert found.ticks.ts_ns.tolist() == [1_704_186_900_500_000_000]

    def test_columns_may_be_lists_and_one_instrument_may_stand_for_all(self):
        message = pack(
            {"ts_ns": [1, 2], "instrument_token": 9, "price": [1, "2.00000000000000000001"], "bid": [None, 3]}
        )
        ticks = MessageDecoder().decoded([message]).ticks
        assert ticks.instrument_token.tolist() == [9, 9]
        assert [each.decimal for each in ticks.rows()] == [Decimal(1), Decimal("2.00000000000000000001")]
        assert [each.bid for each in ticks.rows()] == [None, 3.0]

    def test_an_integer_price_is_exact_however_large(self):
        found = MessageDecoder().decoded([pack({**TICK, "price": 2**53 + 1})])
        assert [each.decimal for each in found.ticks.rows()] == [Decimal(2**53 + 1)]

    def test_other_keys_are_ignored(self):
        more = {**TICK, "venue": {"name": ["x"]}}
        assert decoded(json.dumps(more).encode(), pack(more), pack([more])) == ([1.5] * 3, [1, 1, 1], [])


class TestMalformed:
    def test_the_good_ticks_of_a_message_are_not_lost_with_the_bad_ones(self):
        bad = {"ts_ns": 1, "price": 2}
        lines = b"\n".join(json.dumps(each).encode() for each in (TICK, bad, TICK))
        for message in (json.dumps([TICK, bad, TICK]).encode(), lines, pack([TICK, bad, TICK])):
            prices, counts, why = decoded(message)
            assert (prices, counts) == ([1.5, 1.5], [2])
            assert len(why) == 1
            assert "'instrument_token'" in why[0]

    def test_a_bad_message_among_good_ones_costs_itself_alone(self):
        good = json.dumps(TICK).encode()
        assert decoded(good, b"{", good, b"", good)[:2] == ([1.5] * 3, [1, 0, 1, 0, 1])

    @pytest.mark.parametrize(
        ("message", "said"),
        [
            (b"", "neither JSON nor MessagePack"),
            (b"hello", "neither JSON nor MessagePack with ticks; found b'hello'"),
            (b"\x01", "neither JSON nor MessagePack"),
            (b"[1", "no JSON"),
            (b"[1]", "expected a JSON object, found"),
            (b'{"a":' * 100_000, "nested too deeply"),
            (b"[" * 100_000, "nested too deeply"),
            (b"\x91" * 100_000, "nested too deeply"),
            (b"\x81\xa1x" * 100_000, "nested too deeply"),
            (b"\xdd\xff\xff\xff\xff\x01", "no MessagePack"),
            (b"\xdf\xff\xff\xff\xff\xa1a\x01", "no MessagePack"),
            (b"\x81\x01", "no MessagePack"),
            (pack({**TICK, "ts_ns": b"12345678"}), "columns: Expected"),
            (pack({"ts_ns": b"1" * 9, "instrument_token": 1, "price": b"1" * 8}), "ts_ns has 9 bytes"),
            (pack({"ts_ns": b"1" * 16, "instrument_token": 1, "price": b"1" * 8}), "price has 1 entries; ts_ns has 2"),
            (pack({"ts_ns": [2**63], "instrument_token": 1, "price": [1]}), "beyond 64 bits"),
            (pack({"ts_ns": [1], "instrument_token": 1}), "no column 'price'"),
            (pack({**TICK, "ts_ns": 2**63}), "beyond 64 bits"),
            (pack({**TICK, "price": True}), "Expected"),
            (pack({**TICK, "price": "1_0"}), "price is '1_0'"),
            (pack({"instrument_token": 1, "price": 1}), "'ts_ns' or 'timestamp'"),
            (pack({1: 2}), "no column 'instrument_token'"),
            (b"{" + b" " * MAX_BYTES + b"}", "at most 8388608 are decoded"),
        ],
        ids=str,
    )
    def test_it_is_said_what_is_wrong(self, message, said):
        prices, counts, why = decoded(message)
        assert (prices, counts) == ([], [0])
        assert said in why[0]

    @given(st.lists(st.binary(max_size=60), max_size=5))
    def test_no_bytes_whatever_raise(self, messages):
        found = MessageDecoder().decoded(messages)
        assert len(found.counts) == len(messages)
        assert found.malformed.sum() == found.tally.malformed

    def test_each_message_says_how_much_of_it_was_no_tick(self):
        good, two = pack(TICK), b'[{"price": 1}, {}]'
        assert MessageDecoder().decoded([good, b"?", two, good]).malformed.tolist() == [0, 1, 2, 0]

    @given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
            st.sampled_from(["ts_ns", "timestamp", "instrument_token", "price", "size", "halted", "x"]) | st.integers(0, 3), inner, max_size=7)))  # fmt: skip
    def test_no_values_whatever_raise(self, value):
        MessageDecoder().decoded([pack(value)])
        try:
            text = json.dumps(value).encode()
        except TypeError:
            return
        MessageDecoder().decoded([text])

    @given(st.binary(max_size=200), st.integers(0, 300), st.sampled_from(FORMS))
    def test_a_message_that_is_cut_or_changed_raises_nothing(self, noise, at, form):
        block = columns([row(1, "1.5", 0), row(2, "0.1000000000000000000001", 1)])
        message = form(block)
        at = min(at, len(message))
        for changed in (message[:at], message[:at] + noise + message[at + len(noise) :]):
            found = MessageDecoder().decoded([changed])
            assert isinstance(found.ticks, TickColumns)
            assert found.ticks.ts_ns.dtype == np.int64
