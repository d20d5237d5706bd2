"""Runs a case of the naive reference through the engine, and brings what came out into the reference's form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from anystrat.bootstrap import Wiring, build_engine
from anystrat.config import configuration_from_mapping
from anystrat.domain.configuration import Session
from anystrat.domain.exact import to_decimal
from anystrat.domain.outcomes import Dropped, Emitted, Outcome
from anystrat.domain.parameters import Ge
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import MarketTick, TickRow
from anystrat.domain.window import History
from anystrat.engine.engine import Engine
from anystrat.strategies.builtin import builtin_catalog
from anystrat.strategies.catalog import Catalog, StrategyType
from tests.reference import naive
from tests.reference.generate import Case


@dataclass(frozen=True)
class CallableParameters:
    lookback_periods: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True)
class CallableStrategy:
    """The reference's callable rows, as a user's own strategy would be written."""

    function: Any
    needed: int

    def get_required_history_length(self) -> int:
        return self.needed

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "callable"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        answer = self.function(history.prices.tolist(), {"instrument_token": tick.instrument_token})
        if not isinstance(answer, dict):
            return answer
        metadata = dict(answer.get("metadata") or {})
        if answer.get("ref_price") is not None:
            metadata["ref_price"] = answer["ref_price"]
        price = answer.get("price")
        return SignalResult(
            answer["signal_type"],
            answer["confidence"],
            answer["quantity"],
            tick.last_price if price is None else price,
            "scripted",
            metadata,
        )


@dataclass(frozen=True)
class ReferenceModel:
    """A model of the reference behind the engine's port."""

    model: naive.Model
    batchable: bool = True

    @property
    def sha256(self) -> str:
        return hashlib.sha256(repr(self.model).encode()).hexdigest()

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(self.model.features)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = [self.model.predict([float(value) for value in row]) for row in features]
        return np.array(rows, np.float32).reshape(len(rows), 3)


@dataclass(frozen=True)
class ReferenceShelf:
    models: dict[str, naive.Model]

    def model(self, path: str) -> ReferenceModel:
        for name, model in self.models.items():
            if Path(path).as_posix().endswith(Path(name).as_posix()):
                return ReferenceModel(model)
        raise AssertionError(f"no model {path} in this case")


@dataclass(frozen=True)
class ReferenceSessions:
    table: naive.Sessions

    def session(self, instrument_token: int, ts_ns: int) -> Session:
        return Session(self.table(instrument_token, ts_ns))


def wired(case: Case) -> tuple[dict[str, Any], Catalog]:
    """The case's configuration with callables registered under names of their own, and the catalogue that has them."""
    catalog = builtin_catalog()
    rows = []
    for number, row in enumerate(case.config["strategies"]):
        plain = dict(row)
        parameters = dict(plain.get("parameters") or {})
        function = plain.pop("callable", None) or parameters.pop("callable", None)
        if function is not None:
            name = f"callable_{number}"

            def build(values: CallableParameters, _: Any, function: Any = function) -> CallableStrategy:
                return CallableStrategy(function, values.lookback_periods)

            catalog.register(StrategyType(name, "rules", CallableParameters, build, "a scripted strategy"))
            plain["strategy_type"] = name
            plain["parameters"] = parameters
        rows.append(plain)
    return {**case.config, "strategies": rows}, catalog


def make_engine(case: Case) -> Engine:
    mapping, catalog = wired(case)
    if case.sessions is not None:
        known = {spec["token"]: spec for spec in mapping.get("instruments", [])}
        tokens = dict.fromkeys(token for row in mapping["strategies"] for token in row["instruments"])
        specs = [{**known.get(token, {"token": token}), "calendar": "TEST"} for token in (known | tokens)]
        mapping = {**mapping, "instruments": specs}
    configuration = configuration_from_mapping(mapping, catalog, base_dir=Path())
    sessions = ReferenceSessions(case.sessions) if case.sessions is not None else None
    return build_engine(configuration, Wiring(catalog, ReferenceShelf(dict(case.models))), sessions=sessions)


def tick_rows(case: Case) -> Iterator[TickRow]:
    for raw in case.ticks:
        price = raw["price"]
        exact = None if isinstance(price, float) else to_decimal(price)
        yield TickRow(
            raw["instrument_token"],
            raw["ts_ns"],
            float(price),
            exact,
            raw.get("size"),
            raw.get("bid"),
            raw.get("ask"),
            bool(raw.get("halted", False)),
            bool(raw.get("auction", False)),
            {"volatility": raw["volatility"]} if raw.get("volatility") is not None else None,
        )


def signals_and_drops(outcomes: list[Outcome]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """In the reference's form. Confidences are rounded where only the last bits can differ between readings."""
    signals, drops = [], []
    for outcome in outcomes:
        if isinstance(outcome, Emitted):
            signal = outcome.signal
            signals.append(_fields(signal, signal, signal.ts_ns) | {"signal_id": signal.signal_id})
        elif isinstance(outcome, Dropped):
            drops.append(_fields(outcome.signal, outcome, outcome.ts_ns) | {"reason": str(outcome.reason)})
    return signals, drops


def _fields(signal: SignalResult, place: Any, ts_ns: int) -> dict[str, Any]:
    return {
        "ts_ns": ts_ns,
        "strategy_id": place.strategy_id,
        "broker": place.broker,
        "instrument_token": place.instrument_token,
        "signal_type": signal.signal_type,
        "confidence": signal.confidence,
        "quantity": signal.quantity,
        "price": Decimal(signal.price) if not isinstance(signal.price, float) else to_decimal(signal.price),
    }


def summary(engine: Engine) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Where every executor stands, in the reference's form."""
    found = {}
    for executor in engine.executors:
        book, portfolio = engine.state.book, executor.portfolio
        counters = executor.counters()
        key: tuple[Any, ...] = (executor.strategy_id, executor.broker)
        if executor.config.per_instrument:
            key += (executor.tokens[0],)
        found[key] = {
            "state": executor.state.name,
            "positions": {
                token: (book.slot.position[slot], book.slot.average[slot]) for token, slot in executor.slots.items()
            },
            "cash": portfolio.cash,
            "realised": portfolio.realised,
            "fees": portfolio.fees,
            "round_trips": counters["round_trips"],
            "loss_streak": portfolio.loss_streak,
            "evaluations": counters["evaluations"],
            "holds": counters["holds"],
            "errors": counters["errors"],
        }
    return found
