"""Numba's compiled kernels on disk: under the digest of all that they depend on, and compiled by one process at a time."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import platform
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.kernel_files import forget_old, read_private, write_private

if TYPE_CHECKING:
    from anystrat.adapters.numba_kernels import KernelCompiler

_CONSTANTS: Final = (bool, int, float, complex, str, bytes, type(None))


class DiskCache:
    """What Numba asks for an overload before compiling it, and gives it to after; one file an overload.

    A file's name is the digest of all that its content depends on, and it is put in place whole: processes that
    compile at the same time, for want of turns, can only write the same thing twice. Numba does not tell its caches of a
    compilation that failed: see `hear_of_failures`.
    """

    def __init__(self, owner: KernelCompiler, function: Callable[..., Any], digest: str | None) -> None:
        self._owner = owner
        self._function = function
        self._digest = digest
        self._began = (0.0, 0.0)
        #: The files of the overloads that are in work, by the types of their arguments; each may have a turn.
        self._in_work: dict[tuple[Any, ...], Path] = {}

    def _took(self) -> None:
        """Add the time since `load_overload` began; that of callees, compiled meanwhile, is part of it."""
        start, before = self._began
        self._owner.seconds_compiling = before + perf_counter() - start

    @property
    def cache_path(self) -> str | None:
        """Numba's name for the folder, for its statistics."""
        return str(self._owner.folder) if self._owner.folder else None

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The overload from disk, or None."""
        self._began = (perf_counter(), self._owner.seconds_compiling)
        found = self._loaded(signature, target)
        if found is not None:
            self._took()
        return found

    def _loaded(self, signature: Any, target: Any) -> Any:
        # Numba's own cache refreshes the whole target here, all that it knows of NumPy and SciPy: a second of imports.
        # Machine code needs its runtime alone.
        importlib.import_module("numba.core.runtime.nrt").rtsys.initialize(target)
        path = self._path(signature, target.codegen())
        found = self._read(path, target)
        if found is None and path is not None:
            self._in_work[_arguments(signature)] = path
            if self._owner.turns is not None and self._owner.turns.take(_key(path)):
                found = self._read(path, target)  # another process may have compiled it meanwhile
        if found is not None:
            self.give_turns_back()
        else:
            target.refresh()
            self._owner.announce(self._function)
        return found

    def give_turns_back(self) -> None:
        """Let other processes compile what this one took a turn for, whatever became of it."""
        for path in self._in_work.values():
            if self._owner.turns is not None:
                self._owner.turns.give_back(_key(path))
        self._in_work.clear()

    def _read(self, path: Path | None, target: Any) -> Any:
        content = read_private(path) if path is not None else None
        if content is None:
            return None
        try:
            payload = pickle.loads(content)  # noqa: S301  the file and all folders above are this user's alone
            return importlib.import_module("numba.core.compiler").CompileResult._rebuild(target, *payload)  # noqa: SLF001  as Numba's own cache does
        except Exception:  # noqa: BLE001  a file that cannot be read is as good as none: it is written anew
            return None

    def save_overload(self, _signature: Any, result: Any) -> None:
        """Keep the overload, if it can be kept; a full or unwritable disk costs the next process a compilation."""
        try:
            path = self._in_work.get(_arguments(result.signature))
            if path is not None:
                self._save(result, path)
        finally:
            self.give_turns_back()
            self._took()

    def _save(self, result: Any, path: Path) -> None:
        if result.lifted or result.library.has_dynamic_globals:
            return
        serialize = importlib.import_module("numba.core.serialize")
        content: bytes = serialize.dumps(result._reduce())  # noqa: SLF001  as Numba's own cache does
        with suppress(OSError):
            write_private(path, content)
            forget_old(path.parent)

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        folder, digest = self._owner.folder, self._digest
        if folder is None or digest is None:
            return None
        parts = [digest, *map(_type_text, _arguments(signature)), repr(codegen.magic_tuple())]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]
        return folder / f"{self._function.__name__}-{key}.kernel"


@cache
def hear_of_failures() -> None:
    """Have the turns given back, from now on, of compilations that fail: without that they end with the process."""
    event = importlib.import_module("numba.core.event")

    class Failures(event.Listener):  # type: ignore[misc, name-defined]  # Numba is hardly typed
        def on_start(self, started: Any) -> None:
            pass

        def on_end(self, ended: Any) -> None:
            own = getattr(ended.data["dispatcher"], "_cache", None)
            # Numba's own `is_failed` says the contrary.
            if isinstance(own, DiskCache) and ended._exc_details is not None:  # noqa: SLF001
                own.give_turns_back()

    event.register("numba:compile", Failures())


def _arguments(signature: Any) -> tuple[Any, ...]:
    """The types of the arguments; Numba has them with a signature or alone."""
    return tuple(getattr(signature, "args", signature))


def _key(path: Path) -> str:
    return path.stem.rpartition("-")[2]


def digest_of(function: types.FunctionType, callees: list[str | None], options: str) -> str | None:
    """What a kernel's machine code follows from, apart from the processor and its arguments' types; None: unknown."""
    if function.__closure__ is not None or None in callees:
        return None
    parts = [_versions(), options, f"{function.__module__}.{function.__qualname__}", repr(function.__defaults__)]
    if not _code_texts(function.__code__, function.__globals__, parts):
        return None
    parts += [each for each in callees if each is not None]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _code_texts(code: types.CodeType, names: dict[str, Any], parts: list[str]) -> bool:
    parts += [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames), repr(code.co_argcount)]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if not _code_texts(constant, names, parts):
                return False
        else:
            parts.append(repr(constant))
    for name in code.co_names:
        if name not in names:
            continue  # an attribute, or a built-in
        value = names[name]
        if _is_constant(value):
            parts.append(f"{name}={value!r}")
        elif not isinstance(value, types.FunctionType | types.ModuleType | types.BuiltinFunctionType | type):
            return False
    return True


def _is_constant(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_constant(each) for each in value)
    return isinstance(value, _CONSTANTS)


def _type_text(argument: Any) -> str:
    """A Numba type in words that tell any two of them apart: a named tuple's own words leave out its fields."""
    text = f"{type(argument).__name__} {argument}"
    tuple_class = getattr(argument, "instance_class", None)
    if tuple_class is not None:
        fields = getattr(tuple_class, "_fields", ())
        text += f" {tuple_class.__module__}.{tuple_class.__qualname__} {fields}"
    members = getattr(argument, "types", None)
    if members is not None:
        text += "(" + ", ".join(map(_type_text, members)) + ")"
    return text


@cache
def _versions() -> str:
    numba, llvmlite, numpy = (importlib.import_module(name) for name in ("numba", "llvmlite", "numpy"))
    parts = [sys.version, platform.machine(), numba.__version__, llvmlite.__version__, numpy.__version__]
    # What kernels read tables and ticks with is compiled into them.
    package = resources.files("anystrat.adapters")
    own = (package / name for name in ("numba_tables.py", "numba_door.py", "object_layout.py"))
    return " ".join([*parts, *(hashlib.sha256(each.read_bytes()).hexdigest() for each in own)])
