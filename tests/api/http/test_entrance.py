"""Connections of a load balancer that passes TCP on and names the caller first; and TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network
from typing import Any, cast

import pytest
import uvloop

from babygun.api.http import entrance
from babygun.api.http.connection_limits import Admission, ConnectionLimits
from babygun.api.http.entrance import Entrance
from babygun.pki.issuance import issue
from babygun.pki.layout import https_only
from tests.api.http.raw_requests import GET, connected, until_logged
from tests.support.api import RunningApi, StartApi
from tests.support.processes import PATIENCE

HERE = ip_network("127.0.0.0/8")
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(caller: str, *, command: int = 0x21, more: bytes = b"") -> bytes:
    """A header as a balancer writes it. ``more``: TLVs."""
    address = ipaddress.ip_address(caller)
    body = address.packed * 2 + (50000).to_bytes(2, "big") + (8080).to_bytes(2, "big") + more
    family = 0x11 if address.version == 4 else 0x21
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


def plain(api: RunningApi) -> RunningApi:
    api.url = api.url.replace("https", "http")
    return api


async def address_of(
    api: RunningApi,
    caplog: pytest.LogCaptureFixture,
    *parts: bytes,
    tls: ssl.SSLContext | None = None,
) -> str:
    """The caller's address in the log of a call, after these parts of a header."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "babygun.api"):
        async with connected(plain(api)) as (reader, writer):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if tls:
                await writer.start_tls(tls, server_hostname="localhost")
            writer.write(GET + b"Connection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        return str((await until_logged(caplog, "request"))["address"])


async def test_caller_is_the_one_that_the_header_names(
    start_api: StartApi, caplog: pytest.LogCaptureFixture
) -> None:
    api = await start_api(ready=False, proxy_protocol=(HERE,))
    for parts, address in [
        ([header("192.0.2.7")], "192.0.2.7"),
        ([header("192.0.2.7", more=b"\x04\0\x03abc")], "192.0.2.7"),
        ([header("2001:db8::7")], "2001:db8::7"),
        ([header("::ffff:192.0.2.7")], "192.0.2.7"),
        ([bytes((byte,)) for byte in header("192.0.2.7")], "192.0.2.7"),
        # The balancer's own connection, for a health check.
        ([header("192.0.2.7", command=0x20)], "127.0.0.1"),
        ([SIGNATURE + b"\x20\0\0\0"], "127.0.0.1"),
        ([SIGNATURE + b"\x21\0\0\0"], "127.0.0.1"),  # of an unknown kind
    ]:
        assert await address_of(api, caplog, *parts) == address


@pytest.mark.parametrize(
    "sent",
    [
        GET + b"\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 50000 8080\r\n" + GET + b"\r\n",
        SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(12),
    ],
)
async def test_connection_of_a_balancer_without_a_good_header_is_closed(
    start_api: StartApi, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    api = await start_api(ready=False, proxy_protocol=(HERE,))
    async with connected(api) as (reader, writer):
        writer.write(sent)
        with suppress(ConnectionError):
            assert await reader.read() == b""
    assert (await until_logged(caplog, "proxy header missing"))["address"] == "127.0.0.1"


async def test_header_that_does_not_arrive_in_time_ends_the_connection(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "_PATIENCE", 0.01)
    api = await start_api(ready=False, proxy_protocol=(HERE,))
    async with connected(api) as (reader, writer):
        writer.write(SIGNATURE)
        with suppress(ConnectionError):
            assert await reader.read() == b""


async def test_header_from_elsewhere_is_no_http(start_api: StartApi) -> None:
    api = await start_api(proxy_protocol=(ip_network("10.0.0.0/8"),))
    assert (await api.call("GET", "/healthz")).status == 200
    async with connected(api) as (reader, writer):
        writer.write(header("192.0.2.7") + GET + b"\r\n")
        assert b" 400 " in (await reader.read()).splitlines()[0]


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], ssl.SSLContext]:
    """Settings of an API with TLS, and what trusts it."""
    folder = tmp_path_factory.mktemp("https")
    list(issue(folder, https_only(())))
    files = {
        "api_cert": str(folder / "api/https.pem"),
        "api_key": str(folder / "api/https-key.pem"),
    }
    return files, ssl.create_default_context(cafile=str(folder / "api/api-ca.pem"))


async def test_tls_begins_behind_the_header(
    start_api: StartApi, caplog: pytest.LogCaptureFixture, https: tuple[dict[str, str], Any]
) -> None:
    files, trust = https
    api = await start_api(ready=False, proxy_protocol=(HERE,), **files)
    assert await address_of(api, caplog, header("192.0.2.7"), tls=trust) == "192.0.2.7"
    direct = await start_api(ready=False, proxy_protocol=(ip_network("10.0.0.0/8"),), **files)
    assert await address_of(direct, caplog, tls=trust) == "127.0.0.1"
    async with connected(plain(api)) as (
        reader,
        writer,
    ):  # no TLS behind it
        writer.write(header("192.0.2.7") + GET + b"\r\n")
        assert b"200" not in await reader.read()
    assert await address_of(api, caplog, header("192.0.2.8"), tls=trust) == "192.0.2.8"


