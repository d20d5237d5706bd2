from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import get_type_hints

import pytest

from anystrat.domain.errors import UnknownName
from anystrat.domain.parameters import Doc
from anystrat.strategies.builtin import STRATEGIES, builtin_catalog
from anystrat.strategies.momentum import MOMENTUM
from anystrat.strategies.policies import POLICIES


def test_every_built_in_strategy_and_policy_is_in_the_catalogue():
    catalog = builtin_catalog()
    assert {name: entry.kind for name, entry in catalog.strategies.items()} == {
        "momentum": "rules",
        "mean_reversion": "rules",
        "breakout": "rules",
        "sma_crossover": "rules",
        "ml_momentum": "ml",
        "ml_mean_reversion": "ml",
        "ml_breakout": "ml",
        "hybrid": "hybrid",
        "hybrid_momentum": "hybrid",
        "hybrid_mean_reversion": "hybrid",
        "hybrid_breakout": "hybrid",
    }
    assert set(catalog.policies) == {
        "majority", "confirm", "sizer", "guardrail", "threshold_escalation", "probability_weighted",
    }  # fmt: skip
    assert catalog.validators == {}


def test_hybrids_compose_what_the_catalogue_holds():
    catalog = builtin_catalog()
    for name, entry in catalog.strategies.items():
        assert (entry.composition is not None) == (entry.kind == "hybrid"), name
        if entry.composition is not None and entry.composition.rules is not None:
            assert catalog.strategy(entry.composition.rules).kind == "rules"
            assert catalog.strategy(entry.composition.ml or "").kind == "ml"


def test_catalogues_are_independent_of_each_other():
    mine = builtin_catalog()
    del mine.strategies["momentum"]
    assert builtin_catalog().strategy("momentum") is MOMENTUM


def test_a_taken_name_is_refused_and_a_wrong_one_is_answered_with_the_nearest():
    catalog = builtin_catalog()
    catalog.register(MOMENTUM)
    with pytest.raises(ValueError, match="'momentum' is already registered by anystrat"):
        catalog.register(dataclasses.replace(MOMENTUM, summary="another"))
    with pytest.raises(UnknownName, match="did you mean 'momentum'"):
        catalog.strategy("momentun")


@pytest.mark.parametrize("entry", [*STRATEGIES, *POLICIES], ids=lambda entry: entry.name)
def test_every_parameter_is_documented_and_frozen(entry):
    assert entry.summary.endswith(".")
    assert entry.parameters.__dataclass_params__.frozen
    hints = get_type_hints(entry.parameters, include_extras=True)
    for field in dataclasses.fields(entry.parameters):
        texts = [extra.text for extra in getattr(hints[field.name], "__metadata__", ()) if isinstance(extra, Doc)]
        assert len(texts) == 1, field.name
        assert texts[0].endswith("."), field.name


def test_the_strategies_need_neither_a_compiler_nor_a_model_runtime_nor_a_clock():
    heavy = ["numba", "onnxruntime", "pydantic", "asyncio"]
    code = f"import sys, anystrat.strategies.builtin; print([m for m in {heavy!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
