"""A running service reads its configuration again when a table that its rows come from says that it changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.postgres_watch import PostgresWatch as PostgresWatch  # noqa: PLC0414  callers annotate with it
from anystrat.control.service import Refused
from anystrat.domain.health import Phase

if TYPE_CHECKING:
    from anystrat.bootstrap.reloading import Reloader
    from anystrat.domain.configuration import Configuration
    from anystrat.runner.runner import Runner

_LOOK_SEC: Final = 0.05


def table_watches(configuration: Configuration, runner: Runner, reload: Reloader, log: Any) -> list[PostgresWatch]:
    """What to run beside the runner, one a channel of a database. What cannot be taken over is logged, and changes nothing.

    Raises `MissingExtra`.
    """

    async def changed() -> None:
        while runner.phase in {Phase.STARTING, Phase.RECOVERING}:  # noqa: ASYNC110  nobody says when that is over
            await asyncio.sleep(_LOOK_SEC)
        problems: list[str] = []
        try:
            done = await reload()
        except Refused as refusal:
            reason = str(refusal)
            problems = [f"{each['path']}: {each['message']}" for each in refusal.problems]
        except Exception as error:  # noqa: BLE001  whatever is wrong with a configuration, the run goes on
            reason = f"{type(error).__name__}: {error}"
        else:
            if done.changes:
                log.info("configuration taken over", changes=[f"{each.name}: {each.how}" for each in done.changes])
            return
        log.error("configuration not taken over", reason=reason, problems=problems)

    def lost(words: str) -> None:
        log.warning("rows are not watched", reason=words)

    return [
        PostgresWatch(each.url.reveal(), each.channel, changed, lost) for each in dict.fromkeys(configuration.watches)
    ]
