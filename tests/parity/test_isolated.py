"""A strategy that is asked over messages, against the same one that is asked directly: the same outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from anystrat import plugins
from anystrat.adapters.process_messages import Answer, Ask, Asked, Build, Reply, Serve, encoded
from anystrat.adapters.remote_processor import RemoteProcessor
from anystrat.bootstrap import build_engine, default_wiring
from anystrat.bootstrap.process_parameters import packed
from anystrat.bootstrap.strategy_process_main import StrategyHost
from anystrat.config import configuration_from_mapping
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.events import FeedGap
from anystrat.domain.outcomes import Emitted, Outcome, ProcessorFailed
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import TickRow
from anystrat.engine.engine import Engine
from anystrat.testing.models import linear_model

# Shrinking takes minutes, and the first difference is shown without it.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@dataclass(frozen=True)
class Parameters:
    size: int = 3
    folder: Path = Path("somewhere")


class Talkative:
    """Says all of what it was given, raises now and then, and answers with what is no signal."""

    def __init__(self, size: int) -> None:
        self.size = size

    def get_required_history_length(self) -> int:
        return self.size

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "talkative"

    def process_tick(self, tick: Any, history: Any) -> Any:
        cents = int(tick.last_price * 100)
        if cents % 7 == 0:
            raise ValueError(f"{tick.last_price} is no good")
        if cents % 11 == 0:
            return cents
        seen = [str(each) for each in (*history, *history.exact_prices(), *history.prices)]
        metadata = {"seen": seen, "ref_price": tick.last_price, "tick": repr(tick), "none": None, "size": 2.5}
        side = "BUY" if history[0].last_price < tick.last_price else "SELL"
        return SignalResult(side, 0.25, self.size, tick.last_price, "because", metadata)


@pytest.fixture(autouse=True)
def _talkative() -> Iterator[None]:
    kept = list(plugins._registered)
    plugins.register_strategy("talkative", lambda values: Talkative(values.size), parameters=Parameters)
    yield
    plugins._registered[:] = kept


class Loopback:
    """What a `StrategyProcess` is to its processors, without a process: another host at every `anew`."""

    patient = False

    def __init__(self, build: Build) -> None:
        self.build = build
        self.served: list[str] = []
        self.anew()

    def anew(self) -> None:
        self.host = StrategyHost(msgspec.msgpack.decode(encoded(self.build)[4:], type=Build))

    def connection(self) -> object:
        return self.host

    def ask(self, connection: object, question: bytes, *, seconds: float | None = None) -> Reply:
        assert connection is self.host
        asked: Ask | Serve = msgspec.msgpack.decode(question[4:], type=Ask | Serve)
        if isinstance(asked, Serve):
            self.served.append(asked.sha256)
            return self.host.serve(asked)
        answer = self.host.decide(asked)
        try:
            data = encoded(answer)
        except TypeError as error:
            data = encoded(Answer(None, (f"TypeError: {error}", "")))
        return msgspec.msgpack.decode(data[4:], type=Answer)


def row(kind: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": kind, "strategy_type": kind, "parameters": parameters, "instruments": [1, 2], **more}


def engine(document: dict[str, Any]) -> Engine:
    wiring = default_wiring()
    return build_engine(configuration_from_mapping({"version": 1, "strategies": [document]}, wiring.catalog), wiring)


def isolated(document: dict[str, Any]) -> tuple[Engine, list[Loopback]]:
    made, processes = engine({**document, "isolate": "process"}), []

    def processor(executor: Any) -> RemoteProcessor:
        build = Build(
            executor.strategy_id,
            executor.config.strategy_type,
            packed(executor.config, default_wiring().catalog),
            (Asked(executor.need, executor.seed),),
        )
        processes.append(Loopback(build))
        return RemoteProcessor(processes[-1], 0, executor.processor)  # type: ignore[arg-type]  # all that it asks of one

    made.ask_elsewhere(processor)
    return made, processes


def ticks(seed: int, count: int) -> list[TickRow]:
    random = np.random.default_rng(seed)
    prices = np.round(100 + np.cumsum(random.integers(-3, 4, count)) / 100, 2)
    found = []
    for k, price in enumerate(prices.tolist()):
        exact = Decimal(f"{price:.3f}") if k % 3 else None
        found.append(
            TickRow(k % 2 + 1, (k + 1) * 20 * 10**9, price, exact, 5.0, price - 1, Decimal("9.50"), auction=k % 17 == 0)
        )
    return found


def texts(outcomes: list[Outcome]) -> list[str]:
    """All but tracebacks, which show the way there."""
    return [
        repr(msgspec.structs.replace(each, traceback="") if isinstance(each, ProcessorFailed) else each)
        for each in outcomes
    ]


@pytest.mark.parametrize("more", [{}, {"bars": {"ticks": 3}}, {"per_instrument": True}], ids=["ticks", "bars", "apart"])
@settings(max_examples=2, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6),
    anew=st.sets(st.integers(0, 60), max_size=2),
    gaps=st.sets(st.integers(0, 60), max_size=2),
)
def test_what_it_sees_and_says_is_the_same(more: dict[str, Any], seed: int, anew: set[int], gaps: set[int]) -> None:
    document = row("talkative", {"size": 3, "risk": {"max_errors": 1000, "max_exposure": 400}}, **more)
    here, (there, processes) = engine(document), isolated(document)
    said = 0
    for k, each in enumerate(ticks(seed, 60)):
        for process in processes if k in anew else ():
            process.anew()
        for one in (here, there) if k in gaps else ():
            one.step(FeedGap(each.ts_ns))
        expected = here.step(each)
        assert texts(there.step(each)) == texts(expected)
        said += len(expected)
    assert said > 10


def test_only_what_is_new_is_sent_and_everything_after_a_change_of_process() -> None:
    made, (process,) = isolated(row("talkative", {"size": 3}))
    sent: list[int] = []
    ask = process.ask

    def counting(connection: object, question: bytes, **more: Any) -> Reply:
        sent.append(len(msgspec.msgpack.decode(question[4:], type=Ask).ticks))
        return ask(connection, question, **more)

    process.ask = counting  # type: ignore[method-assign]
    for k, each in enumerate(ticks(1, 14)):
        if k == 10:
            process.anew()
        made.step(each)
    assert sent == [3, 3, 1, 1, 1, 1, 3, 3, 1, 1]


def test_what_cannot_leave_a_process_is_an_error_of_the_strategy_and_numbers_of_numpy_are_numbers() -> None:
    class Odd(Talkative):
        def process_tick(self, tick: Any, history: Any) -> Any:
            metadata = {"made": np.float32(0.5)} if tick.instrument_token == 1 else {"made": object()}
            return SignalResult("BUY", np.float64(0.25), np.int64(7), np.float64(9.5), "", metadata)  # type: ignore[arg-type]

    plugins.register_strategy("odd", lambda values: Odd(values.size), parameters=Parameters)
    made, _ = isolated(row("odd", {"size": 1}))
    first, second = ticks(1, 2)
    signal = made.step(first)[-1].signal  # type: ignore[union-attr]  # dropped, in an auction
    assert (signal.quantity, signal.price, signal.metadata) == (7, Decimal("9.5"), {"made": 0.5})
    (failed,) = [each for each in made.step(second) if isinstance(each, ProcessorFailed)]
    assert failed.error == "TypeError: object is no number, text, list or mapping of such"


def test_a_model_serves_there_in_the_version_that_serves_here(tmp_path: Path) -> None:
    weights = [[-1e5, 0.0, 1e5]]
    linear_model(tmp_path / "m.onnx", ["ret_2"], weights)
    document = row("ml_momentum", {"model_path": str(tmp_path / "m.onnx")})
    here, (there, processes) = engine(document), isolated(document)
    signals = 0
    for each in ticks(4, 40):
        expected = here.step(each)
        assert texts(there.step(each)) == texts(expected)
        signals += sum(isinstance(one, Emitted) for one in expected)
    assert signals > 3
    assert processes[0].served == [there.executors[0].models.model_sha256]  # type: ignore[union-attr]
    assert there.executors[0].processor.inferences > 30  # type: ignore[attr-defined]


def test_parameters_of_every_kind_are_the_same_there() -> None:
    catalog = default_wiring().catalog
    parts = {"rules": {"type": "talkative", "folder": "/a/b"}, "ml": {"type": "ml_momentum", "model_path": "m"}}
    for document in (
        row("talkative", {"size": 9, "folder": "/x"}),
        row("hybrid", {**parts, "policy": {"type": "majority", "min_ml_conf": 0.7}}),
        row("hybrid_momentum", {"model_path": "m", "lookback_periods": 9}),
    ):
        (config,) = configuration_from_mapping({"version": 1, "strategies": [document]}, catalog).strategies
        packed(config, catalog)


def test_parameters_that_have_no_plain_form_are_refused() -> None:
    @dataclass(frozen=True)
    class Own:
        what: Any = object()  # noqa: RUF009  any value will do

    plugins.register_strategy("own", lambda values: Talkative(3), parameters=Own)
    catalog = default_wiring().catalog
    (config,) = configuration_from_mapping({"version": 1, "strategies": [row("own", {})]}, catalog).strategies
    with pytest.raises(ConfigurationError, match="the parameters of type 'own' cannot be handed"):
        packed(config, catalog)


def test_an_inference_deadline_beside_isolation_is_refused(tmp_path: Path) -> None:
    linear_model(tmp_path / "m.onnx", ["ret_2"])
    parameters = {"model_path": str(tmp_path / "m.onnx"), "inference_deadline_ms": 5}
    with pytest.raises(ConfigurationError, match="leave `inference_deadline_ms` out"):
        engine(row("ml_momentum", parameters, isolate="process"))
