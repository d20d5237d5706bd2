"""A tick straight into a compiled kernel: one call of Python's for a tick that nothing is to be told of.

To call a compiled function with a tick's numbers takes longer than most ticks are worth: Python has to look the lane up,
read each attribute, and pack and unpack all of them. A door is a function of CPython's own kind that takes the tick object
itself. What it reads are the places of the object's attributes in memory, which are found by looking at an example whose
values are known (what is in a `datetime` and a `Decimal` is in `object_layout`); and it reads nothing but what it has seen to be of the exact types that it knows. Everything else (other
classes, numbers of other types, instruments that it does not know, a tick with flags) goes to `otherwise`.

The GIL is held throughout. Without one, or with another layout of objects than CPython's usual one, there is no door.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.adapters import object_layout as layout
from anystrat.adapters.numba_tables import BoundTables, word_at
from anystrat.domain.compiling import KEPT, MORE

if TYPE_CHECKING:
    from anystrat.adapters.numba_kernels import KernelCompiler
    from anystrat.domain.compiling import TickShape

__all__ = ["Door", "may_be_opened", "shape_words"]

# Numba and llvmlite are hardly typed.
ir: Any = import_module("llvmlite.ir")
cgutils: Any = import_module("numba.core.cgutils")
types: Any = import_module("numba.core.types")
extending: Any = import_module("numba.core.extending")

_WORD: Final = 8
#: Where an object says its type, where a float has its value, where a bytes object has its first byte.
_TYPE: Final = _WORD
_VALUE: Final = 2 * _WORD
_BYTES: Final = bytes.__basicsize__ - 1

# The words of the memory that a door reads: whether it is open, where the kernel's tables are written down, who takes the
# accepted tick of each row, the two functions for all that is not quiet, types, UTC; then a shape for each kind of tick.
_OPEN, _PLACES, _KEEPS, _SAID, _OTHERWISE, _LONG, _FLOAT, _DATETIME, _DECIMAL, _UTC, _SHAPES = range(11)
#: A shape: the type; where token, time, price and nanosecond (0: time and price are numbers) are; then three places, and
#: what has to be there.
_SHAPE: Final = 11
_NANOSECOND: Final = 4
_PLAIN: Final = 5
_CONDITIONS: Final = 3
_KINDS: Final = 2

_SOURCE: Final = f"""
def door(self, tick):
    memory = word(self, {_BYTES})
    otherwise = word(memory, {_WORD * _OTHERWISE})
    if word(memory, {_WORD * _OPEN}) == 0:
        return called(otherwise, tick)
    kind = word(tick, {_TYPE})
    shape = memory + {_WORD * _SHAPES}
    if kind != word(shape, 0):
        shape += {_WORD * _SHAPE}
        if kind != word(shape, 0):
            return called(otherwise, tick)
    for k in range({_WORD * _PLAIN}, {_WORD * _SHAPE}, {_WORD * 2}):
        if word(tick, word(shape, k)) != word(shape, k + {_WORD}):
            return called(otherwise, tick)
    token_object = word(tick, word(shape, {_WORD}))
    ts_object = word(tick, word(shape, {_WORD * 2}))
    price_object = word(tick, word(shape, {_WORD * 3}))
    if token_object == 0 or ts_object == 0 or price_object == 0:
        return called(otherwise, tick)
    integer = word(memory, {_WORD * _LONG})
    if word(token_object, {_TYPE}) != integer:
        return called(otherwise, tick)
    nanosecond_at = word(shape, {_WORD * _NANOSECOND})
    if nanosecond_at == 0:
        if word(ts_object, {_TYPE}) != integer or word(price_object, {_TYPE}) != word(memory, {_WORD * _FLOAT}):
            return called(otherwise, tick)
        ts, ts_fits = whole(ts_object)
        price, price_fits = double(price_object, {_VALUE}), True
    else:
        nanosecond_object = word(tick, nanosecond_at)
        if nanosecond_object == 0 or word(nanosecond_object, {_TYPE}) != integer:
            return called(otherwise, tick)
        if word(ts_object, {_TYPE}) != word(memory, {_WORD * _DATETIME}):
            return called(otherwise, tick)
        if word(price_object, {_TYPE}) != word(memory, {_WORD * _DECIMAL}):
            return called(otherwise, tick)
        nanosecond, ts_fits = whole(nanosecond_object)
        if ts_fits:
            ts, ts_fits = moment(word(ts_object, {layout.DATE}), word(ts_object, {layout.TIME}), nanosecond)
        # Without a zone there is no place for one.
        if not ts_fits or word(ts_object, {layout.ZONE}) != word(memory, {_WORD * _UTC}):
            return called(otherwise, tick)
        price, price_fits = decimal(
            word(price_object, {layout.KIND}),
            word(price_object, {layout.EXPONENT}),
            word(price_object, {layout.LENGTH}),
            word(word(price_object, {layout.DIGITS_AT}), 0),
        )
    token, token_fits = whole(token_object)
    if not (token_fits and ts_fits and price_fits):
        return called(otherwise, tick)
    places = word(memory, {_WORD * _PLACES})
    row = kernel(TABLES, token, ts, price)
    said = word(memory, {_WORD * _SAID})
    if row == {MORE}:
        return called(said, tick)
    more = row <= {KEPT}
    if more:
        row = {KEPT} - row
    if row < 0:
        return called(otherwise, tick)
    nothing = called(word(word(memory, {_WORD * _KEEPS}), {_WORD} * row), tick)
    if nothing == 0:
        return 0
    forget(nothing)
    if more:
        return called(said, tick)
    return empty_list()
