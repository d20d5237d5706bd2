"""A run sends through a publisher that is no part of anystrat, named in its configuration."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from anystrat.bootstrap import build_engine, default_wiring
from anystrat.bootstrap.running import RunOptions, build_runner, system_clock
from anystrat.config import configuration_from_mapping
from anystrat.domain.delivery import Rejected
from anystrat.domain.journal import Fate
from anystrat.domain.signal import EmittedSignal
from anystrat.strategies.builtin import builtin_catalog
from anystrat.strategies.catalog import PublisherType


@dataclass(frozen=True)
class DeskOptions:
    account: str


class Desk:
    """Refuses what sells, and fails once."""

    def __init__(self, options: DeskOptions) -> None:
        self.account = options.account
        self.published: list[EmittedSignal] = []
        self.failed = False

    async def publish(self, signal: EmittedSignal, *, strategy_id: str, broker: str) -> None:
        if not self.failed:
            self.failed = True
            raise ValueError("not yet")
        if signal.signal_type == "SELL":
            raise Rejected("no shorts")
        self.published.append(signal)


def test_every_signal_comes_to_its_fate_through_a_publisher_of_somebody_elses() -> None:
    desks: list[Desk] = []

    def build(options: DeskOptions) -> Desk:
        desks.append(Desk(options))
        return desks[-1]

    catalog = builtin_catalog().copy()
    catalog.register(PublisherType("desk", DeskOptions, build, "A desk.", "elsewhere"))
    configuration = configuration_from_mapping(
        {
            "source": {"type": "synthetic", "ticks": 2_000, "seed": 3, "instruments": [1, 2], "pace": "max"},
            "brokers": {"out": {"type": "desk", "account": "A-1", "backoff_sec": 0.01}},
            "strategies": [
                {
                    "id": "s",
                    "strategy_type": "momentum",
                    "parameters": {"lookback_periods": 5, "threshold": 0.0005},
                    "instruments": [1, 2],
                    "brokers": ["out"],
                }
            ],
        },
        catalog,
    )
    assert build_engine(configuration, default_wiring(catalog)).executors

    async def main() -> dict[Fate, int]:
        runner = build_runner(configuration, default_wiring(catalog), RunOptions(system_clock()))
        store = runner._parts.journal
        settled: dict[Fate, int] = {}
        close = store.close

        async def closing() -> None:
            settled.update((await store.fates())["out"])
            await close()

        store.close = closing  # type: ignore[method-assign]
        await runner.run()
        return settled

    fates = asyncio.run(main())

    (desk,) = desks
    assert desk.account == "A-1"
    assert set(fates) == {Fate.ACKED, Fate.REJECTED}
    assert len(desk.published) == fates[Fate.ACKED] > 10
    assert len({signal.signal_id for signal in desk.published}) == len(desk.published)
    assert {(signal.strategy_id, signal.broker) for signal in desk.published} == {("s", "out")}
