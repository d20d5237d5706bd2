"""Tables in compiled code by their address alone.

To Numba an array is seven numbers, and a named tuple of arrays that many times its length: handed on from kernel to
kernel they cost more than a small kernel's work, and most of its compilation. `Tables` is one number instead: the address
where the places and lengths of all arrays are written down. `book.executor.state[e]` reads as it always does.
"""

from __future__ import annotations

import operator
from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["BoundTables", "Layout", "Tables", "layout_of", "tables_at", "word_at"]

# Numba and llvmlite are hardly typed.
ir: Any = import_module("llvmlite.ir")
cgutils: Any = import_module("numba.core.cgutils")
types: Any = import_module("numba.core.types")
models: Any = import_module("numba.core.datamodel.models")
extending: Any = import_module("numba.core.extending")
imputils: Any = import_module("numba.core.imputils")
templates: Any = import_module("numba.core.typing.templates")
numpy_support: Any = import_module("numba.np.numpy_support")
arrays: Any = import_module("numba.np.arrayobj")

#: A dtype for an array, "number", or a named tuple's names and its parts' layouts.
Layout = Any
_WORD = 8


def layout_of(table: Any) -> Layout:
    """What a table is made of."""
    if isinstance(table, np.ndarray):
        return table.dtype
    if isinstance(table, tuple):
        fields: Any = getattr(table, "_fields")  # noqa: B009  tuples here are named
        return tuple((name, layout_of(part)) for name, part in zip(fields, table, strict=True))
    return "number"


def flat(table: Any) -> list[Any]:
    """The arrays and numbers of a table, in their order; each takes two words of the memory at the address."""
    return [leaf for part in table for leaf in flat(part)] if isinstance(table, tuple) else [table]


def leaves(layout: Layout) -> int:
    """How many arrays and numbers there are in a table of this layout."""
    return sum(leaves(part) for _, part in layout) if isinstance(layout, tuple) else 1


class BoundTables:
    """Tables whose places in memory are written down, at `address`.

    The arrays must be contiguous, and have to stay where they are: whoever moves one calls `rebind`.
    """

    def __init__(self, tables: tuple[Any, ...]) -> None:
        self.layouts = tuple(map(layout_of, tables))
        self._places = np.zeros(2 * len(flat(tables)), np.int64)
        self._held: tuple[Any, ...] = ()
        self.rebind(tables)

    @property
    def address(self) -> int:
        """Where it is written down; the same for good."""
        return int(self._places.ctypes.data)

    def rebind(self, tables: tuple[Any, ...]) -> None:
        """Write down where the arrays are now; they are of the types that they were of."""
        if tuple(map(layout_of, tables)) != self.layouts:
            raise TypeError("these tables are not of the types that the kernel was bound to")
        for k, leaf in enumerate(flat(tables)):
            if not isinstance(leaf, np.ndarray):
                self._places[2 * k] = leaf
            elif leaf.flags.c_contiguous:
                self._places[2 * k : 2 * k + 2] = leaf.ctypes.data, len(leaf)
            else:
                raise ValueError("a table that a kernel is bound to must be contiguous")
        self._held = tables

    def named(self) -> dict[str, Any]:
        """For compiled code: `table0(address)` and so on."""
        names: dict[str, Any] = {}
        first = 0
        for k, layout in enumerate(self.layouts):
            names[f"table{k}"] = tables_at(layout, first)
            first += leaves(layout)
        return names


class Tables(types.Type):  # type: ignore[misc]  # as above
    """The type of a table whose first array or number is written down at word `2 * first`."""

    def __init__(self, layout: Layout, first: int) -> None:
        self.layout = layout
        self.first = first
        super().__init__(name=f"Tables({layout!r}, {first})")

    def part(self, name: str) -> tuple[Layout, int] | None:
        """The layout of a part, and which array or number is its first."""
        first = self.first
        for each, layout in self.layout:
            if each == name:
                return layout, first
            first += leaves(layout)
        return None


class Column(types.Type):  # type: ignore[misc]  # as above
    """The type of a column: a value every `stride` bytes from `offset` on in the array number `first`.

    An index is taken as it is: to count negative ones from the end, as Numba's arrays do, costs more than the access.
    """

    def __init__(self, value: np.dtype[Any], first: int, offset: int, stride: int) -> None:
        self.value = numpy_support.from_dtype(value)
        self.first = first
        self.offset = offset
        self.stride = stride
        super().__init__(name=f"Column({value}, {first}, {offset}, {stride})")


def _type_of(layout: Layout, first: int) -> Any:
    if isinstance(layout, np.dtype):
        if layout.names is not None:
            return Tables(layout, first)
        # Kernels take slices of prices.
        if layout == np.float64:
            return types.Array(numpy_support.from_dtype(layout), 1, "C")
        return Column(layout, first, 0, layout.itemsize)
    return types.int64 if layout == "number" else Tables(layout, first)


class _TablesModel(models.PrimitiveModel):  # type: ignore[misc]  # as above
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))


