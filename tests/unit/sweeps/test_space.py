"""What may vary: texts, lists, spans, and what is wrong with them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.sweeps.space import Axis, Space, SpaceError, Span, key_of, space_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5,10,20", (5, 10, 20)),
        ("0.01, 0.02", (0.01, 0.02)),
        ("5..8", (5, 6, 7, 8)),
        ("5..20:5", (5, 10, 15, 20)),
        ("0.1..0.4:0.1", (0.1, 0.2, 0.3, 0.4)),
        ("1..2:0.5", (1.0, 1.5, 2.0)),
        ("confirm,majority", ("confirm", "majority")),
        ("true,false,null", (True, False, None)),
    ],
)
def test_values_are_written_as_lists_or_spans(text: str, values: tuple[object, ...]):
    (axis,) = space_of([f"parameters.x={text}"]).axes
    assert axis.grid() == values
    assert [type(each) for each in axis.grid()] == [type(each) for each in values]


def test_a_mapping_takes_lists_ranges_spans_and_texts():
    space = space_of({"a": [1, 2], "b": range(3, 6), "c": Span(0.5, 1.0, 0.25), "d": "7..8"})
    assert [axis.grid() for axis in space.axes] == [(1, 2), (3, 4, 5), (0.5, 0.75, 1.0), (7, 8)]


def test_a_grid_has_every_combination_once_and_the_last_setting_varies_quickest():
    found = list(space_of({"a": [1, 2], "b": ["x", "y"]}).grid())
    assert found == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameters.x", "found no KEY=VALUES"),
        ("=5", "found no KEY=VALUES"),
        ("x=9..5", "begins above its end; write 5..9"),
        ("x=1..two", "no span of numbers"),
        ("x=1..5:0", "a step is above 0"),
        ("x=0..1:log", "a beginning above 0"),
        ("x=3,3", "a value twice"),
        ("x=1..inf", "is not finite"),
    ],
)
def test_what_is_no_space_says_what_may_stand_there(text: str, said: str):
    with pytest.raises(SpaceError, match=said):
        space_of([text])


def test_a_grid_of_a_span_without_steps_says_how_to_give_it_some():
    with pytest.raises(SpaceError, match=r"write 0\.01\.\.0\.05:STEP, or draw from it"):
        list(space_of(["x=0.01..0.05"]).grid())


def test_a_setting_is_varied_once_and_something_has_to_be():
    with pytest.raises(SpaceError, match="x is varied twice"):
        space_of(["x=1,2", "x=3"])
    with pytest.raises(SpaceError, match="nothing to vary"):
        space_of([])


def test_a_grid_beyond_a_million_is_refused():
    with pytest.raises(SpaceError, match="draw some with --search random"):
        space_of({"a": range(2_000), "b": range(2_000)}).grid()


@given(low=st.floats(1e-6, 1e3), width=st.floats(0.0, 1e3), log=st.booleans(), seed=st.integers(0, 1 << 32))
def test_draws_lie_within_their_span(low: float, width: float, log: bool, seed: int):
    axis = Axis("x", Span(low, low + width, log=log))
    for value in (axis.drawn(Random(seed)), axis.drawn(Random(seed + 1))):
        assert low <= value <= low + width


def test_draws_are_made_again_by_their_seed_and_none_comes_twice():
    space = space_of({"a": range(4), "b": [True, False]})
    first, second = (list(space.drawn(Random(5))) for _ in range(2))
    assert first == second
    assert len({key_of(each) for each in first}) == len(first) == 8


def test_whole_spans_draw_whole_numbers():
    space = Space([Axis("a", Span(1, 1_000)), Axis("b", Span(1, 1_000, log=True)), Axis("c", Span(0, 9, 3))])
    for settings, _ in zip(space.drawn(Random(0)), range(50), strict=False):
        assert all(type(value) is int for value in settings.values())
        assert settings["c"] in {0, 3, 6, 9}


def test_settings_have_one_key_whatever_their_order():
    assert key_of({"a": 1, "b": 2.5}) == key_of({"b": 2.5, "a": 1}) != key_of({"a": 1, "b": 2})
