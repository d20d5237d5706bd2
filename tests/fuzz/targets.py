"""What is fuzzed: each target takes any bytes, and raises nothing but what its reader promises to raise."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from anystrat.adapters.message_mapping import MessageMapper
from anystrat.adapters.onnx_model import load_onnx_bytes
from anystrat.adapters.tick_files import open_ticks
from anystrat.adapters.tick_messages import MessageDecoder
from anystrat.bootstrap import default_catalog
from anystrat.config import load_configuration
from anystrat.domain.errors import ConfigurationError, ModelRefused, TickFileError
from anystrat.domain.websocket import MessageFormat, TickMapping, TimeUnit
from anystrat.strategies.catalog import Catalog
from anystrat.testing.models import linear_model_bytes


class Target(NamedTuple):
    """A reader, and bytes that it takes, for a fuzzer to begin with."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


@cache
def _place() -> Path:
    return Path(tempfile.mkdtemp(prefix="anystrat-fuzz-"))


@cache
def _catalog() -> Catalog:
    return default_catalog()


def _file(name: str, data: bytes) -> Path:
    path = _place() / name
    path.write_bytes(data)
    return path


TICK = {"instrument_token": 1, "ts_ns": 1_704_186_900_000_000_000, "price": "100.05", "volume": 3}


def messages(data: bytes) -> None:
    """Messages as NATS brings them; a zero byte ends each."""
    parts = data.split(b"\0")
    found = MessageDecoder().decoded(parts)
    assert len(found.counts) == len(found.malformed) == len(parts)
    assert found.counts.sum() == len(found.ticks)


def packed(data: bytes) -> None:
    """One message, whole: MessagePack has zero bytes of its own."""
    MessageDecoder().decoded([data])


def venue(data: bytes) -> None:
    """A venue's message, as each of the mappings that the documentation shows reads it."""
    mappings = [
        TickMapping("p", each="data", where={"e": "trade"}, instrument="s", time="T", size="q"),
        TickMapping("p", instrument="S", time="t", time_unit=TimeUnit.ISO),
        TickMapping("0", each="1", instrument="/3", size="1", time="2", time_unit=TimeUnit.S),
    ]
    for written in MessageFormat:
        for mapping in mappings:
            found = MessageMapper([mapping], written, {"A": 1}).decoded([(data, 1)], 1)
            assert found.counts.sum() == len(found.ticks)


def _ticks(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        try:
            reader = open_ticks([_file(name, data)], block_rows=64)
            rows = sum(len(block) for block in reader)
            assert rows + reader.malformed >= 0
        except TickFileError:
            pass

    return read


def configuration(data: bytes) -> None:
    """A configuration's file."""
    try:
        load_configuration(_file("anystrat.yaml", data), _catalog(), environ={})
    except ConfigurationError as error:
        assert str(error)  # noqa: PT017  a reader's promise, and no test


def model(data: bytes) -> None:
    """A model's file."""
    try:
        load_onnx_bytes("model.onnx", data)
    except ModelRefused as error:
        assert str(error)  # noqa: PT017  a reader's promise, and no test


def _csv() -> list[bytes]:
    head = b"timestamp,instrument_token,price,volume,bid,ask\n"
    return [
        head + b"2024-01-02T09:15:00Z,1,100.05,3,100,100.1\n2024-01-02 09:15:01.5+05:30,2,99.95,,,\n",
        b"ts_ns,instrument_token,price\n1704186900000000000,1,100.05\nx,1,2\n1704186900000000001,1,1e3\n",
    ]


def _parquet() -> list[bytes]:
    def table(**columns: object) -> bytes:
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out)
        return out.getvalue()

    times = [1_704_186_900_000_000_000 + k for k in range(3)]
    return [
        table(ts_ns=times, instrument_token=[1, 2, 1], price=[1.0, 2.0, 3.0]),
        table(
            timestamp=pa.array(times, pa.timestamp("ns", "UTC")), instrument_token=[1, 2, 1], price=["1", "2.5", "x"]
        ),
    ]


def _configurations() -> list[bytes]:
    root = Path(__file__).parents[2] / "examples"
    return [path.read_bytes() for path in sorted(root.rglob("*.yaml"))]


TARGETS = {
    "messages": Target(
        messages,
        lambda: [json.dumps(TICK).encode(), b"\0".join([json.dumps([TICK, TICK]).encode(), b"{}", b"[1]"])],
    ),
    "packed": Target(
        packed,
        lambda: [
            msgspec.msgpack.encode(TICK),
            msgspec.msgpack.encode({key: [value] * 3 for key, value in TICK.items()}),
        ],
    ),
    "venue": Target(
        venue,
        lambda: [
            json.dumps({"data": {"e": "trade", "s": "A", "T": 1, "p": "1.50", "q": 1}}).encode(),
            json.dumps([{"S": "A", "t": "2024-01-02T09:15:00Z", "p": 1.5}]).encode(),
            msgspec.msgpack.encode([0, [["1.5", "2", 1.25]], "trade", "A"]),
        ],
    ),
    "csv": Target(_ticks("ticks.csv"), _csv),
    "jsonl": Target(
        _ticks("ticks.jsonl"), lambda: [json.dumps(TICK).encode() + b"\n" + json.dumps({**TICK, "bid": None}).encode()]
    ),
    "parquet": Target(_ticks("ticks.parquet"), _parquet),
    "configuration": Target(configuration, _configurations),
    "model": Target(model, lambda: [linear_model_bytes(("ret_1", "z_5"), bias=(0.1, 0.2, 0.3))]),
}
