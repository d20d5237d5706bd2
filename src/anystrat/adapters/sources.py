"""The built-in types of sources, from their options to something that delivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from anystrat.adapters.offload import Offload, in_a_thread
from anystrat.adapters.system_clock import SystemClock
from anystrat.domain.endpoints import FileSource, KafkaSource, NatsSource, StdinSource, SyntheticSource
from anystrat.domain.intake import SourceFailed
from anystrat.domain.websocket import WebSocketSource

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import SourceSettings
    from anystrat.domain.intake import LiveSource
    from anystrat.domain.protocols import TickSource


def open_source(
    settings: SourceSettings,
    instruments: Sequence[int] = (),
    *,
    clock: Clock | None = None,
    offload: Offload = in_a_thread,
    random: Random | None = None,
    symbols: Mapping[str, int] | None = None,
) -> LiveSource:
    """The source that the settings name, watched for silence where they say so; `instruments` are those that are watched.

    `symbols` are the instruments' names in the configuration, and their tokens. Nothing is connected before its `batches` are asked for. Raises `SourceFailed` for a type that is configured but not
    there, `TickFileError` for a file that cannot be used, `MissingExtra`.
    """
    source, partition = _built(settings, instruments, clock or SystemClock(), offload, random, symbols)
    return watched(source, settings, partition, as_one=isinstance(settings.options, KafkaSource))


def plugged(made: TickSource | LiveSource, settings: SourceSettings, instruments: Sequence[int]) -> LiveSource:
    """What a plug-in made, as a live source: a subscription is batched, a whole live source is taken as it is."""
    from anystrat.adapters.source_subscription import SubscribedFeed

    whole: Any = made
    feed: LiveSource = whole if hasattr(made, "batches") else SubscribedFeed(whole, settings.type, instruments)
    return watched(feed, settings, settings.type)


def watched(source: LiveSource, settings: SourceSettings, partition: str, *, as_one: bool = False) -> LiveSource:
    """The source, with notices of its silence where the settings ask for them; `as_one`: of all its partitions together."""
    patience = settings.feed.stale_after_sec
    if patience is None:
        return source
    from anystrat.adapters.source_watch import WatchedFeed

    return WatchedFeed(source, patience, [partition], as_one=partition if as_one else None)


def _built(
    settings: SourceSettings,
    instruments: Sequence[int],
    clock: Clock,
    offload: Offload,
    random: Random | None,
    symbols: Mapping[str, int] | None,
) -> tuple[LiveSource, str]:
    options = settings.options
    if isinstance(options, FileSource):
        from anystrat.adapters import source_file
        from anystrat.adapters.tick_files import open_ticks

        recording = open_ticks(options.path, block_rows=source_file.BLOCK_ROWS)
        return source_file.FileFeed(recording, pace=options.pace, offload=offload), source_file.PARTITION
    if isinstance(options, SyntheticSource):
        from anystrat.adapters import source_synthetic

        if not (options.instruments or instruments):
            raise SourceFailed("source: no strategy watches an instrument; give the synthetic source `instruments`")
        feed = source_synthetic.SyntheticFeed(options, instruments, clock)
        return feed, source_synthetic.PARTITION
    if isinstance(options, StdinSource):
        from anystrat.adapters import source_stdin

        return source_stdin.StdinFeed(options.format), source_stdin.PARTITION
    if isinstance(options, NatsSource):
        from anystrat.adapters.source_nats import NatsFeed

        # How long is waited before another attempt is no decision about ticks: two runners must not wait alike.
        return NatsFeed(options, random or Random()), options.stream  # noqa: S311  nothing to guess here
    if isinstance(options, KafkaSource):
        from anystrat.adapters.source_kafka import KafkaFeed

        return KafkaFeed(options, random or Random(), offload=offload), options.topic  # noqa: S311  as above
    if isinstance(options, WebSocketSource):
        from anystrat.adapters import source_websocket

        waits = random or Random()  # noqa: S311  as above
        return source_websocket.WebSocketFeed(options, waits, clock, symbols), source_websocket.PARTITION
    raise SourceFailed(
        f"source: nothing delivers ticks of the type {settings.type!r}; expected one of "
        "file, synthetic, stdin, nats, kafka, websocket, or a type that is registered"
    )
