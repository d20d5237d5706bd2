"""The mutants: each is one mistake, of the kinds that are named, and the tests of a module find it, or it is said to live."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from . import report
from .__main__ import ROOT
from .mutants import mutants_of
from .subjects import SUBJECTS

SOURCE = '''
"""What it is."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os


def first(a: int = 3, *, b: "int | None" = None) -> int:
    """Says what it does."""
    assert a >= 0
    if a < 2 and not b:
        raise ValueError(f"{a + 1} is wrong")
    while flag:
        touch(a)
        break
    return a + 1
'''


def test_each_mutant_is_one_mistake_and_everything_else_is_as_it_was():
    found = {(each.line, each.what) for each in mutants_of(SOURCE)}
    assert {what for _, what in found} == {
        "a < 2 and (not b): Or",
        "a < 2: Lt is LtE",
        "2 is 3",
        "not b: not is left out",
        "flag: the opposite",
        "touch(a): left out",
        "break: continue",
        "return a + 1: nothing",
        "a + 1: Add is Sub",
        "1 is 2",
    }
    plain = ast.unparse(ast.parse(SOURCE)).splitlines()
    for each in mutants_of(SOURCE):
        changed = ast.unparse(each.tree).splitlines()
        assert sum(one != other for one, other in zip(plain, changed, strict=True)) == 1, each.what


def test_mutants_come_in_the_order_of_the_source_and_can_be_compiled():
    source = (ROOT / "src/anystrat/runner/acknowledging.py").read_text()
    found = mutants_of(source)
    assert [each.number for each in found] == list(range(len(found)))
    assert [each.line for each in found] == sorted(each.line for each in found)
    for each in found:
        compile(each.tree, "acknowledging.py", "exec")


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_module_and_its_tests_are_there(name):
    assert (ROOT / "src/anystrat" / name).is_file()
    assert all((ROOT / each).exists() for each in SUBJECTS[name])


#: Of each mutant what is said of it, and of one that has to be imported whether it lives.
PROGRAM = """
from pathlib import Path
import sys
from tests.mutation.__main__ import lives
from tests.mutation.mutants import mutants_of
from tests.mutation.warm import answers

path, tests = Path(sys.argv[1]), sys.argv[2:]
every = mutants_of(path.read_text())
for name, number, said in answers(tests, {"it": path}, {"it": every}):
    if name is None:
        print(f"{number} tests, {len(said)} fail")
    elif said == "anew":
        print(every[number].what, "lives anew" if lives(path, tests, every[number], 60) else "found anew")
    else:
        print(every[number].what, said)
"""

SUBJECT = """
BOUND = 3


class Counted:
    def twice(self, number):
        return 2 * number

    def never(self):
        return 7

    def anything(self):
        print("said")
        return [6]


def below(number, seen=None):
    if number < BOUND:
        number += 2
    return [each for each in (number,) if each]
"""

TESTS = """
import pytest
from {name} import BOUND, Counted, below


def test_numbers():
    assert Counted().twice(3) in Counted().anything()
    assert below(1) == below(3) == [3]


def test_what_fails_by_itself_is_not_asked():
    assert below(1) is None


def test_bounds():
    assert BOUND < 9
"""


def test_a_mutant_is_put_into_the_functions_that_are_there_and_the_tests_that_come_past_it_find_it(tmp_path):
    (tmp_path / "counted_subject.py").write_text(SUBJECT)
    tests = tmp_path / "test_counted.py"
    tests.write_text(TESTS.format(name="counted_subject"))
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "counted_subject.py"), str(tests)]
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), *sys.path])},
    )
    assert done.stdout.splitlines() == [
        "3 tests, 1 fail",
        "3 is 4 found anew",
        "return 2 * number: nothing found",
        "2 * number: Mult is FloorDiv found",
        "2 is 3 found",
        "7 is 8 unseen",
        "print('said'): left out lives",
        "return [6]: nothing found",
        "6 is 7 found",
        "number < BOUND: Lt is LtE found",
        "number += 2: Add is Sub found",
        "2 is 3 found",
        "return [each for each in (number,) if each]: nothing found",
    ]


def test_the_page_names_what_lives_and_why():
    left = [{"line": 7, "text": "total = 0", "what": "0 is 1", "seen": True, "why": "nobody reads it"}]
    module = {"mutants": 30, "tried": 10, "found": 9, "left": left}
    machine = {"processor": "one", "cores": 2, "python": "CPython", "date": "today"}
    page = report.page({"machine": machine, "seconds": 3.0, "modules": {"runner/parcel.py": module}})
    assert "- `runner/parcel.py:7`: `0 is 1` in `total = 0` (nobody reads it)" in page
    assert "|  90 % |" in page
