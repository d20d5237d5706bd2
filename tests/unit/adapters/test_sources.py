from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from anystrat import bootstrap
from anystrat.adapters.source_watch import WatchedFeed
from anystrat.config import configuration_from_mapping
from anystrat.domain.configuration import OnGap, OnStale, SourceSettings
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.intake import SourceFailed, TickBatch


def settings(source: dict[str, object], base_dir: Path = Path()) -> SourceSettings:
    mapping = {"source": source, "strategies": []}
    configured = configuration_from_mapping(mapping, bootstrap.default_catalog(), base_dir=base_dir)
    assert configured.source is not None
    return configured.source


def count(found: SourceSettings, tokens: tuple[int, ...] = ()) -> int:
    async def story() -> int:
        feed = bootstrap.open_source(found, tokens)
        return sum([len(item.ticks) async for item in feed.batches({}) if isinstance(item, TickBatch)])

    return asyncio.run(story())


def test_a_configuration_is_enough_for_a_feed(tmp_path):
    (tmp_path / "t.csv").write_text("ts_ns,instrument_token,price\n1,1,2\n2,1,3\n")
    assert count(settings({"type": "file", "path": "t.csv"}, tmp_path)) == 2
    assert count(settings({"type": "synthetic", "ticks": 77, "instruments": [4]})) == 77


def test_a_synthetic_feed_is_of_the_instruments_that_are_watched():
    found = settings({"type": "synthetic", "ticks": 5})
    assert count(found, (8, 9)) == 5
    with pytest.raises(SourceFailed, match="give the synthetic source `instruments`"):
        bootstrap.open_source(found)


def test_every_type_takes_what_is_made_of_silence_and_gaps():
    found = settings({"type": "synthetic", "stale_after_sec": 2.5, "on_stale": "pause", "on_gap": "backfill"})
    assert (found.feed.stale_after_sec, found.feed.on_stale, found.feed.on_gap) == (2.5, OnStale.PAUSE, OnGap.BACKFILL)
    assert isinstance(bootstrap.open_source(found, (1,)), WatchedFeed)


def test_a_slip_of_the_finger_in_it_is_named():
    with pytest.raises(ConfigurationError) as refused:
        settings({"type": "synthetic", "stale_after_secs": 1, "on_gap": "rewarn", "on_stale": 3})
    assert {(problem.path, problem.nearest) for problem in refused.value.problems} == {
        ("source.stale_after_secs", "stale_after_sec"),
        ("source.on_gap", "rewarm"),
        ("source.on_stale", ""),
    }


def test_a_type_that_is_known_and_not_there_is_said_so():
    with pytest.raises(SourceFailed, match="nothing delivers ticks of the type 'pigeon'; expected one of file"):
        bootstrap.open_source(SourceSettings("pigeon", None))
