"""Models: whether features are served as they were trained, and whether the market is still the one of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.analysis.explaining.numbers import moment, number
from anystrat.analysis.trust.verdict import Verdict, failed, not_applicable, passed
from anystrat.domain.tick import TickRow
from anystrat.domain.window import history_of
from anystrat.strategies.feature_summary import stability_index
from anystrat.strategies.hybrid import HybridProcessor
from anystrat.strategies.ml import MLStrategy

if TYPE_CHECKING:
    from anystrat.analysis.trust.case import Case, Subject
    from anystrat.domain.configuration import StrategyConfig

SKEW: Final = "skew"
DRIFT: Final = "drift"
#: A stability index above this: the features come from another population than the training's.
DRIFTED: Final = 0.25
_NO_CARD: Final = (
    "keep `recorded_rows` and `feature_bins` of anystrat.strategies.feature_summary in the card when you train"
)
_TOLERANCE: Final = 1e-5


def skew(case: Case, row: StrategyConfig) -> Verdict:
    """Features one by one against features by the column, and against those that the training wrote into the card."""
    subject = case.subject(row)
    model = _model(subject)
    if subject is None or model is None:
        return not_applicable(SKEW, row.strategy_id, "it has no model" if subject else "its model does not load")
    looked, apart = _served(subject)
    if apart:
        advice = "a feature's `columns` and `loop` must give the bits of its literal formula: check_feature finds where they do not"
        return failed(SKEW, row.strategy_id, apart, 1.0, 0.0, advice)
    recorded, wrong = _recorded(model, _card_rows(case, model))
    if wrong:
        text = f"{len(wrong)} of {recorded} rows of the training have other features now: {wrong[0]}"
        advice = "the code that served the training and the one that serves now differ: train anew with these features"
        return failed(SKEW, row.strategy_id, text, float(len(wrong)), 0.0, advice)
    if not recorded:
        text = f"{looked} {case.unit} have the same features one by one and by the column; the card has no rows of the training"
        return passed(SKEW, row.strategy_id, text, 0.0, 0.0, _NO_CARD)
    text = f"{looked} {case.unit} have the same features one by one and by the column, {recorded} rows those of the training"
    return passed(SKEW, row.strategy_id, text, 0.0, 0.0)


def drift(case: Case, row: StrategyConfig) -> Verdict:
    """The spread of each feature on these ticks against the training's: the stability index, feature by feature."""
    subject = case.subject(row)
    model = _model(subject)
    if subject is None or model is None:
        return not_applicable(DRIFT, row.strategy_id, "it has no model" if subject else "its model does not load")
    bins = _card_bins(case, model)
    if not bins:
        return not_applicable(
            DRIFT, row.strategy_id, "the model's card has no bins of the training's features", _NO_CARD
        )
    values = _features(subject, model)
    if not len(next(iter(values.values()), ())):
        return not_applicable(DRIFT, row.strategy_id, f"the {case.unit} end before its window is full")
    found = {name: stability_index(bins[name], column) for name, column in values.items() if name in bins}
    if not found:
        return not_applicable(
            DRIFT, row.strategy_id, "the card's bins are of other features than the model's", _NO_CARD
        )
    ranked = sorted(found.items(), key=lambda item: -item[1])
    worst = ranked[0][1]
    text = "PSI " + ", ".join(f"{name} {value:.2f}" for name, value in ranked[:4])
    if len(ranked) > 4:
        text += f" and {len(ranked) - 4} more below"
    if worst > DRIFTED:
        advice = f"{ranked[0][0]} comes from another market than the one that the model was trained in: train anew, or trade what it knows"
        return failed(DRIFT, row.strategy_id, text, worst, DRIFTED, advice)
    return passed(DRIFT, row.strategy_id, text, worst, DRIFTED, "" if worst < 0.1 else "some of it has moved: watch it")


def _model(subject: Subject | None) -> MLStrategy | None:
    if subject is None:
        return None
    processor: Any = subject.make(subject.row.instrument_tokens[0])
    if isinstance(processor, HybridProcessor):
        processor = processor.ml
    return processor if isinstance(processor, MLStrategy) else None


def _served(subject: Subject) -> tuple[int, str]:
    """How many ticks were looked at, and the first on which the two ways of computing features part."""
    sample = [*subject.spoken(), *subject.silent()]
    for each in sample:
        model = _model(subject)
        assert model is not None
        need = model.get_required_history_length()
        window = subject.window(each.token, each.at, need)
        one = model.reading(window.row(0).market_tick(), window.history(need)).features
        window.expire()
        prices = np.array([row.price for row in window.rows()])
        column = model.answer_rows(prices, len(prices) - 1)[0]
        for (name, value), other in zip(one.items(), column.tolist(), strict=True):
            if value != other and not (np.isnan(value) and np.isnan(other)):
                tick = window.row(0)
                text = f"{name} is {number(value)} one by one and {number(other)} by the column at {moment(tick.ts_ns)} on {each.token}"
                return len(sample), text
    return len(sample), ""


def _recorded(model: MLStrategy, rows: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """How many of the card's rows there are, and in words those whose features are others now."""
    wrong = []
    for row in rows:
        ticks = [TickRow(0, at, float(price)) for at, price in enumerate(row["prices"])]
        features = model.reading(ticks[-1].market_tick(), history_of(ticks)).features
        for name, then in row["features"].items():
            now = features.get(name)
            if now is None:
                wrong.append(f"{name} is no feature of the model any more")
                break
            if abs(now - then) > _TOLERANCE * max(1.0, abs(then)):
                wrong.append(f"{name} was {number(then)} and is {number(now)}")
                break
    return len(rows), wrong


def _features(subject: Subject, model: MLStrategy) -> dict[str, Any]:
    """Every feature on every tick that has its history, over all instruments, by name."""
    need = model.get_required_history_length()
    names = model.model.feature_names if model.model is not None else ()
    blocks = []
    for token in subject.row.instrument_tokens:
        prices = np.array([row.price for row in subject.series(token)])
        if len(prices) >= need:
            blocks.append(model.answer_rows(prices, need - 1))
    matrix = np.concatenate(blocks) if blocks else np.zeros((0, len(names)), np.float32)
    return {name: matrix[:, k] for k, name in enumerate(names)}


def _card(case: Case, model: MLStrategy) -> Mapping[str, Any]:
    found = case.card(model.parameters.model_path) if case.card is not None else None
    return found if isinstance(found, Mapping) else {}


def _card_rows(case: Case, model: MLStrategy) -> list[Mapping[str, Any]]:
    rows = _card(case, model).get("recorded")
    known = rows if isinstance(rows, list) else []
    return [each for each in known if isinstance(each, Mapping) and {"prices", "features"} <= each.keys()]


def _card_bins(case: Case, model: MLStrategy) -> dict[str, Mapping[str, Any]]:
    drift_part = _card(case, model).get("drift")
    bins = drift_part.get("bins") if isinstance(drift_part, Mapping) else None
    known = bins if isinstance(bins, list) else []
    return {
        str(each["feature"]): each
        for each in known
        if isinstance(each, Mapping) and {"feature", "edges", "shares"} <= each.keys()
    }
