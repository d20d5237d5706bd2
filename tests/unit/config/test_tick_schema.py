"""The schema of ticks: what fits it is decoded whole, and what is no tick does not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.adapters.tick_messages import MessageDecoder
from anystrat.config.tick_schema import tick_schema

from .test_schema import is_valid

SCHEMA = tick_schema()
INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
DECIMALS = st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,8})?\Z")
POSITIVE = st.floats(1e-6, 1e9) | st.integers(1, 10**9)
NUMBERS = st.none() | POSITIVE | DECIMALS
FLAGS = st.sampled_from([True, False, 0, 1, None])
STAMPS = st.from_regex(
    r"\A20[0-9]{2}-0[1-9]-[12][0-9]([T ][01][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-]0[0-9]:?[0-5][0-9])?)?\Z"
)
REST = {
    "size": NUMBERS,
    "bid": NUMBERS,
    "ask": NUMBERS,
    "halted": FLAGS,
    "auction": FLAGS,
    "venue": st.text(max_size=3),
}
TICKS = st.fixed_dictionaries({"ts_ns": INT64, "instrument_token": INT64, "price": POSITIVE | DECIMALS}, optional=REST)
STAMPED = st.fixed_dictionaries({"timestamp": STAMPS, "instrument_token": INT64, "price": POSITIVE}, optional=REST)


def fits(message: Any) -> bool:
    return is_valid(message, SCHEMA, SCHEMA)


def decoded(message: Any) -> tuple[int, int]:
    """(ticks, malformed)."""
    found = MessageDecoder().decoded([json.dumps(message).encode()])
    return len(found.ticks), found.tally.malformed


def test_its_own_examples_fit_it() -> None:
    for each in SCHEMA["$defs"]["tick"]["examples"]:
        assert fits(each)


@settings(max_examples=40)
@given(TICKS | STAMPED | st.lists(TICKS, max_size=3))
def test_what_fits_is_decoded_whole(message: Any) -> None:
    assert fits(message)
    assert decoded(message) == (len(message) if isinstance(message, list) else 1, 0)


TICK = {"ts_ns": 1, "instrument_token": 7, "price": "1.5"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"instrument_token": 7, "price": 1},
        {"ts_ns": 1, "price": 1},
        {"ts_ns": 1, "instrument_token": 7},
        TICK | {"ts_ns": 1.5},
        TICK | {"ts_ns": 2**63},
        TICK | {"instrument_token": "seven"},
        TICK | {"price": "much"},
        TICK | {"price": None},
        TICK | {"bid": "much"},
        TICK | {"halted": "perhaps"},
        {"timestamp": "yesterday", "instrument_token": 7, "price": 1},
        [TICK, {}],
        [7],
    ],
)
def test_what_is_no_tick_neither_fits_nor_is_decoded(wrong: Any) -> None:
    assert not fits(wrong)
    assert decoded(wrong)[1] == 1
