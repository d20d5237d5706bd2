"""Kernels through Numba's compiler: plain Python functions of numbers and arrays, unchanged, with whatever they call.

The sources know nothing of Numba. A kernel is a module-level function; its callees are found by their global names and
compiled with it, and the constants that it names are frozen. A compiled kernel has the interpreter's results, to the
last bit: no fastmath, no fused multiply-adds, sums in the order in which they are written, `ZeroDivisionError` where the
interpreter raises it, `//` and `%` that round down. What differs: whole numbers have 64 bits and wrap around silently
beyond them, a true division of whole numbers divides their doubles (they differ beyond 2^53), and an index beyond the
end of an array is not noticed. A kernel must stay within these bounds; tests compare both ways.

What was compiled is kept on disk, in `$XDG_CACHE_HOME/anystrat/kernels` (`~/.cache` by default), under the digest of
everything that it depends on: its code, that of all its callees, their constants, the versions of Python, Numba, llvmlite
and NumPy, the processor and the types of the arguments. Numba's own cache would miss a change in a callee in another
file. The files are pickles, and loading a pickle runs what is in it: so the folder, and every folder above it, must be
one that only this user (or root) can write; else nothing is kept, and every process compiles anew.
"""

from __future__ import annotations

import dis
import hashlib
import importlib
import threading
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np

from anystrat.adapters.kernel_files import Turns, private_folder
from anystrat.adapters.numba_cache import DiskCache, digest_of, hear_of_failures
from anystrat.domain.protocols import Compiler

if TYPE_CHECKING:
    from anystrat.adapters.numba_tables import BoundTables
    from anystrat.domain.compiling import TickDoor, TickShape

__all__ = ["KernelCompiler", "numba_compiler"]

F = TypeVar("F", bound=Callable[..., Any])
OnCold = Callable[[str], None]

# Packages whose functions Numba knows by itself.
_KNOWN_TO_NUMBA: Final = frozenset({"numpy", "math", "builtins", "numba"})
# Instructions that make an object with memory of its own.
_BUILDS: Final = ("BUILD_LIST", "BUILD_SET", "BUILD_MAP", "LIST_", "SET_ADD", "MAP_", "IMPORT_")

_lock = threading.RLock()
_of_this_process: list[KernelCompiler] = []


def numba_compiler(on_cold: OnCold | None = None) -> Compiler | None:
    """This process's compiler, or None without the extra `fast`; imports Numba at the first call.

    `on_cold(name)` is called before a kernel is compiled that is not on disk: that takes seconds. It replaces the
    callback of an earlier call.
    """
    with _lock:
        if not _of_this_process:
            try:
                numba = importlib.import_module("numba")
            except ImportError:
                return None
            if numba.config.DISABLE_JIT:
                return None
            _of_this_process.append(KernelCompiler(private_folder()))
        if on_cold is not None:
            _of_this_process[0].on_cold = on_cold
        return _of_this_process[0]


