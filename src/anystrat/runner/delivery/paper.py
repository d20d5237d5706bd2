"""Signals to `paper`: the engine fills them itself, so that they are settled as soon as they are accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anystrat.domain.health import Breaker, BrokerHealth
from anystrat.domain.journal import Fate, Settled
from anystrat.runner.delivery.accounts import DeliveryAccounts
from anystrat.runner.delivery.queue import runs

if TYPE_CHECKING:
    from anystrat.domain.journal import Journal, OutboxSignal

_AT_ONCE: Final = 4_096


class PaperDelivery:
    """One broker of type `paper`. Nothing leaves the process, so that the kill switch and a drain find nothing to hold."""

    def __init__(self, broker: str, journal: Journal) -> None:
        self.broker = broker
        self._journal = journal
        self._accounts = DeliveryAccounts()
        self._settled = 0
        self._accepted = 0
        self._draining = False
        self._something = asyncio.Event()
        self._finished = asyncio.Event()

    async def accept(self, signals: Sequence[OutboxSignal]) -> None:
        """Take over signals that are in the journal, in order."""
        if signals:
            self._accepted = max(self._accepted, signals[-1].number)
            self._accounts.arrived(self._accepted, asyncio.get_running_loop().time())
            self._something.set()

    async def run(self) -> None:
        """Settle what is accepted, from what an earlier process left on; until `drain` or cancelled."""
        try:
            await self._begin()
            while True:
                self._something.clear()
                if self._accepted > self._settled:
                    first, last = self._settled + 1, self._accepted
                    await self._ack([(first, last)])
                    self._settled = last
                elif self._draining:
                    return
                else:
                    await self._something.wait()
        finally:
            self._finished.set()

    async def drain(self, deadline_sec: float) -> None:
        """Settle what is accepted by now."""
        self._draining = True
        self._something.set()
        try:
            async with asyncio.timeout(deadline_sec):
                await self._finished.wait()
        except TimeoutError:
            pass

    def kill(self) -> None:
        """Nothing is sent anyway."""

    def unkill(self) -> None:
        """Nothing was held back."""

    def recall(self) -> None:
        """Paper signals never come to be dead letters."""

    def health(self) -> BrokerHealth:
        """How the broker is, now."""
        now = asyncio.get_running_loop().time()
        return self._accounts.health(self.broker, "paper", Breaker.CLOSED, self._settled + 1, now)

    async def _begin(self) -> None:
        counts = (await self._journal.fates()).get(self.broker, {})
        last = sum(counts.values())
        unsettled = counts.get(Fate.PENDING, 0) + counts.get(Fate.SENDING, 0)
        self._accounts.counted(last, unsettled, asyncio.get_running_loop().time())
        while self._settled < last:
            entries = await self._journal.unsettled(self.broker, self._settled, _AT_ONCE)
            left = [entry.signal for entry in entries if entry.signal.number <= last]
            await self._ack(list(runs(left)))
            self._settled = left[-1].number if len(left) == _AT_ONCE else last

    async def _ack(self, numbers: Sequence[tuple[int, int]]) -> None:
        if numbers:
            await self._journal.settle([Settled(self.broker, first, last, Fate.ACKED) for first, last in numbers])
            self._accounts.settle(Fate.ACKED, sum(last - first + 1 for first, last in numbers))