class _TablesAttributes(templates.AttributeTemplate):  # type: ignore[misc]  # as above
    key = Tables

    def generic_resolve(self, kind: Any, name: str) -> Any:
        """The type of an attribute: a part, or a column of a structured array."""
        if isinstance(kind.layout, np.dtype):
            fields: Any = kind.layout.fields
            if name not in fields:
                return None
            column, offset = fields[name][:2]
            return Column(column, kind.first, offset, kind.layout.itemsize)
        found = kind.part(name)
        return _type_of(*found) if found is not None else None


def _attribute(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    if isinstance(kind.layout, np.dtype):
        return value
    layout, first = kind.part(name)
    made = _type_of(layout, first)
    if isinstance(made, types.Array):
        return _array(context, builder, made, value, first)
    return _word(builder, value, 2 * first) if made is types.int64 else value


def _word(builder: Any, address: Any, word: int) -> Any:
    place = builder.add(address, ir.Constant(ir.IntType(64), _WORD * word))
    loaded = builder.load(builder.inttoptr(place, ir.IntType(64).as_pointer()))
    # Tables stay where they are during a call: else each write to a column would have every place read again.
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def _array(context: Any, builder: Any, kind: Any, address: Any, first: int) -> Any:
    array = arrays.make_array(kind)(context, builder)
    item = ir.Constant(ir.IntType(64), context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    arrays.populate_array(
        array,
        data=builder.inttoptr(_word(builder, address, 2 * first), context.get_data_type(kind.dtype).as_pointer()),
        shape=cgutils.pack_array(builder, [_word(builder, address, 2 * first + 1)]),
        strides=cgutils.pack_array(builder, [item]),
        itemsize=item,
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001  Numba's own way


class _ColumnIndexed(templates.AbstractTemplate):  # type: ignore[misc]  # as above
    key = operator.getitem

    def generic(self, arguments: Any, _keywords: Any) -> Any:
        """The type of `column[index]`."""
        column, index = arguments
        if isinstance(column, Column) and isinstance(index, types.Integer):
            return templates.signature(column.value, column, types.int64)
        return None


class _ColumnSet(templates.AbstractTemplate):  # type: ignore[misc]  # as above
    key = operator.setitem

    def generic(self, arguments: Any, _keywords: Any) -> Any:
        """The type of `column[index] = value`."""
        column, index, _ = arguments
        if isinstance(column, Column) and isinstance(index, types.Integer):
            return templates.signature(types.none, column, types.int64, column.value)
        return None


class _ColumnLength(templates.AbstractTemplate):  # type: ignore[misc]  # as above
    key = len

    def generic(self, arguments: Any, _keywords: Any) -> Any:
        """The type of `len(column)`."""
        return templates.signature(types.int64, *arguments) if isinstance(arguments[0], Column) else None


def _place(context: Any, builder: Any, kind: Any, address: Any, index: Any) -> Any:
    size = ir.IntType(64)
    start = builder.add(_word(builder, address, 2 * kind.first), ir.Constant(size, kind.offset))
    place = builder.add(start, builder.mul(index, ir.Constant(size, kind.stride), flags=("nsw",)))
    return builder.inttoptr(place, context.get_data_type(kind.value).as_pointer())


def _get(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.load(_place(context, builder, signature.args[0], *arguments))


def _set(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    address, index, value = arguments
    builder.store(value, _place(context, builder, signature.args[0], address, index))
    return context.get_dummy_value()


def _length(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _word(builder, arguments[0], 2 * signature.args[0].first + 1)


def tables_at(layout: Layout, first: int) -> Any:
    """An intrinsic for compiled code: the table, or array, of this layout whose memory is described at an address."""
    kind = _type_of(layout, first)

    def table(_context: Any, address: Any) -> Any:  # noqa: ARG001  found by its type
        def generated(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            if isinstance(kind, types.Array):
                return _array(context, builder, kind, arguments[0], first)
            return arguments[0]

        return kind(types.int64), generated

    return extending.intrinsic(table)


def _word_at(_context: Any, address: Any, offset: Any) -> Any:  # noqa: ARG001  found by their types
    """The whole number at an address, so many bytes further on."""

    def generated(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = builder.add(*arguments)
        return builder.load(builder.inttoptr(place, ir.IntType(64).as_pointer()))

    return types.int64(types.int64, types.int64), generated


#: In compiled code, `word_at(address, offset)`: the whole number there.
word_at: Any = extending.intrinsic(_word_at)
extending.register_model(Tables)(_TablesModel)
extending.register_model(Column)(_TablesModel)
templates.infer_global(operator.getitem)(_ColumnIndexed)
templates.infer_global(operator.setitem)(_ColumnSet)
templates.infer_global(len)(_ColumnLength)
imputils.lower_builtin(operator.getitem, Column, types.int64)(_get)
imputils.lower_builtin(operator.setitem, Column, types.int64, types.Any)(_set)
imputils.lower_builtin(len, Column)(_length)
extending.infer_getattr(_TablesAttributes)
extending.lower_getattr_generic(Tables)(_attribute)
