"""Work on a Ray cluster: one actor a worker, each made ready once."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Generic, TypeVar

from anystrat.domain.errors import AnystratError, MissingExtra

__all__ = ["LOCAL", "RayPool", "RayRefused"]

T = TypeVar("T")

#: The address that starts a cluster on this machine, for as long as the pool is there.
LOCAL: Final = "local"
_PATIENCE_SECONDS: Final = 5.0


class RayRefused(AnystratError):
    """No Ray cluster answers there; the text says where, and what to do."""

    exit_code = 1


class RayPool(Generic[T]):
    """Calls of `work(argument)` on a cluster's workers, each of which called `begin(setup)` first.

    All of these have to be importable on every node, and whatever files they open have to lie there under the same path.
    """

    def __init__(
        self,
        address: str,
        workers: int | None,
        begin: Callable[[Any], object],
        work: Callable[[Any], T],
        setup: Any,
    ) -> None:
        """Connect to the cluster (`LOCAL`, `auto`, or its address). None of `workers`: one a processor of it.

        Raises `RayRefused`, and `MissingExtra` without Ray.
        """
        # Ray sends home what it is used for, unless it is told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("a sweep on a Ray cluster", "ray") from error
        self._ray: Any = ray
        try:
            self._connect(address, workers)
        except Exception as error:  # Ray raises bare ones too
            said = str(error).strip().splitlines()
            what = said[0] if said else type(error).__name__
            if address == LOCAL:
                raise RayRefused(
                    f"--ray {LOCAL}: Ray did not start on this machine ({what}); leave --ray out for processes without it"
                ) from error
            raise RayRefused(
                f"--ray {address}: no cluster answers there ({what}); start one with `ray start --head`, or write --ray {LOCAL}"
            ) from error
        self.workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

        class Worker:
            def __init__(self) -> None:
                begin(setup)

            def work(self, argument: Any) -> T:
                return work(argument)

        remote = self._ray.remote(Worker)
        self._idle = [remote.remote() for _ in range(self.workers)]

    def _connect(self, address: str, workers: int | None) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if address != LOCAL:
            _knock(address)
            self._ray.init(address=address, **quiet)
            return
        try:
            self._ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        except Exception:  # noqa: BLE001  it gives itself thirty seconds, too few on a machine that is busy just then
            self._ray.shutdown()
            self._ray.init(num_cpus=workers, include_dashboard=False, **quiet)

    def submit(self, argument: Any) -> Future[T]:
        """Have it done by an idle worker; there has to be one."""
        actor = self._idle.pop()
        future: Future[T] = actor.work.remote(argument).future()
        future.add_done_callback(lambda _: self._idle.append(actor))
        return future

    def close(self) -> None:
        """Leave the cluster; one that was started here ends. What is under way is not waited for."""
        self._ray.shutdown()


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS).close()
