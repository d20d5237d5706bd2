"""Writing one shard's part of a recording."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anystrat.adapters.durable_names import make_directory
from anystrat.adapters.recording.log_file import LogReader, begin_log, frame_bytes, log_paths
from anystrat.adapters.recording.pieces import Content, settle
from anystrat.adapters.tick_files.merge import sliced
from anystrat.domain.columns import TickColumns
from anystrat.domain.inputs import Input, count_of, encoded_inputs

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock

_NS: Final = 1_000_000_000
#: So many events without a tick make a piece too.
_EVENTS_AT_MOST: Final = 100_000

#: Does a piece of work now or later, one after the other, and answers with something to wait for.
Submit = Callable[[Callable[[], None]], "Future[None]"]


@dataclass(frozen=True, slots=True)
class PieceLimits:
    """When a piece is full: after so many ticks, or where it has any after so many seconds."""

    ticks: int = 250_000
    seconds: float = 300.0


class ShardWriter:
    """One shard's chain of files: pieces that are made, and the one that inputs are appended to."""

    def __init__(self, directory: Path, suffix: str, clock: Clock, limits: PieceLimits, submit: Submit) -> None:
        self._directory = directory
        self._suffix = suffix
        self._clock = clock
        self._limits = limits
        self._submit = submit
        self._stream: FileIO | None = None
        self._content: Content | None = None
        self._piece = 1
        self._path = directory
        self._begun_ns = clock.now_ns()
        self._piece_ticks = self._piece_events = 0
        self._making: list[Future[None]] = []
        if directory.is_dir():
            self._reopen()

    @property
    def next_input(self) -> int | None:
        return None if self._content is None else self._content.next_input

    @property
    def marks(self) -> Mapping[str, int]:
        return {} if self._content is None else self._content.marks

    @property
    def ticks(self) -> int:
        return 0 if self._content is None else self._content.ticks

    def begin(self, first: int) -> None:
        if self._content is not None:
            raise ValueError(f"the recording in {self._directory} has begun already")
        make_directory(self._directory)
        self._append_to(Content(first))

    def take(self, first: int, inputs: Sequence[Input], marks: Mapping[str, int]) -> None:
        if self._content is None:
            self.begin(first)
        assert self._content is not None
        assert self._stream is not None
        inputs = _without(inputs, self._content.next_input - first)
        first = max(first, self._content.next_input)
        count = count_of(inputs)
        if count or marks:
            _write_all(self._stream, frame_bytes(first, count, encoded_inputs(inputs), marks))
            ticks = self._content.ticks
            self._piece_events += len(self._content.count(first, inputs, marks))
            self._piece_ticks += self._content.ticks - ticks
        self._raise_failures()
        if self._full():
            self._roll()

    def flush(self) -> None:
        for made in self._making:
            made.result()
        self._raise_failures()
        if self._stream is not None:
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        if self._piece_ticks:
            self._roll()
        self.flush()
        self.let_go()

    def let_go(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _full(self) -> bool:
        if self._piece_ticks >= self._limits.ticks or self._piece_events >= _EVENTS_AT_MOST:
            return True
        late = self._clock.now_ns() - self._begun_ns >= self._limits.seconds * _NS
        return late and self._piece_ticks > 0

    def _roll(self) -> None:
        """Go on in a new file; the old one becomes a piece."""
        assert self._stream is not None
        assert self._content is not None
        self._stream.close()
        full = self._path
        self._piece += 1
        self._append_to(self._content)
        self._making.append(self._submit(lambda: settle(full, self._suffix)))

    def _append_to(self, content: Content) -> None:
        path = begin_log(self._directory, content.head(self._piece))
        self._content = content
        self._path, self._stream = path, path.open("ab", buffering=0)
        self._begun_ns = self._clock.now_ns()
        self._piece_ticks = self._piece_events = 0

    def _raise_failures(self) -> None:
        done = [each for each in self._making if each.done()]
        self._making = [each for each in self._making if not each.done()]
        for each in done:
            each.result()

    def _reopen(self) -> None:
        """Go on where a run ended, however it ended: whole files become pieces, the last is cut to what is whole in it."""
        for partial in self._directory.glob("*.partial"):
            partial.unlink()
        content: Content | None = None
        paths = log_paths(self._directory)
        for at, path in enumerate(paths):
            log = LogReader(path)
            if content is not None and log.head.next_input != content.next_input:
                # Power went: what was said to be before this file is not there. It comes again, from the journal.
                log.close()
                for lost in paths[at:]:
                    lost.unlink()
                paths = paths[:at]
                break
            content = Content.of(log)
            self._piece, sound = log.head.piece, log.sound_bytes
            if sound < path.stat().st_size:
                os.truncate(path, sound)
            self._piece_ticks, self._piece_events = content.ticks - log.head.ticks, len(content.lines)
            content.blocks, content.lines = [], []
        if content is None:
            return
        for path in paths[:-1]:
            settle(path, self._suffix)
        self._content = content
        self._path, self._stream = paths[-1], paths[-1].open("ab", buffering=0)


def at_once(work: Callable[[], None]) -> Future[None]:
    """Do the work on the spot: for simulations and for commands that need not hurry."""
    done: Future[None] = Future()
    try:
        work()
    except OSError as error:
        done.set_exception(error)
    else:
        done.set_result(None)
    return done


def _write_all(stream: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def _without(inputs: Sequence[Input], known: int) -> Sequence[Input]:
    """The inputs without the first `known` of them."""
    if known <= 0:
        return inputs
    left: list[Input] = []
    for each in inputs:
        size = len(each) if isinstance(each, TickColumns) else 1
        if known >= size:
            known -= size
        elif isinstance(each, TickColumns):
            left.append(sliced(each, known, size))
            known = 0
        else:
            left.append(each)
    return left
