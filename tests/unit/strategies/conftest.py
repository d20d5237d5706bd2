"""What the tests of strategies share: windows of given prices, and kernels compiled as they stand."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numba
import pytest

from anystrat.domain.tick import TickRow
from anystrat.domain.window import History, history_of

Number = float | Decimal


@pytest.fixture(scope="session")
def history() -> Callable[..., History]:
    """A window over prices; a decimal is an exact price, a float stands for its shortest decimal."""

    def make(prices: Sequence[Number], **last: Any) -> History:
        rows = [
            TickRow(7, i, float(price), price if isinstance(price, Decimal) else None) for i, price in enumerate(prices)
        ]
        for name, value in last.items():
            setattr(rows[-1], name, value)
        return history_of(rows)

    return make


@pytest.fixture(scope="session")
def compiled() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same function through Numba's compiler, with whatever it calls; nothing of its code is changed."""
    done: dict[Callable[..., Any], Callable[..., Any]] = {}

    def compile_with_callees(function: Callable[..., Any]) -> Callable[..., Any]:
        if function not in done:
            names = dict(function.__globals__)
            for name in function.__code__.co_names:
                callee = names.get(name)
                if isinstance(callee, types.FunctionType):
                    names[name] = compile_with_callees(callee)
            done[function] = numba.njit(types.FunctionType(function.__code__, names, function.__name__))
        return done[function]

    return compile_with_callees