"""


def may_be_opened() -> bool:
    """Whether objects are laid out, and guarded, as a door takes for granted."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if sysconfig.get_config_var("Py_TRACE_REFS") or ctypes.sizeof(ctypes.c_void_p) != _WORD:
        return False
    number, text = 1.25, b"\x07" * 8
    return (
        _word(id(number), _TYPE) == id(float)
        and ctypes.c_double.from_address(id(number) + _VALUE).value == number
        and _word(id(text), _BYTES) == int.from_bytes(text, sys.byteorder)
    )


def _word(address: int, offset: int) -> int:
    return ctypes.c_int64.from_address(address + offset).value


class Door:
    """`call(tick)`: through the kernel while the door is open; closed at first.

    The kernel is `function(*tables, token, ts_ns, price)`. It answers with the row whose `keep` takes the tick, after which
    `call` answers with an empty list; with `KEPT` less that row, where `said(tick)` answers after `keep`; with `MORE`, for
    `said(tick)` alone; or with `NOT_HERE`, for `otherwise(tick)`.
    Raises `LookupError` where it cannot be seen how the `shapes` lie in memory.
    """

    def __init__(
        self,
        compiler: KernelCompiler,
        function: Callable[..., int],
        tables: tuple[Any, ...],
        shapes: Sequence[TickShape],
        said: Callable[[Any], Any],
        otherwise: Callable[[Any], Any],
    ) -> None:
        words = np.zeros(_SHAPES + _SHAPE * _KINDS, np.int64)
        words[[_SAID, _OTHERWISE]] = id(said), id(otherwise)
        words[[_LONG, _FLOAT, _DATETIME, _DECIMAL, _UTC]] = id(int), id(float), id(datetime), id(Decimal), id(UTC)
        for k, shape in enumerate(shapes):
            words[_SHAPES + _SHAPE * k : _SHAPES + _SHAPE * (k + 1)] = shape_words(shape)
        self._tables = BoundTables(tables)
        words[_PLACES] = self._tables.address
        self._words = words
        self._held: tuple[Any, ...] = (shapes, said, otherwise)
        self._keeps: tuple[Any, ...] = ()
        self._address = int(words.ctypes.data).to_bytes(_WORD, sys.byteorder)
        self._compiled = _compiled(compiler, function, self._tables)
        self._method = _Method(b"on_market_tick", _entry_of(self._compiled), _TAKES_ONE_OBJECT, None)
        # The function holds its door, in the place of its module: what it reads lives as long as it does.
        self.call: Callable[[Any], Any] = _new_function(ctypes.addressof(self._method), self._address, self)

    def open(self, tables: tuple[Any, ...], keeps: Mapping[int, Callable[[Any], object]]) -> None:
        """Say where the tables are, and who keeps the ticks of which row. Close it before any of them goes elsewhere."""
        self._tables.rebind(tables)
        words = np.zeros(max(keeps, default=0) + 1, np.int64)
        for row, keep in keeps.items():
            words[row] = id(keep)
        self._keeps = words, dict(keeps)
        self._words[[_OPEN, _KEEPS]] = 1, words.ctypes.data

    def close(self) -> None:
        """From now on every tick goes to `otherwise`."""
        self._words[_OPEN] = 0


