"""A processor that is asked in another process: what it is told is what is new since it was asked last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anystrat.adapters.process_messages import Answer, Ask, Refused, Serve, encoded
from anystrat.adapters.strategy_process import START_SEC, StrategyProcess
from anystrat.domain.errors import ProcessLost, RaisedElsewhere
from anystrat.domain.protocols import ModelSwappable, StrategyProcessor
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import row_of
from anystrat.domain.tick_fields import fields_of_tick, rich

if TYPE_CHECKING:
    from anystrat.domain.tick import MarketTick
    from anystrat.domain.window import History

#: How often a tick is tried on one process after the other, where whoever asks can wait.
_TRIES: Final = 3


class RemoteProcessor:
    """Answers what `local`, its twin here, would: decisions are made there, everything else is said by the twin.

    `number` is its place among the processors of the process. `inferences` are those that it made there.
    """

    def __init__(self, process: StrategyProcess, number: int, local: StrategyProcessor) -> None:
        self._process = process
        self._number = number
        self._local = local
        self._models = local if isinstance(local, ModelSwappable) else None
        self._connection: object = None
        self._served: str | None = None
        #: The last tick that each instrument's window there has.
        self._last: dict[int, MarketTick] = {}
        self._inferences_before = 0
        self.inferences = 0

    def get_required_history_length(self) -> int:
        return self._local.get_required_history_length()

    def supports_instrument(self, token: int) -> bool:
        return self._local.supports_instrument(token)

    def get_strategy_name(self) -> str:
        return self._local.get_strategy_name()

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """The decision there. Raises `ProcessLost`, and `RaisedElsewhere` for what the strategy raised."""
        for _ in range(_TRIES - 1 if self._process.patient else 0):
            try:
                return self._asked(tick, history)
            except ProcessLost:
                self._process.wait()
        return self._asked(tick, history)

    def _asked(self, tick: MarketTick, history: History) -> SignalResult | None:
        connection = self._process.connection()
        if connection is not self._connection:
            self._last.clear()
            self._inferences_before, self._served = self.inferences, None
            self._connection = connection
        self._serve(connection)
        ticks, anew = self._news_of(tick, history)
        question = Ask(self._number, tick.instrument_token, anew, [fields_of_tick(row_of(each)) for each in ticks])
        reply = self._process.ask(connection, encoded(question))
        if not isinstance(reply, Answer):
            raise ProcessLost("its process said something that is no answer")
        self._last[tick.instrument_token] = tick
        self.inferences = self._inferences_before + reply.inferences
        if reply.raised is not None:
            raise RaisedElsewhere(*reply.raised)
        return None if reply.signal is None else SignalResult(*(rich(each) for each in reply.signal))

    def _serve(self, connection: object) -> None:
        """Have the model's version serve there that serves here."""
        sha256 = self._models.model_sha256 if self._models is not None else None
        if sha256 is None or sha256 == self._served:
            return
        reply = self._process.ask(connection, encoded(Serve(sha256)), seconds=START_SEC)
        if isinstance(reply, Refused):
            raise ProcessLost(f"its process cannot have the model that serves: {reply.why}")
        self._served = sha256

    def _news_of(self, tick: MarketTick, history: History) -> tuple[list[MarketTick], bool]:
        """The ticks that the window there does not have yet, oldest first, and whether it has none that counts."""
        last = self._last.get(tick.instrument_token)
        fresh: list[MarketTick] = []
        for back in range(1, len(history) + 1):
            each = history[-back]
            if each is last:
                return fresh[::-1], False
            fresh.append(each)
        return fresh[::-1], True
