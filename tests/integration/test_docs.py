"""The documentation is run: what it tells a reader to type works, and says what the page says that it says.

A page is a little project in an empty directory, its blocks taken in order:

- a block with `title="name"` is a file;
- `python` without a title is run as a script;
- in `console`, lines that begin with `$ ` are run by a shell and the others are what they print; `...` stands for anything.
  A command ends with 0, unless `$ echo $?` comes next; those of the command line that need no shell and no process of
  their own are run in this one, which has its libraries loaded;
- `yaml` that has `strategies:` at its top is a whole configuration, and `anystrat check` must accept it;
- every other language is shown and not run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from tests.integration.cli_project import clean

from anystrat.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(
    r"^(?P<fence>```+)(?:\{\.)?(?P<language>[\w-]*)(?P<rest>[^\n]*)\n(?P<text>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
_INCLUDED = re.compile(r'^--8<-- "([^":]+)"$', re.MULTILINE)
#: What the front pages show: examples, run where they are.
SNIPPETS = ("examples/snippets/own_rule.py", "examples/snippets/hybrid.yaml")
_SHOWN_ONLY = {"", "csv", "json", "shell", "sql", "text", "toml"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    line: int
    language: str
    title: str
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    for found in _FENCE.finditer(markdown):
        title = _TITLE.search(found["rest"])
        text = _INCLUDED.sub(lambda name: (ROOT / name[1]).read_text(encoding="utf-8").rstrip("\n"), found["text"])
        line = markdown.count("\n", 0, found.start()) + 1
        yield Block(line, found["language"], title[1] if title else "", text)


@cache
def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: What a shell would do more than split into words; `run` and its like are steered by signals.
_FOR_A_SHELL = re.compile(r"[|&;<>$*`~]|^anystrat (?:run|record|pause|resume|stop|enable|kill|reload|signals|status)\b")


class Reader:
    """Somebody who follows a page to the letter."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.home = directory
        self.cwd = directory
        tools = directory / ".tools"
        tools.mkdir()
        for name, module in (("anystrat", " -m anystrat"), ("python", "")):
            tool = tools / name
            tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{module} "$@"\n')
            tool.chmod(0o755)
        self.environment = clean(
            PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
            NO_COLOR="1",
            COLUMNS="200",
        )

    def follow(self, block: Block, page: str) -> None:
        where = f"{page}:{block.line}"
        if block.title:
            (self.cwd / block.title).write_text(block.text, encoding="utf-8")
        if block.language == "console":
            self._type(block.text, where)
        elif block.language == "python" and not block.title:
            self._run([sys.executable, "-c", block.text], where)
        elif block.language == "yaml" and re.search("^strategies:", block.text, re.MULTILINE):
            self._check(block, where)
        elif block.language not in {"python", "yaml"}:
            assert block.language in _SHOWN_ONLY, f"{where}: what is to be done with {block.language!r}?"
            typed = [line for line in block.text.splitlines() if line.startswith(("anystrat ", "$ "))]
            assert not typed, f"{where}: a command in a block that is not run: {typed[0]}"

    def _check(self, block: Block, where: str) -> None:
        if block.title.startswith("wrong"):
            return
        target = self.cwd / (block.title or f"block-{block.line}.yaml")
        target.write_text(block.text, encoding="utf-8")
        self._main(f"anystrat check {shlex.quote(str(target))}", where)

    def _type(self, text: str, where: str) -> None:
        exchanges: list[tuple[str, list[str]]] = []
        for line in text.splitlines():
            if line.startswith("$ "):
                exchanges.append((line[2:], []))
            else:
                exchanges[-1][1].append(line)
        for at, (command, expected) in enumerate(exchanges):
            if command == "echo $?":
                continue
            asked = at + 1 < len(exchanges) and exchanges[at + 1][0] == "echo $?"
            wanted = int(exchanges[at + 1][1][0]) if asked else 0
            done = self._done(command, where, wanted)
            if expected:
                _compare("\n".join(expected), done.stdout + done.stderr, f"{where}: {command}")
            else:
                assert not done.stdout, f"{where}: {command} printed:\n{done.stdout}"

    def _done(self, command: str, where: str, wanted: int) -> subprocess.CompletedProcess[str]:
        if command.startswith("anystrat ") and not _FOR_A_SHELL.search(command):
            return self._main(command, where, wanted)
        after = self.home / ".cwd"
        done = self._run(
            ["sh", "-c", f"{command}\ncode=$?; pwd > {shlex.quote(str(after))}; exit $code"], where, wanted
        )
        self.cwd = Path(after.read_text().strip())
        return done

    def _main(self, command: str, where: str, wanted: int = 0) -> subprocess.CompletedProcess[str]:
        """The same as a process of its own would do it: its directory, its environment, and none of this one's modules of the page."""
        self._capsys.readouterr()
        known = set(sys.modules)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.cwd)
            for name in os.environ.keys() - self.environment.keys():
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.syspath_prepend(str(self.cwd))
            code = main(shlex.split(command)[1:])
        said = self._capsys.readouterr()
        for name in sys.modules.keys() - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(self.home)):
                del sys.modules[name]
        assert code == wanted, f"{where}: {command} ended with {code}\n{said.out}\n{said.err}"
        return subprocess.CompletedProcess(command, code, said.out, said.err)

    def _run(self, command: list[str], where: str, wanted: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.cwd, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == wanted, f"{where} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def _compare(expected: str, found: str, where: str) -> None:
    """Runs of spaces count as one, `...` is anything, also several lines."""

    def squeezed(text: str) -> str:
        return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())

    pattern = re.escape(squeezed(expected)).replace(re.escape("..."), ".*")
    assert re.fullmatch(pattern, squeezed(found), re.DOTALL), f"{where}\nthe page says:\n{expected}\nfound:\n{found}"