@pytest.mark.parametrize("behind", [b"", header("192.0.2.7")])
async def test_tls_that_does_not_begin_in_time_ends_the_connection(
    start_api: StartApi,
    monkeypatch: pytest.MonkeyPatch,
    https: tuple[dict[str, str], Any],
    behind: bytes,
) -> None:
    monkeypatch.setattr(entrance, "_HANDSHAKE", 0.01)
    balancers = (HERE,) if behind else ()
    api = await start_api(ready=False, proxy_protocol=balancers, **https[0])
    async with connected(plain(api)) as (reader, writer):
        writer.write(behind)
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                assert await reader.read() == b""


async def test_connection_counts_before_its_tls_and_no_longer_when_that_fails(
    start_api: StartApi, https: tuple[dict[str, str], Any]
) -> None:
    files, trust = https
    api = await start_api(ready=False, api_connections_per_address=2, **files)

    async def status() -> bytes:
        async with connected(plain(api)) as (reader, writer):
            await writer.start_tls(trust, server_hostname="localhost")
            writer.write(GET + b"Connection: close\r\n\r\n")
            return (await reader.readline()).split()[1]

    async with connected(plain(api)) as (_, first), connected(plain(api)) as (_, second):
        assert await status() == b"503"
        for writer in (first, second):
            writer.write(GET)
        async with asyncio.timeout(PATIENCE):
            while await status() != b"200":
                pass


async def test_silent_flood_before_tls_is_reset(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch, https: tuple[dict[str, str], Any]
) -> None:
    monkeypatch.setattr("babygun.api.http.connection_limits._REFUSALS", 1)
    api = await start_api(ready=False, api_connections=1, **https[0])
    async with AsyncExitStack() as held:
        flood = [await held.enter_async_context(connected(plain(api))) for _ in range(4)]
        ended = [asyncio.create_task(reader.read()) for reader, _ in flood]
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait(ended[2:])
        assert not ended[0].done() and not ended[1].done(), "counted, and one that gets an answer"
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)


async def test_connections_are_counted_by_the_caller_that_the_header_names(
    start_api: StartApi,
) -> None:
    api = await start_api(
        ready=False, proxy_protocol=(HERE,), api_connections=100, api_connections_per_address=1
    )
    async with connected(api) as (reader, writer), connected(api) as (another, second):
        for one, caller in ((writer, "192.0.2.7"), (second, "192.0.2.8")):
            one.write(header(caller) + GET + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert (await another.readline()).startswith(b"HTTP/1.1 200")
        async with connected(api) as (third, writer):
            writer.write(header("192.0.2.8") + GET + b"\r\n")
            assert (await third.readline()).startswith(b"HTTP/1.1 503")


class _Echo(asyncio.Protocol):
    """Sends back what arrives, behind the address of its caller."""

    def __init__(self, peer: str, admission: Admission) -> None:
        self._peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._peer.encode() + data)
        self._transport.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("network", ["127.0.0.0/8", "10.0.0.0/8"])
def test_sockets_are_handed_over_on_both_event_loops(
    loop: Callable[[], asyncio.AbstractEventLoop], network: str
) -> None:
    async def called() -> bytes:
        balancers = (ip_network(network),)
        server = await asyncio.get_running_loop().create_server(
            partial(Entrance, ConnectionLimits(9, 9), _Echo, None, balancers), "127.0.0.1", 0
        )
        async with server, asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write((header("192.0.2.7") if HERE in balancers else b"") + b" hello")
            said = await reader.read()
            writer.close()
            await writer.wait_closed()
        return said

    caller = b"192.0.2.7" if network == str(HERE) else b"127.0.0.1"
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(called()) == caller + b" hello"


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("turns", [0, 3])
def test_socket_is_closed_if_the_process_stops_before_its_tls(
    loop: Callable[[], asyncio.AbstractEventLoop], turns: int
) -> None:
    """``turns``: of the event loop, since the connection came."""
    limits = ConnectionLimits(9, 9)

    async def called() -> bytes:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = await asyncio.get_running_loop().create_server(
            partial(Entrance, limits, _Echo, tls, ()), "127.0.0.1", 0
        )
        async with server, asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            while not entrance._accepting:  # noqa: ASYNC110 (each turn of the loop is looked at)
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            [task] = entrance._accepting
            task.cancel()
            said = await reader.read()
            writer.close()
            await writer.wait_closed()
        return said

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(called()) == b""
    assert not limits.open
