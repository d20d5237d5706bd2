"""The compiler: the interpreter's results, one compilation a function, and a cache that nobody else can write."""

from __future__ import annotations

import builtins
import math
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core.errors import TypingError

from anystrat.adapters import kernel_files, numba_kernels
from anystrat.adapters.kernel_files import Turns, private_folder
from anystrat.adapters.numba_kernels import KernelCompiler, numba_compiler
from anystrat.domain.configuration import PaperCosts, RiskLimits
from anystrat.engine import checks, fills
from anystrat.engine.executor import limits_of
from anystrat.engine.recent import has_room, recent_place
from anystrat.engine.state import State
from anystrat.paper.fills import position_after

FACTOR = 3


def doubled(x: float) -> float:
    return x * FACTOR - x


def total(values: Any) -> float:
    result = 0.0
    for value in values:
        result += doubled(value)
    return result


def quotient(a: int, b: int) -> float:
    return a / b


def floored(a: int, b: int) -> tuple[int, int]:
    return a // b, a % b


def asks_a_number_for_its_name(x: Any) -> Any:
    return x.name


def reciprocals(values: Any) -> float:
    result = 0.0
    for value in values:
        result += 1.0 / (value * value + 0.1)
    return result


def with_room(count: int) -> float:
    room = np.empty(count)
    for i in range(count):
        room[i] = i * 0.1
    return room[count - 1]


class Columns(NamedTuple):
    first: Any
    second: Any


def difference(columns: Columns, i: int) -> float:
    return columns.first[i] - columns.second[i]


def ping(x: int) -> int:
    return pong(x) if x else 0