class KernelCompiler:
    """Compiles each function once: a second call with the same function gives the same compiled one.

    `compiler(function)` is quick; machine code is made, or taken from `folder` (None: never kept), at the first call
    with arguments of new types. An array that is read-only has another type than one that is not. Any thread may ask.
    """

    def __init__(self, folder: Path | None, on_cold: OnCold | None = None) -> None:
        self.folder = folder
        #: For who finds nothing in the folder.
        self.turns = Turns(folder) if folder is not None else None
        self.on_cold = on_cold
        #: How long machine code was made, or fetched from disk, so far: no work of a kernel's own.
        self.seconds_compiling = 0.0
        self._done: dict[Callable[..., Any], Any] = {}
        self._digests: dict[Callable[..., Any], str | None] = {}
        self._plain: dict[Callable[..., Any], bool] = {}
        self._entries: dict[Any, Any] = {}
        self._asked_for: set[Callable[..., Any]] = set()

    def __call__(self, function: F) -> F:
        """The compiled function. Raises `TypeError` for what is no plain function."""
        with _lock:
            self._asked_for.add(function)
            return cast("F", self._compiled(function, ()))

    def _compiled(self, function: Callable[..., Any], callers: tuple[types.FunctionType, ...]) -> Any:
        done = self._done.get(function)
        if done is not None:
            return done
        if not isinstance(function, types.FunctionType):
            raise TypeError(f"only plain functions can be compiled, not {function!r}")
        if function in callers:
            circle = " -> ".join(each.__name__ for each in (*callers, function))
            raise TypeError(f"kernels that call each other in a circle cannot be compiled: {circle}")
        numba = importlib.import_module("numba")
        hear_of_failures()
        callees = _callees(function)
        names = dict(function.__globals__)
        for name, callee in callees.items():
            names[name] = self._compiled(callee, (*callers, function))
        rebuilt = types.FunctionType(
            function.__code__, names, function.__name__, function.__defaults__, function.__closure__
        )
        rebuilt.__module__, rebuilt.__qualname__ = function.__module__, function.__qualname__
        # nogil: a kernel touches nothing but its arguments, so that other shards' threads may run beside it.
        options = {"error_model": "python", "fastmath": False, "nogil": True, "forceinline": True}
        if self._allocates_nothing(function, callees):
            # No counting of references to arrays: a third of the time to compile for kernels over many of them.
            options["_nrt"] = False
        compiled = numba.njit(**options)(rebuilt)
        digest = digest_of(function, [self._digests[callee] for callee in callees.values()], repr(options))
        self._digests[function] = digest
        compiled._cache = DiskCache(self, function, digest)  # noqa: SLF001  Numba's one hook for a cache of one's own
        self._done[function] = compiled
        return compiled

    def _allocates_nothing(self, function: types.FunctionType, callees: dict[str, types.FunctionType]) -> bool:
        """Whether neither the function nor its callees name NumPy or build lists, and so make no arrays."""
        names = function.__code__.co_names
        modules = (function.__globals__.get(name) for name in names)
        plain = not any(isinstance(each, types.ModuleType) and each.__name__.startswith("numpy") for each in modules)
        plain = plain and not any(each.opname.startswith(_BUILDS) for each in dis.get_instructions(function))
        self._plain[function] = plain and all(self._plain[callee] for callee in callees.values())
        return self._plain[function]

    def direct(self, function: F, example: tuple[Any, ...]) -> F:
        """The compiled function for arguments of these types alone: quicker to call, and wrong for any others.

        Numba looks at the types of all arguments at each call; for structured arrays that costs more than a small kernel.
        """
        numba = importlib.import_module("numba")
        compiled: Any = self(function)
        with _lock:
            types_of = tuple(numba.typeof(argument) for argument in example)
            compiled.compile(types_of)
            return cast("F", compiled.overloads[types_of].entry_point)

    def bound(
        self, function: Callable[..., int], tables: tuple[Any, ...], numbers: str, *, others_run: bool = False
    ) -> BoundKernel:
        """The compiled function with its first arguments given: arrays, numbers, and named tuples of such, nested.

        `numbers` are the types of the remaining ones, `i` or `f` each, the first of them `i`; `I` and `F` are arrays of such.
        With `others_run` a call lets the GIL go. See `BoundKernel`.
        """
        with _lock:
            self._asked_for.add(function)
            return BoundKernel(self, function, tables, numbers, others_run=others_run)

    def door(
        self,
        function: Callable[..., int],
        tables: tuple[Any, ...],
        shapes: Sequence[TickShape],
        said: Callable[[Any], Any],
        otherwise: Callable[[Any], Any],
    ) -> TickDoor | None:
        """A way for ticks straight into the kernel; see `numba_door.Door`. None where this interpreter has none."""
        doors = importlib.import_module("anystrat.adapters.numba_door")
        if not doors.may_be_opened():
            return None
        with _lock:
            self._asked_for.add(function)
            try:
                return cast("TickDoor", doors.Door(self, function, tables, shapes, said, otherwise))
            except LookupError:
                return None

    def wrapped(
        self,
        function: Callable[..., Any],
        tables: BoundTables,
        source: str,
        names: dict[str, Any],
        numbers: str,
        *,
        others_run: bool = False,
    ) -> Any:
        """A function of numbers, given as its source, around a kernel; compiled once in a process.

        In it `kernel` is the compiled function, and `TABLES` stand for the tables that are written down at `places`.
        """
        key = (source, function, tables.layouts, numbers, others_run)
        if key in self._entries:
            return self._entries[key]
        numba = importlib.import_module("numba")
        kernel = self._compiled(function, ())
        known = {"__name__": function.__module__, "kernel": kernel, **tables.named(), **names}
        each = [f"table{k}(places)" for k in range(len(tables.layouts))]
        text = source.replace("TABLES", ", ".join(each))
        exec(compile(text, "<around a kernel>", "exec"), known)  # noqa: S102  a text of this package's
        made = known[text.split("(", 1)[0].split()[1]]
        options = {"error_model": "python", "fastmath": False, "nogil": others_run, "_nrt": False}
        compiled = numba.njit(**options)(made)
        digest = self._digests[function]
        if digest is not None:
            digest = hashlib.sha256(f"{digest}\n{text}\n{tables.layouts!r}\n{options!r}".encode()).hexdigest()
        compiled._cache = DiskCache(self, function, digest)  # noqa: SLF001  Numba's one hook for a cache of one's own
        kinds = {"i": numba.int64, "f": numba.float64}
        kinds |= {each.upper(): numba.types.Array(kind, 1, "A") for each, kind in kinds.items()}
        compiled.compile(tuple(kinds[each] for each in numbers))
        self._entries[key] = compiled
        return compiled

    def announce(self, function: Callable[..., Any]) -> None:
        """Tell `on_cold` that a kernel is about to be compiled; a callee's compilation is part of its caller's."""
        if self.on_cold is not None and function in self._asked_for:
            self.on_cold(f"{function.__module__}.{function.__qualname__}")


