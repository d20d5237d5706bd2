"""The log says each thing once, where it was, and stays one record a line."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from anystrat import EmittedSignal, SignalResult, StrategyRunnerService, rule
from anystrat.domain.outcomes import Dropped, Noted, ProcessorFailed, Reason, TickDrop, TickDropped
from anystrat.domain.tick import TickRow
from anystrat.observability.log import OutcomeLog, logger
from anystrat.testing import ticks


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Any:
    """What was written to standard error since the last look, a record a line."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def failed(line: str) -> ProcessorFailed:
    return ProcessorFailed("s", "paper", 1, 0, "ValueError: boom", f"Traceback\n  {line}", (1.0, 2.0))


def test_the_same_traceback_is_shown_once_and_another_one_again(written: Any) -> None:
    log = OutcomeLog(logger(json=True))
    log([failed("line 1"), failed("line 1"), failed("line 2")])
    records = written()
    assert [record.get("exception") for record in records] == ["Traceback\n  line 1", None, "Traceback\n  line 2"]
    assert all(record["last_prices"] == [1.0, 2.0] and record["strategy"] == "s" for record in records)


def test_drops_are_written_at_the_first_the_tenth_and_the_hundredth(written: Any) -> None:
    log = OutcomeLog(logger(json=True))
    signal = SignalResult("BUY", 1.0, 1, Decimal(1))
    log([Dropped(signal, Reason.DUPLICATE, "s", "paper", 1, 0)] * 250)
    assert [record["count"] for record in written()] == [1, 10, 100]


def test_the_first_bad_ticks_are_named_with_their_price_and_time(written: Any) -> None:
    log = OutcomeLog(logger(json=True))
    log([TickDropped(TickDrop.BAD_PRICE, TickRow(7, 10**9, float("nan")))] * 9)
    records = written()
    assert [record["count"] for record in records] == [1, 2, 3]
    assert records[0] | {"timestamp": ""} == {
        "reason": "bad_price", "count": 1, "instrument": 7, "price": "nan", "at": "1970-01-01T00:00:01+00:00",
        "event": "tick dropped", "level": "warning", "timestamp": "",
    }  # fmt: skip


def test_control_characters_cannot_forge_a_record(written: Any) -> None:
    OutcomeLog(logger(json=True))([Noted("odd", 0, "s\r\nlevel=error \x1b[31m")])
    (record,) = written()
    assert record["strategy"] == "s\\r\\nlevel=error \\x1b[31m"


def test_a_strategys_traceback_begins_in_its_own_code() -> None:
    @rule(history=1)
    def broken(prices: Any) -> None:
        raise ValueError(f"no idea at {prices[-1]}")

    seen: list[Any] = []
    service = StrategyRunnerService(observers=[seen.extend])
    service.register(broken, instruments=[1])
    service.on_market_tick(ticks.tick(1, 100.0, 0))
    (failure,) = [outcome for outcome in seen if isinstance(outcome, ProcessorFailed)]
    assert failure.error == "ValueError: no idea at 100.0"
    assert "engine.py" not in failure.traceback
    assert "no idea at" in failure.traceback
    assert not any(isinstance(outcome, EmittedSignal) for outcome in seen)


def test_who_is_registered_is_told_with_what_it_watches(written: Any) -> None:
    @rule(history=3)
    def quiet(prices: Any) -> None:
        return None

    service = StrategyRunnerService(observers=[])
    service.register(quiet, instruments=range(1, 12), brokers=["paper"])
    OutcomeLog(logger(json=True)).registered(service.executors)
    (record,) = written()
    assert record | {"timestamp": ""} == {
        "strategy": "quiet", "broker": "paper", "type": "quiet", "kind": "rules", "history": 3,
        "instruments": [1, 2, 3, 4, 5, 6, 7, 8, "and 3 more"], "event": "strategy registered", "level": "info", "timestamp": "",
    }  # fmt: skip
