"""What one part of a schedule charges for a fill, in plain numbers.

Written in the part of Python that Numba compiles unchanged; money and turnover are doubles, `quantity` is in units.
"""

from __future__ import annotations


def charge(turnover: float, quantity: int, per_trade: float, per_unit: float, bps: float) -> float:
    """The sum of a part's rates."""
    return per_trade + per_unit * quantity + turnover * bps / 10_000.0


def within(amount: float, turnover: float, minimum: float, maximum: float, max_bps: float) -> float:
    """The amount raised to the minimum, then cut to the maximum and to a share of the turnover (infinity: no limit)."""
    if amount < minimum:
        amount = minimum
    if amount > maximum:
        amount = maximum
    most = turnover * max_bps / 10_000.0
    return most if amount > most else amount
