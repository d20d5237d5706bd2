"""The examples run as they are, say what is true, and say it again the same way."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.cli_project import clean

from anystrat import EmittedSignal, MarketTick, StrategyRunnerService

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SNIPPETS = EXAMPLES / "snippets"
MODEL = EXAMPLES / "quickstart" / "models" / "momentum.onnx"
CARD = json.loads(MODEL.with_name("momentum.card.json").read_text(encoding="utf-8"))

pytest.importorskip("onnxruntime")
pytest.importorskip("bokeh_sampledata")


def run(*arguments: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=clean(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples elsewhere, so that what they write is ours alone."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(EXAMPLES, root / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def number(text: str) -> float:
    return float(text.replace(",", "").rstrip("%"))


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def twice(root: Path, name: str) -> tuple[str, Path]:
    """Run an example two times: the same text, the same bytes."""
    out = root / "out" / name
    first = run(root / "examples" / name / "run.py", cwd=root), files(out)
    assert (run(root / "examples" / name / "run.py", cwd=root), files(out)) == first
    return first[0], out


@pytest.fixture(scope="module")
def quickstart(copy: Path) -> tuple[str, Path]:
    return twice(copy, "quickstart")


@pytest.fixture(scope="module")
def intraday(copy: Path) -> tuple[str, Path]:
    return twice(copy, "intraday")


class TestQuickstart:
    def test_the_printed_numbers_are_those_of_the_files(self, quickstart: tuple[str, Path]) -> None:
        text, out = quickstart
        signals, drops = records(out / "signals.jsonl"), records(out / "drops.jsonl")
        assert f"out/quickstart/signals.jsonl ({len(signals):,})" in text
        assert f"out/quickstart/drops.jsonl ({len(drops):,})" in text
        by_strategy = Counter(row["strategy_id"] for row in signals)
        assert set(by_strategy) == {"rules", "model", "both"}
        for strategy, wanted in by_strategy.items():
            assert re.search(rf"^{strategy} +{wanted:,} +\d+%", text, re.MULTILINE), text
        by_reason = Counter((row["strategy_id"], row["reason"]) for row in drops)
        titles = re.search(r"^dropped +(.*)$", text, re.MULTILINE)
        assert titles is not None
        reasons = titles[1].split()
        assert {reason for _, reason in by_reason} == set(reasons)
        table = text[titles.end() :].strip().splitlines()[:3]
        for row in table:
            strategy, *numbers = row.split()
            assert [number(each) for each in numbers] == [by_reason[strategy, reason] for reason in reasons]

    def test_only_days_after_the_training_are_replayed(self, quickstart: tuple[str, Path]) -> None:
        text, out = quickstart
        split = np.datetime64(CARD["split"]["date"], "ns").astype(np.int64)
        stamps = [int(row.split(",")[0]) for row in (out / "ticks.csv").read_text().splitlines()[1:]]
        assert min(stamps) >= split > np.datetime64(CARD["split"]["train"]["last"], "ns").astype(np.int64)
        assert f"{len(stamps):,} of them, {CARD['split']['test']['first']}" in text

    def test_profits_and_holding_follow_from_the_files_by_hand(self, quickstart: tuple[str, Path]) -> None:
        text, out = quickstart
        ticks = [row.split(",") for row in (out / "ticks.csv").read_text().splitlines()[1:]]
        closes: dict[int, list[tuple[int, float]]] = {}
        for ts, token, price in ticks:
            closes.setdefault(int(token), []).append((int(ts), float(price)))
        rate = 2 / 10_000

        def paid(side: int, price: float) -> float:
            """What 100 shares cost (or bring, below zero), slippage and fee included."""
            filled = price * (1 + side * rate)
            return side * 100 * filled + 100 * filled * rate

        holding = sum(100 * rows[-1][1] - paid(1, rows[0][1]) for rows in closes.values())
        assert f"{holding:+,.0f}" in line_of(text, "holding")
        for strategy in ("rules", "model", "both"):
            cash, held = 0.0, Counter[int]()
            for row in records(out / "signals.jsonl"):
                if row["strategy_id"] != strategy:
                    continue
                assert row["quantity"] == 100
                side = 1 if row["signal_type"] == "BUY" else -1
                later = [price for ts, price in closes[row["instrument_token"]] if ts > row["ts_ns"]]
                if later:  # a signal of the last day is never filled
                    cash -= paid(side, later[0])
                    held[row["instrument_token"]] += 100 * side
                    assert held[row["instrument_token"]] in {0, 100}
            result = cash + sum(quantity * closes[token][-1][1] for token, quantity in held.items())
            cells = line_of(text, strategy).split()
            assert cells[4] == f"{result:+,.0f}"
            assert cells[5] == f"{result / holding:.0%}"
        ahead = sum(number(line_of(text, each).split()[4]) > holding for each in ("rules", "model", "both"))
        assert f"Ahead of holding: {ahead} of 3." in text

    def test_the_command_line_gives_the_same_signals(self, quickstart: tuple[str, Path], copy: Path) -> None:
        _, out = quickstart
        again = copy / "again.jsonl"
        run("-m", "anystrat", "replay", "examples/quickstart/anystrat.yaml", "--signals", again, "--quiet", cwd=copy)
        assert again.read_bytes() == (out / "signals.jsonl").read_bytes()

    def test_a_pipe_gets_plain_text(self, quickstart: tuple[str, Path]) -> None:
        text, _ = quickstart
        assert "\x1b" not in text
        assert "─" not in text

    def test_what_to_try_next_works(self, quickstart: tuple[str, Path], copy: Path) -> None:
        text, _ = quickstart
        commands = [line for line in text.splitlines() if line.startswith(".venv/bin/")]
        assert len(commands) == 3
        for command in commands:
            program, *arguments = command.removeprefix(".venv/bin/").split()
            assert run(*(["-m", "anystrat"] if program == "anystrat" else []), *arguments, cwd=copy)


def line_of(text: str, title: str) -> str:
    found = re.search(rf"^{title} .*%$", text, re.MULTILINE)
    assert found is not None, text
    return found[0]


class TestIntraday:
    def test_it_says_that_its_ticks_are_synthetic(self, intraday: tuple[str, Path]) -> None:
        assert intraday[0].startswith("Synthetic ticks")

    def test_the_printed_numbers_are_those_of_the_files(self, intraday: tuple[str, Path]) -> None:
        text, out = intraday
        signals, drops = records(out / "signals.jsonl"), records(out / "drops.jsonl")
        assert f"signals.jsonl ({len(signals):,})" in text
        assert f"drops.jsonl ({len(drops):,})" in text
        dropped = Counter(row["strategy_id"] for row in drops)
        for strategy, wanted in Counter(row["strategy_id"] for row in signals).items():
            assert re.search(rf"^{strategy} +\d+ +{wanted:,} +{dropped[strategy]:,} ", text, re.MULTILINE), text

    def test_every_limit_bites_and_is_explained(self, intraday: tuple[str, Path]) -> None:
        text, out = intraday
        kinds = Counter((row["strategy_id"], row["reason"]) for row in records(out / "drops.jsonl"))
        assert {reason for _, reason in kinds} == {
            "below_min_confidence",
            "price_band",
            "position_limit",
            "exposure",
            "circuit_open",
            "cooldown",
            "duplicate",
            "rate_limited",
        }
        for (strategy, reason), wanted in kinds.items():
            explained = rf"^{strategy}: {reason}, {wanted:,} in all\n  signal +(BUY|SELL) .*\n  why +(?!{reason}$)\w"
            assert re.search(explained, text, re.MULTILINE), (strategy, reason)


class TestSnippets:
    @pytest.mark.parametrize(("name", "lines"), [("own_rule", 10), ("own_model", 10), ("own_hybrid", 12)])
    def test_it_is_short_and_prints_signals_the_same_every_time(self, name: str, lines: int) -> None:
        path = SNIPPETS / f"{name}.py"
        assert sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip()) <= lines
        text = run(path)
        assert len(text.splitlines()) > 20
        assert all(re.fullmatch(r"(BUY|SELL) 100 at [\d.]+ .+", line) for line in text.splitlines()), text
        assert run(path) == text

    def test_the_hybrid_has_signals_of_both_its_parts(self) -> None:
        reasons = {line.split(" ", 4)[4].split()[0] for line in run(SNIPPETS / "own_hybrid.py").splitlines()}
        assert len(reasons) > 1, reasons
        assert "my_momentum" in reasons

    def test_a_hybrid_needs_no_python(self, tmp_path: Path) -> None:
        out = tmp_path / "signals.jsonl"
        report = json.loads(
            run("-m", "anystrat", "replay", "examples/snippets/hybrid.yaml", "--signals", out, "--json", "--strict")
        )
        assert report["signals"] == len(records(out)) > 20
        assert report["errors"] == 0

    def test_the_prices_are_those_of_the_data_in_cents(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(EXAMPLES / "quickstart"))
        data = pytest.importorskip("data")
        ticks = data.tick_columns(first=data.date.fromisoformat(CARD["split"]["date"]))
        apple = ticks.instrument_token == data.TOKENS["AAPL"]
        made = tmp_path / "prices.csv"
        columns = (ticks.ts_ns[apple], ticks.instrument_token[apple], ticks.price[apple].round(2))
        data.write_csv(made, data.TickColumns(*columns))
        assert made.read_bytes() == (SNIPPETS / "prices.csv").read_bytes()


@pytest.fixture
def trained_for_seconds(tmp_path: Path) -> Path:
    """A model that follows the last five ticks, surely."""
    from anystrat.testing.models import linear_model

    path = tmp_path / "models" / "momentum.onnx"
    path.parent.mkdir()
    linear_model(path, ["ret_5"], [[-400.0, 0.0, 400.0]], [0.0, 0.0, 0.0])
    return path


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
@pytest.mark.parametrize("start", [datetime.utcnow, lambda: datetime.fromisoformat("2024-01-02 09:15")])
def test_three_kinds_of_strategy_answer_through_one_service(
    start: Callable[[], datetime], trained_for_seconds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained_for_seconds.parents[1])
    model_path = "models/momentum.onnx"

    svc = StrategyRunnerService()
    for row_id, strategy_type, parameters in (
        ("rules-momo", "momentum", {"lookback_periods": 5, "threshold": 0.01}),
        ("ml-momo", "ml_momentum", {"model_path": model_path, "min_conf": 0.5}),
        ("hybrid-momo", "hybrid_momentum", {"lookback_periods": 5, "threshold": 0.01, "model_path": model_path}),
    ):
        svc.register_from_config(
            {
                "id": row_id,
                "strategy_type": strategy_type,
                "parameters": parameters | {"position_size": 10},
                "brokers": ["paper"],
                "instruments": [123],
                "enabled": True,
            }
        )

    t0 = start()
    seen: list[list[EmittedSignal]] = []
    for i, p in enumerate([100, 100.5, 101.2, 100.9, 101.6, 102.0, 102.5]):
        tick = MarketTick(instrument_token=123, last_price=Decimal(str(p)), timestamp=t0 + timedelta(seconds=i))
        seen.append(svc.on_market_tick(tick))

    printable = [[(s.signal_type, float(s.confidence), s.quantity, str(s.price)) for s in each] for each in seen]
    assert [len(each) for each in printable] == [0, 0, 0, 0, 1, 3, 3]
    assert {row[0] for each in printable for row in each} == {"BUY"}
    assert {row[2] for each in printable for row in each} == {10}
    assert printable[4][0][1] == pytest.approx(5 * 0.016)
    assert [each.strategy_id for each in seen[5]] == ["rules-momo", "ml-momo", "hybrid-momo"]
    assert [str(each.price) for each in seen[6]] == ["102.5"] * 3
    assert len({each.signal_id for signals in seen for each in signals}) == 7
