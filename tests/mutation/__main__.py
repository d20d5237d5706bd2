"""Mutation testing: `python -m tests.mutation --help`. Each mutant lives in a process of its own, against its module's tests."""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import machine

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.report import table
from tests.mutation.subjects import KNOWN, SUBJECTS

ROOT = Path(__file__).resolve().parents[2]
#: Imported before all forks, as none of it is mutated.
_PRELOADED = ("numpy", "hypothesis", "msgspec", "pytest", "apsw", "pyarrow", "pydantic")


#: What is imported before pytest is cannot have its assertions rewritten, and need not.
_QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


class _Put(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports a mutant in the place of its module."""

    def __init__(self, path: Path, mutant: Mutant | None) -> None:
        self._path, self._mutant = path, mutant
        self._name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")

    def find_spec(self, fullname, path, target=None):
        if fullname != self._name or self._mutant is None:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def get_filename(self, fullname):
        return str(self._path)

    def get_data(self, path):
        return Path(path).read_bytes()

    def get_code(self, fullname):
        return compile(self._mutant.tree, str(self._path), "exec")


def lives(path: Path, tests: tuple[str, ...], mutant: Mutant | None, seconds: float) -> bool:
    """Whether all tests pass with the mutant in the place of its module; one that takes longer is found."""
    child = os.fork()
    if not child:
        status = 1
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os.setpgid(0, 0)
            sys.meta_path.insert(0, _Put(path, mutant))
            import pytest

            status = pytest.main(["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *_QUIET, *tests])
        finally:
            os._exit(int(status))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def tried(name: str, most: int, seed: int, report: Any) -> dict[str, Any]:
    """A module's mutants, `most` of them at random: how many there are, were tried and were found, and those that lived."""
    path = ROOT / "src/anystrat" / name
    tests = SUBJECTS[name]
    began = time.monotonic()
    if not lives(path, tests, None, 300):
        raise RuntimeError(f"{name}: {' '.join(tests)} fail without any mutant")
    alone = time.monotonic() - began
    every = mutants_of(path.read_text(encoding="utf-8"))
    chosen = every if most >= len(every) else random.Random(seed).sample(every, most)
    left = []
    for mutant in sorted(chosen, key=lambda each: each.number):
        if lives(path, tests, mutant, 3 * alone + 5):
            left.append({"line": mutant.line, "what": mutant.what, "why": KNOWN.get((name, mutant.what), "")})
            report(f"  {name}:{mutant.line}: {mutant.what}")
    return {"mutants": len(every), "tried": len(chosen), "found": len(chosen) - len(left), "left": left}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as runner/parcel.py; none: all")
    parser.add_argument("--minutes", type=float, help="as many modules as fit; without it all")
    parser.add_argument("--sample", type=int, default=1_000_000, help="so many mutants of a module at most, at random")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--out", type=Path, default=Path("out/mutation.json"), help="the JSON of all counts")
    asked = parser.parse_args()
    for each in _PRELOADED:
        importlib.import_module(each)
    began = time.monotonic()
    results: dict[str, Any] = {}
    for name in asked.modules or SUBJECTS:
        if asked.minutes is not None and time.monotonic() - began > 60 * asked.minutes:
            break
        results[name] = tried(name, asked.sample, asked.seed, lambda line: print(line, file=sys.stderr, flush=True))
        print(f"{name}: {results[name]['found']} of {results[name]['tried']}", file=sys.stderr, flush=True)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        whole = {"machine": machine.description(), "seconds": time.monotonic() - began, "modules": results}
        asked.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    total = Counter({key: sum(each[key] for each in results.values()) for key in ("tried", "found")})
    sys.exit(0 if total["found"] >= 0.85 * total["tried"] else 1)


if __name__ == "__main__":
    main()
