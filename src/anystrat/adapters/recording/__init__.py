"""Recordings: what engines took, ticks and events in their order, in files that other tools read too.

    DIR/manifest.json              what was recorded: configuration, shards, models, versions, starts
    DIR/shard-0/ticks-000001.parquet   a piece of the ticks, a tick file like any other
    DIR/shard-0/events.jsonl       each event, with how many of the shard's ticks came before it
    DIR/shard-0/000002.inputs      what is no piece yet, as it came

Inputs are appended to the last `.inputs` file; a full one becomes a piece beside the run, is synced, and is deleted only
then. So whatever ends the process leaves a recording that opens and goes on: of a line that was cut short, nothing is
taken; of a piece that was half written, the `.inputs` file is still there.
"""

from anystrat.adapters.recording.events_file import Missing
from anystrat.adapters.recording.manifest import Manifest, RecordingFailed, RecordingRefused, is_recording
from anystrat.adapters.recording.reader import RecordingReader, read_recording
from anystrat.adapters.recording.shard_writer import PieceLimits
from anystrat.adapters.recording.writer import RecordingWriter

__all__ = [
    "Manifest",
    "Missing",
    "PieceLimits",
    "RecordingFailed",
    "RecordingReader",
    "RecordingRefused",
    "RecordingWriter",
    "is_recording",
    "read_recording",
]
