"""Mutation testing: `python -m tests.mutation --help`. Each mutant lives in a process of its own, against its module's tests."""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Before anything is imported that might compile: a mistake in a kernel is to be seen, and soon.
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"

from benchmarks import machine

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.report import table
from tests.mutation.subjects import KNOWN, SUBJECTS
from tests.mutation.warm import ANEW, ARGUMENTS, FOUND, QUIET, UNSEEN, answers, forked

ROOT = Path(__file__).resolve().parents[2]
#: Imported before all forks, as none of it is mutated.
_PRELOADED = ("numpy", "hypothesis", "msgspec", "pytest", "apsw", "pyarrow", "pydantic")


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


def lives(path: Path, tests: Iterable[str], mutant: Mutant | None, seconds: float) -> bool:
    """Whether all tests pass with everything imported anew and the mutant in the place of its module; one that takes longer is found."""

    def work() -> int:
        sys.meta_path.insert(0, _Put(path, mutant))
        import pytest

        return pytest.main([*ARGUMENTS, *QUIET, *tests])

    return forked(work, seconds) == 0


def tried(names: Iterable[str], tests: tuple[str, ...], most: int, seed: int, report: Any) -> dict[str, dict[str, Any]]:
    """Of modules with the same tests, `most` mutants of each at random: how many there are, were tried and were found, and which lived."""
    paths = {name: ROOT / "src/anystrat" / name for name in names}
    every = {name: mutants_of(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    asked = {
        name: sorted(random.Random(seed).sample(all_, min(most, len(all_))), key=lambda each: each.number)
        for name, all_ in every.items()
    }
    results = {
        name: {"mutants": len(every[name]), "tried": len(asked[name]), "found": 0, "seconds": 0.0, "left": []}
        for name in paths
    }
    whole, without = 0.0, []
    began = before = time.monotonic()
    for name, about, answer in answers(tests, paths, asked):
        if name is None:
            whole, without, before = (
                time.monotonic() - began,
                [f"--deselect={each}" for each in answer],
                time.monotonic(),
            )
            report(
                f"{' '.join(tests)}: {about} tests, {whole:.0f} s; not asked, as they fail without mutants: {answer}"
            )
            continue
        mutant = every[name][about]
        results[name]["seconds"] += time.monotonic() - before
        before = time.monotonic()
        found = answer == FOUND
        if answer == ANEW:
            found = not lives(paths[name], (*without, *tests), mutant, 3 * whole + 10)
        if found:
            results[name]["found"] += 1
            continue
        known = KNOWN.get(name, {}).get((mutant.text, mutant.what), "")
        results[name]["left"].append(
            {"line": mutant.line, "text": mutant.text, "what": mutant.what, "seen": answer != UNSEEN, "why": known}
        )
        report(f"  {name}:{mutant.line}: {mutant.what}  [{mutant.text}] {answer} {known and 'KNOWN'}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as runner/parcel.py; none: all")
    parser.add_argument("--minutes", type=float, help="as many modules as fit; without it all")
    parser.add_argument("--sample", type=int, default=1_000_000, help="so many mutants of a module at most, at random")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/mutation.json"),
        help="the JSON of all counts; what it has of other modules stays",
    )
    asked = parser.parse_args()
    for each in _PRELOADED:
        importlib.import_module(each)
    began = time.monotonic()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(asked.out.read_text(encoding="utf-8"))["modules"] if asked.out.exists() else {}
    results: dict[str, Any] = {}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in asked.modules or SUBJECTS:
        groups.setdefault(SUBJECTS[name], []).append(name)
    for tests, names in groups.items():
        if asked.minutes is not None and time.monotonic() - began > 60 * asked.minutes:
            break
        done = tried(names, tests, asked.sample, asked.seed, lambda line: print(line, file=sys.stderr, flush=True))
        for name in names:
            print(f"{name}: {done[name]['found']} of {done[name]['tried']}", file=sys.stderr, flush=True)
        results |= done
        kept = {name: (before | results)[name] for name in SUBJECTS if name in before | results}
        whole = {
            "machine": machine.description(),
            "seconds": sum(each["seconds"] for each in kept.values()),
            "modules": kept,
        }
        asked.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    total = Counter({key: sum(each[key] for each in results.values()) for key in ("tried", "found")})
    sys.exit(0 if total["found"] >= 0.85 * total["tried"] else 1)


if __name__ == "__main__":
    main()
