"""kill -9 at random moments of a run from a file to a file, started again each time until it is drained."""

from __future__ import annotations

import json
import time
from itertools import takewhile
from pathlib import Path
from random import Random

from tests.torture import project
from tests.torture.tally import Tally, counted

#: Of event time, which the file is read at the pace of.
_TICKS_PER_SEC = 10_000


def torture(folder: Path, *, kills: int, seed: int, shards: int = 1, life_sec: float = 0.3) -> Tally:
    """Run a project in `folder`, killed so often; then count. Each life is `life_sec` on average, after its start."""
    began = time.monotonic()
    rng = Random(seed)
    # More than all lives read at this pace, so that none drains the file.
    count = int((1.5 * kills * life_sec + 1.0) * _TICKS_PER_SEC)
    project.write_ticks(folder, project.ticks(seed, count, _TICKS_PER_SEC))
    configure(folder, "1", shards)
    signals = folder / "signals.jsonl"

    def size() -> int:
        return signals.stat().st_size if signals.exists() else 0

    lives = (project.live_and_die(project.run(folder, "-q"), folder, rng, life_sec, size) for _ in range(kills))
    done = sum(takewhile(bool, lives))
    configure(folder, "max", shards)  # what is left, as quickly as may be
    report = project.finished(project.run(folder, "-q", "--json"), folder)
    sink = [json.loads(line) for line in signals.read_text().splitlines()]
    return counted(
        project.replayed(folder),
        sink,
        kills=done,
        restarts=0,
        ticks=count,
        accounted=project.accounted(report),
        seconds=time.monotonic() - began,
    )


def configure(folder: Path, pace: str, shards: int) -> None:
    source = f"{{type: file, path: {project.TICKS}, pace: {pace}}}"
    project.write_config(folder, source, "{type: jsonl, path: signals.jsonl}", shards=shards)
