"""Tells people, through a port that posts: never more than so many a minute, never in the way of a tick."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from anystrat.domain.notifying import Message, NotifyRules, Topic
from anystrat.domain.outcomes import Noted, Outcome, Transition
from anystrat.domain.tick import datetime_of
from anystrat.observability.messages import of_notice, of_outcome, without_model

if TYPE_CHECKING:
    from random import Random

    from structlog.typing import FilteringBoundLogger

    from anystrat.domain.clock import Clock
    from anystrat.domain.notices import Notice

_ROOM: Final = 256
_MINUTE_SEC: Final = 60.0
_ATTEMPTS: Final = 3
_FIRST_WAIT_SEC: Final = 1.0
_LAST_SEC: Final = 5.0


class Poster(Protocol):
    """Where messages go."""

    async def open(self) -> None:
        """Connect. An exception is a failed attempt."""
        ...

    async def tell(self, body: bytes, key: str) -> None:
        """Hand a message over, once. An exception is a failed attempt; under the same key it counts once."""
        ...

    async def close(self) -> None:
        """Give back what is held."""
        ...


class Notifier:
    """Hears outcomes and notices, as an observer and a listener; a task of its own posts what people should know.

    Hearing costs a look at the kind, and never waits: there is room for 256 messages, and what finds none is counted. A message
    is tried three times. What was left out or lost before a message, the next one says.
    """

    def __init__(
        self,
        poster: Poster,
        rules: NotifyRules,
        run: str,
        clock: Clock,
        random: Random,
        log: FilteringBoundLogger,
        counts: Counter[str] | None = None,
    ) -> None:
        self.counts = Counter() if counts is None else counts
        self._poster = poster
        self._topics = frozenset(rules.on)
        self._per_minute = rules.per_minute
        self._run = run
        self._clock = clock
        self._random = random
        self._log = log
        self._boot = f"{random.getrandbits(64):016x}"
        self._number = 0
        self._waiting: deque[tuple[int, int, Message]] = deque()
        self._something = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._under_way = 0
        self._sent_at: deque[float] = deque(maxlen=rules.per_minute)
        self._unsaid = 0
        self._killed: bool | None = None
        self._task: asyncio.Task[None] | None = None
        self._open = False

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take a shard's outcomes: an observer."""
        for outcome in outcomes:
            if type(outcome) is Transition or type(outcome) is Noted:
                self._add(of_outcome(outcome))

    def hear(self, notice: Notice) -> None:
        """Take a notice: a listener."""
        self._add(of_notice(notice))

    def models(self, left_out: Iterable[Any], degraded: Iterable[Any]) -> None:
        """Strategies whose model does not load."""
        for each in left_out:
            self._add(without_model(each.strategy_id, each.reason, rules_go_on=False))
        for each in degraded:
            self._add(without_model(each.strategy_id, each.reason, rules_go_on=True))

    async def start(self) -> None:
        """Begin to post."""
        self._task = asyncio.create_task(self._post_all(), name="notifications")

    async def stop(self) -> None:
        """Post what the rate has room for, the last message in any case, for a few seconds at most; then close."""
        task, self._task = self._task, None
        if task is not None:
            now = asyncio.get_running_loop().time()
            room = self._per_minute - sum(at > now - _MINUTE_SEC for at in self._sent_at)
            while len(self._waiting) > max(1, room):
                self._waiting.popleft()
                self._lose(1, "left_out")
            self._sent_at.clear()
            self._something.set()
            try:
                async with asyncio.timeout(_LAST_SEC):
                    await self._idle.wait()
            except TimeoutError:
                pass
            task.cancel()
            await asyncio.wait({task})
        if self._waiting or self._under_way:
            self._lose(len(self._waiting) + self._under_way, "failed")
        self._waiting.clear()
        await self._poster.close()

    def _add(self, message: Message | None) -> None:
        if message is None or message.topic not in self._topics:
            return
        if message.topic is Topic.KILL:
            # Every shard says so.
            on = message.event == "killed"
            if self._killed is on:
                return
            self._killed = on
        if len(self._waiting) >= _ROOM:
            self._lose(1, "left_out")
            return
        self._number += 1
        self._waiting.append((self._number, self._clock.now_ns(), message))
        self._idle.clear()
        self._something.set()

    def _lose(self, count: int, how: str) -> None:
        self.counts[how] += count
        self._unsaid += count

    async def _post_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                self._idle.set()
                self._something.clear()
                await self._something.wait()
            wait = self._wait(loop.time())
            if wait > 0.0:
                self._something.clear()
                try:
                    async with asyncio.timeout(wait):
                        await self._something.wait()
                except TimeoutError:
                    pass
                continue
            number, at_ns, message = self._waiting.popleft()
            self._sent_at.append(loop.time())
            self._under_way = 1
            await self._post(number, at_ns, message)
            self._under_way = 0

    def _wait(self, now: float) -> float:
        if len(self._sent_at) < self._per_minute:
            return 0.0
        return self._sent_at[0] + _MINUTE_SEC - now

    async def _post(self, number: int, at_ns: int, message: Message) -> None:
        unsaid, self._unsaid = self._unsaid, 0
        body = msgspec.json.encode(
            {
                "event": message.event,
                "severity": message.severity,
                "run": self._run,
                "at": datetime_of(at_ns).isoformat(),
                "text": message.text,
                "details": message.details,
                "left_out_before": unsaid,
            }
        )
        for attempt in range(_ATTEMPTS):
            try:
                if not self._open:
                    await self._poster.open()
                    self._open = True
                await self._poster.tell(body, f"{self._boot}-{number}")
            except Exception as error:  # noqa: BLE001  whatever it is, the service goes on
                self._open = False
                if attempt + 1 == _ATTEMPTS:
                    self._unsaid += unsaid
                    self._lose(1, "failed")
                    # Not through the notices: what cannot be told must not make more to tell.
                    self._log.warning(
                        "notification failed", event_told=message.event, error=str(error) or type(error).__name__
                    )
                    return
                await asyncio.sleep(_FIRST_WAIT_SEC * 2**attempt * (0.5 + 0.5 * self._random.random()))
            else:
                self.counts["sent"] += 1
                return
