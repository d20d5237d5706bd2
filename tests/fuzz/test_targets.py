"""The fuzzer's targets in small: what they begin with, what a few mutations make of it, and everything that was ever found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .targets import TARGETS

FOUND = Path(__file__).parent / "found"
#: A model takes a session of onnxruntime each; the others are quick.
EXAMPLES = {"model": 10}


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_make_a_reader_raise_what_it_does_not_promise(name):
    seeds = TARGETS[name].seeds()

    @settings(max_examples=EXAMPLES.get(name, 40), deadline=None)
    @given(
        st.sampled_from(seeds),
        st.lists(st.tuples(st.integers(0, 4_000), st.binary(max_size=6), st.integers(0, 6)), max_size=6),
        st.integers(0, 4_000),
    )
    def mutated(seed, edits, cut):
        data = bytearray(seed)
        for at, new, gone in edits:
            place = at % (len(data) + 1)
            data[place : place + gone] = new
        TARGETS[name].read(bytes(data[: len(data) - cut % (len(data) + 1)] if cut % 3 == 0 else data))

    for seed in seeds:
        TARGETS[name].read(seed)
    mutated()


def test_what_was_found_once_is_not_found_again():
    for path in sorted(path for path in FOUND.rglob("*") if path.is_file()):
        TARGETS[path.parent.name].read(path.read_bytes())
