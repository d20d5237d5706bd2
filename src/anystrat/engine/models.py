"""Versions of models: an event says which one serves, and takes effect at its place among the ticks of each engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anystrat.domain.errors import ModelRefused, SnapshotRefused
from anystrat.domain.events import ModelEvent, ModelKept, ModelReverted, ModelServing, ModelSwapped
from anystrat.domain.outcomes import Noted, Outcome

if TYPE_CHECKING:
    from anystrat.engine.executor import StrategyExecutor


def swap_models(event: ModelEvent, executors: Sequence[StrategyExecutor], out: list[Outcome]) -> None:
    """Let the event's version serve for the executors that it is for, and note it.

    Raises `ModelRefused`, with nothing changed, where that version cannot be had.
    """
    if isinstance(event, ModelKept):
        details = {"path": event.model_path, "error": event.why}
        out.append(Noted("model_refused", event.ts_ns, None, details))
        return
    unfit: list[Outcome] = []
    for executor in executors:
        models = executor.models
        if models is None:
            continue
        if (
            executor.strategy_id not in event.strategy_ids
            if event.strategy_ids
            else models.model_path != event.model_path
        ):
            continue
        why = models.swap_model(event.sha256, on_trial=isinstance(event, ModelSwapped))
        if why:
            details = {"path": event.model_path, "error": why, "broker": executor.broker}
            ts = 0 if isinstance(event, ModelServing) else event.ts_ns
            unfit.append(Noted("model_refused", ts, executor.strategy_id, details))
    if isinstance(event, ModelSwapped):
        out.append(Noted("model_swapped", event.ts_ns, None, {"path": event.model_path, "sha256": event.sha256}))
    elif isinstance(event, ModelReverted):
        details = {
            "path": event.model_path,
            "sha256": event.sha256,
            "failed_sha256": event.failed_sha256,
            "error": event.why,
        }
        out.append(Noted("model_reverted", event.ts_ns, None, details))
    out += unfit


def serving(executors: Sequence[StrategyExecutor]) -> list[str | None]:
    """The hash of each executor's model, for a snapshot; None where it has none."""
    return [executor.models.model_sha256 if executor.models is not None else None for executor in executors]


def serve_again(executors: Sequence[StrategyExecutor], hashes: Sequence[str | None]) -> None:
    """Let the versions serve that `serving` told. Raises `SnapshotRefused` where one cannot be had or does not fit."""
    for executor, sha256 in zip(executors, hashes, strict=True):
        if executor.models is None or sha256 is None or executor.models.model_sha256 == sha256:
            continue
        try:
            why = executor.models.swap_model(sha256)
        except ModelRefused as error:
            why = str(error)
        if why:
            raise SnapshotRefused(
                f"when the snapshot was made, {executor.strategy_id} decided with the version {sha256} of its model; {why}"
            )
