"""A process with everything imported and all tests collected: a mutant costs a fork and the tests that come past its line."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant
from tests.mutation.swapping import Functions, NotInPlace

#: The quickest tests that come past its line, as many as take so long: one that lives would take all.
_SECONDS = 3.0
#: How much longer it may take than without a mutant, on a machine that does other things too.
_PATIENCE = 10
#: What a mutant may take of memory: one that never stops collecting is found too.
_BYTES = 1 << 30
#: pytest, without what is of no use to a program that reads no output; what needs a server or much time is not asked.
ARGUMENTS = ("-x", "-q", "-s", "--tb=no", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not server and not slow")
#: Rewriting assertions of what is imported already is neither possible nor needed.
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")

FOUND, LIVES, UNSEEN, ANEW = "found", "lives", "unseen", "anew"
"""Said of a mutant: a test fails or hangs; none does; no test comes past it; it has to be imported."""


def forked(work: Callable[[], int], seconds: float) -> int | None:
    """What `work` returns in a process of its own, or None after `seconds`; whatever it says goes nowhere."""
    child = os.fork()
    if not child:
        status = 1
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os.setpgid(0, 0)
            status = work()
        finally:
            os._exit(int(status))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def answers(tests: Iterable[str], paths: Mapping[str, Path], asked: Mapping[str, list[Mutant]]) -> Iterator[Any]:
    """Of each module and mutant what is said of it, as (name, number, said), from a process that is forked now.

    First, as (None, tests, left out), how many tests there are, and which of them fail without any mutant: they cannot be asked.
    """
    reading, writing = os.pipe()
    server = os.fork()
    if not server:
        os.close(reading)
        status = 1
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            import pytest

            with open(writing, "w", encoding="utf-8") as out:  # noqa: PTH123  a file number
                status = pytest.main([*ARGUMENTS, *QUIET, *tests], plugins=[_Server(paths, asked, out)])
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            os._exit(int(status))
    os.close(writing)
    with open(reading, encoding="utf-8") as lines:  # noqa: PTH123  a file number
        for line in lines:
            yield json.loads(line)
    if os.waitpid(server, 0)[1]:
        raise RuntimeError(f"{' '.join(tests)}: cannot be run")


class _Server:
    """A plugin of pytest's that, in the place of running the tests once, runs some of them for each mutant."""

    def __init__(self, paths: Mapping[str, Path], asked: Mapping[str, list[Mutant]], out: Any) -> None:
        self._paths, self._asked, self._out = paths, asked, out
        self._folder = tempfile.mkdtemp(prefix="mutants-")

    def pytest_runtestloop(self, session: Any) -> bool:
        functions = Functions()
        seconds, past, failing = self._without_mutants(session)
        self._say(None, len(seconds), failing)
        for name, path in self._paths.items():
            old = compile(path.read_text(encoding="utf-8"), str(path), "exec")
            for mutant in self._asked[name]:
                tests = {each for line in mutant.lines for each in past.get(str(path), {}).get(str(line), ())}
                self._say(name, mutant.number, self._said(session, functions, old, mutant, tests, seconds))
        shutil.rmtree(self._folder, ignore_errors=True)
        return True

    def _said(self, session, functions, old, mutant, tests, seconds) -> str:
        chosen, together = [], 0.0
        for each in sorted((one for one in session.items if one.nodeid in tests), key=lambda one: seconds[one.nodeid]):
            if not chosen or together + seconds[each.nodeid] <= _SECONDS:
                chosen.append(each)
                together += seconds[each.nodeid]

        def work() -> int:
            try:
                functions.swap(old, compile(mutant.tree, old.co_filename, "exec"))
            except NotInPlace:
                return 77
            except SyntaxError:
                return 1
            limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + _BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            return self._failed(session, chosen)

        status = forked(work, _PATIENCE * together + 5)
        shutil.rmtree(self._own, ignore_errors=True)
        if status is not None and os.waitstatus_to_exitcode(status) == 77:
            return ANEW
        if not tests:
            return UNSEEN
        return LIVES if status == 0 else FOUND

    @property
    def _own(self) -> Path:
        return Path(self._folder) / "one"

    def _failed(self, session, items) -> int:
        # In a process of its own, and so with a folder of its own.
        session.config._tmp_path_factory._given_basetemp = self._own
        session.config._tmp_path_factory._basetemp = None
        for each, following in zip(items, [*items[1:], None], strict=True):
            each.config.hook.pytest_runtest_protocol(item=each, nextitem=following)
            if session.testsfailed:
                return 1
        return 0

    def _without_mutants(self, session) -> tuple[dict[str, float], dict[str, dict[str, list[str]]], list[str]]:
        """Each test's seconds, the tests that come past each line of each module, and those that fail."""
        kept = Path(self._folder) / "seen.json"

        def work() -> int:
            import coverage

            session.config.option.maxfail = 0  # here all are run
            watching = coverage.Coverage(
                data_file=None, config_file=False, include=[str(p) for p in self._paths.values()]
            )
            seconds, failing = {}, []
            watching.start()
            for each, following in zip(session.items, [*session.items[1:], None], strict=True):
                watching.switch_context(each.nodeid)
                before, began = session.testsfailed, time.process_time()  # of this process: others may slow it down
                each.config.hook.pytest_runtest_protocol(item=each, nextitem=following)
                seconds[each.nodeid] = time.process_time() - began
                if session.testsfailed > before:
                    failing.append(each.nodeid)
            watching.stop()
            data = watching.get_data()
            past = {str(path): data.contexts_by_lineno(str(path)) for path in self._paths.values()}
            kept.write_text(json.dumps([seconds, past, failing]))
            return 0

        if forked(work, 1200):
            raise RuntimeError("the tests cannot be run")
        seconds, past, failing = json.loads(kept.read_text())
        for of_lines in past.values():
            for line, tests in of_lines.items():
                of_lines[line] = [each for each in tests if each in seconds and each not in failing]
        return seconds, past, failing

    def _say(self, *what: object) -> None:
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()
