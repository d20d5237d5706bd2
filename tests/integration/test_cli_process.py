"""What only a process of its own shows: start-up, signals, closed pipes, full disks, terminals."""

from __future__ import annotations

import json
import math
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.cli_project import GOOD, SECOND_NS, START_NS, Project, clean, command_line, process

import anystrat

# Its own signals, or those of a shell around it, end it; what was written is said either way.
SLOW = """
import itertools, pathlib, time
from anystrat import rule

calls = itertools.count()

@rule(history=1)
def slow(prices):
    "Slow enough to be interrupted, once it has decided something."
    if next(calls) > 500:
        pathlib.Path("slow").touch()
        time.sleep(0.01)
    return ("BUY", 0.5) if int(prices[0]) % 2 else ("SELL", 0.5)
"""


def _many(project: Project, count: int) -> None:
    rows = "".join(f"{START_NS + at * SECOND_NS},1,{100 + 3 * math.sin(at / 3):.2f}\n" for at in range(count))
    project.write("ticks.csv", "ts_ns,instrument_token,price\n" + rows)


def test_the_version_and_the_module(project: Project):
    answer = process("--version", cwd=project.path)
    assert (answer.returncode, answer.stdout) == (0, f"anystrat {anystrat.__version__}\n")
    assert process("-V", cwd=project.path).stdout == answer.stdout


def test_help_comes_without_what_commands_need(project: Project):
    heavy = ("numpy", "rich", "pydantic", "structlog", "msgspec", "ruamel", "onnx", "pyarrow", "anystrat.engine")
    script = (
        "import sys; from anystrat.__main__ import main; main(['--help']); "
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=clean())
    assert answer.returncode == 0, answer.stderr
    assert "Exit codes:" in answer.stdout


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_there_is_help(project: Project, arguments: list[str]):
    answer = process(*arguments, cwd=project.path)
    assert answer.returncode == 0
    assert "anystrat init demo" in answer.stdout


