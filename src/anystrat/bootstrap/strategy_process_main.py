"""The process that a strategy has to itself: `python -m anystrat.bootstrap.strategy_process_main NUMBER`.

NUMBER is the descriptor of its end of the connection to the service, which starts it, asks it and kills it. It can name
only what is registered, as a configuration can, and knows nothing of journals, brokers or other strategies.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.model_shelf import OnnxShelf
from anystrat.adapters.model_store import ModelStore
from anystrat.adapters.process_messages import Answer, AnsweringEnd, Ask, Build, Ready, Refused, Serve
from anystrat.bootstrap import model_failure
from anystrat.bootstrap.process_parameters import unpacked
from anystrat.domain.errors import AnystratError, UnknownName
from anystrat.domain.protocols import ModelSwappable, SeedAware
from anystrat.domain.tick_fields import plain, tick_of_fields
from anystrat.domain.window import Window
from anystrat.engine.answers import checked_answer
from anystrat.plugins import catalog as everything_registered
from anystrat.strategies.catalog import BuildContext

if TYPE_CHECKING:
    from anystrat.adapters.process_messages import Reply
    from anystrat.domain.protocols import StrategyProcessor
    from anystrat.domain.signal import SignalResult

_INPUT: Final = 0
_OUTPUT: Final = 1
_ERRORS: Final = 2


class StrategyHost:
    """The processors of one strategy, each with its windows."""

    def __init__(self, build: Build) -> None:
        """Raises `AnystratError` for what is not known here, and whatever the strategy's own code raises."""
        catalog = everything_registered()
        entry = catalog.strategy(build.strategy_type)
        shelf = OnnxShelf(store=ModelStore(build.models) if build.models is not None else None)
        context = BuildContext(catalog, shelf, None, build.strategy_id)
        parameters = unpacked(build.parameters, build.strategy_type, catalog)
        self._asked = build.processors
        self._windows: dict[tuple[int, int], Window] = {}
        self._processors: list[StrategyProcessor] = []
        for each in build.processors:
            rules = parameters.rules if build.rules_only else None
            processor = context.build(rules) if rules is not None else entry.build(parameters, context)
            if each.seed is not None and isinstance(processor, SeedAware):
                processor.set_seed(each.seed)
            self._processors.append(processor)

    def failure(self) -> str:
        """Why a model does not load; empty where all do."""
        return next((why for each in self._processors if (why := model_failure(each)) is not None), "")

    def serve(self, serve: Serve) -> Reply:
        """Let a version of the model serve."""
        for each in self._processors:
            if isinstance(each, ModelSwappable):
                try:
                    why = each.swap_model(serve.sha256)
                except AnystratError as error:
                    why = str(error)
                if why:
                    return Refused(why)
        return Ready()

    def decide(self, ask: Ask) -> Answer:
        """The processor's decision on the last of the ticks, or what it raised."""
        history = self._asked[ask.processor].history
        key = ask.processor, ask.token
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(history, ask.token)
        if ask.anew:
            window.clear()
        for fields in ask.ticks:
            window.push(tick_of_fields(fields))
        processor = self._processors[ask.processor]
        signal, raised = None, None
        try:
            answer = processor.process_tick(window.tick(0), window.history(history))
            if answer is not None:
                checked_answer(answer)
                signal = _fields(answer)
        except Exception as error:  # noqa: BLE001  whatever a strategy raises is told, and contained there
            raised = _said(error), _trace(error)
        finally:
            window.expire()
        return Answer(signal, raised, _inferences(processor))


def _fields(signal: SignalResult) -> tuple[Any, Any, Any, Any, Any, Any]:
    return (
        signal.signal_type,
        signal.confidence,
        signal.quantity,
        plain(signal.price),
        signal.reasoning,
        plain(signal.metadata),
    )


def _said(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  an exception of a strategy's own may fail at this too
        return f"{type(error).__name__}: (its text cannot be had)"


def _trace(error: Exception) -> str:
    frames = error.__traceback__
    if frames is not None and frames.tb_next is not None:
        frames = frames.tb_next  # the strategy's own code begins there
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # noqa: BLE001  as above
        return "".join(traceback.format_tb(frames))


def _inferences(processor: StrategyProcessor) -> int:
    parts: tuple[Any, ...] = (processor, getattr(processor, "ml", None))
    counts = (getattr(part, "inferences", None) for part in parts)
    return next((count for count in counts if isinstance(count, int)), 0)


def _serve(end: AnsweringEnd) -> None:
    """Answer until nobody asks any more."""
    build = end.question()
    assert isinstance(build, Build)
    try:
        host = StrategyHost(build)
    except UnknownName as error:
        end.answer(Refused(f"{error}. It knows what is built in, and plug-ins of installed packages"))
        return
    except (AnystratError, TypeError, ValueError) as error:
        end.answer(Refused(str(error)))
        return
    failure = host.failure()
    end.answer(Refused(failure) if failure else Ready())
    while not failure:
        question = end.question()
        if isinstance(question, Ask):
            answer = host.decide(question)
            try:
                end.answer(answer)
            except (TypeError, OverflowError, ValueError) as error:
                raised = f"{type(error).__name__}: what process_tick answered cannot leave its process: {error}"
                end.answer(Answer(None, (raised, ""), answer.inferences))
        elif isinstance(question, Serve):
            end.answer(host.serve(question))


def _end_with_the_service() -> None:
    """Standard input says nothing and ends when the service does, also while the strategy holds this process up."""
    while os.read(_INPUT, 1):
        pass
    os._exit(0)


def main() -> None:
    """Serve the connection that the command line names."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    # What a strategy prints goes where the service's log goes: its standard output may be somebody's data.
    os.dup2(_ERRORS, _OUTPUT)
    threading.Thread(target=_end_with_the_service, name="lifeline", daemon=True).start()
    try:
        _serve(AnsweringEnd(connection))
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    main()
