"""What the control API does: commands, kill switch, reload, dead letters; each of them with its actor in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anystrat.control import models, views
from anystrat.control.audit import AuditLog, AuditRefused
from anystrat.control.stream import OutcomeStream
from anystrat.domain.errors import nearest_name
from anystrat.domain.events import Command, Operation
from anystrat.domain.lifecycle import Trigger, can

if TYPE_CHECKING:
    from anystrat.control.guard import Who
    from anystrat.domain.health import ExecutorTally
    from anystrat.domain.journal import OutboxEntry
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.runner.runner import Runner

T = TypeVar("T")

#: How long an answer waits for the ticks that were there before the command.
_PATIENCE_SEC: Final = 2.0
_LOOK_SEC: Final = 0.005
#: What is shown is this old at most, whoever asks how often.
_FRESH_SEC: Final = 0.25
_TRIGGERS: Final = {
    Operation.PAUSE: Trigger.OPERATOR_PAUSE,
    Operation.RESUME: Trigger.OPERATOR_RESUME,
    Operation.STOP: Trigger.STOP,
    Operation.ENABLE: Trigger.OPERATOR_ENABLE,
}
Reload = Callable[[], Awaitable[models.Reloaded]]


class Refused(Exception):
    """What was asked cannot be done; `code` is for programs, the text for people."""

    def __init__(self, status: int, code: str, message: str, problems: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.problems = status, code, problems


@dataclass(slots=True, eq=False)
class ControlService:
    """One running service, as its operators see it. `reload` is None where there is no file to read again."""

    runner: Runner
    stream: OutcomeStream
    audit: AuditLog
    reload: Reload | None = None
    on_action: Callable[[str, str, Mapping[str, Any]], object] = lambda *_: None
    _views: dict[str, tuple[float, Any]] = field(default_factory=dict)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    # -- looking ---------------------------------------------------------------------------------------------------

    def view(self, what: str, make: Callable[[Runner], T]) -> T:
        """What `make` makes, or made a moment ago: many who ask cost no more than one."""
        now = asyncio.get_running_loop().time()
        at, found = self._views.get(what, (-_FRESH_SEC, None))
        if found is None or now - at >= _FRESH_SEC:
            found = make(self.runner)
            self._views[what] = (now, found)
        kept: T = found
        return kept

    def drop_counts(self) -> dict[str, int]:
        """Dropped signals by reason, of all executors."""
        counts: dict[str, int] = {}
        tallies: Sequence[ExecutorTally] = list(self.runner.executors())
        for tally in tallies:
            for reason, count in tally.drops.items():
                counts[reason] = counts.get(reason, 0) + count
        return counts

    def executors(self, strategy: str | None, broker: str | None = None) -> list[tuple[int, StrategyExecutor]]:
        """The executors that are meant. Raises `Refused` where there is none."""
        everyone = list(views.executors_of(self.runner))
        if strategy is None:
            return everyone
        ids = list(dict.fromkeys(each.strategy_id for _, each in everyone))
        mine = [each for each in everyone if each[1].strategy_id == strategy]
        if not mine:
            raise Refused(404, "unknown_strategy", f"there is no strategy {strategy!r}{_instead(strategy, ids)}")
        chosen = [each for each in mine if broker in {None, each[1].broker}]
        if not chosen:
            brokers = [each.broker for _, each in mine]
            raise Refused(
                404, "unknown_broker", f"{strategy!r} has no executor on {broker!r}{_instead(str(broker), brokers)}"
            )
        return chosen

    async def dead_letters(self, broker: str | None) -> Sequence[OutboxEntry]:
        """All of them, or a broker's. Raises `Refused`."""
        self._open()
        self._known_broker(broker)
        return await self.runner.dead_letters(broker)

    # -- doing -----------------------------------------------------------------------------------------------------

    async def command(
        self, who: Who, operation: models.Operated, strategy: str | None, broker: str | None
    ) -> models.Commanded:
        """Let a command take its place among the ticks, and see what came of it. Raises `Refused`."""
        self._open()
        wanted, meant = Operation(operation), self.executors(strategy, broker)
        trigger = _TRIGGERS[wanted]
        able = [executor for _, executor in meant if can(executor.state, trigger)]
        if not able and strategy is not None:
            states = ", ".join(f"{each.state.name} on {each.broker}" for _, each in meant)
            raise Refused(409, "not_possible", f"{operation} cannot be done: {strategy!r} is {states}")
        details = {"operation": operation, "strategy": strategy, "broker": broker}
        await self.write(who, operation, details)
        before = {id(executor): (executor.state, executor.last_transition_ns) for executor in able}
        self.runner.command(Command(wanted, self.runner.now_ns, strategy, broker))
        done = await self._moved(able, before)
        self._views.clear()
        return models.Commanded(operation=operation, done=done, strategies=views.strategies(self.runner, meant))

    async def _moved(self, able: list[StrategyExecutor], before: Mapping[int, tuple[Any, int]]) -> bool:
        """Whether all of them have made a step since, after waiting for that a little."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SEC
        while any((each.state, each.last_transition_ns) == before[id(each)] for each in able):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_SEC)
        return True

    def kill_switch(self) -> models.Kill:
        """How it is, and what waits behind it."""
        queued = sum(each.queued for each in self.runner.health().brokers)
        return models.Kill(on=self.runner.killed, queued=queued)

    async def kill(self, who: Who, *, on: bool, reason: str) -> models.Kill:
        """Turn it. On works first and is written down then: no full disk stands before it. Raises `Refused`."""
        self._open()
        details = {"on": on, "reason": reason}
        if on:
            await self.runner.kill(on=True)
            with suppress(Refused):
                await self.write(who, "kill", details)
        else:
            await self.write(who, "kill", details)
            await self.runner.kill(on=False)
        self._views.clear()
        return self.kill_switch()

    def reduce_only(self) -> models.ReduceOnly:
        """How it is. Raises `Refused` where there is no account."""
        limits, ordered = self.runner.account, self.runner.reduce_only
        if limits is None or ordered is None:
            raise Refused(
                409,
                "no_account",
                "reduce-only is a mode of the account: add `account: {}` to the configuration, and restart",
            )
        return models.ReduceOnly(on=limits.reduce_only or ordered, configured=limits.reduce_only)

    async def let_reduce_only(self, who: Who, *, on: bool, reason: str) -> models.ReduceOnly:
        """Turn it; it takes its place behind the ticks that wait. Raises `Refused`."""
        self._open()
        if self.reduce_only().configured and not on:
            raise Refused(
                409, "not_possible", "the configuration says `account.reduce_only: true`: change it there, and restart"
            )
        await self.write(who, "reduce only", {"on": on, "reason": reason})
        turning = asyncio.ensure_future(self.runner.let_reduce_only(on=on))
        done, _ = await asyncio.wait({turning}, timeout=_PATIENCE_SEC)
        self._views.clear()
        return self.reduce_only().model_copy(update={"done": bool(done)})

    async def revive(self, who: Who, order: models.ReplayIds | models.ReplayBroker | models.ReplayAll) -> int:
        """Have dead letters sent again; how many. Raises `Refused`."""
        self._open()
        broker = order.broker if isinstance(order, models.ReplayBroker) else None
        letters = await self.dead_letters(broker)
        if isinstance(order, models.ReplayIds):
            known = {each.signal.signal_id for each in letters}
            missing = [each for each in order.ids if each not in known]
            if missing:
                raise Refused(404, "unknown_signal", f"no dead letter has the id {missing[0]!r}")
            letters = [each for each in letters if each.signal.signal_id in set(order.ids)]
        chosen: dict[str, list[int]] = {}
        for each in letters:
            chosen.setdefault(each.signal.broker, []).append(each.signal.number)
        await self.write(who, "replay dead letters", {broker: len(numbers) for broker, numbers in chosen.items()})
        lifetime = order.expires_in_sec
        expires_ns = 0 if lifetime is None else self.runner.now_ns + round(lifetime * 1e9)
        return sum([await self.runner.revive(name, numbers, expires_ns) for name, numbers in chosen.items()])

    async def reloaded(self, who: Who) -> models.Reloaded:
        """Read the configuration again. Raises `Refused`; the old one is in force then."""
        self._open()
        if self.reload is None:
            raise Refused(
                409, "not_possible", "this service was not started from a file: there is nothing to read again"
            )
        if self._reloading.locked():
            raise Refused(409, "busy", "another reload is under way")
        async with self._reloading:
            await self.write(who, "reload", {})
            made = await self.reload()
        self._views.clear()
        await self.write(who, "reloaded", {"changes": [change.model_dump() for change in made.changes]})
        return made

    async def write(self, who: Who, action: str, details: Mapping[str, Any]) -> None:
        """Into the audit log, durable on return, and into the service's. Raises `Refused` where it cannot be written."""
        self.on_action(who.name, action, details)
        async with self._writing:
            try:
                await asyncio.to_thread(
                    self.audit.append, self.runner.now_ns, who.name, who.client, action, dict(details)
                )
            except (OSError, AuditRefused) as error:
                raise Refused(503, "no_audit", f"the audit log cannot be written: {error}") from error

    def _open(self) -> None:
        if not self.runner.open:
            raise Refused(
                503, "not_running", f"the service is {self.runner.phase.value}: its journal is not open, try again"
            )

    def _known_broker(self, broker: str | None) -> None:
        if broker is not None and broker not in self.runner.deliveries:
            known = list(self.runner.deliveries)
            raise Refused(404, "unknown_broker", f"there is no broker {broker!r}{_instead(broker, known)}")


def _instead(name: str, known: Sequence[str]) -> str:
    near = nearest_name(name, known)
    return f"; did you mean {near!r}?" if near else f" (there are: {', '.join(known) or 'none'})"
