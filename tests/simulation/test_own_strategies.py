"""Strategies of one's own under faults: those that are functions of their inputs pass, others are found."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from anystrat.bootstrap import default_catalog
from anystrat.config import configuration_from_mapping
from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import StrategyType
from anystrat.testing.simulate import Subject, history
from anystrat.testing.simulate.__main__ import main


@dataclass(frozen=True)
class NoParameters:
    """It has none."""


class EverySecond:
    """Buys on a tick whose price is even; with `hidden`, on every second one that it saw itself."""

    def __init__(self, *, hidden):
        self.hidden, self.seen = hidden, 0

    def process_tick(self, tick, history):
        self.seen += 1
        wanted = self.seen % 2 == 0 if self.hidden else int(tick.last_price * 20) % 2 == 0
        return SignalResult("BUY" if int(tick.last_price) % 2 else "SELL", 1.0, 1, tick.last_price) if wanted else None

    def get_required_history_length(self):
        return 2

    def supports_instrument(self, instrument_token):
        return True

    def get_strategy_name(self):
        return "every_second"


def subject(*, hidden):
    catalog = default_catalog()
    build = lambda *_: EverySecond(hidden=hidden)  # noqa: E731  what a catalogue takes
    catalog.register(StrategyType("every_second", "rules", NoParameters, build, "Every second tick."))
    mapping = {
        "version": 1,
        "brokers": {"out": {"type": "log", "timeout_sec": 1}},
        "strategies": [{"id": "mine", "strategy_type": "every_second", "instruments": [7, 8], "brokers": ["out"]}],
    }
    return Subject(configuration_from_mapping(mapping, catalog), catalog)


def violated(subject, seeds):
    found = [history(seed, ticks=80, subject=subject) for seed in seeds]
    assert sum(each.signals for each in found) > 20
    return {one.invariant for each in found for one in each.violations}


def test_a_strategy_that_is_a_function_of_its_inputs_passes():
    assert violated(subject(hidden=False), range(8)) == set()


def test_a_strategy_that_remembers_something_of_its_own_is_found():
    assert violated(subject(hidden=True), range(8)) >= {"I5"}


def test_the_command_takes_a_configuration(tmp_path, capsys):
    path = tmp_path / "anystrat.yaml"
    path.write_text(
        "version: 1\nstrategies:\n  - {id: m, strategy_type: momentum, parameters: {lookback_periods: 3}, instruments: [12]}\n"
    )
    assert main(["--seed", "3", "--ticks", "30", "--config", str(path), "--start", "2024-03-05T15:00Z"]) == 0
    assert capsys.readouterr().out.endswith("I1 to I9 hold.\n")
    path.write_text("version: 1\nstrategies: [{id: m, strategy_type: momentun, instruments: [12]}]\n")
    assert main(["--seed", "3", "--config", str(path)]) == 2
    assert "momentun" in capsys.readouterr().err


def test_a_time_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--seed", "3", "--start", "noon"])
    assert "found 'noon', allowed: a time such as 2024-03-05T15:00Z" in capsys.readouterr().err
