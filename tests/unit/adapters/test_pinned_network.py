from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web_server import WebServer

from anystrat.adapters.pinned_network import AddressRefused, PinnedNetwork, refusal, resolve


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
        ),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%1"),
        *("fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::", "2002:7f00:1::", "::127.0.0.1", "fec0::1"),
        *("2001:db8::1", "nowhere"),
    ],
)
def test_what_is_not_on_the_public_internet_is_refused(address) -> None:
    assert refusal(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is_public_is_not(address) -> None:
    assert refusal(address) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd00::1", "::ffff:10.0.0.1"])
def test_the_own_network_may_be_let_in(address) -> None:
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "240.0.0.1"]
)
def test_metadata_services_and_groups_never_are(address) -> None:
    assert refusal(address, allow_private=True)


@given(st.ip_addresses(v=4))
def test_an_address_in_another_ones_clothes_is_judged_as_itself(address) -> None:
    high, low = address.packed[:2].hex(), address.packed[2:].hex()
    for dressed in (f"::ffff:{address}", f"64:ff9b::{high}:{low}", f"2002:{high}:{low}::1"):
        assert bool(refusal(dressed)) == bool(refusal(str(address)))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.1", "localhost", "::1", "::ffff:127.0.0.1"]
)
def test_no_spelling_of_this_machine_is_connected_to(host) -> None:
    with pytest.raises(AddressRefused, match="this machine's; where that is meant: allow_private: true"):
        asyncio.run(PinnedNetwork().connect_tcp(host, 1))


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "2852039166", "::ffff:169.254.169.254"])
def test_no_spelling_of_the_metadata_service_is_connected_to(host) -> None:
    with pytest.raises(AddressRefused, match="link-local"):
        asyncio.run(PinnedNetwork(allow_private=True).connect_tcp(host, 80))


def test_one_bad_address_among_good_ones_refuses_them_all() -> None:
    async def two(_host: str, _port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(AddressRefused, match=r"name\.example is 10\.0\.0\.1, not a public address"):
        asyncio.run(PinnedNetwork(two).connect_tcp("name.example", 80))


def test_the_address_that_was_looked_at_is_the_one_that_is_used() -> None:
    """A name that changes its meaning between two look-ups: the second one never happens."""
    asked = []

    async def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async def main() -> None:
        async with WebServer(None) as server:
            network = PinnedNetwork(rebinding, allow_private=True)
            stream = await network.connect_tcp("name.example", server.port)
            assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
            await stream.aclose()
            assert asked == ["name.example"]
            with pytest.raises(AddressRefused):
                await network.connect_tcp("name.example", server.port)

    asyncio.run(main())


def test_the_next_address_is_tried_where_the_first_does_not_answer() -> None:
    async def two(_host: str, _port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async def main() -> None:
        async with WebServer(None) as server:
            stream = await PinnedNetwork(two, allow_private=True).connect_tcp("name.example", server.port, 5.0)
            await stream.aclose()

    asyncio.run(main())


def test_the_systems_resolver_names_each_address_once() -> None:
    assert asyncio.run(resolve("127.0.0.1", 80)) == ["127.0.0.1"]
