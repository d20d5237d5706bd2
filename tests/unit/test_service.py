"""What the service adds to the engine: rows in one call, runs over anything that gives ticks, models swapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from anystrat import ConfigurationError, EmittedSignal, MarketTick, StrategyRunnerService, rule
from anystrat.domain.outcomes import Noted, Outcome
from anystrat.domain.tick import row_of
from anystrat.testing.models import linear_model
from anystrat.testing.ticks import columns

START = datetime(2024, 1, 2, tzinfo=UTC)
PRICES = (100.0, 101.0, 103.0, 102.0, 99.0, 98.5, 104.0, 104.0)


@rule(history=2)
def follow(prices: Any, threshold: float = 0.005) -> str | None:
    change = prices[-1] / prices[0] - 1
    return None if abs(change) < threshold else "BUY" if change > 0 else "SELL"


def ticks(prices: Iterable[float] = PRICES, token: int = 1) -> Iterator[MarketTick]:
    return (MarketTick(token, Decimal(str(p)), START + timedelta(minutes=i)) for i, p in enumerate(prices))


def service(**options: Any) -> StrategyRunnerService:
    return StrategyRunnerService(observers=[], **options)


def told(signals: Iterable[EmittedSignal]) -> list[tuple[str, str, int, str]]:
    return [(each.strategy_id, each.signal_type, each.quantity, str(each.price)) for each in signals]


class TestRegister:
    def test_it_does_what_the_same_row_does(self) -> None:
        by_row, by_call = service(), service()
        by_row.register_from_config(
            {
                "id": "momentum",
                "strategy_type": "momentum",
                "parameters": {"lookback_periods": 2, "threshold": 0.005, "risk": {"cooldown_sec": 120}},
                "instruments": [1],
            }
        )
        (executor,) = by_call.register(
            "momentum", instruments=[1], lookback_periods=2, threshold=0.005, risk={"cooldown_sec": 120}
        )
        assert executor.strategy_id == "momentum"
        assert executor.config == by_row.executors[0].config
        assert list(by_call.run(ticks())) == list(by_row.run(ticks())) != []

    def test_a_rule_is_known_from_then_on_to_this_service_alone(self) -> None:
        one = service()
        one.register(follow, instruments=[1], threshold=0.02)
        one.register("follow", instruments=[1], position_size=7)
        assert [executor.strategy_id for executor in one.executors] == ["follow", "follow-2"]
        assert {row[2] for row in told(one.run(ticks())) if row[0] == "follow-2"} == {7}
        with pytest.raises(ConfigurationError, match="follow"):
            service().register("follow", instruments=[1])

    def test_ids_are_free_ones_or_those_that_are_given(self) -> None:
        one = service()
        for wanted in (None, "follow-3", None, None, "mine"):
            one.register(follow, instruments=[1], id=wanted)
        assert [each.strategy_id for each in one.executors] == ["follow", "follow-3", "follow-2", "follow-4", "mine"]
        with pytest.raises(ConfigurationError, match="registered already"):
            one.register(follow, instruments=[1], id="mine")

    def test_instruments_brokers_and_executors_are_as_in_a_row(self) -> None:
        one = service()
        made = one.register(follow, instruments=(token for token in (3, 4)), per_instrument=True)
        assert [executor.tokens for executor in made] == [(3,), (4,)]
        with pytest.raises(ConfigurationError, match="broker"):
            one.register(follow, instruments=[1], brokers=["nowhere"])

    def test_what_a_row_refuses_is_refused(self) -> None:
        one = service()
        with pytest.raises(ConfigurationError, match="treshold"):
            one.register(follow, instruments=[1], treshold=0.1)
        with pytest.raises(ConfigurationError, match="instruments"):
            one.register(follow, instruments=[])
        assert not one.executors

    @pytest.mark.parametrize("rules", [follow, {"type": follow}, {"type": follow, "threshold": 0.02}])
    def test_a_hybrid_takes_a_rule_as_a_part(self, rules: Any, tmp_path: Path) -> None:
        linear_model(tmp_path / "up.onnx", ["ret_1"], bias=(0.0, 0.0, 3.0))
        one = service(directory=tmp_path)
        one.register(
            "hybrid",
            instruments=[1],
            rules=rules,
            ml={"type": "ml_momentum", "model_path": "up.onnx"},
            policy="confirm",
        )
        found = told(one.run(ticks()))
        least = rules.get("threshold", 0.005) if isinstance(rules, dict) else 0.005
        rises = [b for a, b in pairwise(PRICES) if b / a - 1 > least]
        assert [(side, Decimal(price)) for _, side, _, price in found] == [("BUY", Decimal(str(p))) for p in rises]

    def test_another_type_of_the_same_name_is_refused(self) -> None:
        one = service()
        one.register(follow, instruments=[1])

        def build(prices: Any) -> None:
            del prices

        build.__name__ = "follow"
        with pytest.raises(ValueError, match="already registered"):
            one.register(rule(history=1)(build), instruments=[1])


class TestRun:
    @pytest.fixture
    def expected(self) -> list[EmittedSignal]:
        one = service()
        one.register(follow, instruments=[1])
        found = [signal for tick in ticks() for signal in one.on_market_tick(tick)]
        assert len(found) == 6
        return found

    def run(self, source: Any) -> list[EmittedSignal]:
        one = service()
        one.register(follow, instruments=[1])
        return list(one.run(source))

    def test_ticks_rows_and_blocks_give_the_same(self, expected: list[EmittedSignal]) -> None:
        rows = [row_of(tick) for tick in ticks()]
        for source in (
            ticks(),
            tuple(ticks()),
            rows,
            columns(rows),
            [columns(rows)],
            [columns(rows[:3]), *rows[3:5], *islice(ticks(), 5, None)],
        ):
            assert self.run(source) == expected

    def test_files_by_path_text_or_list(self, tmp_path: Path, expected: list[EmittedSignal]) -> None:
        lines = [f"{tick.ts_ns},1,{tick.last_price}\n" for tick in ticks()]
        whole, first, second = (tmp_path / name for name in ("whole.csv", "first.csv", "second.csv"))
        for path, part in ((whole, lines), (first, lines[::2]), (second, lines[1::2])):
            path.write_text("ts_ns,instrument_token,price\n" + "".join(part), encoding="ascii")
        for source in (whole, str(whole), [whole], [first, str(second)], (second, first)):
            assert self.run(source) == expected

    def test_signals_come_as_soon_as_they_are_there(self) -> None:
        taken = 0

        def endless() -> Iterator[MarketTick]:
            nonlocal taken
            for taken in count(1):
                price = Decimal(100 + taken % 2)
                yield MarketTick(1, price, START + timedelta(minutes=taken))

        one = service()
        one.register(follow, instruments=[1])
        signals = one.run(endless())
        assert taken == 0
        next(signals)
        assert taken == 2
        next(signals)
        assert taken == 3

    def test_nothing_gives_nothing(self) -> None:
        assert self.run([]) == []

    @pytest.mark.parametrize("source", [[1.0], [None], [("a.csv",)]])
    def test_what_is_no_tick_is_refused(self, source: Any) -> None:
        with pytest.raises(TypeError, match="expected ticks"):
            self.run(source)


def test_a_changed_model_is_swapped_in_and_a_bad_one_is_not(tmp_path: Path) -> None:
    model = linear_model(tmp_path / "m.onnx", ["ret_1"], bias=(0.0, 0.0, 3.0))
    seen: list[Outcome] = []
    one = StrategyRunnerService(observers=[seen.extend])
    one.register("ml_momentum", instruments=[1], model_path=str(model))
    stream = list(ticks())
    assert one.refresh_models() == []
    assert {each.signal_type for each in one.run(stream[:4])} == {"BUY"}

    linear_model(tmp_path / "aside.onnx", ["ret_1"], bias=(4.0, 0.0, 0.0)).replace(model)
    assert one.refresh_models() == []  # seen once: it may still be written
    (swapped,) = one.refresh_models()
    assert isinstance(swapped, Noted)
    assert swapped.kind == "model_swapped"
    assert swapped.ts_ns == stream[3].ts_ns
    assert {each.signal_type for each in one.run(stream[4:6])} == {"SELL"}

    model.write_bytes(b"no model")
    one.refresh_models()
    (refused,) = one.refresh_models()
    assert isinstance(refused, Noted)
    assert refused.kind == "model_refused"
    assert str(model) in refused.details["path"]
    assert {each.signal_type for each in one.run(stream[6:])} == {"SELL"}
    assert [each for each in seen if isinstance(each, Noted)] == [swapped, refused]


def test_a_model_that_does_not_load_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = service(directory=tmp_path)
    assert one.register("ml_momentum", instruments=[1], model_path="none.onnx") == []
    assert one.register(follow, instruments=[1])
    assert capsys.readouterr().err.count("strategy left out") == 1
