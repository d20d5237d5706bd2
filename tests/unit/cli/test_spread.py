"""`--ticks a b` as `--ticks a --ticks b`."""

from __future__ import annotations

from pathlib import Path

import pytest

from anystrat.cli.replay import spread


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ""),
        ("c.yaml --ticks a", "c.yaml --ticks a"),
        ("c.yaml --ticks a b c --json", "c.yaml --ticks a --ticks b --ticks c --json"),
        ("--ticks a b c.yaml", "--ticks a --ticks b c.yaml"),
        ("--ticks a b c.YML d", "--ticks a --ticks b c.YML d"),
        ("--ticks a --ticks b c", "--ticks a --ticks b --ticks c"),
        ("--ticks=a b -q c", "--ticks=a --ticks b -q c"),
        ("--ticks", "--ticks"),
        ("--ticks --json", "--ticks --json"),
        ("--ticks a --signals s b", "--ticks a --signals s b"),
        ("--ticks a -- b c", "--ticks a -- b c"),
        ("--ticks a - b", "--ticks a --ticks - --ticks b"),
        ("--ticks c.yaml d", "--ticks c.yaml --ticks d"),
    ],
)
def test_the_arguments(given: str, meant: str):
    assert spread(given.split(), "--ticks") == meant.split()


def test_a_directory_is_a_configuration(tmp_path: Path):
    assert spread(["--ticks", "a", str(tmp_path)], "--ticks") == ["--ticks", "a", str(tmp_path)]
