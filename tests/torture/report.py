"""Makes the documentation's page from the numbers: `python -m tests.torture.report [RESULTS]`."""

from __future__ import annotations

from typing import Any

from tests.kept_results import ROOT, fill_page
from tests.torture import seeds
from tests.torture.tally import Tally, table

PAGE = ROOT / "docs" / "reference" / "torture.md"

_INTRODUCTION = """\
# Kills and restarts

<!-- Filled by tests/torture/report.py from tests/torture/results.json. -->

`anystrat run` is killed with `SIGKILL`, again and again, and started again. In the end everything is counted: the signals in the
sink against those of an undisturbed replay of the same ticks, content and all. `make torture` does it on your machine: 500
kills from a file to a file, 100 from NATS to NATS, after 5,000 power cuts of the journal, as many of other files, and 1,000 [simulated
histories](../explanation/simulator.md); `make torture MINUTES=10` does what fits.

## What is done

- Three strategies on eight instruments, two of them with an executor for each; one to three shards, all with work; a SQLite journal.
- A fifth of the kills comes within a second of the start: imports, recovery, the first connection. Two fifths come at a random
  moment after. Two fifths come as soon as something reaches the sink: it is there, and the journal does not know it yet.
- From NATS to NATS, a producer goes on sending messages of 1 to 16 ticks meanwhile, in four forms. The server itself is
  stopped or killed at random moments, and started again after up to 1.5 seconds on the same store.
- [Three members](../how-to/cluster.md) of a cluster share a stream: in each round one is killed in a burst of ticks, and another as soon as it has taken a
  part of the first. In every other round the first is stopped, parts and all, for longer than its lease, and then goes on.
- A listener beside the stream sees every copy of a signal that is sent, those that the stream leaves out by their `Nats-Msg-Id` as
  well. Each has to say the same as the others. (While the server is away it hears nothing.)

## What is counted

**Lost**: in the replay and not in the sink. **Invented**: in the sink and not in the replay. **Repeated**: an id that is in the
sink twice. **Conflicts**: an id with another content than in the replay, or than another copy of it. **Out of order**: a
strategy's signal on an instrument that is older than the one before it in the sink. **Ticks not accounted for**: between those
that there were and those that the run has processed or dropped, in all its lives. Anything but 0 makes the command
fail, and keeps the folder in which it happened.

Kills end a process, not the machine: what the operating system has taken over survives them. Power cuts are made on a medium that knows
which bytes and which names were synced: at any write, sync or change of a name, whatever was not is gone, or there, or a mixture of old
sectors, new ones and zeros. After each, the journal holds what it acknowledged and what was being written whole or not at all; the JSONL file of a broker,
recordings, the audit log, tokens, models, signal files and tables hold what each of them promises, and go on.

## What power cuts found

- A journal whose very making was cut off was refused as damaged: it was looked at without the rollback journal beside it.
- Zeros at the end of a recording, where its last bytes had not reached the disk, were read as a frame, and the recording was refused.
- A group of signals in a broker's JSONL file, or the last line of the audit log, that was torn in its middle and not at its end stayed: a line that is none, and
  an audit log that was refused as changed.
- The name of a new file or directory was not synced: a token that was revoked could come back, the first lines of an audit log, a model that was kept or
  a shard of a recording could be gone.
- A backtest's table and an exported journal took their name before their bytes were safe.

Each is mended; `tests/torture/test_power_cuts.py` falls when a mend is taken out again (that of the exported journal apart).
"""


def page(results: dict[str, Any]) -> str:
    machine, load = results["machine"], results["load"]
    counts = table({path: Tally(**counts) for path, counts in results["paths"].items()})
    counts += "\n\n" + seeds.table({name: seeds.Count(**count) for name, count in results["by_seed"].items()})
    where = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; "
        f"{machine['python']}; {machine['date']}. Load average {load['before']} before and {load['after']} after."
    )
    return f"{_INTRODUCTION}\n## These numbers\n\n{counts}\n\n{where}\n"


if __name__ == "__main__":
    fill_page(__file__, PAGE, page)
