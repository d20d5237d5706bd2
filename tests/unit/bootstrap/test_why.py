"""A report answers why: what the ticks came to, and some of them in full."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.backtest.backtest_case import CONFIG, recorded, ticks

from anystrat.analysis.explaining.moments import NothingToExplain
from anystrat.backtest.page import page_of
from anystrat.backtest.report import replay_report
from anystrat.backtest.result import BacktestResult
from anystrat.bootstrap import default_wiring
from anystrat.bootstrap.analysing import why
from anystrat.config import configuration_from_mapping


@pytest.fixture(scope="module")
def told() -> tuple[BacktestResult, Any]:
    wiring = default_wiring()
    configuration, blocks = configuration_from_mapping(CONFIG, wiring.catalog), ticks(count=1_200)
    engine, recorder, done = recorded(blocks)
    result = BacktestResult(recorder, replay_report(engine, done))

    def ask(*strategies: str) -> Any:
        return why(result, configuration, wiring, blocks, strategies)

    return result, ask


def test_a_strategy_s_last_signal_last_drop_and_nearest_misses_are_told_in_full(told: tuple[BacktestResult, Any]):
    result, ask = told
    (chapter,) = ask("trend")
    signals = result.signals
    last = int((signals["strategy_id"] == "trend").nonzero()[0][-1])
    kinds = [story.headline.partition(":")[0] for story in chapter.stories]
    assert kinds[0] == "Last signal"
    assert kinds[1].startswith("Last drop for ")
    assert set(kinds[2:]) == {"Near a signal"}
    assert chapter.stories[0].sentence.startswith("SIGNAL: ")
    assert signals["signal_id"][last] in [text for _, text in chapter.stories[0].rows]
    assert chapter.strategy == "trend on paper"
    assert [text for _, text in chapter.counts if text == "signals"]


def test_the_page_has_them_escaped_and_none_where_nobody_asked(told: tuple[BacktestResult, Any]):
    result, ask = told
    (chapter,) = ask("fade")
    page = page_of(result, [chapter._replace(strategy="<b>fade")])
    assert '<section id="why-section"' in page
    assert "&lt;b&gt;fade" in page
    assert page.count("<details>") == len(chapter.stories) > 2
    assert "why-section" not in page_of(result)


def test_who_is_not_there_is_said(told: tuple[BacktestResult, Any]):
    with pytest.raises(NothingToExplain, match="did you mean 'trend'"):
        told[1]("trnd")
