"""Where the contract's sources come from: each place gives the same feed as often as it is asked, as restarts would."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from anystrat.adapters.offload import on_the_spot
from anystrat.adapters.source_file import FileFeed
from anystrat.adapters.source_stdin import StdinFeed
from anystrat.adapters.source_synthetic import SyntheticFeed
from anystrat.adapters.tick_files import open_ticks
from anystrat.domain.columns import TickColumns
from anystrat.domain.endpoints import SyntheticSource, TickFormat
from anystrat.domain.intake import LiveSource
from anystrat.testing.ticks import synthetic_ticks

#: Ticks of every place's feed.
COUNT = 500


class StoppedClock:
    """A wall clock that stands still, until it is set."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.ns = now_ns

    def now_ns(self) -> int:
        return self.ns


@dataclass(frozen=True)
class Place:
    """One kind of source with `COUNT` ticks in it, `malformed` of what it holds being none."""

    feed: Callable[[], LiveSource]
    malformed: int = 0


def ticks(count: int = COUNT) -> TickColumns:
    (block,) = synthetic_ticks(7, [3, 5, 8], count, block_rows=max(1, count))
    return block


def rows(block: TickColumns) -> list[dict[str, object]]:
    return [
        {"ts_ns": row.ts_ns, "instrument_token": row.instrument_token, "price": str(row.decimal), "size": row.volume}
        for row in block.rows()
    ]


def jsonl(block: TickColumns) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows(block))


def of_file(directory: Path) -> Place:
    path = directory / "ticks.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["ts_ns", "instrument_token", "price", "size"])
        writer.writeheader()
        writer.writerows(rows(ticks()))
    return Place(lambda: FileFeed(open_ticks(path, block_rows=64), offload=on_the_spot))


def of_broken_file(directory: Path) -> Place:
    """Seven lines among the others are no ticks: the first, the last, and five in the middle."""
    lines = jsonl(ticks()).splitlines(keepends=True)
    lines[250:250] = ["{}\n", "[1]\n", "\x00\n", '{"price": 1}\n', "nothing\n"]
    path = directory / "ticks.jsonl"
    path.write_text("what\n" + "".join(lines) + '{"ts_ns": 1, "instr')
    return Place(lambda: FileFeed(open_ticks(path, block_rows=64)), malformed=7)


def of_merged_files(directory: Path) -> Place:
    whole = ticks()
    paths = []
    for token in (3, 5, 8):
        paths.append(directory / f"{token}.jsonl")
        paths[-1].write_text(jsonl(whole.taken((whole.instrument_token == token).nonzero()[0])))
    return Place(lambda: FileFeed(open_ticks(paths, block_rows=64), offload=on_the_spot))


def of_synthetic(_directory: Path) -> Place:
    options = SyntheticSource(ticks=COUNT, seed=3, interval_ms=0.01)
    return Place(lambda: SyntheticFeed(options, [3, 5, 8], StoppedClock()))


def chunked(data: bytes, size: int) -> Callable[[], AsyncIterator[bytes]]:
    """A reader that answers with so many bytes at a time."""
    places = iter([*range(0, len(data), size), len(data)])

    async def read() -> bytes:
        at = next(places, len(data))
        return data[at : at + size]

    return read  # type: ignore[return-value]


def of_stdin(_directory: Path) -> Place:
    data = ("\n" + jsonl(ticks()) + "nothing").encode()
    return Place(lambda: StdinFeed(TickFormat.JSONL, read=chunked(data, 700)), malformed=1)  # type: ignore[arg-type]


PLACES: dict[str, Callable[[Path], Place]] = {
    "file": of_file,
    "broken file": of_broken_file,
    "merged files": of_merged_files,
    "synthetic": of_synthetic,
    "stdin": of_stdin,
}
#: Those where what was missed is gone.
FLEETING = ("stdin",)
