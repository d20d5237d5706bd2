"""From a sink's verdicts on a group to the fates of its signals: who is done, who is tried again, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from anystrat.domain.delivery import Neither, Reconcilable, SendResult, Verdict
from anystrat.domain.journal import Fate, Settled
from anystrat.runner.delivery.queue import OutboxWindow, Tried, runs

if TYPE_CHECKING:
    from anystrat.domain.delivery import Guarantee
    from anystrat.domain.journal import OutboxSignal
    from anystrat.runner.delivery.backoff import Backoff

#: A sink's answer is kept this long.
_LONGEST_REASON: Final = 500
_LONGEST_PATIENCE_SEC: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of one signal. PENDING: it goes back and is tried again; SENDING: as well, but the sink may have it."""

    signal: OutboxSignal
    fate: Fate
    reason: str = ""
    attempts: int = 0


@dataclass(slots=True)
class Rulings:
    """What became of a group, in order. `patience_sec` is for how long the sink asked to be left alone."""

    of: list[Ruling] = field(default_factory=list)
    patience_sec: float = 0.0

    def add(self, signal: OutboxSignal, fate: Fate, reason: str = "", attempts: int = 0) -> None:
        """One more."""
        self.of.append(Ruling(signal, fate, reason, attempts))

    def settled(self, broker: str) -> list[Settled]:
        """What the journal is told; what may be with the sink stays SENDING there."""
        return [
            Settled(broker, first, last, fate, reason, attempts)
            for fate, reason, attempts, signals in self._alike()
            if fate is not Fate.SENDING
            for first, last in runs(signals)
        ]

    def signals(self, *fates: Fate) -> list[OutboxSignal]:
        """Those that came to one of these."""
        return [each.signal for each in self.of if each.fate in fates]

    def _alike(self) -> Iterator[tuple[Fate, str, int, list[OutboxSignal]]]:
        """Neighbours that share everything, as one."""
        group: list[OutboxSignal] = []
        before: Ruling | None = None
        for each in self.of:
            if before is not None and (before.fate, before.reason, before.attempts) != (
                each.fate,
                each.reason,
                each.attempts,
            ):
                yield before.fate, before.reason, before.attempts, group
                group = []
            group.append(each.signal)
            before = each
        if before is not None:
            yield before.fate, before.reason, before.attempts, group


@dataclass(frozen=True, slots=True)
class Judge:
    """The rules. `attempts` is how often a signal is tried at most."""

    guarantee: Guarantee
    attempts: int
    backoff: Backoff

    def judge(
        self, window: OutboxWindow, group: Sequence[OutboxSignal], results: Sequence[SendResult], now: float
    ) -> Rulings:
        """What becomes of signals that were sent."""
        rulings = Rulings()
        for signal, result in zip(group, results, strict=True):
            tried = window.tried.get(signal.number)
            attempts = (tried.attempts if tried is not None else 0) + 1
            if result.verdict is Verdict.ACKED:
                rulings.add(signal, Fate.ACKED, attempts=attempts)
            elif result.verdict is Verdict.REJECTED:
                rulings.add(signal, Fate.REJECTED, reason_text(result.reason), attempts)
            elif result.verdict is Verdict.FAILED and result.retry_after_sec > 0:
                patience = min(_LONGEST_PATIENCE_SEC, result.retry_after_sec)
                rulings.patience_sec = max(rulings.patience_sec, patience)
                self._again(window, signal, rulings, result.reason, due=now + patience)
            elif result.verdict is Verdict.FAILED:
                self._failed(window, signal, rulings, result.reason, now)
            else:
                self._unknown(window, signal, rulings, result.reason, now)
        return rulings

    def not_sent(self, window: OutboxWindow, group: Sequence[OutboxSignal], reason: str) -> Rulings:
        """What becomes of signals of which surely none was sent: nothing."""
        rulings = Rulings()
        for signal in group:
            self._again(window, signal, rulings, reason, due=0.0)
        return rulings

    def found(
        self, window: OutboxWindow, group: Sequence[OutboxSignal], answers: Sequence[bool | None], now: float
    ) -> Rulings:
        """What becomes of doubtful signals that the sink was asked about."""
        rulings = Rulings()
        for signal, answer in zip(group, answers, strict=True):
            tried = window.tried[signal.number]
            if answer:
                rulings.add(signal, Fate.ACKED, "found at the sink", tried.attempts + 1)
            elif answer is None:
                tried.asked += 1
                if tried.asked >= self.attempts:
                    rulings.add(signal, Fate.UNKNOWN, "the sink cannot say whether it has it", tried.attempts + 1)
                else:
                    tried.due = now + self.backoff.delay(tried.asked)
                    rulings.add(signal, Fate.SENDING)
            else:
                tried.doubtful = False
                self._failed(window, signal, rulings, "not found at the sink", now)
        return rulings

    def _failed(self, window: OutboxWindow, signal: OutboxSignal, rulings: Rulings, reason: str, now: float) -> None:
        tried = window.tried.setdefault(signal.number, Tried())
        tried.attempts += 1
        if tried.attempts >= self.attempts:
            rulings.add(signal, _given_up(tried), reason_text(reason), tried.attempts)
        else:
            self._again(window, signal, rulings, reason, due=now + self.backoff.delay(tried.attempts))

    def _unknown(self, window: OutboxWindow, signal: OutboxSignal, rulings: Rulings, reason: str, now: float) -> None:
        if isinstance(self.guarantee, Neither):
            tried = window.tried.get(signal.number, Tried())
            rulings.add(signal, Fate.UNKNOWN, reason_text(reason), tried.attempts + 1)
            return
        tried = window.tried.setdefault(signal.number, Tried())
        tried.doubtful = True
        if isinstance(self.guarantee, Reconcilable):
            tried.asked, tried.due = 0, now + self.backoff.delay(tried.attempts + 1)
            rulings.add(signal, Fate.SENDING, reason_text(reason))
        else:
            self._failed(window, signal, rulings, reason, now)

    @staticmethod
    def _again(window: OutboxWindow, signal: OutboxSignal, rulings: Rulings, reason: str, *, due: float) -> None:
        tried = window.tried.get(signal.number) or Tried()
        if due:
            window.tried[signal.number] = tried
        tried.due = due
        # Once in doubt, a signal stays in doubt: the journal goes on saying SENDING.
        fate = Fate.SENDING if tried.doubtful else Fate.PENDING
        rulings.add(signal, fate, reason_text(reason), tried.attempts)


def reason_text(reason: str) -> str:
    """A reason of bounded length."""
    return reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"


def error_text(error: BaseException) -> str:
    """An exception as a reason."""
    return reason_text(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _given_up(tried: Tried) -> Fate:
    """DEAD is said only of what the sink surely does not have."""
    return Fate.UNKNOWN if tried.doubtful else Fate.DEAD
