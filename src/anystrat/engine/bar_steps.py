"""The strategies of an engine that get bars, and what they are taken through when one closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anystrat.domain.lifecycle import State, Trigger
from anystrat.engine.bars import BarFeed
from anystrat.engine.checks import REGULAR
from anystrat.engine.decision import TOO_OLD, Moment

if TYPE_CHECKING:
    from anystrat.domain.bars import BarSpec
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.tick import TickRow
    from anystrat.domain.window import Window
    from anystrat.engine.decision import Decisions
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.engine.supervision import Supervision

_WARMUP: Final = int(State.WARMUP)
_ACTIVE: Final = int(State.ACTIVE)


class Bars:
    """Every bar feed of an engine, by instrument row and kind of bar: `feeds`, in the order in which they were asked for."""

    def __init__(self, engine: Engine, supervision: Supervision) -> None:
        self._engine = engine
        self._supervision = supervision
        self.feeds: dict[tuple[int, BarSpec], BarFeed] = {}

    def watch(self, i: int, token: int, executor: StrategyExecutor, s: int) -> None:
        """Let an executor, with its slot `s`, have its bars of instrument row `i`."""
        spec, rings = executor.bars, self._engine.rings
        assert spec is not None
        feed = self.feeds.get((i, spec))
        if feed is None:
            feed = self.feeds[i, spec] = BarFeed(spec, token, rings.window(executor.need, token))
        elif feed.window.capacity < executor.need:
            feed.window = rings.widened(feed.window, executor.need)
        feed.watchers.append((executor, s))

    def of_row(self, i: int) -> list[BarFeed]:
        """The bars of one instrument."""
        return [feed for (row, _), feed in self.feeds.items() if row == i]

    def window_of(self, executor: StrategyExecutor, i: int) -> Window:
        """What an executor's strategy reads of instrument row `i`: its ticks, or its bars."""
        return self._engine.windows[i] if executor.bars is None else self.feeds[i, executor.bars].window

    def closing(self, executor: StrategyExecutor, moment: Moment) -> tuple[TickRow | None, TickRow | None]:
        """The executor's bars that close before this accepted tick, and with it."""
        assert executor.bars is not None
        feed = self.feeds[moment.instrument, executor.bars]
        return feed.advance(self._engine.state.book.instrument.ticks[moment.instrument], moment.row)

    def take(
        self, executor: StrategyExecutor, s: int, bar: TickRow, now: Moment, decisions: Decisions, out: list[Outcome]
    ) -> None:
        """Take an executor through a bar that just closed, as through a tick; `now` is what closed it."""
        engine, ts, e = self._engine, bar.ts_ns, executor.row
        window = self.window_of(executor, now.instrument)
        age = now.age_ns
        if engine.arrived_ns is not None and age != TOO_OLD:
            age = engine.arrived_ns - ts
        moment = Moment(
            now.instrument, window, bar, engine.tick_steps.session_code(now.instrument, ts, out), age, engine.killed
        )
        book = engine.state.book
        if book.executor.state[e] == _WARMUP and window.count >= executor.need:
            self._supervision.move(executor, Trigger.WINDOW_FULL, ts, out, bar.instrument_token)
        if ts >= book.executor.due[e]:
            self._supervision.run_timer(executor, ts, out, bar.instrument_token)
        if book.executor.state[e] == _ACTIVE and window.count >= executor.need:
            decisions.evaluate(executor, s, moment, out)

    def close_by(self, ts: int, decisions: Decisions, out: list[Outcome]) -> None:
        """Close the bars that end by event time `ts`, which no tick has done yet."""
        engine = self._engine
        for (i, _), feed in self.feeds.items():
            bar = feed.close_by(ts)
            if bar is not None:
                age = TOO_OLD if engine.feed_stale else 0
                moment = Moment(i, feed.window, bar, REGULAR, age, engine.killed)
                for executor, s in feed.watchers:
                    self.take(executor, s, bar, moment, decisions, out)

    def end_by(self, ts: int) -> bool:
        """Whether a bar is open that ends by event time `ts`."""
        return any(end is not None and end <= ts for end in (feed.ends_ns for feed in self.feeds.values()))
