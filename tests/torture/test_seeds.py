"""What is lived through by seed is counted, and what is wrong ends it."""

from __future__ import annotations

from . import seeds
from .seeds import Count, counts, table


def test_as_much_as_was_asked_for_is_lived_through_and_counted():
    found = counts(3, cuts=1, histories=1, seconds=None)
    assert set(found) == {
        "power cuts of the journal",
        "power cuts of other files",
        "simulated histories",
        "crashes in them",
    }
    assert found["simulated histories"].number == 1
    assert found["power cuts of other files"].number > 50
    assert not any(each.wrong for each in found.values())


def test_what_is_wrong_ends_it_and_is_named(monkeypatch):
    def wrong(seed):
        return {"power cuts of the journal": Count(7, [f"seed {seed} lost one"])}

    monkeypatch.setattr(seeds, "_journal", wrong)
    monkeypatch.setattr(seeds, "_files", lambda seed: {"power cuts of other files": Count(1, [])})
    monkeypatch.setattr(seeds, "_histories", lambda seed: {"simulated histories": Count(1, [])})
    found = counts(3, cuts=100, histories=2, seconds=None)
    assert found["power cuts of the journal"] == Count(7, ["seed 3 lost one"])
    assert found["power cuts of other files"].number == 100
    assert "| power cuts of the journal |             7 |     1 |" in table(found)
