"""Up to where the source may forget: what the shards were handed, and what they have committed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Partition:
    """`open_after` has the shards with something under way, and up to where each has committed everything."""

    read: int = -1
    said: int = -1
    handed: dict[int, int] = field(default_factory=dict)
    open_after: dict[int, int] = field(default_factory=dict)


class Acknowledgements:
    """Says of each partition up to where every shard has committed its part: a few numbers, whatever waits."""

    def __init__(self) -> None:
        self._partitions: dict[str, _Partition] = {}

    def handed(self, partition: str, shard: int, last: int) -> None:
        """A part of the batch up to offset `last`, which is new, goes to this shard."""
        one = self._partitions.setdefault(partition, _Partition())
        # A shard that had nothing under way has had all that was read.
        one.open_after.setdefault(shard, one.read)
        one.handed[shard] = last

    def read(self, partition: str, last: int) -> None:
        """Every part of the batch up to offset `last` is handed out."""
        self._partitions.setdefault(partition, _Partition()).read = last

    def committed(self, shard: int, watermarks: Mapping[str, int]) -> None:
        """The shard has committed everything up to these offsets."""
        for partition, last in watermarks.items():
            one = self._partitions.get(partition)
            if one is None or shard not in one.open_after:
                continue
            if last >= one.handed[shard]:
                del one.open_after[shard]
            else:
                one.open_after[shard] = last

    def acknowledgeable(self) -> dict[str, int]:
        """For each partition that moved: the offset up to which everything is committed. Each is said once."""
        moved: dict[str, int] = {}
        for partition, one in self._partitions.items():
            whole = min(one.open_after.values(), default=one.read)
            if whole > one.said:
                moved[partition] = one.said = whole
        return moved
