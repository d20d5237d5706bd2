"""The servers that tests start: they keep their port and what is in them, whatever ends them."""

from __future__ import annotations

import asyncio
import socket

import nats
import pytest

from anystrat.testing.servers import NatsServer, ServerFailed

pytestmark = pytest.mark.server


async def connected(url: str) -> nats.NATS:
    return await nats.connect(url, allow_reconnect=False)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_published_is_there_after_a_restart_under_the_same_address(
    own_nats_server: NatsServer, end: str
) -> None:
    server = own_nats_server

    async def publish() -> None:
        client = await connected(server.url)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
        await client.jetstream().publish("kept.one", b"1")
        await client.close()

    async def count() -> int:
        client = await connected(server.url)
        info = await client.jetstream().stream_info("KEPT")
        await client.close()
        return info.state.messages

    asyncio.run(publish())
    address = server.url
    getattr(server, end)()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])))
    server.start()

    assert server.url == address
    assert asyncio.run(count()) == 1


def test_a_server_that_does_not_start_says_why(tmp_path) -> None:
    with pytest.raises(ServerFailed, match=r"nowhere\.conf"):
        NatsServer(tmp_path, arguments=("-c", "nowhere.conf")).start()