def _compiled(compiler: KernelCompiler, function: Callable[..., int], tables: BoundTables) -> Any:
    names = {
        "word": word_at,
        "called": extending.intrinsic(_called),
        "empty_list": extending.intrinsic(_empty_list),
        "forget": extending.intrinsic(_forget),
        "whole": extending.intrinsic(_whole),
        "double": extending.intrinsic(_double),
        "moment": compiler(layout.nanoseconds_of),
        "decimal": compiler(layout.double_of),
    }
    return compiler.wrapped(function, tables, _SOURCE, names, "ii")


def _entry_of(compiled: Any) -> int:
    """The address of the compiled function as C calls it."""
    (overload,) = compiled.overloads.values()
    address: int = overload.library.get_pointer_to_function(overload.fndesc.llvm_cfunc_wrapper_name)
    return address


def shape_words(shape: TickShape) -> list[int]:
    """A shape as a door reads it. Raises `LookupError` where an attribute's place, or what is there, cannot be told."""
    if shape.nanosecond is not None and not layout.is_as_expected():
        raise LookupError("datetimes and decimals are not laid out as CPython's usually are")
    example = shape.example
    conditions = [*shape.plain.items()]
    conditions += conditions[:1] * (_CONDITIONS - len(conditions))
    words = [id(type(example)), *(_offset(example, name) for name in shape.values)]
    words.append(_offset(example, shape.nanosecond) if shape.nanosecond is not None else 0)
    for name, wanted in conditions:
        words += [_offset(example, name), id(wanted)]
    return words


def _offset(example: Any, name: str) -> int:
    """Where the object has this attribute's value, which must be nowhere else in it."""
    wanted = id(getattr(example, name))
    found = [at for at in range(_VALUE, type(example).__basicsize__, _WORD) if _word(id(example), at) == wanted]
    if len(found) != 1:
        raise LookupError(f"{type(example).__name__} does not show where its {name} is")
    return found[0]


class _Method(ctypes.Structure):
    """CPython's `PyMethodDef`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_TAKES_ONE_OBJECT: Final = 0x0008  # METH_O
_new_function: Final = ctypes.pythonapi.PyCFunction_NewEx
_new_function.restype = ctypes.py_object
_new_function.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.py_object)


# ---------------------------------------------------------------------------------- what compiled code calls CPython with


def _external(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _called(_context: Any, function: Any, argument: Any) -> Any:  # noqa: ARG001  found by their types
    def generated(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        size = ir.IntType(64)
        return builder.call(_external(builder, "PyObject_CallOneArg", size, size, size), arguments)

    return types.int64(types.int64, types.int64), generated


def _empty_list(_context: Any) -> Any:
    def generated(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        size = ir.IntType(64)
        return builder.call(_external(builder, "PyList_New", size, size), [ir.Constant(size, 0)])

    return types.int64(), generated


def _forget(_context: Any, thing: Any) -> Any:  # noqa: ARG001  found by its type
    def generated(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        builder.call(_external(builder, "Py_DecRef", ir.VoidType(), ir.IntType(64)), arguments)
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(types.int64), generated


def _whole(_context: Any, number: Any) -> Any:  # noqa: ARG001  found by its type
    """(the value of an `int` object, whether it fits into 64 bits)."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size, small = ir.IntType(64), ir.IntType(32)
        overflow = cgutils.alloca_once_value(builder, ir.Constant(small, 0))
        function = _external(builder, "PyLong_AsLongLongAndOverflow", size, size, small.as_pointer())
        value = builder.call(function, [arguments[0], overflow])
        fits = builder.icmp_signed("==", builder.load(overflow), ir.Constant(small, 0))
        return context.make_tuple(builder, signature.return_type, [value, fits])

    return types.Tuple((types.int64, types.boolean))(types.int64), generated


def _double(_context: Any, address: Any, offset: Any) -> Any:  # noqa: ARG001  found by their types
    def generated(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(builder.add(*arguments), ir.DoubleType().as_pointer()))

    return types.float64(types.int64, types.int64), generated
