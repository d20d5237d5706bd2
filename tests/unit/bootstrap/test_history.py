from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from anystrat import bootstrap
from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.bootstrap.history import open_history
from anystrat.config import configuration_from_mapping
from anystrat.config.schema import json_schema
from anystrat.domain.configuration import Configuration, HistorySettings, SourceSettings
from anystrat.domain.endpoints import FileHistory, FileSource, JournalHistory, SyntheticSource
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.inputs import encoded_inputs
from anystrat.domain.journal import Step
from anystrat.domain.tick import MarketTick
from anystrat.testing.ticks import START_NS, columns, tick


class Clock:
    def now_ns(self) -> int:
        return START_NS + 3_000_000_000


def written(path: Path, seconds: range) -> Path:
    lines = [f"{START_NS + second * 1_000_000_000},1,{100 + second}\n" for second in seconds]
    path.write_text("ts_ns,instrument_token,price\n" + "".join(lines))
    return path


def configured(history: dict[str, object], base_dir: Path = Path()) -> Configuration:
    mapping = {"history": history, "strategies": []}
    return configuration_from_mapping(mapping, bootstrap.default_catalog(), base_dir=base_dir)


def prices(ticks: object) -> list[int]:
    return [int(each.last_price) for each in ticks if isinstance(each, MarketTick)]  # type: ignore[attr-defined]


def test_a_configuration_names_the_files(tmp_path):
    found = configured({"type": "file", "path": ["a.csv", "b.parquet"]}, tmp_path)
    assert found.history == HistorySettings("file", FileHistory((tmp_path / "a.csv", tmp_path / "b.parquet")))
    assert "history.file" in json_schema(bootstrap.default_catalog())["$defs"]


def test_what_is_wrong_with_it_is_named():
    with pytest.raises(ConfigurationError) as refused:
        configured({"type": "fil"})
    assert refused.value.problems[0].nearest == "file"
    with pytest.raises(ConfigurationError) as refused:
        configured({"type": "file"})
    assert refused.value.problems[0].path == "history.path"


def test_only_what_is_older_than_the_first_tick_of_the_source_counts(tmp_path):
    history = HistorySettings("file", FileHistory((written(tmp_path / "h.csv", range(10)),)))
    first = written(tmp_path / "s.csv", range(7, 20))
    sources = {
        "file": (FileSource((first,)), [4, 5, 6]),
        "synthetic": (SyntheticSource(), []),  # begins at START_NS
        "now": (SyntheticSource(start="now"), [0, 1, 2]),
    }
    for kind, (options, seconds) in sources.items():
        provider = open_history(history, {1: 3}, SourceSettings(kind, options), Clock())
        assert prices(provider.last_ticks(1, 3)) == [100 + second for second in seconds], kind


def test_the_journal_of_an_earlier_run_is_a_history(tmp_path):
    path = tmp_path / "old.db"
    before = columns([tick(1, 100 + second, second) for second in range(6)])

    async def run() -> None:
        journal = SqliteFileJournal(path)
        await journal.open("config")
        await journal.commit([Step(0, 0, 6, encoded_inputs([before]), {}, (), b"")])
        await journal.close()

    asyncio.run(run())
    settings = HistorySettings("journal", JournalHistory(path))
    provider = open_history(settings, {1: 2}, SourceSettings("synthetic", SyntheticSource(start="now")), Clock())
    assert prices(provider.last_ticks(1, 2)) == [101, 102]
    assert prices(provider.last_ticks(2, 2)) == []
    assert prices(provider.last_ticks(1, 0)) == []
