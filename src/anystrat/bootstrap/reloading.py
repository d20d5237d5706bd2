"""A running service reads its configuration again: all of it is taken over, or nothing and the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anystrat.bootstrap.models import ModelWatch, models_directory
from anystrat.bootstrap.running import build_engines, run_fingerprint
from anystrat.control.models import Change, Reloaded
from anystrat.control.service import Refused
from anystrat.domain.errors import AnystratError, ConfigurationError, SnapshotRefused
from anystrat.domain.events import Reconfigured
from anystrat.engine.snapshot import identity
from anystrat.runner.plan import plan_shards

if TYPE_CHECKING:
    from anystrat.bootstrap import Wiring
    from anystrat.bootstrap.observing import Observation
    from anystrat.domain.configuration import Configuration, StrategyConfig
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine
    from anystrat.runner.plan import ShardPlan
    from anystrat.runner.runner import Runner
    from anystrat.strategies.catalog import Catalog

#: What says nothing of how the service works.
_ASIDE: Final = frozenset({"strategies", "directory", "files"})


@dataclass(frozen=True, slots=True)
class _Built:
    """The new configuration, ready to take over."""

    configuration: Configuration
    plan: ShardPlan
    engines: list[Engine]
    wiring: Wiring


class Reloader:
    """Reads `path` again for a runner of `configured`. Strategies can change; for anything else a restart is needed.

    `overlaid` lays over what was read what the command line says.
    """

    def __init__(
        self,
        path: Path,
        catalog: Catalog,
        configured: Configuration,
        runner: Runner,
        *,
        compiler: Compiler | None = None,
        observation: Observation | None = None,
        overlaid: Any = lambda configuration: configuration,
    ) -> None:
        self._path = path
        self._catalog = catalog
        self._configured = configured
        self._runner = runner
        self._compiler = compiler
        self._observation = observation
        self._overlaid = overlaid
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self) -> Reloaded:
        """Take it over, and say what changed. Raises `Refused`, with the old one in force."""
        async with self._one_at_a_time:
            return await self._reload()

    async def _reload(self) -> Reloaded:
        # Beside the ticks: loading may take long, and nothing of the running service is touched.
        built = await asyncio.to_thread(self._built)
        changes = self._changes(built)
        files = [str(each) for each in built.configuration.files]
        if changes:
            await self._take_over(built, changes)
        self._configured = built.configuration
        return Reloaded(changes=changes, files=files)

    def _built(self) -> _Built:
        from anystrat.bootstrap import default_wiring
        from anystrat.config import load_configuration

        try:
            found: Configuration = self._overlaid(load_configuration(self._path, self._catalog))
            self._only_strategies(found)
            wiring = default_wiring(self._catalog, model_store=models_directory(found))
            plan = plan_shards(
                found.strategies, found.run.shards, found.run.sharding, together=found.account is not None
            )
            engines = build_engines(found, wiring, plan)
        except ConfigurationError as error:
            raise Refused(
                409,
                "invalid_configuration",
                "the configuration is not valid; the old one stays in force",
                _problems(error),
            ) from error
        except (AnystratError, OSError) as error:
            raise Refused(409, "invalid_configuration", f"{error}; the old configuration stays in force") from error
        self._fitting(plan, engines, wiring)
        for engine in engines:
            engine.use_compiler(self._compiler)
        return _Built(found, plan, engines, wiring)

    def _only_strategies(self, found: Configuration) -> None:
        names = [each.name for each in fields(found) if each.name not in _ASIDE]
        changed = [name for name in names if getattr(found, name) != getattr(self._configured, name)]
        if changed:
            raise Refused(
                409,
                "needs_restart",
                f"{', '.join(changed)} changed, which only a restart can take over; the old configuration stays in force",
            )

    def _fitting(self, plan: ShardPlan, engines: Sequence[Engine], wiring: Wiring) -> None:
        """What a running service cannot take over is refused."""
        runner = self._runner
        known = {(each.strategy_id, each.reason) for each in wiring.left_out}
        if known:
            said = "; ".join(f"{strategy}: {why}" for strategy, why in sorted(known))
            raise Refused(409, "model_refused", f"a model does not load: {said}; the old configuration stays in force")
        reasons = []
        brokers = {each.broker for engine in engines for each in engine.executors} - set(runner.deliveries)
        if brokers:
            reasons.append(f"nothing is sent to {', '.join(sorted(brokers))} yet")
        fresh = set(plan.shard_of) - set(runner.plan.shard_of)
        if fresh:
            reasons.append(f"the source was not asked for instrument {', '.join(map(str, sorted(fresh)[:5]))}")
        moved = [token for token, shard in plan.shard_of.items() if runner.plan.shard_of.get(token, shard) != shard]
        if moved:
            reasons.append(f"instrument {moved[0]} would go to another shard")
        if reasons:
            raise Refused(
                409,
                "needs_restart",
                f"only a restart can take this over: {'; '.join(reasons)}. The old configuration stays in force",
            )

    def _changes(self, built: _Built) -> list[Change]:
        """What is different, row by row, in the order of the new rows; those that went, at the end."""
        before, after = _taking_part(self._configured), _taking_part(built.configuration)
        held = self._identities()
        new = {identity(each) for engine in built.engines for each in engine.executors}
        changes = []
        for name, row in after.items():
            if name not in before:
                changes.append(Change(what="strategy", name=name, how="added"))
            elif before[name] != row == replace(before[name], isolation=row.isolation):
                changes.append(Change(what="strategy", name=name, how="goes on, with another isolate"))
            elif any(key not in new for key in held.get(name, ())) or row != before[name]:
                changes.append(Change(what="strategy", name=name, how=_difference(before[name], row)))
        changes += [
            Change(what="strategy", name=name, how="disabled" if name in _all(built.configuration) else "removed")
            for name in before
            if name not in after
        ]
        if not changes and list(before) != list(after):
            changes.append(Change(what="strategies", name="", how="in another order"))
        return changes

    def _identities(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for shard in self._runner.shards:
            for each in shard.driver.engine.executors:
                found.setdefault(each.strategy_id, []).append(identity(each))
        return found

    async def _take_over(self, built: _Built, changes: Sequence[Change]) -> None:
        runner = self._runner
        if runner.recorded:
            raise Refused(
                409, "recorded", "this run is recorded, and a recording is of one configuration: stop it, and record into "
                "another directory",
            )  # fmt: skip
        before = _taking_part(self._configured)
        names = {each.name for each in changes if each.what == "strategy"}
        event = Reconfigured(
            runner.now_ns,
            tuple(each.name for each in changes if each.how == "added"),
            tuple(each.name for each in changes if each.how in {"removed", "disabled"}),
            tuple(sorted(names & set(before) & set(_taking_part(built.configuration)))),
            runner.fingerprint,
            run_fingerprint(built.plan, built.engines),
        )
        try:
            await runner.reconfigure(built.plan, built.engines, event, ModelWatch(built.wiring.models, built.engines))
        except SnapshotRefused as error:
            raise Refused(409, "model_refused", f"{error}; the old configuration stays in force") from error
        if self._observation is not None:
            fresh = [each for engine in built.engines for each in engine.executors if each.strategy_id in names]
            self._observation.outcome_log.registered(fresh)


def _taking_part(configuration: Configuration) -> dict[str, StrategyConfig]:
    return {row.strategy_id: row for row in configuration.strategies if row.enabled}


def _all(configuration: Configuration) -> set[str]:
    return {row.strategy_id for row in configuration.strategies}


def _difference(before: StrategyConfig, after: StrategyConfig) -> str:
    """Which keys of a row are different, as a person writes them."""
    found: list[str] = []
    for each in fields(before):
        old, new = getattr(before, each.name), getattr(after, each.name)
        if old == new:
            continue
        inner = [
            f"{each.name}.{one.name}"
            for one in (fields(old) if hasattr(old, "__dataclass_fields__") and type(old) is type(new) else ())
            if getattr(old, one.name) != getattr(new, one.name)
        ]
        found += inner or [each.name]
    return f"begins anew, with other {', '.join(found) or 'costs'}; its positions are not kept"


def _problems(error: ConfigurationError) -> list[Mapping[str, Any]]:
    keys = ("file", "line", "path", "message", "found", "allowed", "nearest")
    return [{key: getattr(each, key) for key in keys} for each in error.problems]
