"""`anystrat run` of a configuration with `cluster`: this machine's member, which runs parts until it is stopped."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from anystrat.cli.failures import INTERRUPTED, TERMINATED, Terminated, failed

if TYPE_CHECKING:
    from types import FrameType

    from anystrat.bootstrap.clustering import LeasedPart
    from anystrat.cli.run import Asked
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.protocols import Compiler
    from anystrat.runner.member import Member
    from anystrat.runner.workers import Workers
    from anystrat.strategies.catalog import Catalog


def run_member(asked: Asked, catalog: Catalog, configured: Configuration, compiler: Compiler | None) -> dict[str, Any]:
    """Be a member until a signal comes; what ran here last. A second signal ends it, and all parts, on the spot."""
    from anystrat.bootstrap.clustering import import_what_parts_need, open_member, part_configuration
    from anystrat.bootstrap.running import system_clock
    from anystrat.cli import run
    from anystrat.observability.records import logger

    import_what_parts_need(configured)
    if asked.record is not None:
        raise click.UsageError(
            "--record keeps what one process sees, and a part may go on elsewhere: leave it out; "
            "`anystrat journal export --what ticks` has the inputs of a part"
        )
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def work(part: LeasedPart) -> int:
        """In the part's own process."""
        for number, handler in before.items():
            signal.signal(number, handler)

        def overlaid(found: Configuration) -> Configuration:
            return part_configuration(asked.overlaid(found), part.number)

        try:
            own = part_configuration(configured, part.number)
            run.run_service(asked, catalog, own, compiler, overlaid=overlaid, part=part)
        except Terminated:
            return 0  # it was to be drained before it ran: there is nothing that failed
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  said in words, as in `main`
            return failed(error, asked.settings)
        return 0

    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    member = open_member(
        configured,
        work,
        log=logger(configured.log.level, json=configured.log.format == "json", clock=system_clock()),
        wakeup=reading,
        inherited=(writing,),
    )
    with stopped_by_signals(member, writing):
        member.run()
    return {"schema_version": 1, "run": configured.run.name, "member": member.name, "parts_run": member.parts_run}


@contextmanager
def stopped_by_signals(parent: Member | Workers, wakeup: int) -> Generator[None]:
    """The first signal drains all parts, the second ends them with this process, on the spot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, _frame: FrameType | None) -> None:
        if parent.stopping:
            # The parts see that it is gone, and end as well.
            os._exit(INTERRUPTED if number == signal.SIGINT else TERMINATED)
        parent.stop()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    woken = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
