"""What a Parquet footer says about each row group's columns, read here because pyarrow must not be asked.

Asking pyarrow for a column chunk's metadata ends the whole process when that metadata is damaged: its C++ exception meets
Python code that cannot pass it on (seen with pyarrow 26). Reading the rows is safe. So the few fields that tell a damaged
or inconsistent file before its first row are taken from the footer's bytes: Thrift's compact protocol, with structures as
dictionaries by field number (`parquet.thrift` in the Parquet format's repository names them).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_MAGIC = b"PAR1"
#: The check is for people's mistakes; a footer this large is a machine's, and Python would look at it for seconds.
LARGEST: Final = 4 << 20
_DEEPEST = 16
_TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class UnsoundFooter(ValueError):
    """The footer contradicts itself or the file; the text says where."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column as the schema says it."""

    path: str
    physical_type: str


def check_footer(path: Path, wanted: list[str]) -> None:
    """Hold every row group's `wanted` columns against the schema and the file's length.

    A writer may have changed its mind half-way; a file with a hole in it may still have its footer.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(-8, 2)
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or length > LARGEST or length + 12 > size:
            return  # pyarrow has read this footer: encrypted, or too large to look at
        file.seek(-8 - length, 2)
        footer = file.read(length)
    try:
        found = _Compact(footer).struct(0)
        leaves = _leaves(found[2])
        for number, group in enumerate(found.get(4, [])):
            _check_group(number, group, leaves, wanted, size)
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise UnsoundFooter(f"the footer cannot be followed ({type(error).__name__})") from error


def _check_group(number: int, group: dict[int, Any], leaves: list[Leaf], wanted: list[str], size: int) -> None:
    chunks = group[1]
    if len(chunks) != len(leaves):
        raise UnsoundFooter(f"row group {number} has {len(chunks)} columns; the schema has {len(leaves)}")
    for leaf, chunk in zip(leaves, chunks, strict=True):
        if leaf.path not in wanted:
            continue
        meta = chunk[3]
        found = Leaf(".".join(part.decode() for part in meta[3]), _TYPES[meta[1]])
        if found != leaf:
            raise UnsoundFooter(
                f"row group {number} holds the column {found.path!r} as {found.physical_type}; "
                f"the schema says {leaf.path!r} as {leaf.physical_type}"
            )
        start = min(meta[9], meta.get(11, meta[9]))
        if min(start, meta[7]) < 0 or start + meta[7] > size:
            raise UnsoundFooter(f"row group {number} ends beyond the file in its column {leaf.path!r}")


def _leaves(schema: list[dict[int, Any]]) -> list[Leaf]:
    elements = iter(schema)

    def walk(element: dict[int, Any], prefix: str, depth: int) -> list[Leaf]:
        if depth > 100:
            raise UnsoundFooter("the schema is nested too deeply")
        path = prefix + element[4].decode()
        if 5 not in element:
            return [Leaf(path, _TYPES[element[1]])]
        return [leaf for _ in range(element[5]) for leaf in walk(next(elements, {}), path + ".", depth + 1)]

    root = next(elements)
    return [leaf for _ in range(root[5]) for leaf in walk(next(elements, {}), "", 0)]


class _Compact:
    """Thrift's compact protocol, as far as footers use it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise UnsoundFooter("the footer is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 15
            fields[number] = kind == _TRUE if kind in {_TRUE, _FALSE} else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in {_I16, _I32, _I64}:
            return self._zigzag()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in {_LIST, _SET}:
            return self._list(depth)
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise UnsoundFooter(f"the footer holds a field of the unknown kind {kind}")  # maps occur in no footer

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        length = head >> 4 if head >> 4 != 15 else self._varint()
        if length > len(self._data) - self._at:
            raise UnsoundFooter("the footer holds a list that is longer than itself")
        return [self._value(head & 15, depth + 1) for _ in range(length)]

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _bytes(self, length: int) -> bytes:
        if length > len(self._data) - self._at:
            raise UnsoundFooter("the footer holds text that is longer than itself")
        self._at += length
        return self._data[self._at - length : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise UnsoundFooter("the footer holds an endless number")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
