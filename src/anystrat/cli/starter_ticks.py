"""The ticks of a new project: synthetic, from a seed, the same on every machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

_SEED: Final = 3
_START: Final = datetime(2024, 1, 2, 9, 15, tzinfo=UTC)
_SECONDS: Final = 7_500
_INSTRUMENTS: Final = ((1001, 250.0), (1002, 1_200.0))
_TICK_SIZE: Final = 0.05
# A drift that turns about every four minutes, well above the noise of a minute: something to be learned.
_TURNS: Final = 1 / 240
_DRIFT: Final = 0.00006
_NOISE: Final = 0.0002


def ticks_csv() -> str:
    """One tick a second for each of two instruments, as CSV with a header.

    Prices drift up or down for minutes at a time, under noise. Nothing here comes from a market. Python's own generator is
    used because its numbers for a seed are promised to stay the same.
    """
    random = Random(_SEED)  # noqa: S311  no secret, but a seed
    prices = [start for _, start in _INSTRUMENTS]
    drifts = [1.0, -1.0]
    lines = ["timestamp,instrument_token,price,size"]
    for second in range(_SECONDS):
        stamp = (_START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for at, (token, _) in enumerate(_INSTRUMENTS):
            if random.random() < _TURNS:
                drifts[at] = -drifts[at]
            noise = sum(random.random() for _ in range(12)) - 6.0
            prices[at] *= 1.0 + drifts[at] * _DRIFT + noise * _NOISE
            rounded = round(prices[at] / _TICK_SIZE) * _TICK_SIZE
            size = 1 + int(random.random() ** 3 * 200)
            lines.append(f"{stamp},{token},{rounded:.2f},{size}")
    return "\n".join(lines) + "\n"
