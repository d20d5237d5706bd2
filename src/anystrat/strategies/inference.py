"""Rows through a model: as few calls as it takes, and no row that costs its neighbours their answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.domain.columns import Answered
from anystrat.domain.protocols import InferenceModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows given to a model in one call: enough to make the call's own cost vanish, and bounded memory.
BATCH: Final = 4096

#: The answers to no rows.
NOTHING_ASKED: Final = Answered(np.empty((0, 3), np.float32), {})


def ask_model(model: InferenceModel, rows: NDArray[np.float32]) -> Answered:
    """Answers to the rows [N, F], up to `BATCH` of them a call where the model is batchable, one a call where not."""
    probabilities = np.empty((len(rows), 3), np.float32)
    raised: dict[int, str] = {}
    for first in range(0, len(rows), BATCH):
        _ask(model, rows, first, probabilities, raised)
    return Answered(probabilities, raised, len(rows))


def ask_together(model: InferenceModel, parts: Sequence[NDArray[np.float32]]) -> list[Answered]:
    """The answers to each part, whose rows go to the model together: as `ask_model` of each, in fewer calls."""
    if len(parts) == 1 or not model.batchable:
        return [ask_model(model, part) for part in parts]
    probabilities, raised, _ = ask_model(model, np.concatenate(parts))
    answers, first = [], 0
    for part in parts:
        last = first + len(part)
        mine = {row - first: why for row, why in raised.items() if first <= row < last} if raised else raised
        answers.append(Answered(probabilities[first:last], mine, len(part)))
        first = last
    return answers


def _ask(
    model: InferenceModel,
    rows: NDArray[np.float32],
    first: int,
    probabilities: NDArray[np.float32],
    raised: dict[int, str],
) -> None:
    last = min(first + BATCH, len(rows))
    if model.batchable:
        with suppress(Exception):  # one bad row must not cost its neighbours their answers
            probabilities[first:last] = model.predict(rows[first:last])
            return
    for i in range(first, last):
        try:
            probabilities[i] = model.predict(rows[i : i + 1])[0]
        except Exception as error:  # noqa: BLE001  a model that raises gives no signal; that is counted
            probabilities[i] = np.nan
            raised[i] = f"{type(error).__name__}: {error}"
