from __future__ import annotations

import hashlib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.seeds import derived_seed
from anystrat.domain.signal import EmittedSignal
from anystrat.domain.signal_id import id_bases, mixed, signal_id

MASK = 2**64 - 1
INT64 = st.integers(-(2**63), 2**63 - 1)


def naive_half(base: int, values: list[int]) -> int:
    """SPEC's formula, line by line."""
    h = base
    for v in values:
        x = ((h ^ (v % 2**64)) + 0x9E3779B97F4A7C15) % 2**64
        x = x ^ (x >> 30)
        x = x * 0xBF58476D1CE4E5B9 % 2**64
        x = x ^ (x >> 27)
        x = x * 0x94D049BB133111EB % 2**64
        h = x ^ (x >> 31)
    return h


def test_one_value_from_zero_is_the_first_number_of_splitmix64():
    # The published first output of SplitMix64 for seed 0.
    assert mixed(0, (0,)) == 0xE220A8397B1DCDAF


def test_bases_are_the_first_sixteen_bytes_of_the_hash():
    digest = hashlib.sha256(b"strat-001|paper").digest()
    assert id_bases("strat-001", "paper") == (int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big"))


@given(st.text(max_size=8), st.text(max_size=8), INT64, st.sampled_from([1, 2]), INT64, INT64)
def test_an_id_is_two_halves_from_two_bases(strategy: str, broker: str, token: int, side: int, bucket: int, epoch: int):
    bases = id_bases(strategy, broker)
    text = signal_id(bases, token, side, bucket, epoch)
    assert text == "".join(f"{naive_half(base, [token, side, bucket, epoch]):016x}" for base in bases)
    assert len(text) == 32


def test_an_emitted_signal_carries_its_id():
    bases = id_bases("a", "paper")
    signal = EmittedSignal(
        "SELL", 0.5, 1, Decimal("2.5"), strategy_id="a", broker="paper", instrument_token=7, ts_ns=9, id_bases=bases,
        price_bucket=250, dedupe_epoch=3,
    )  # fmt: skip
    assert signal.signal_id == signal_id(bases, 7, 2, 250, 3)


def test_seeds_differ_in_each_of_their_sources_and_in_nothing_else():
    seeds = {
        derived_seed(7, "a", "paper"),
        derived_seed(8, "a", "paper"),
        derived_seed(7, "b", "paper"),
        derived_seed(7, "a", "live"),
        derived_seed(7, "a", "paper", (1,)),
    }
    assert len(seeds) == 5
    assert derived_seed(7, "a", "paper") in seeds
    assert all(0 <= seed <= MASK for seed in seeds)
