"""A stream that shares out its subjects itself puts every instrument where the configuration thinks it is."""

from __future__ import annotations

import asyncio

import pytest
from nats.js.api import SubjectTransform
from tests.servers import nats_server
from tests.streams import make_stream, publish, stored

from anystrat.domain.cluster import nats_partition
from anystrat.testing.servers import NatsServer

__all__ = ["nats_server"]

pytestmark = pytest.mark.server


def test_the_servers_own_hash_is_ours(nats_server: NatsServer) -> None:
    async def story() -> list[str]:
        shared_out = SubjectTransform(src="raw.*", dest="ticks.{{partition(5,1)}}.{{wildcard(1)}}")
        await make_stream(nats_server.url, "SHARED", ["raw.*"], subject_transform=shared_out)
        for token in range(1, 300, 7):
            await publish(nats_server.url, f"raw.{token}", [b"{}"])
        return [each.subject for each in await stored(nats_server.url, "SHARED")]

    assert asyncio.run(story()) == [f"ticks.{nats_partition(str(token), 5)}.{token}" for token in range(1, 300, 7)]
