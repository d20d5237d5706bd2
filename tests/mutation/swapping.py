"""A mutant put into functions that are there already, so that nothing has to be imported anew."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType, FunctionType

_OF_A_FUNCTION = 0x1  # CO_OPTIMIZED: a module's code and the body of a class have it not


class NotInPlace(Exception):
    """The mistake is in what an import runs, once."""


class Functions:
    """All functions of this process, however they are reached: methods, closures, decorated ones, those bound elsewhere."""

    def __init__(self) -> None:
        self._by_code: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
        for each in gc.get_objects():
            if isinstance(each, FunctionType):
                self._by_code[_key(each.__code__)].append(each)

    def swap(self, old: CodeType, new: CodeType) -> None:
        """Puts in `new`, a module's code, where it differs from `old`. Raises `NotInPlace`, and leaves a function or none changed."""
        changed = False
        for before, after in _differing(old, new):
            for function in self._by_code[_key(before)]:
                if len(function.__code__.co_freevars) != len(after.co_freevars):
                    raise NotInPlace
                function.__code__ = after
                changed = True
        if not changed:
            raise NotInPlace


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _differing(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    if old == new:
        return
    inner = [[each for each in code.co_consts if isinstance(each, CodeType)] for code in (old, new)]
    if old.co_flags & _OF_A_FUNCTION:
        yield old, new
    else:
        own = [[repr(each) for each in code.co_consts if not isinstance(each, CodeType)] for code in (old, new)]
        if own[0] != own[1] or old.co_code != new.co_code or old.co_names != new.co_names:
            raise NotInPlace
    for before, after in zip(*inner, strict=False):
        yield from _differing(before, after)