def pong(x: int) -> int:
    return ping(x - 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kernels"
    made.mkdir(mode=0o700)
    return made


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fresh(function: Callable[..., Any], **names: Any) -> Any:
    """The same function as another process would have it, or another version of its module."""
    return types.FunctionType(function.__code__, function.__globals__ | names, function.__name__)


# ------------------------------------------------------------------------------------------------------------- results


def test_callees_are_compiled_with_a_kernel_and_a_function_is_compiled_once() -> None:
    compiler = KernelCompiler(None)
    kernel = compiler(total)
    assert kernel(np.array([1.0, 2.5])) == total([1.0, 2.5]) == 7.0
    assert compiler(total) is kernel
    assert compiler(doubled)(4.0) == 8.0


def test_division_by_zero_is_the_interpreters() -> None:
    compiler = KernelCompiler(None)
    with pytest.raises(ZeroDivisionError):
        compiler(quotient)(1, 0)
    with pytest.raises(ZeroDivisionError):
        compiler(floored)(1, 0)


@given(st.integers(-(2**40), 2**40), st.integers(-1000, 1000).filter(bool))
def test_whole_numbers_are_divided_downwards(a: int, b: int) -> None:
    compiler = numba_compiler()
    assert compiler is not None
    assert compiler(floored)(a, b) == floored(a, b)
    assert compiler(quotient)(a, b) == quotient(a, b)


@given(st.lists(st.floats(-1e3, 1e3), max_size=50))
def test_sums_are_not_reordered(values: list[float]) -> None:
    compiler = numba_compiler()
    assert compiler is not None
    assert compiler(reciprocals)(np.array(values, np.float64)) == reciprocals(values)


def test_a_kernel_may_allocate() -> None:
    assert KernelCompiler(None)(with_room)(11) == 1.0


def test_what_cannot_be_compiled_is_refused_in_words() -> None:
    compiler = KernelCompiler(None)
    with pytest.raises(TypeError, match="only plain functions can be compiled"):
        compiler(math.sqrt)
    with pytest.raises(TypeError, match="ping -> pong -> ping"):
        compiler(ping)


# --------------------------------------------------------------------------------------------------------------- cache


def test_a_second_process_finds_what_the_first_compiled(folder: Path) -> None:
    cold: list[str] = []
    KernelCompiler(folder, cold.append)(total)(np.ones(2))
    assert cold == [f"{__name__}.total"]
    kept = files(folder)
    assert [name.partition("-")[0] for name in kept] == ["doubled", "total"]
    assert all((folder / name).stat().st_mode & 0o777 == 0o600 for name in kept)
    assert KernelCompiler(folder, cold.append)(total)(np.ones(3)) == 6.0
    assert cold == [f"{__name__}.total"]
    assert files(folder) == kept


def test_other_types_of_arguments_are_other_kernels(folder: Path) -> None:
    cold: list[str] = []
    kernel = KernelCompiler(folder, cold.append)(total)
    kernel(np.ones(2))
    kernel(np.ones(2, np.float32))
    assert len(cold) == 2


def test_fields_in_another_order_are_another_kernel(folder: Path) -> None:
    class Turned(NamedTuple):
        second: Any
        first: Any

    Turned.__name__ = Turned.__qualname__ = "Columns"
    one, two = np.array([1.0]), np.array([3.0])
    assert KernelCompiler(folder)(difference)(Columns(one, two), 0) == -2.0
    assert KernelCompiler(folder)(difference)(Turned(one, two), 0) == 2.0


def test_columns_of_a_record_in_another_order_are_another_kernel(folder: Path) -> None:
    for names in (["first", "second"], ["second", "first"]):
        table = np.zeros(1, [(name, "<f8") for name in names])
        table["first"] = 1.0

        def get(table: Any) -> float:
            return table.first[0]

        assert KernelCompiler(folder)(fresh(get))(table) == 1.0


def test_a_change_in_a_callee_or_a_constant_is_another_kernel(folder: Path) -> None:
    cold: list[str] = []

    def other(x: float) -> float:
        return x + 100.0

    KernelCompiler(folder, cold.append)(total)(np.ones(2))
    assert KernelCompiler(folder, cold.append)(fresh(total, doubled=fresh(other)))(np.ones(2)) == 202.0
    changed = fresh(doubled, FACTOR=5)
    assert KernelCompiler(folder, cold.append)(fresh(total, doubled=changed))(np.ones(2)) == 8.0
    assert len(cold) == 3


def test_a_file_of_somebody_elses_making_is_not_read(folder: Path) -> None:
    KernelCompiler(folder)(doubled)(1.0)
    (path,) = folder.iterdir()
    good = path.read_bytes()
    cold: list[str] = []
    # What others can write is left alone, a link is not followed, and rubbish is written anew.
    path.chmod(0o620)
    KernelCompiler(folder, cold.append)(doubled)(1.0)
    assert len(cold) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    elsewhere = folder.parent / "elsewhere"
    elsewhere.write_bytes(good)
    path.unlink()
    path.symlink_to(elsewhere)
    KernelCompiler(folder, cold.append)(doubled)(1.0)
    assert len(cold) == 2
    assert not path.is_symlink()
    path.write_bytes(b"rubbish")
    assert KernelCompiler(folder, cold.append)(doubled)(1.0) == 2.0
    assert len(cold) == 3
    assert len(path.read_bytes()) > 1000


def test_a_folder_that_cannot_be_written_costs_only_time(folder: Path) -> None:
    gone = folder / "gone"
    assert KernelCompiler(gone)(doubled)(1.0) == 2.0
    assert not gone.exists()


def test_what_is_old_goes(folder: Path) -> None:
    old, foreign = folder / "old-1.kernel", folder / "notes.txt"
    for path in (old, foreign):
        path.touch()
        os.utime(path, (0, 0))
    KernelCompiler(folder)(doubled)(1.0)
    assert not old.exists()
    assert foreign.exists()


def test_a_process_that_comes_second_waits_for_the_kernel_and_does_not_compile_it_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process is this test: it has the turn, and puts the file in its place while the first one waits."""
    KernelCompiler(folder)(doubled)(1.0)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.unlink()
    waits: list[float] = []

    def compiled_meanwhile(seconds: float) -> None:
        waits.append(seconds)
        path.write_bytes(content)
        path.chmod(0o600)
        taken.clear()

    taken = {int(path.stem.rpartition("-")[2][:15], 16)}
    monkeypatch.setattr(kernel_files.time, "sleep", compiled_meanwhile)
    monkeypatch.setattr(kernel_files.fcntl, "lockf", _locks_of_another(taken))
    cold: list[str] = []
    assert KernelCompiler(folder, cold.append)(doubled)(1.0) == 2.0
    assert len(waits) == 1
    assert cold == []


def _locks_of_another(taken: set[int]) -> Callable[..., None]:
    def lockf(_descriptor: int, _command: int, _length: int, start: int) -> None:
        if start in taken:
            raise BlockingIOError

    return lockf


def test_a_compilation_that_fails_gives_its_turn_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks: dict[int, list[int]] = {kernel_files.fcntl.LOCK_EX: [], kernel_files.fcntl.LOCK_UN: []}
    monkeypatch.setattr(
        kernel_files.fcntl,
        "lockf",
        lambda _descriptor, command, _length, start: locks[command & ~kernel_files.fcntl.LOCK_NB].append(start),
    )
    with pytest.raises(TypingError):
        KernelCompiler(folder)(asks_a_number_for_its_name)(1.0)
    taken, given_back = locks.values()
    assert taken == given_back
    assert len(taken) == 1


def test_a_turn_is_one_processs_at_a_time_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    holder = (
        "import sys, pathlib; from anystrat.adapters.kernel_files import Turns; "
        "print(Turns(pathlib.Path(sys.argv[1])).take('ff'), flush=True); sys.stdin.read()"
    )
    turns = Turns(folder)
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert turns.take("fe"), "another kernel's turn is free"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel_files, "_PATIENCE_SECONDS", 0.0)
            assert not turns.take("ff")
        process.kill()
    assert turns.take("ff")
    turns.give_back("ff")


def test_kernels_from_disk_are_loaded_without_all_that_a_compilation_knows(folder: Path) -> None:
    KernelCompiler(folder)(total)(np.arange(3.0))
    code = (
        "import sys, pathlib, numpy as np; from anystrat.adapters.numba_kernels import KernelCompiler; "
        "from tests.unit.adapters.test_numba_kernels import total; "
        "print(KernelCompiler(pathlib.Path(sys.argv[1]), print)(total)(np.arange(3.0)), 'scipy.linalg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "6.0 False\n"


# -------------------------------------------------------------------------------------------------------------- folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_is_made_for_its_user_alone(home: Path) -> None:
    folder = private_folder()
    assert folder == (home / "anystrat" / "kernels").resolve()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_open_is_closed(home: Path) -> None:
    (home / "anystrat" / "kernels").mkdir(parents=True, mode=0o755)
    folder = private_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_move_is_not_used(home: Path) -> None:
    (home / "anystrat").mkdir(parents=True)
    (home / "anystrat").chmod(0o777)
    assert private_folder() is None
    (home / "anystrat").chmod(0o1777)
    assert private_folder() is not None


def test_a_folder_of_somebody_else_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert private_folder() is not None
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert private_folder() is None


def test_a_folder_that_cannot_be_made_is_none(home: Path) -> None:
    home.write_text("a file")
    assert private_folder() is None


def test_a_relative_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert private_folder() == (tmp_path / ".cache" / "anystrat" / "kernels").resolve()


# ------------------------------------------------------------------------------------------------------ without Numba


def test_without_numba_there_is_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba_kernels.importlib.import_module

    def missing(name: str) -> Any:
        if name == "numba":
            raise ModuleNotFoundError(name)
        return real(name)

    monkeypatch.setattr(numba_kernels, "_of_this_process", [])
    monkeypatch.setattr(numba_kernels.importlib, "import_module", missing)
    assert numba_compiler() is None


def test_numba_is_imported_when_a_compiler_is_asked_for() -> None:
    code = "import sys, anystrat.adapters.numba_kernels; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_has_one_compiler_with_the_last_callback() -> None:
    first = numba_compiler()
    assert first is not None
    try:
        assert numba_compiler(builtins.print) is first
        assert numba_compiler() is first
        assert first.on_cold is builtins.print  # type: ignore[attr-defined]
    finally:
        first.on_cold = None  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------- the engine's kernels

COSTS = PaperCosts(2.5, 1.5)
MILLI = 1_000_000
LIMITS = [
    RiskLimits(),
    RiskLimits(
        min_confidence=0.4,
        max_quantity=50,
        band_pct=5.0,
        slippage_budget=3.0,
        min_flip_ns=5 * MILLI,
        max_position_size=60,
        max_exposure=9_000.0,
        max_loss_streak=2,
        cooldown_ns=3 * MILLI,
        min_signal_interval_ns=2 * MILLI,
        max_signals_per_min=4,
    ),
    RiskLimits(long_only=True, max_signals_per_min=2),
]


def state() -> State:
    made = State()
    instruments = [made.add_instrument() for _ in range(2)]
    for limits in LIMITS:
        made.add_executor(limits_of(limits, COSTS), [(i, 1.0 + i) for i in instruments])
    for table in ("limits", "executor"):
        assert len(made.tables[table]) == len(LIMITS)
    return made


@given(seed=st.integers(0, 2**32))
def test_the_engines_kernels_are_the_same_compiled(seed: int) -> None:
    compiler = numba_compiler()
    assert compiler is not None
    rng = np.random.Generator(np.random.PCG64(seed))
    plain, quick = state(), state()
    for _ in range(2):
        for each in (plain, quick):
            each.widen(pending=True)
            each.widen(pending=False)
    limits, book = quick.for_compiled()

    def both(function: Callable[..., Any], *arguments: Any, with_book: bool = True, with_limits: bool = True) -> Any:
        mine = (plain.limits,) * with_limits + (plain.book,) * with_book
        theirs = (limits,) * with_limits + (book,) * with_book
        expected = function(*mine, *arguments)
        assert compiler(function)(*theirs, *arguments) == expected
        return expected

    ts = 1_700_000_000_000_000_000
    for _ in range(12):
        ts += int(rng.integers(0, 4)) * MILLI
        e = int(rng.integers(0, len(LIMITS)))
        s = 2 * e + int(rng.integers(0, 2))
        side, price = int(rng.integers(1, 3)), float(rng.choice([99.0, 100.5, 101.25]))
        quantity = int(rng.integers(0, 70))
        signed = quantity if side == 1 else -quantity
        for each in (plain, quick):
            each.tables["instrument"]["last_price"][:] = price
        flags = [bool(flag) for flag in rng.random(3) < 0.1]
        codes = [
            both(checks.check_market, e, flags[0], int(rng.integers(0, 3)), flags[1], flags[2], 0, with_book=False),
            both(checks.check_signal, e, float(rng.uniform(-0.1, 1.1)), quantity, price, with_book=False),
            both(checks.check_prices, e, price, 100.0, float(rng.uniform(95.0, 105.0)), with_book=False),
            both(checks.check_position, e, s, ts, signed, price),
        ]
        bucket = int(rng.integers(0, 3))
        place = both(recent_place, s, side, bucket, with_limits=False)
        codes.append(both(checks.check_gate, e, s, ts, side, place))
        if not codes[3] and not codes[4] and quantity and both(has_room, e, s, ts):
            place = both(recent_place, s, side, int(price), with_limits=False)
            both(checks.remember, e, s, ts, side, int(price), place)
            both(fills.fill, e, s, ts, signed, price)
        assert plain.dump() == quick.dump()


@given(
    st.integers(-100, 100),
    st.floats(1.0, 1e6),
    st.integers(-100, 100).filter(bool),
    st.floats(1.0, 1e6),
    st.floats(0.0, 10.0),
)
def test_a_paper_fill_is_the_same_compiled(
    position: int, average: float, signed: int, price: float, fee: float
) -> None:
    compiler = numba_compiler()
    assert compiler is not None
    arguments = (position, average, signed, price, fee, 2.0)
    assert compiler(position_after)(*arguments) == position_after(*arguments)
