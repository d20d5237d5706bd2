"""What a compiler may offer beside compiling: kernels bound to memory, and doors that let ticks straight into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

__all__ = ["KEPT", "MORE", "NOT_HERE", "Binder", "BoundKernel", "TickDoor", "TickShape"]

#: What the function behind a door answers with below the rows: something is to be told of the tick; it is not for this
#: door; and, from `KEPT` downwards a number a row, something is to be told of a tick that the row's `keep` takes first.
MORE: Final = -1
NOT_HERE: Final = -2
KEPT: Final = -3


class TickShape(NamedTuple):
    """A kind of tick that doors let in: an example, none of whose values is in it twice, and names of its attributes.

    `values` are those of the token, of the time and of the price: whole nanoseconds and a double, or, where `nanosecond`
    names what a `datetime` cannot hold below the microsecond, a `datetime` in UTC and a `Decimal`. A tick is let in whose
    attributes `plain` are the very objects given.
    """

    example: Any
    values: tuple[str, str, str]
    plain: Mapping[str, Any]
    nanosecond: str | None = None


@runtime_checkable
class Binder(Protocol):
    """Belongs to `Compiler`: binds compiled functions to memory."""

    def bound(
        self, function: Callable[..., int], tables: tuple[Any, ...], numbers: str, /, *, others_run: bool = False
    ) -> BoundKernel:
        """The compiled function with its first arguments given; `numbers` are the others' types, `i` or `f` each.

        `I` and `F` are arrays of such, which are given by the caller: one-dimensional, and of these very types.
        With `others_run` other threads go on during a call, which is for long ones.
        """
        ...

    def door(
        self,
        function: Callable[..., int],
        tables: tuple[Any, ...],
        shapes: Sequence[TickShape],
        said: Callable[[Any], Any],
        otherwise: Callable[[Any], Any],
        /,
    ) -> TickDoor | None:
        """A door, closed, in front of `function(*tables, token, ts_ns, price)`; None where there can be none.

        The function answers with a row, `MORE`, `NOT_HERE`, or `KEPT` less a row. `said(tick)` and `otherwise(tick)` answer
        in the place of the door where something is to be told, or the tick is not for it.
        """
        ...


class BoundKernel(Protocol):
    """A compiled function of tables and numbers that is called with the numbers alone; see `adapters.numba_kernels`."""

    @property
    def call(self) -> Callable[..., int]:
        """`call(cell, *numbers)`, the numbers without the first; nothing is checked."""
        ...

    def cells(self, count: int, /) -> list[int]:
        """Cells for the first numbers 0 to `count - 1`; those of an earlier call do not hold any more."""
        ...

    def rebind(self, tables: tuple[Any, ...], /) -> None:
        """Say where the tables are now; required before the next call once one of them moved."""
        ...


class TickDoor(Protocol):
    """A way for tick objects straight into a compiled function; see `adapters.numba_door`."""

    @property
    def call(self) -> Callable[[Any], Any]:
        """`call(tick)`."""
        ...

    def open(self, tables: tuple[Any, ...], keeps: Mapping[int, Callable[[Any], object]], /) -> None:
        """Let ticks in; `keeps` take them, by row. It has to be closed before anything of that goes elsewhere."""
        ...

    def close(self) -> None:
        """Let none in."""
        ...