@pytest.mark.parametrize(("number", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_signal_ends_a_replay_and_what_was_written_is_kept(project: Project, number: str, code: int, said: str):
    project.write("site/slow_rule.py", SLOW)
    project.write("site/slow-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    project.write("site/slow-1.0.dist-info/entry_points.txt", "[anystrat.strategies]\nslow = slow_rule:slow\n")
    project.config("strategies:\n  - {id: s, strategy_type: slow, instruments: [1]}\n")
    _many(project, 20_000)
    child = subprocess.Popen(
        command_line("replay", "--ticks", "ticks.csv", "--signals", "s.jsonl", "--json"),
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean(PYTHONPATH=str(project / "site")),
        # A shell starts what it puts into the background with SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  no thread is running here
    )
    partial = project / "s.jsonl.partial"
    until = time.monotonic() + 90
    while time.monotonic() < until and not (project / "slow").exists():
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(getattr(signal, number))
    out, err = child.communicate(timeout=30)
    assert child.returncode == code, err
    assert out == ""
    assert said in err
    assert "kept: signals so far in" in err
    assert "Traceback" not in err
    rows = [json.loads(line) for line in partial.read_text().splitlines()]
    assert rows
    assert not (project / "s.jsonl").exists()


@pytest.mark.parametrize("command", ["schema", "types"])
def test_a_closed_pipe_ends_quietly(project: Project, command: str):
    child = subprocess.Popen(
        command_line(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean(), cwd=project.path
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.wait(60) == 141
    assert child.stderr.read() == ""
    child.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_said(project: Project):
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            command_line("types"), stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=clean()
        )
    assert answer.returncode == 1
    assert answer.stderr == "error: no space left on the device\n"


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_file_that_can_grow_no_more_ends_the_replay_with_what_was_written(project: Project, suffix: str):
    project.config()
    _many(project, 10_000)
    answer = subprocess.run(
        command_line("replay", "--ticks", "ticks.csv", "--signals", f"s.{suffix}"),
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
        # Neither byte code nor compiled kernels may be kept under this limit: they would be cut off, and read again.
        env=clean(PYTHONDONTWRITEBYTECODE="1", XDG_CACHE_HOME=str(project / "cache")),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, 8_192)),
    )
    assert answer.returncode in {1, 2}
    assert "cannot be written" in answer.stderr
    assert "kept: signals so far in" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (project / f"s.{suffix}").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_permissions(project: Project):
    project.config().chmod(0)
    assert "cannot be read" in process("check", cwd=project.path).stderr


def test_no_streams_at_all(project: Project):
    command = " ".join(command_line("types"))
    for closed in (">&-", "2>&-", ">&- 2>&- <&-"):
        answer = subprocess.run(
            ["/bin/sh", "-c", f"{command} {closed}"], capture_output=True, text=True, check=False, env=clean()
        )
        assert answer.returncode == 0
        assert "Traceback" not in answer.stderr


def test_a_narrow_encoding_shows_question_marks(project: Project):
    environment = clean(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    answer = subprocess.run(
        command_line("types", "momentum"),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=project.path,
    )
    assert answer.returncode == 0
    assert "? 1" in answer.stdout


def test_an_unexpected_error_is_short_and_its_traceback_is_for_those_who_ask(project: Project):
    script = (
        "import sys; from anystrat import bootstrap; from anystrat.__main__ import main\n"
        "def broken(): raise ValueError('a bug')\n"
        "bootstrap.default_catalog = broken\n"
        "sys.exit(main(sys.argv[1:]))"
    )

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, env=clean(**more)
        )

    answer = run("types")
    assert answer.returncode == 1
    assert "unexpected ValueError: a bug" in answer.stderr
    assert "anystrat doctor" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "Traceback" in run("types", "-v").stderr
    assert "Traceback" in run("types", ANYSTRAT_DEBUG="1").stderr


def test_completion(project: Project):
    script = process(cwd=project.path, input=None).stdout
    assert script
    environment = clean(_ANYSTRAT_COMPLETE="bash_complete", COMP_WORDS="anystrat re", COMP_CWORD="1")
    answer = subprocess.run(command_line(), capture_output=True, text=True, check=False, env=environment)
    assert "replay" in answer.stdout


def _on_a_terminal(project: Project, *arguments: object, columns: int, **more: str) -> str:
    """What a terminal of this width is sent by one command."""
    return _sent_to_a_terminal(project, command_line(*arguments), columns, **more)


def _sent_to_a_terminal(project: Project, command: list[str], columns: int, **more: str) -> str:
    import fcntl
    import struct
    import termios

    main_end, child_end = pty.openpty()
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = clean(**({"TERM": "xterm-256color"} | more))
    environment.pop("COLUMNS", None)
    child = subprocess.Popen(
        command, cwd=project.path, env=environment, stdin=child_end, stdout=child_end, stderr=child_end
    )
    os.close(child_end)
    said = b""
    while True:
        ready, _, _ = select.select([main_end], [], [], 60)
        try:
            part = os.read(main_end, 65_536) if ready else b""
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        said += part
    child.wait(60)
    os.close(main_end)
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_lines_unless_it_says_no(project: Project):
    project.config()
    project.ticks([100, 100, 102])
    arguments = ("replay", "--ticks", "ticks.csv")
    colourful = _on_a_terminal(project, *arguments, columns=120)
    assert "\x1b[" in colourful
    assert "─" in colourful
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = _on_a_terminal(project, *arguments, columns=120, **more)
        assert "\x1b[" not in plain
        assert "─" not in plain
        assert "mom" in plain


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_no_line_is_wider_than_the_terminal(project: Project, columns: int):
    pytest.importorskip("onnxruntime")
    project.run("init", ".")
    ticks = (project / "ticks.csv").read_text().splitlines(keepends=True)
    project.write("ticks.csv", "".join(ticks[:2_000]))
    commands = ("check", "replay", "types", "types hybrid", "doctor")
    each = (
        "from anystrat.cli.app import main; import sys; [print(main(text.split()), end='\\f') for text in sys.argv[1:]]"
    )
    said = _sent_to_a_terminal(project, [sys.executable, "-c", each, *commands], columns, NO_COLOR="1").split("\f")
    assert said.pop() == ""
    assert len(said) == len(commands)
    for command, text in zip(commands, said, strict=True):
        assert text.endswith("\n0"), (command, text)
        shown = text.partition("strategies:")[0]  # YAML to be copied is broken nowhere
        wide = [line for line in shown.splitlines() if len(line) > columns]
        assert len(shown) > 100, command
        assert not wide, (command, wide)


def test_what_is_wrong_is_wrapped_between_words(project: Project):
    project.config(GOOD.replace("threshold:", "treshold:"))
    said = _on_a_terminal(project, "check", columns=60, NO_COLOR="1")
    assert max(map(len, said.splitlines())) <= 60
    assert "did you mean 'threshold'?" in " ".join(said.split())
