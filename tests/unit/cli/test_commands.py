"""The list of commands, which `--help` shows without importing them, is what they themselves say."""

from __future__ import annotations

from importlib import import_module

import click
import pytest

from anystrat.cli.app import COMMANDS, cli
from anystrat.cli.replay_summary import by_reason


@pytest.mark.parametrize("name", COMMANDS)
def test_names_and_lines_agree(name: str):
    module, summary = COMMANDS[name]
    command = import_module(module).command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.short_help == summary


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"], prog_name="anystrat")
    assert ended.value.code == 0
    assert "--help" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("drops", "shown"),
    [
        ({}, "0"),
        ({"cooldown": 1_234}, "cooldown 1,234"),
        ({"duplicate": 5, "cooldown": 25}, "30: cooldown 25, duplicate 5"),
    ],
)
def test_drops_by_reason(drops: dict[str, int], shown: str):
    assert by_reason(drops) == shown
