"""`python -m anystrat.testing.simulate`: histories by seed; one that fails is made small and printed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from anystrat.bootstrap import default_catalog
from anystrat.config import load_configuration
from anystrat.domain.errors import AnystratError
from anystrat.testing.simulate.history import TICKS, History, history
from anystrat.testing.simulate.minimise import minimised
from anystrat.testing.simulate.scenario import LIVE_NS, Subject

Live = Callable[..., History]

_CHUNK: Final = 10
_SHOWN: Final = 400


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m anystrat.testing.simulate",
        description="Live through histories of the whole service on a simulated loop, with ports that fail, and check "
        "the invariants I1 to I9 after each. A seed is a history: the same one on every machine.",
        epilog="Ends with 1 where an invariant did not hold.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, metavar="N", help="one history, printed line by line")
    which.add_argument("--seeds", type=_range, metavar="A..B", help="many histories, A to B, both included")
    parser.add_argument("--ticks", type=int, default=TICKS, metavar="N", help=f"ticks of each history ({TICKS})")
    parser.add_argument("--config", type=Path, metavar="FILE", help="simulate the strategies of this configuration")
    parser.add_argument(
        "--start", type=_moment, default=None, metavar="TIME", help="the first tick's time with --config, such as "
        "2024-03-05T15:00Z: a session's time where instruments have a calendar"
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that share the seeds (1)")
    parser.add_argument("--minimise", action="store_true", help="make the first history that fails small, and print it")
    parser.add_argument("--json", action="store_true", help="the result as JSON, for programs")
    return parser.parse_args(given)


def _range(text: str) -> range:
    first, dots, last = text.partition("..")
    try:
        found = range(int(first), int(last) + 1)
    except ValueError:
        found = range(0)
    if not dots or not found:
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed: two seeds such as 1..1000, the smaller one first")
    return found


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed: a time such as 2024-03-05T15:00Z") from None
    return int(found.replace(tzinfo=found.tzinfo or UTC).timestamp()) * 1_000_000_000


def _subject(path: Path | None, start_ns: int | None) -> Subject | None:
    if path is None:
        return None
    known = default_catalog()
    return Subject(load_configuration(path, known), known, LIVE_NS if start_ns is None else start_ns)


def main(given: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    arguments = _arguments(given)
    try:
        subject = _subject(arguments.config, arguments.start)
    except AnystratError as error:
        print(error, file=sys.stderr)
        return 2
    live = partial(_live, arguments.ticks, subject)
    if arguments.seed is not None:
        return _one(arguments, live)
    began = time.perf_counter()
    found = list(_many(arguments.seeds, live, arguments.workers))
    seconds = time.perf_counter() - began
    failed = [each for each in found if each.violations]
    summary = _summary(found, seconds)
    print(json.dumps(summary) if arguments.json else _in_words(summary))
    if failed and not arguments.json:
        for each in failed[:_SHOWN]:
            print(f"seed {each.seed}: {'; '.join(map(str, each.violations[:3]))}")
        if arguments.minimise:
            _print(_small(failed[0], live))
        else:
            print(f"See one: python -m anystrat.testing.simulate --seed {failed[0].seed} --minimise")
    return 1 if failed else 0


def _one(arguments: argparse.Namespace, live: Live) -> int:
    found = live(arguments.seed, keep=True)
    if found.violations and arguments.minimise:
        found = _small(found, live)
    if arguments.json:
        print(json.dumps({**asdict(found), "sometimes": dict(found.sometimes)}))
    else:
        _print(found)
    return 1 if found.violations else 0


def _small(failed: History, live: Live) -> History:
    return minimised(failed, lambda ticks, only: live(failed.seed, ticks=ticks, only=only, keep=True))


def _print(found: History) -> None:
    print("\n".join(found.lines))
    print(f"\nseed {found.seed}, {found.ticks} ticks, {found.crashes} crashes, trace {found.digest}")
    print("faults:", *(f"  {each}" for each in found.faults or ["none"]), sep="\n")
    print("\n".join(f"VIOLATED {each}" for each in found.violations) or "I1 to I9 hold.")


def _many(seeds: range, live: Live, workers: int) -> Iterator[History]:
    if workers <= 1:
        yield from map(live, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(live, seeds, chunksize=_CHUNK)


def _live(planned: int, subject: Subject | None, seed: int, *, ticks: int | None = None, **options: Any) -> History:
    return history(seed, ticks=planned if ticks is None else ticks, subject=subject, **options)


def _summary(found: Sequence[History], seconds: float) -> dict[str, Any]:
    sometimes: Counter[str] = sum((each.sometimes for each in found), Counter())
    violated = Counter(invariant for each in found for invariant in {one.invariant for one in each.violations})
    return {
        "histories": len(found),
        "seconds": round(seconds, 1),
        "simulated_hours": round(sum(each.seconds for each in found) / 3600, 1),
        "ticks": sum(each.ticks for each in found),
        "signals": sum(each.signals for each in found),
        "processes": sum(each.processes for each in found),
        "crashes": sum(each.crashes for each in found),
        "trace": blake2b("".join(each.digest for each in found).encode(), digest_size=16).hexdigest(),
        "failed": [each.seed for each in found if each.violations],
        "violated": dict(sorted(violated.items())),
        "sometimes": dict(sorted(sometimes.items())),
    }


def _in_words(summary: dict[str, Any]) -> str:
    per_minute = 60 * summary["histories"] / max(1e-9, summary["seconds"])
    lines = [
        f"{summary['histories']} histories in {summary['seconds']:g} s ({per_minute:.0f} a minute)",
        f"{summary['simulated_hours']:g} simulated hours",
        f"{summary['ticks']} ticks, {summary['signals']} signals, {summary['processes']} processes, {summary['crashes']} crashes",
        *(f"  {count:>8}  {what}" for what, count in summary["sometimes"].items()),
        f"trace {summary['trace']}",
        "I1 to I9 hold." if not summary["failed"] else f"{len(summary['failed'])} FAILED: {summary['violated']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
