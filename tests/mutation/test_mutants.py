"""The mutants: each is one mistake, of the kinds that are named, and the tests of a module find it, or it is said to live."""

from __future__ import annotations

import ast
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


def test_a_mutant_stands_in_the_place_of_its_module_and_its_tests_find_it(tmp_path):
    tests = tmp_path / "test_acknowledging.py"
    tests.write_text(
        "from anystrat.runner.acknowledging import Acknowledgements\n\n\n"
        "def test_acknowledging():\n"
        "    known = Acknowledgements()\n"
        "    known.handed('p', 0, 3)\n"
        "    known.read('p', 3)\n"
        "    assert known.acknowledgeable() == {}\n"
        "    known.committed(0, {'p': 3})\n"
        "    assert known.acknowledgeable() == {'p': 3}\n"
    )
    program = (
        "import msgspec, numpy, pytest\n"
        "from tests.mutation.__main__ import ROOT, lives, mutants_of\n"
        "path = ROOT / 'src/anystrat/runner/acknowledging.py'\n"
        "every = {each.what: each for each in mutants_of(path.read_text())}\n"
        "for each in (None, every['one.open_after.setdefault(shard, one.read): left out']):\n"
        f"    print(lives(path, ({str(tests)!r},), each, 60))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_the_page_names_what_lives_and_why():
    left = [{"line": 7, "what": "0 is 1", "why": "nobody reads it"}]
    module = {"mutants": 30, "tried": 10, "found": 9, "left": left}
    machine = {"processor": "one", "cores": 2, "python": "CPython", "date": "today"}
    page = report.page({"machine": machine, "seconds": 3.0, "modules": {"runner/parcel.py": module}})
    assert "- `runner/parcel.py:7`: `0 is 1` (nobody reads it)" in page
    assert "|  90 % |" in page
