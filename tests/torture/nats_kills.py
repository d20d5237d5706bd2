"""kill -9 at random moments of a run from NATS to NATS, whose server is stopped or killed and started meanwhile as well."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import nats
import numpy as np
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from anystrat.adapters.tick_files.merge import sliced
from anystrat.domain.columns import TickColumns, joined
from anystrat.testing.messages import columns_message, json_lines_message, json_message, packed_message
from anystrat.testing.servers import NatsServer
from tests.streams import handled, make_stream, stored
from tests.torture import project
from tests.torture.tally import Tally, counted

_FORMS = (json_message, columns_message, json_lines_message, packed_message)
_MOST_TICKS = 2_000_000
#: Of event time, which nobody waits for: few, so that signals are seldom too close to each other.
_TICKS_PER_SEC = 500
#: Messages of the producer, a second; each has 1 to 16 ticks.
_MESSAGES_PER_SEC = 300
_LEAST_MESSAGES = 300
#: Longer than any torture: an id that comes again is left out, whenever.
_WINDOW_SEC = 7 * 86_400
_END_SEC = 120
_RETRY_SEC = 0.05
_DOWN = (NatsError, OSError, TimeoutError)


async def _expected(_error: Exception) -> None:
    """What a client without this would write on standard error."""


class Producer:
    """Sends ticks into the stream, each message once and in order, whatever happens to the server."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._ticks = chunks(seed)
        self._ending = asyncio.Event()
        self.sent: list[TickColumns] = []

    def end(self) -> None:
        """Finish what is begun, and no more."""
        self._ending.set()

    async def run(self) -> None:
        number = 0
        waiting: tuple[TickColumns, bytes] | None = None
        while True:
            with suppress(*_DOWN):
                client = await nats.connect(
                    self._url,
                    error_cb=_expected,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=_RETRY_SEC,
                )
                try:
                    context = client.jetstream(timeout=2)
                    while waiting is not None or number < _LEAST_MESSAGES or not self._ending.is_set():
                        if waiting is None:
                            block = next(self._ticks)
                            waiting = block, _FORMS[number % len(_FORMS)](block)
                        # What was stored and not acknowledged is left out when it comes again.
                        await context.publish("ticks.all", waiting[1], headers={"Nats-Msg-Id": f"ticks-{number}"})
                        self.sent.append(waiting[0])
                        number, waiting = number + 1, None
                        await asyncio.sleep(1 / _MESSAGES_PER_SEC)
                    return
                finally:
                    await client.close()
            await asyncio.sleep(_RETRY_SEC)


def chunks(seed: int) -> Iterator[TickColumns]:
    """Synthetic ticks, 1 to 16 at a time."""
    rng = np.random.Generator(np.random.PCG64(seed))
    for block in project.ticks(seed, _MOST_TICKS, _TICKS_PER_SEC):
        at = 0
        while at < len(block):
            size = int(rng.integers(1, 17))
            yield sliced(block, at, min(len(block), at + size))
            at += size


@asynccontextmanager
async def listening(url: str, subject: str) -> AsyncGenerator[list[bytes]]:
    """Every copy of a signal that is sent while the server runs, those that the stream leaves out as well."""
    heard: list[bytes] = []

    async def take(message: Msg) -> None:
        heard.append(message.data)

    client = await nats.connect(url, error_cb=_expected, max_reconnect_attempts=-1, reconnect_time_wait=_RETRY_SEC)
    try:
        await client.subscribe(subject, cb=take)
        yield heard
    finally:
        await client.close()


class Operator:
    """Restarts the server, one restart at a time."""

    def __init__(self, server: NatsServer, rng: Random) -> None:
        self._server = server
        self._rng = rng
        self._restart: asyncio.Task[None] | None = None

    async def begin_restart(self) -> None:
        """Within the next second or so the server goes, and comes back a little later."""
        await self.done()
        self._restart = asyncio.create_task(self._one())

    async def done(self) -> None:
        if self._restart is not None:
            await self._restart

    async def _one(self) -> None:
        rng = self._rng
        await asyncio.sleep(rng.uniform(0.0, 1.5))
        await asyncio.to_thread(self._server.kill if rng.random() < 0.5 else self._server.stop)
        await asyncio.sleep(rng.uniform(0.0, 1.5))
        await asyncio.to_thread(self._server.start)


def torture(folder: Path, *, kills: int, restarts: int, seed: int, shards: int = 1, life_sec: float = 0.5) -> Tally:
    """Run a project in `folder`, killed so often, on a server that is restarted so often; then count."""
    with NatsServer(folder / "nats") as server:
        return asyncio.run(_tortured(folder, server, kills, restarts, seed, shards, life_sec))


async def _tortured(
    folder: Path, server: NatsServer, kills: int, restarts: int, seed: int, shards: int, life_sec: float
) -> Tally:
    began, rng, url = time.monotonic(), Random(seed), server.url
    await make_stream(url, "TICKS", ["ticks.>"], duplicate_window=_WINDOW_SEC)
    await make_stream(url, "SIGNALS", ["signals.>"], duplicate_window=_WINDOW_SEC)
    project.write_config(
        folder,
        f'{{type: nats, url: "{url}", stream: TICKS, subject: "ticks.>", durable: torture}}',
        f'{{type: nats, url: "{url}", stream: SIGNALS, max_backoff_sec: 1}}',
        shards=shards,
    )
    producer, operator = Producer(url, seed), Operator(server, Random(seed + 1))
    producing = asyncio.create_task(producer.run())
    # Which of the lives have a restart beside them; the last one, which is not killed, may.
    restarted = set(rng.sample(range(kills + 1), restarts))
    async with listening(url, "signals.>") as heard:
        for number in range(kills):
            if number in restarted:
                await operator.begin_restart()
            process = project.run(folder, "-q")
            if not await asyncio.to_thread(project.live_and_die, process, folder, rng, life_sec, lambda: len(heard)):
                raise RuntimeError(f"a run ended by itself:\n{(folder / 'run.log').read_text()[-3_000:]}")
        if kills in restarted:
            await operator.begin_restart()
        process = project.run(folder, "-q", "--json", "--drain", str(_END_SEC))
        producer.end()
        await producing
        await operator.done()
        await _all_handled(process, url)
        process.send_signal(signal.SIGTERM)
        report = await asyncio.to_thread(project.finished, process, folder)
        seen = [json.loads(data) for data in heard]
    sink = await stored(url, "SIGNALS")
    rows = [json.loads(message.data) for message in sink]
    if any(message.id != row["signal_id"] for message, row in zip(sink, rows, strict=True)):
        raise RuntimeError("a message has another id than its signal")
    sent = joined(producer.sent)
    project.write_ticks(folder, [sent])
    expected = await asyncio.to_thread(project.replayed, folder)
    return counted(
        expected,
        rows,
        seen,
        kills=kills,
        restarts=restarts,
        ticks=len(sent),
        accounted=project.accounted(report),
        seconds=time.monotonic() - began,
    )


async def _all_handled(process: subprocess.Popen[bytes], url: str) -> None:
    """Until the run has committed every tick; whatever is missing after so long is counted as lost."""
    deadline = time.monotonic() + _END_SEC
    while process.poll() is None and time.monotonic() < deadline:
        if await handled(url, "TICKS", "torture"):
            return
        await asyncio.sleep(0.1)
