"""Exact decimals: a float stands for its shortest decimal; sizes and price buckets never round in binary.

`floor(100 * 0.29)` is 28 and `0.29 / 0.01` floors to 28 in doubles; a desk expects 29 both times.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal

# Wide enough that no product or quotient of two prices of 34 digits is ever rounded.
_WIDE = Context(prec=400, rounding=ROUND_FLOOR)

NANOS = 1_000_000_000


def to_decimal(value: Decimal | float | int | str) -> Decimal:
    """`value` as the decimal it stands for; a float as the shortest decimal that reads back as it.

    Raises `decimal.InvalidOperation` for text that is no number.
    """
    if type(value) is Decimal:
        return value
    if isinstance(value, float):
        return Decimal(float.__repr__(value))
    if isinstance(value, int | str):
        return Decimal(value)
    # NumPy's numbers print as the shortest decimal of their own width.
    return Decimal(str(value))


def seconds_to_ns(seconds: Decimal | float | int) -> int:
    """A duration in seconds as whole nanoseconds, rounded down, without passing through binary."""
    return int((to_decimal(seconds) * NANOS).to_integral_value(ROUND_FLOOR, context=_WIDE))


def floor_product(quantity: int, factor: Decimal) -> int:
    """`floor(quantity * factor)`, exactly."""
    return int(_WIDE.multiply(Decimal(quantity), factor).to_integral_value(ROUND_FLOOR, context=_WIDE))


def floor_ratio(value: Decimal, step: Decimal) -> int:
    """`floor(value / step)`, exactly, for a positive step."""
    numerator, denominator = value.as_integer_ratio()
    step_numerator, step_denominator = step.as_integer_ratio()
    return (numerator * step_denominator) // (denominator * step_numerator)


def plain_text(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros: `100.50` is `100.5`, `1E+2` is `100`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def as_int64(value: int) -> int:
    """What is left of a whole number in 64 bits, in two's complement."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