def pages_that_are_run() -> list[Path]:
    return [page for page in PAGES if _FENCE.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", pages_that_are_run(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_who_follows_the_page_gets_what_it_promises(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    _follow(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)), Reader(tmp_path, capsys))


@pytest.mark.parametrize("name", ["strategies", "features", "configuration"])
def test_so_does_a_reader_of_a_generated_page(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = generated().PAGES[f"reference/{name}.md"]()
    Reader(tmp_path, capsys)._type("$ anystrat init . -q --force", name)  # the models that the page speaks of
    (tmp_path / "own").mkdir()
    for each in tmp_path.glob("models"):
        each.rename(tmp_path / "own" / "models")
    _follow(text, name, Reader(tmp_path / "own", capsys))


def _follow(markdown: str, page: str, reader: Reader) -> None:
    snippets = {(ROOT / name).read_text(encoding="utf-8").rstrip("\n") for name in SNIPPETS}
    for block in blocks(markdown):
        if block.text.rstrip("\n") not in snippets:
            reader.follow(block, page)


def test_the_snippets_of_the_readme_are_files_that_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall("<!-- file: ([^ ]+) -->", text) == list(SNIPPETS)
    assert generated().with_snippets(text) == text, "run: python docs/generate.py README.md"
    rule, hybrid = (str(ROOT / name) for name in SNIPPETS)
    reader = Reader(tmp_path, capsys)
    reader.cwd = ROOT
    assert reader._run([sys.executable, rule], rule).stdout.startswith("BUY ")
    assert "hybrid" in reader._main(f"anystrat replay {hybrid}", hybrid).stdout


def test_the_readme_has_the_exit_codes_of_the_command_line():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    codes = dict(re.findall(r"^\| (\d) \| (.+) \|$", text, re.MULTILINE))
    assert {code: meaning[0].upper() + meaning[1:] for code, meaning in codes.items()} == generated().exit_codes()


def test_every_generated_page_is_there_and_no_table_is_left_behind():
    module = generated()
    for name, build in module.PAGES.items():
        assert build().startswith("# "), name
    rules = [one["name"] for one in module.types() if one["kind"] == "rules"]
    assert all(f"| `{name}` |" in module.INTRODUCTIONS["rules"] for name in rules)
    policies = [one["name"] for one in module.types() if one["kind"] == "policy"]
    assert all(module.policies().count(f"| `{name}` |") == 1 for name in policies)


def test_the_page_on_files_names_every_column():
    text = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    for column in generated().tick_file_columns():
        assert f"`{column}`" in text, column


def test_the_columns_of_signal_files_are_those_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = (DOCS / "reference" / "files.md").read_text(encoding="utf-8").split("## Signal files")[1]
    reader = Reader(tmp_path, capsys)
    reader._type("$ anystrat init demo -q\n$ cd demo", "signals")
    ticks = (reader.cwd / "ticks.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (reader.cwd / "ticks.csv").write_text("".join(ticks[:2_000]), encoding="utf-8")
    reader._main("anystrat -q replay --reasons --signals s.jsonl --drops d.jsonl", "signals")
    for name in ("s.jsonl", "d.jsonl"):
        with (reader.cwd / name).open(encoding="utf-8") as file:
            row = json.loads(file.readline())
        assert all(f"`{column}`" in text for column in row), name


def test_links_of_the_readme_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (ROOT / target).exists() or f"{target.removeprefix('docs/')}" in generated().PAGES, target
