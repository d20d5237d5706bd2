"""One broker's delivery: signals leave in order, none too old, none too fast, none twice that need not, none when killed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from anystrat.domain.configuration import DeliveryOptions
from anystrat.domain.delivery import Neither, Reconcilable, Verdict
from anystrat.domain.health import Breaker, BrokerHealth
from anystrat.domain.journal import Fate
from anystrat.domain.measuring import Meter, Stage
from anystrat.domain.notices import BreakerMoved, DeadLettered, Expired, Listener
from anystrat.runner.delivery.accounts import DeliveryAccounts
from anystrat.runner.delivery.attempt import SinkCalls, SinkFailed
from anystrat.runner.delivery.backoff import Backoff
from anystrat.runner.delivery.breaker import CircuitBreaker
from anystrat.runner.delivery.limiter import RateLimit
from anystrat.runner.delivery.queue import ROUNDING_SEC, OutboxWindow, runs
from anystrat.runner.delivery.verdicts import Judge, Rulings

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.delivery import Sink
    from anystrat.domain.journal import Journal, OutboxSignal

#: While signals wait, their expiry is looked at so often.
_LOOK_SEC: Final = 1.0
#: Groups that are kept in memory.
_GROUPS: Final = 4
_GIVEN_UP: Final = (Fate.DEAD, Fate.UNKNOWN)
_AGAIN: Final = (Fate.PENDING, Fate.SENDING)
_DOUBT: Final = "it may have been sent before the process ended"


class BrokerDelivery:
    """Takes over what the journal has accepted, and settles each signal there exactly once.

    Memory is bounded: a window of signals, whatever waits; the rest is read back from the journal in order. All waiting
    goes by the event loop's time, expiry by `clock`, jitter by `random`. `on_dead` is awaited before signals become dead
    letters (DEAD or UNKNOWN): a crash in between leaves them unsettled. An error of the journal ends `run` with it.
    """

    def __init__(
        self,
        broker: str,
        kind: str,
        sink: Sink,
        journal: Journal,
        *,
        clock: Clock,
        random: Random,
        options: DeliveryOptions | None = None,
        on_dead: Callable[[Sequence[OutboxSignal]], Awaitable[None]] | None = None,
        listener: Listener | None = None,
        meter: Meter | None = None,
    ) -> None:
        options = options or DeliveryOptions()
        backoff = Backoff(options.backoff_sec, options.max_backoff_sec, random)
        self.broker = broker
        self._kind = kind
        self._journal = journal
        self._clock = clock
        self._on_dead = on_dead
        self._listener = listener
        self._meter = meter
        self._calls = SinkCalls(sink, options.timeout_sec)
        self._largest = max(1, min(sink.largest_group, options.largest_group))
        self._guarantee = sink.guarantee
        self._judge = Judge(sink.guarantee, options.attempts, backoff)
        self._limit = RateLimit(options.rate_per_sec)
        self._breaker = CircuitBreaker(options.breaker_failures, backoff, self._breaker_moved)
        self._window = OutboxWindow(_GROUPS * self._largest)
        self._accounts = DeliveryAccounts()
        self._patience = 0.0
        self._killed = False
        self._switched = False  # what the switch says here is newer than what the journal said at the start
        self._recall = True
        self._draining = False
        self._cut_off = False
        self._under_way = 0  # the first number of the group that is taken out
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._finished = asyncio.Event()

    # -- what the runner calls -------------------------------------------------------------------------------------

    async def accept(self, signals: Sequence[OutboxSignal]) -> None:
        """Take over signals that are in the journal, in order. Never waits for the sink."""
        if not signals:
            return
        self._accounts.arrived(signals[-1].number, asyncio.get_running_loop().time())
        if not self._draining:
            self._window.accept(signals)
            self._wake.set()

    async def run(self) -> None:
        """Deliver, from what an earlier process left on, until `drain` has ended or this is cancelled.

        Cancelled within a send, that group stays SENDING in the journal; all else that is not settled stays PENDING.
        """
        self._task = asyncio.current_task()
        try:
            await self._deliver()
        except asyncio.CancelledError:
            if not self._cut_off:
                raise
        finally:
            self._finished.set()
            await self._calls.close()

    async def drain(self, deadline_sec: float) -> None:
        """Take nothing more, send what can be sent within so many seconds, and end `run`; the rest stays PENDING."""
        self._draining = True
        if self._task is None:
            await asyncio.sleep(0)  # its task may just have been made
        task = self._task
        if task is None or task.done():
            return
        self._wake.set()
        try:
            async with asyncio.timeout(deadline_sec):
                await self._finished.wait()
        except TimeoutError:
            self._cut_off = True
            task.cancel()
        await asyncio.wait({task})

    def kill(self) -> None:
        """No send begins from now on. One that is under way is waited for."""
        self._killed = self._switched = True
        self._wake.set()

    def unkill(self) -> None:
        """Send again what has not expired meanwhile."""
        self._killed, self._switched = False, True
        self._wake.set()

    def recall(self) -> None:
        """Dead letters were revived in the journal: take them up."""
        self._recall = True
        self._wake.set()

    def health(self) -> BrokerHealth:
        """How the broker is, now."""
        oldest = self._under_way or self._window.oldest or self._window.loaded + 1
        now = asyncio.get_running_loop().time()
        return self._accounts.health(self.broker, self._kind, self._breaker.state, oldest, now)

    # -- the loop --------------------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        killed = await self._journal.killed()
        if not self._switched:
            self._killed = killed
        failed = await self._calls.open()
        if failed is not None:
            self._sink_failed(failed)
        first = True
        while True:
            if self._recall:
                await self._count(first=first)
                first = False
            await self._refill()
            await self._expire()
            if self._window.hungry:
                continue  # what expired made room
            if self._draining and (self._killed or not (len(self._window) or self._window.lagging)):
                return
            wait = self._obstacle(loop.time())
            if wait > 0.0:
                await self._sleep(wait)
            else:
                await self._next()

    async def _count(self, *, first: bool) -> None:
        """Ask the journal what there is, and begin with its oldest."""
        self._recall = False
        now = asyncio.get_running_loop().time()
        counts = (await self._journal.fates()).get(self.broker, {})
        accepted = sum(counts.values())
        self._accounts.counted(accepted, sum(counts.get(fate, 0) for fate in _AGAIN), now)
        self._window.forget(accepted)
        if first and accepted:
            self._limit.fill(now)

    async def _refill(self) -> None:
        """Read back what found no room, once there is some."""
        window = self._window
        while window.hungry:
            room = window.capacity - len(window)
            up_to = window.accepted
            entries = await self._journal.unsettled(self.broker, window.loaded, room)
            if len(entries) == room:
                up_to = entries[-1].signal.number
            doubtful = [entry.signal for entry in entries if entry.fate is Fate.SENDING]
            window.load(entries, [signal.number for signal in doubtful], up_to=up_to)
            if doubtful and isinstance(self._guarantee, Neither):
                parked = Rulings()
                for entry in entries:
                    if entry.fate is Fate.SENDING:
                        parked.add(entry.signal, Fate.UNKNOWN, _DOUBT, entry.attempts + 1)
                window.take_out(doubtful)
                await self._settle(parked)

    async def _expire(self) -> None:
        """Settle what is too old, before anything is sent."""
        reconcilable = isinstance(self._guarantee, Reconcilable)
        gone = self._window.expired(self._clock.now_ns(), keep_doubtful=reconcilable)
        if gone:
            await self._settle(self._too_old(gone))

    def _too_old(self, signals: Sequence[OutboxSignal]) -> Rulings:
        """What was never sent is EXPIRED; of what may have been sent nobody knows."""
        rulings = Rulings()
        for signal in signals:
            tried = self._window.tried.get(signal.number)
            attempts = 0 if tried is None else tried.attempts
            if tried is not None and tried.doubtful:
                rulings.add(signal, Fate.UNKNOWN, "expired after an attempt whose outcome is not known", attempts)
            else:
                rulings.add(signal, Fate.EXPIRED, attempts=attempts)
        return rulings

    def _obstacle(self, now: float) -> float:
        """Seconds until the sink may be called: 0.0 now, infinity when something else has to happen first.

        Behind an open breaker it is looked after although nothing waits: else an outage would last until the next signal.
        """
        if self._killed or not (len(self._window) or self._breaker.state is Breaker.OPEN):
            return math.inf
        wait = max(self._patience - now, self._breaker.wait(now), self._limit.wait(now))
        return wait if wait > ROUNDING_SEC else 0.0

    async def _sleep(self, seconds: float) -> None:
        """Wait until then, or until something happens, or until it is time to look for expired signals."""
        if self._window.may_expire:
            seconds = min(seconds, _LOOK_SEC)
        self._wake.clear()
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _next(self) -> None:
        """One call of the sink: open it, ask it, or send to it."""
        loop, window = asyncio.get_running_loop(), self._window
        self._breaker.probe()
        failed = await self._calls.open()
        if failed is not None:
            self._sink_failed(failed)
        if failed is not None or self._killed:
            return
        now, largest = loop.time(), self._breaker.group(self._largest)
        if isinstance(self._guarantee, Reconcilable):
            doubtful = window.doubtful(now, largest)
            if doubtful:
                await self._reconcile(doubtful)
                return
        group = window.pick(now, min(largest, self._limit.room(now)))
        if group:
            self._under_way = group[0].number
            await self._send(group)
            self._under_way = 0
        else:
            due = window.next_due(now)
            await self._sleep(math.inf if due is None else due)

    # -- one group -------------------------------------------------------------------------------------------------

    async def _send(self, group: list[OutboxSignal]) -> None:
        loop, window = asyncio.get_running_loop(), self._window
        for first, last in runs(group):
            await self._journal.sending(self.broker, first, last)
        # The mark took its time: what has changed meanwhile still counts.
        if self._killed:
            await self._settle(self._judge.not_sent(window, group, ""))
            return
        wall_ns = self._clock.now_ns()
        if window.may_expire or any(signal.expires_ns for signal in group):
            old = [signal for signal in group if 0 < signal.expires_ns <= wall_ns]
            if old:
                rest = [signal for signal in group if not 0 < signal.expires_ns <= wall_ns]
                rulings = self._too_old(old)
                rulings.of += self._judge.not_sent(window, rest, "").of
                await self._settle(rulings)
                return
        if window.tried and any(signal.number in window.tried for signal in group):
            self._accounts.retries += 1
        began = loop.time()
        self._limit.take(began, len(group))
        answer = await self._calls.send(group)
        now = loop.time()
        if self._meter is not None:
            self._meter.took(Stage.PUBLISH, now - began, len(group))
        if isinstance(answer, SinkFailed):
            self._sink_failed(answer)
            if not answer.sent:
                await self._settle(self._judge.not_sent(window, group, answer.reason))
                return
            answer = answer.results(len(group))
        else:
            self._breaker.worked()
            failures = [result.reason for result in answer if result.verdict in {Verdict.FAILED, Verdict.UNKNOWN}]
            self._accounts.problem = failures[-1] if failures else ""
        rulings = self._judge.judge(window, group, answer, now)
        if rulings.patience_sec:
            self._patience = now + rulings.patience_sec
        await self._settle(rulings)

    async def _reconcile(self, doubtful: list[OutboxSignal]) -> None:
        """Ask the sink after signals that it may have."""
        answers = await self._calls.has(doubtful)
        if isinstance(answers, SinkFailed):
            self._window.put_back(doubtful)
            self._sink_failed(answers)
            return
        self._breaker.worked()
        await self._settle(self._judge.found(self._window, doubtful, answers, asyncio.get_running_loop().time()))

    async def _settle(self, rulings: Rulings) -> None:
        """Make it durable, then count it, and say it to whom it concerns."""
        self._window.put_back(rulings.signals(*_AGAIN))
        outcomes = rulings.settled(self.broker)
        given_up = rulings.signals(*_GIVEN_UP)
        if given_up and self._on_dead is not None:
            done = [each for each in outcomes if each.fate not in _GIVEN_UP]
            if done:
                await self._journal.settle(done)
            # Before they are dead letters: after a crash nobody would tell their strategies of those.
            await self._on_dead(given_up)
            await self._journal.settle([each for each in outcomes if each.fate in _GIVEN_UP])
        elif outcomes:
            await self._journal.settle(outcomes)
        for each in outcomes:
            if each.fate is not Fate.PENDING:
                self._accounts.settle(each.fate, each.last - each.first + 1)
        self._window.done(each.signal for each in rulings.of if each.fate not in _AGAIN)
        self._tell(rulings)

    def _tell(self, rulings: Rulings) -> None:
        if self._listener is None:
            return
        expired = rulings.signals(Fate.EXPIRED)
        if expired:
            self._listener(Expired(self.broker, len(expired), expired[0].signal_id))
        for each in rulings.of:
            if each.fate not in _GIVEN_UP:
                continue
            signal = each.signal
            self._listener(
                DeadLettered(
                    self.broker,
                    signal.strategy_id,
                    signal.signal_id,
                    signal.instrument_token,
                    each.fate.name.lower(),
                    each.reason,
                    each.attempts,
                )
            )

    def _sink_failed(self, failed: SinkFailed) -> None:
        self._accounts.problem = failed.reason
        self._breaker.failed(asyncio.get_running_loop().time(), failed.reason)

    def _breaker_moved(self, before: Breaker, after: Breaker, reason: str) -> None:
        if self._listener is not None:
            self._listener(BreakerMoved(self.broker, before, after, reason))
