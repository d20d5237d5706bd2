"""An operator lets only those signals pass that reduce a position: in force from its place among the ticks, and kept."""

from __future__ import annotations

from anystrat.control.audit import verified
from anystrat.domain.events import Command, Operation
from anystrat.domain.inputs import decoded_inputs

from .desk import Desk, told

ROW = {
    "id": "up",
    "strategy_type": "momentum",
    "parameters": {"lookback_periods": 2, "threshold": 0.0001},
    "instruments": [1],
}


def test_it_is_audited_an_input_among_the_ticks_and_kept_over_a_restart(tmp_path):
    journal = {"type": "sqlite", "path": str(tmp_path / "journal.db")}

    def desk():
        return Desk(tmp_path, rows=[ROW], journal=journal, account={})

    async def turned_on():
        async with desk() as first:
            await first.ticks(100, 110, 120)
            answer = await first.api.put("/v1/reduce-only", json={"on": True, "reason": "news"})
            assert answer.json() == {"on": True, "configured": False, "done": True}
            await first.ticks(130)
            assert (await first.api.get("/v1/drops")).json()["counts"] == {"account_reduce_only": 1}
            assert (await first.api.get("/v1/status")).json()["reduce_only"] is True
            (entry,) = verified(first.places.audit)
            assert (entry.actor, entry.action, entry.details) == ("ada", "reduce only", {"on": True, "reason": "news"})
            kept = [one async for _, _, data in first.runner._parts.journal.inputs(0) for one in decoded_inputs(data)]
            (place,) = [k for k, one in enumerate(kept) if isinstance(one, Command)]
            assert kept[place].operation is Operation.REDUCE_ONLY
            assert 0 < place < len(kept) - 1

    async def restarted():
        async with desk() as again:
            assert (await again.api.get("/v1/reduce-only")).json()["on"] is True
            again.second = 4
            await again.ticks(140)
            executor = again.runner.shards[0].driver.engine.executors[0]
            assert executor.counters()["drops"] == {"account_reduce_only": 2}
            signals = executor.counters()["signals"]
            await again.ticks(130)
            assert executor.counters()["signals"] == signals + 1, "what reduces passes"
            assert (await again.api.put("/v1/reduce-only", json={"on": False})).json()["on"] is False
            await again.ticks(150)
            assert executor.counters()["signals"] == signals + 2

    told(turned_on)
    told(restarted)


def test_it_is_refused_where_there_is_no_account_or_the_configuration_says_so_already(tmp_path):
    async def story():
        async with Desk(tmp_path) as desk:
            answer = await desk.api.put("/v1/reduce-only", json={"on": True})
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_account")
        async with Desk(tmp_path, rows=[ROW], account={"reduce_only": True}) as desk:
            assert (await desk.api.get("/v1/reduce-only")).json()["configured"] is True
            answer = await desk.api.put("/v1/reduce-only", json={"on": False})
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_possible")

    told(story)
