"""The synchronous driver of the engine: a recording in, outcomes, figures and a report out.

The package can be called: `anystrat.backtest(strategies, ticks)` is `anystrat.bootstrap.backtesting.backtest`, which wires what
lies below it. So the name is a function to those who test strategies, and a package to those who import its parts.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return import_module("anystrat.bootstrap.backtesting").backtest(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
# What a function would have, for whoever describes it.
__module__ = "anystrat.bootstrap.backtesting"
__qualname__ = "backtest"
