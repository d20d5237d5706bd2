"""The endpoint answers scrapers and probes over a real socket, and everybody else shortly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from anystrat.domain.configuration import MetricsSettings
from anystrat.domain.health import Breaker, BrokerHealth, Endpoint, EndpointRefused, Phase
from anystrat.observability.endpoint import MonitoringEndpoint
from anystrat.observability.exposition import Exposition
from anystrat.observability.http_get import LARGEST_HEAD, MOST_CONNECTIONS, Answer, GetServer, Request
from anystrat.observability.measurements import Measurements

from .service_fake import WELL, Service


async def exchange(address: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, read until the other side closes: status, headers, body."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(5):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def get(path: str, host: str = "127.0.0.1:9464", method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


def monitored(use: Callable[[str, Service], Awaitable[Any]], **settings: Any) -> Any:
    """What `use` answers, with an endpoint that listens at the address that it is given."""

    async def run() -> Any:
        service = Service()
        exposition = Exposition(service, Measurements(), version="1", process=False)
        endpoint: Endpoint = MonitoringEndpoint(MetricsSettings(port=0, **settings), service, exposition)
        address = await endpoint.start()
        try:
            return await use(address, service)
        finally:
            await endpoint.stop()

    return asyncio.run(run())


def served(use: Callable[[str], Awaitable[Any]], handler: Any, **options: Any) -> Any:
    async def run() -> Any:
        server = GetServer({"/": handler}, "127.0.0.1", 0, **options)
        address = await server.start()
        try:
            return await use(address)
        finally:
            await server.stop()

    return asyncio.run(run())


async def hello(_request: Request) -> Answer:
    return Answer(200, b"hello\n")


class TestPages:
    def test_metrics_are_prometheus_text(self) -> None:
        status, headers, body = monitored(lambda at, _: exchange(at, get("/metrics")))
        assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
        assert int(headers["Content-Length"]) == len(body)
        assert b'\nstrategy_state{strategy="a"} 3.0\n' in body

    def test_a_scraper_that_asks_for_openmetrics_gets_it(self) -> None:
        request = get("/metrics", more="Accept: application/openmetrics-text; version=1.0.0\r\n")
        _, headers, body = monitored(lambda at, _: exchange(at, request))
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")

    def test_a_service_that_runs_is_alive_and_ready(self) -> None:
        async def both(at: str, _: Service) -> list[Any]:
            return [await exchange(at, get(path)) for path in ("/health", "/ready")]

        (alive, _, health), (ready, headers, body) = monitored(both)
        assert (alive, json.loads(health)) == (200, {"alive": True, "phase": "running"})
        assert (ready, headers["Content-Type"]) == (200, "application/json")
        answer = json.loads(body)
        assert (answer["ready"], answer["troubles"], answer["killed"]) == (True, {}, False)
        assert answer["shards"][0] | {"stalls": {}} == {
            "shard": 0, "instruments": 2, "executors": 2, "depth": 5, "capacity": 4096, "ticks": 100, "lag_sec": 0.25,
            "conflated": 3, "blocked_by": "", "stalls": {}, "problem": "", "ready": True,
        }  # fmt: skip
        assert (answer["feeds"][0]["state"], answer["brokers"][0]["breaker"]) == ("fresh", "closed")
        assert answer["journal"]["epoch"] == 3

    def test_readiness_names_the_part_that_is_not(self) -> None:
        async def broken(at: str, service: Service) -> Any:
            broker = BrokerHealth("out", "nats", Breaker.OPEN, problem="connection refused")
            service.report = msgspec.structs.replace(WELL, brokers=(broker,))
            return await exchange(at, get("/ready"))

        status, _, body = monitored(broken)
        answer = json.loads(body)
        assert (status, answer["ready"]) == (503, False)
        assert answer["troubles"] == {"broker out": "breaker open: connection refused"}
        assert (answer["brokers"][0]["ready"], answer["journal"]["ready"]) == (False, True)

    @pytest.mark.parametrize(
        ("phase", "alive"), [(Phase.DRAINING, 200), (Phase.STOPPED, 200), (Phase.RECOVERING, 200), (Phase.FAILED, 503)]
    )
    def test_a_service_that_stops_is_not_ready_and_one_that_failed_is_not_alive(self, phase: Phase, alive: int) -> None:
        async def both(at: str, service: Service) -> list[int]:
            service.report = msgspec.structs.replace(WELL, phase=phase)
            return [(await exchange(at, get(path)))[0] for path in ("/health", "/ready")]

        assert monitored(both) == [alive, 503]

    def test_head_is_the_same_without_the_body(self) -> None:
        status, headers, body = monitored(lambda at, _: exchange(at, get("/ready", method="HEAD")))
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 100


class TestWhoIsAnswered:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "127.0.0.1:9464", "localhost:9464", "LOCALHOST", "[::1]:9464", "10.1.2.3:80"]
    )
    def test_an_address_or_localhost_is_this_machine(self, host: str) -> None:
        assert monitored(lambda at, _: exchange(at, get("/health", host)))[0] == 200

    @pytest.mark.parametrize(
        "host", ["evil.com", "evil.com:9464", "localhost.evil.com", "127.0.0.1.evil.com", "", "[evil"]
    )
    def test_another_name_is_refused_so_that_no_web_page_can_read_it(self, host: str) -> None:
        status, _, body = monitored(lambda at, _: exchange(at, get("/metrics", host)))
        assert status == 400
        assert b"strategy_state" not in body

    def test_a_request_without_a_host_is_refused(self) -> None:
        assert monitored(lambda at, _: exchange(at, b"GET /health HTTP/1.1\r\n\r\n"))[0] == 400

    def test_a_name_that_the_configuration_allows_is_answered(self) -> None:
        assert monitored(lambda at, _: exchange(at, get("/health", "Box.LAN:9464")), hosts=("box.lan",))[0] == 200


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (get("/secrets"), 404),
            (get("/metrics/../etc"), 404),
            (get("/metrics", method="POST", more="Content-Length: 5\r\n") + b"hello", 405),
            (get("/metrics", method="DELETE"), 405),
            (b"GET http://evil.com/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
            (b"GET /metrics\r\n\r\n", 400),
            (b"GET /metrics HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 505),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nX: " + b"a" * (2 * LARGEST_HEAD) + b"\r\n\r\n", 431),
        ],
    )  # fmt: skip
    def test_with_a_status_and_a_sentence(self, request_: bytes, status: int) -> None:
        found, headers, body = monitored(lambda at, _: exchange(at, request_))
        assert found == status
        assert headers["Connection"] == "close"
        assert body.endswith(b"\n")
        assert ("Allow" in headers) == (status == 405)

    def test_a_query_is_left_aside(self) -> None:
        assert monitored(lambda at, _: exchange(at, get("/health?a=b")))[0] == 200

    def test_a_request_that_ends_early(self) -> None:
        async def half(at: str) -> Any:
            host, _, port = at.removeprefix("http://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HT")
            writer.write_eof()
            try:
                return await reader.read()
            finally:
                writer.close()

        assert served(half, hello).startswith(b"HTTP/1.1 400 ")

    def test_a_request_that_does_not_arrive_is_not_waited_for(self) -> None:
        async def slow(at: str) -> Any:
            return await exchange(at, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")

        assert served(slow, hello, patience=0.05)[0] == 408


class TestFaults:
    def test_a_page_that_fails_is_told_and_the_next_one_is_served(self) -> None:
        told: list[Exception] = []
        answers = iter([ValueError("secret"), None])

        async def sometimes(request: Request) -> Answer:
            error = next(answers)
            if error is not None:
                raise error
            return await hello(request)

        async def twice(at: str) -> list[Any]:
            return [await exchange(at, get("/")) for _ in range(2)]

        (first, _, body), (second, _, _) = served(twice, sometimes, on_error=told.append)
        assert (first, second) == (500, 200)
        assert b"secret" not in body
        assert [str(error) for error in told] == ["secret"]

    def test_connections_beyond_the_most_are_let_go_and_those_within_are_served(self) -> None:
        async def crowd(at: str) -> tuple[bytes, int]:
            host, _, port = at.removeprefix("http://").rpartition(":")
            idle = [await asyncio.open_connection(host, int(port)) for _ in range(MOST_CONNECTIONS)]
            await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                beyond = await reader.read()
            except ConnectionError:
                beyond = b""
            writer.close()
            idle[0][1].write(get("/"))
            within = await idle[0][0].read()
            for _, one in idle:
                one.close()
            return beyond, int(within.split()[1])

        assert served(crowd, hello) == (b"", 200)

    def test_a_stop_ends_what_is_under_way(self) -> None:
        async def run() -> bytes:
            server = GetServer({"/": hello}, "127.0.0.1", 0)
            host, _, port = (await server.start()).removeprefix("http://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / ")
            await asyncio.sleep(0.02)
            await server.stop()
            await server.stop()
            with pytest.raises(OSError):
                await asyncio.open_connection(host, int(port))
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

        assert asyncio.run(run()) == b""

    def test_a_port_that_is_taken_is_said_in_words(self) -> None:
        async def again(at: str) -> None:
            port = int(at.rpartition(":")[2])
            with pytest.raises(EndpointRefused, match=f"cannot listen on 127.0.0.1 port {port}: .*another port"):
                await GetServer({"/": hello}, "127.0.0.1", port).start()

        served(again, hello)

    def test_ipv6_is_spoken_too(self) -> None:
        async def run() -> tuple[str, int]:
            server = GetServer({"/": hello}, "::1", 0)
            address = await server.start()
            try:
                return address, (await exchange(address, get("/", "[::1]")))[0]
            finally:
                await server.stop()

        address, status = asyncio.run(run())
        assert address.startswith("http://[::1]:")
        assert status == 200
