from __future__ import annotations

import asyncio
import time

import pytest

from anystrat.domain.clock import Clock
from anystrat.testing.loop import Deadlock, Livelock, NotSimulated, SimulatedClock, simulate


def test_ten_hours_pass_in_a_moment_and_in_order() -> None:
    async def main() -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[float, str]] = []

        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            seen.append((loop.time(), name))

        async with asyncio.TaskGroup() as group:
            for seconds, name in ((36_000.0, "last"), (0.1, "first"), (3.0, "second"), (3.0, "third")):
                group.create_task(after(seconds, name))
        return seen

    began = time.monotonic()
    seen = simulate(main)

    assert [name for _, name in seen] == ["first", "second", "third", "last"]
    assert [when for when, _ in seen] == pytest.approx([0.1, 3.0, 3.0, 36_000.0], abs=1e-6)
    assert time.monotonic() - began < 60.0


def test_time_stands_still_while_something_can_run() -> None:
    async def main() -> float:
        asyncio.get_running_loop().call_later(1.0, pytest.fail, "time moved")
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert simulate(main) == 0.0


def test_a_timeout_is_the_loops() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert simulate(main) == pytest.approx(30)


def test_a_deadlock_names_the_tasks_that_wait() -> None:
    async def main() -> None:
        waiting = asyncio.create_task(asyncio.Event().wait(), name="waits for ever")
        await waiting

    with pytest.raises(Deadlock, match="waits for ever"):
        simulate(main)


def test_going_round_without_time_moving_on_ends() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110  going round is the point
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        simulate(main, turns=100)


def test_threads_are_refused() -> None:
    with pytest.raises(NotSimulated):
        simulate(lambda: asyncio.to_thread(time.time))


def test_sockets_are_refused() -> None:
    with pytest.raises((NotSimulated, NotImplementedError)):
        simulate(lambda: asyncio.open_connection("127.0.0.1", 1))


def test_tasks_are_cancelled_in_the_same_order_in_every_run() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                order.append(number)

        async def fail() -> None:
            await asyncio.sleep(1)
            raise ZeroDivisionError

        async def all_of_them() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(wait(number))
                group.create_task(fail())

        with pytest.raises(ExceptionGroup):
            await all_of_them()
        return order

    runs = [simulate(main) for _ in range(3)]

    assert runs[0] == runs[1] == runs[2]


def test_what_is_left_over_is_cancelled() -> None:
    ended: list[str] = []

    async def main() -> None:
        async def left() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("left")

        asyncio.create_task(left())  # noqa: RUF006  left over on purpose
        await asyncio.sleep(0)

    simulate(main)

    assert ended == ["left"]


def test_the_wall_clock_goes_with_the_loop_and_may_jump() -> None:
    async def main() -> list[int]:
        clock = SimulatedClock(asyncio.get_running_loop(), 1_000)
        port: Clock = clock
        times = [port.now_ns()]
        await asyncio.sleep(2.5)
        times.append(port.now_ns())
        clock.jump(-3600)
        times.append(port.now_ns())
        return times

    assert simulate(main) == [1_000, 2_500_001_000, 2_500_001_000 - 3_600_000_000_000]
