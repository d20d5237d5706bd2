"""The report: whole in one file, inert whatever names it is given, and no larger than it need be."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from copy import deepcopy
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from tests.unit.backtest.backtest_case import CONFIG, one_block, recorded, ticks

from anystrat.backtest.page import embedded, page_of
from anystrat.backtest.page.data import chart_data, reduced
from anystrat.backtest.replay import Speed
from anystrat.backtest.report import replay_report
from anystrat.backtest.result import BacktestResult, RunFacts

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


class Elements(HTMLParser):
    """Every element with its attributes, and what stands inside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def result_of(config: dict[str, Any] = CONFIG, facts: RunFacts | None = None, blocks: Any = None) -> BacktestResult:
    engine, recorder, done = recorded(
        ticks(count=3_000, ticks_per_day=120) if blocks is None else blocks, config, speed=Speed.COLUMNS
    )
    return BacktestResult(recorder, replay_report(engine, done), facts)


@pytest.fixture(scope="module")
def evil() -> BacktestResult:
    config = deepcopy(CONFIG)
    config["instruments"][0]["symbol"] = EVIL
    facts = RunFacts(EVIL, EVIL, 7, (("ticks", EVIL, "ab" * 32),), {EVIL: EVIL})
    return result_of(config, facts)


def test_names_are_text_and_never_markup(evil: BacktestResult):
    page = page_of(evil)
    elements = Elements(page)
    assert len(elements.named("script")) == 2
    assert not elements.named("img")
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert EVIL in elements.text  # the heading, as it was given
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])  # type: ignore[index]  # it is there
    assert data["instruments"][0]["symbol"] == EVIL or data["instruments"][1]["symbol"] == EVIL
    assert "<script>" not in evil._repr_html_()


def test_the_page_asks_no_network_for_anything(evil: BacktestResult):
    page = page_of(evil)
    assert "default-src 'none'" in page
    for tag, attributes in Elements(page).found:
        for name in ("src", "href", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("#"), (tag, value)
    assert not re.search(r"https?://", page)
    assert "@import" not in page


def test_every_section_that_is_linked_is_there():
    elements = Elements(page_of(result_of()))
    ids = {attributes.get("id") for _, attributes in elements.found}
    links = [attributes["href"] for attributes in elements.named("a")]
    assert len(links) > 6
    assert all(link and link[1:] in ids for link in links)
    labelled = [attributes.get("aria-labelledby") for attributes in elements.named("section")]
    assert all(label in ids for label in labelled)


def test_the_figures_stand_in_the_page_without_a_script():
    result = result_of()
    text = " ".join(Elements(page_of(result)).text)
    assert f"of {result.stats.trades:,} trades" in text
    assert f"{result.stats.max_drawdown * 100:.2f}%" in text
    assert "Before you believe this" in text or result.stats.marks >= 20
    assert "trend" in text
    assert "AAA" in text


def test_a_run_without_ticks_and_one_without_trades_have_a_page_too():
    assert "nothing was tested" in page_of(result_of(blocks=[]))
    still = one_block(range(50), [1] * 50, [100.0] * 50)
    assert "nothing to judge" in page_of(result_of(blocks=[still]))


def test_what_came_from_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    from anystrat.backtest.page.tables import _text
    from anystrat.domain.configuration import EnvironmentText, Secret

    assert _text(Secret("hunter2")) == _text(EnvironmentText("hunter2")) == "***"
    assert _text("/somewhere/models/m.onnx") == "m.onnx"


def test_json_in_a_script_element_cannot_end_it():
    text = embedded({"name": EVIL, "line": "\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": EVIL, "line": "\u2028"}


def test_a_curve_cut_down_keeps_its_extremes():
    curve = result_of().portfolio.curve
    cut = reduced(curve, 50)
    assert len(cut.ts) == 50 < len(curve.ts)
    assert (min(cut.low), max(cut.high), cut.last[-1]) == (min(curve.low), max(curve.high), curve.last[-1])
    assert max(cut.worst) == max(curve.worst)
    assert (cut.first[0], cut.ts[-1]) == (curve.first[0], curve.ts[-1])


def test_the_charts_get_what_the_result_says():
    result = result_of()
    data = chart_data(result)
    portfolio = data["accounts"][0]
    last = np.frombuffer(b64decode(portfolio["last"]), "<f4")
    assert last[-1] == pytest.approx(result.stats.profit, rel=1e-6)
    assert sum(map(sum, data["drops"]["counts"])) == int(result.drops["count"].sum())
    assert sum(each["fills"]["all"] for each in data["instruments"]) == result.fills.rows
    assert [each["kind"] for each in data["accounts"]] == ["portfolio", "hold", "strategy", "strategy"]
    nights = [end - start for start, end in data["pauses"]]
    assert len(nights) >= 20
    assert min(nights) > 3_600_000


def test_many_fills_are_thinned_out_evenly_and_the_page_stays_small():
    config = deepcopy(CONFIG)
    del config["strategies"][0]["parameters"]["risk"]
    rng = np.random.default_rng(1)
    n = 60_000
    price = np.round(100 + rng.standard_normal(n), 2)
    result = result_of(config, blocks=[one_block(np.arange(n) * 4_000_000_000, [1] * n, price)])
    assert result.fills.rows > 25_000
    data = chart_data(result)
    fills = data["instruments"][0]["fills"]
    assert len(fills["account"]) <= 20_000 < fills["all"] == result.fills.rows
    assert len(page_of(result)) < 2_000_000