class BoundKernel:
    """A compiled function of tables and numbers that is called with the numbers alone.

    `call(cell, *numbers)` is quick: handing structured arrays over costs more than a small kernel does, so that their
    places in memory are written down once, and the first number, a whole one, in a cell. Nothing is checked, types least
    of all, and the GIL is kept unless others may run. The arrays must be contiguous, and have to stay where they are: whoever moves one calls `rebind` before the
    next call.
    """

    def __init__(
        self,
        compiler: KernelCompiler,
        function: Callable[..., int],
        tables: tuple[Any, ...],
        numbers: str,
        *,
        others_run: bool,
    ) -> None:
        self._tables = importlib.import_module("anystrat.adapters.numba_tables").BoundTables(tables)
        self._cells = np.zeros((0, 2), np.int64)
        self.call = self._entry(compiler, function, numbers, others_run=others_run)

    def rebind(self, tables: tuple[Any, ...]) -> None:
        """Write down where the arrays are now; they are of the types that they were of."""
        self._tables.rebind(tables)

    def cells(self, count: int) -> list[int]:
        """Cells for the first numbers 0 to `count - 1`; those of an earlier call do not hold any more."""
        self._cells = np.empty((count, 2), np.int64)
        self._cells[:, 0] = self._tables.address
        self._cells[:, 1] = np.arange(count)
        start = int(self._cells.ctypes.data)
        return list(range(start, start + self._cells.nbytes, self._cells.strides[0]))

    def _entry(self, compiler: KernelCompiler, function: Callable[..., int], numbers: str, *, others_run: bool) -> Any:
        """A compiled wrapper that makes the tables of the address, and calls the kernel."""
        word = importlib.import_module("anystrat.adapters.numba_tables").word_at
        arguments = [f"number{n}" for n in range(1, len(numbers))]
        source = (
            f"def bound({', '.join(['cell', *arguments])}):\n"
            f"    places = word(cell, 0)\n"
            f"    return kernel({', '.join(['TABLES', 'word(cell, 8)', *arguments])})\n"
        )
        compiled = compiler.wrapped(function, self._tables, source, {"word": word}, numbers, others_run=others_run)
        return next(iter(compiled.overloads.values())).entry_point


def _callees(function: types.FunctionType) -> dict[str, types.FunctionType]:
    """The plain functions that the code names, by the names that it has for them."""
    found: dict[str, types.FunctionType] = {}
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, types.FunctionType) and (value.__module__ or "").partition(".")[0] not in _KNOWN_TO_NUMBA:
            found[name] = value
    return found
