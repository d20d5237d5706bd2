"""Paper trading on the synthetic feed for some minutes: memory, file descriptors and threads have to stay flat after warm-up.

python -m tests.torture.soak --minutes 10 --ticks-per-sec 20000
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONFIG = """\
version: 1
run: {{name: soak}}
source: {{type: synthetic, start: now, pace: 1, interval_ms: {interval}, ticks: endless, volatility: 0.0004}}
brokers: {{out: {{type: jsonl, path: signals.jsonl}}}}
journal: {{type: sqlite, path: journal.db, keep_inputs: 100000, keep_settled: 10000}}
strategies:
  - id: momentum
    strategy_type: momentum
    parameters: {{lookback_periods: 50, threshold: 0.009, risk: {{cooldown_sec: 1}}}}
    instruments: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    brokers: [paper, out]
  - id: reversion
    strategy_type: mean_reversion
    parameters: {{lookback_periods: 100, z_entry: 3.2, risk: {{cooldown_sec: 1}}}}
    instruments: [1, 2, 3, 4, 5]
"""


def sampled(process: int) -> dict[str, float]:
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {
        "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "descriptors": len(os.listdir(folder / "fd")),  # noqa: PTH208  a count
    }


def slope_per_hour(samples: list[tuple[float, float]]) -> float:
    at, value = np.array(samples).T
    return float(np.polyfit(at / 3_600, value, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--ticks-per-sec", type=float, default=20_000.0)
    parser.add_argument("--warm-up", type=float, default=2.0, metavar="MINUTES")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "anystrat.yaml").write_text(CONFIG.format(interval=1_000 / asked.ticks_per_sec))
        run = subprocess.Popen(
            [sys.executable, "-m", "anystrat", "run", "--json", "--quiet", "--speed", "columns"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        began, samples = time.monotonic(), []
        while (passed := time.monotonic() - began) < 60 * asked.minutes and run.poll() is None:
            samples.append((passed, sampled(run.pid)))
            time.sleep(2)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)
        journal_mib = (folder / "journal.db").stat().st_size / 2**20
    warm = [(at, each) for at, each in samples if at > 60 * asked.warm_up]
    ticks = json.loads(out)["ticks"]
    found = {
        "minutes": round(passed / 60, 1),
        "ticks": ticks["received"],
        "ticks_per_sec": round(ticks["received"] / passed),
        "balanced": ticks["received"]
        == ticks["processed"] + ticks["duplicates"] + sum(ticks["dropped"].values()) + ticks["shed"],
        "rss_mib": [round(pick(each["rss_mib"] for _, each in warm), 1) for pick in (min, max)],
        "rss_mib_per_hour": round(slope_per_hour([(at, each["rss_mib"]) for at, each in warm]), 2),
        "descriptors": [pick(each["descriptors"] for _, each in warm) for pick in (min, max)],
        "threads": [pick(each["threads"] for _, each in warm) for pick in (min, max)],
        "journal_mib": round(journal_mib, 1),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
