"""One run shared out among several machines: its parts, who has them, and how many each may have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from anystrat.domain.parameters import Doc, Ge, Le, ParameterError, Unit

_MOST_PARTS: Final = 4096
_32: Final = 0xFFFFFFFF


class Partitioner(StrEnum):
    """Which server's hash says where a key goes."""

    NATS = "nats"
    KAFKA = "kafka"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Instruments that are in one part, wherever the server's hash would put them."""

    part: Annotated[int, Ge(0), Doc("Number of the part, from 0.")]
    instruments: Annotated[tuple[int, ...], Ge(0), Doc("Tokens of the instruments.")]


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a run is shared out among machines: its parts, and how long a machine that is silent keeps them."""

    parts: Annotated[
        int,
        Ge(1),
        Le(_MOST_PARTS),
        Doc("Parts that the run consists of: subjects of a NATS stream, or the partitions of a Kafka topic."),
    ]
    subject: Annotated[str, Doc("Subject of a part's ticks in NATS; `{part}` is its number, from 0.")] = (
        "ticks.{part}.>"
    )
    assign: Annotated[
        tuple[Assignment, ...], Doc("Instruments that are in one part, wherever the server's hash would put them.")
    ] = ()
    lease_sec: Annotated[
        float, Ge(1), Le(600), Unit("seconds"), Doc("How long a machine that is silent keeps its parts.")
    ] = 10.0
    member: Annotated[str, Doc("Name of this machine among the others; without, its host's name.")] = ""

    def __post_init__(self) -> None:
        if "{part}" not in self.subject:
            raise ParameterError("subject", "must hold {part}, or all parts would read the same ticks")
        seen: dict[int, int] = {}
        for each in self.assign:
            if each.part >= self.parts:
                raise ParameterError("assign", f"parts are numbered from 0 to {self.parts - 1}", each.part)
            for token in each.instruments:
                if seen.setdefault(token, each.part) != each.part:
                    message = f"the instrument {token} is in part {seen[token]} and in part {each.part}"
                    raise ParameterError("assign", message)

    def places(self, tokens: Collection[int], partitioner: Partitioner) -> dict[int, int]:
        """The part of each instrument."""
        assigned = {token: each.part for each in self.assign for token in each.instruments}
        hashed = nats_partition if partitioner is Partitioner.NATS else kafka_partition
        return {token: assigned[token] if token in assigned else hashed(str(token), self.parts) for token in tokens}


def nats_partition(key: str, partitions: int) -> int:
    """What `{{partition(N,…)}}` of a NATS subject transform gives for a token of the subject.

    FNV-1a of 32 bits, modulo N (`getHashPartition` in nats-server's `subject_transform.go`).
    """
    value = 0x811C9DC5
    for byte in key.encode():
        value = ((value ^ byte) * 0x01000193) & _32
    return value % partitions


def kafka_partition(key: str, partitions: int) -> int:
    """Where Kafka's Java client puts a record with this key, and librdkafka with `partitioner: murmur2_random`.

    MurmurHash2 of 32 bits with Kafka's seed, the sign bit cleared, modulo N (`Utils.murmur2` in Apache Kafka).
    """
    data, factor = key.encode(), 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * factor & _32
        word = (word ^ word >> 24) * factor & _32
        value = value * factor & _32 ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & _32
    value = (value ^ value >> 13) * factor & _32
    return ((value ^ value >> 15) & 0x7FFFFFFF) % partitions


class PartState(StrEnum):
    """Where a part stands with its owner; FREE: nobody has it, or nobody any more."""

    FREE = "free"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


class PartLease(msgspec.Struct, frozen=True):
    """Who has a part. `left_sec` is until the lease is over, by the database's clock; not above 0: it is.

    `epoch` counts how often the part was taken. `problem` is why its last owner let go of it, where something was wrong.
    """

    part: int
    owner: str
    epoch: int
    left_sec: float
    state: PartState = PartState.FREE
    problem: str = ""

    @property
    def taken(self) -> bool:
        """Whether somebody has it now."""
        return bool(self.owner) and self.left_sec > 0


class ClusterView(msgspec.Struct, frozen=True):
    """All parts, and the members that have been heard of within a lease."""

    leases: tuple[PartLease, ...]
    members: tuple[str, ...]
    killed: bool = False

    def held_by(self, member: str) -> list[PartLease]:
        """The parts that a member has."""
        return [each for each in self.leases if each.taken and each.owner == member]

    def share(self, member: str) -> int:
        """How many parts a member ought to have: they add up, and whoever has most now keeps the odd ones."""
        held = {name: len(self.held_by(name)) for name in {*self.members, member}}
        order = sorted(held, key=lambda name: (-held[name], name))
        return len(self.leases) // len(order) + (order.index(member) < len(self.leases) % len(order))
