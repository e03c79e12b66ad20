"""The proxy between two parts, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from scripts.chaos.proxy import Proxy
from tests.support.etcd_server import free_ports
from tests.support.processes import PATIENCE

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it gets, behind a proxy."""

    def __init__(self) -> None:
        self.got = asyncio.Event()
        self._pairs: list[Pair] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.proxy = Proxy(free_ports(1)[0], self._server.sockets[0].getsockname()[1])
        await self.proxy.start()

    async def stop(self) -> None:
        for _, writer in self._pairs:
            writer.transport.abort()
        await self.proxy.stop()
        self._server.close()
        await asyncio.sleep(0)  # the transports close

    async def call(self) -> Pair:
        self._pairs.append(await asyncio.open_connection("127.0.0.1", self.proxy.port))
        return self._pairs[-1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(100):
                self.got.set()
                writer.write(data)
        writer.transport.abort()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    await echo.start()
    yield echo
    await echo.stop()


async def echoed(pair: Pair, data: bytes = b"hello") -> bytes:
    """What comes back: empty when the connection is broken."""
    reader, writer = pair
    writer.write(data)
    with suppress(OSError):
        async with asyncio.timeout(PATIENCE):
            return await reader.read(100)
    return b""


async def ended(pair: Pair) -> bytes:
    """What still comes before the connection is broken."""
    with suppress(OSError):
        async with asyncio.timeout(PATIENCE):
            return await pair[0].read()
    return b""


async def test_bytes_pass_either_way(echo: Echo) -> None:
    assert await echoed(await echo.call()) == b"hello"


async def test_cut_breaks_connections_and_lets_new_ones_in(echo: Echo) -> None:
    pair = await echo.call()
    await echoed(pair)
    echo.proxy.cut()
    assert await ended(pair) == b""
    assert await echoed(await echo.call()) == b"hello"


async def test_refusing_proxy_is_as_if_nobody_listened(echo: Echo) -> None:
    await echo.proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await echo.call()
    await echo.proxy.mend()
    assert await echoed(await echo.call()) == b"hello"


async def test_swallowed_answer_is_lost_with_its_connection(echo: Echo) -> None:
    pair = await echo.call()
    echo.proxy.swallow_answers()
    pair[1].write(b"hello")
    await echo.got.wait()  # the request arrives
    await echo.proxy.mend()
    assert await ended(pair) == b""
    assert await echoed(await echo.call()) == b"hello"


async def test_late_answer_comes_when_all_passes_again(echo: Echo) -> None:
    pair = await echo.call()
    echo.proxy.swallow_answers()
    pair[1].write(b"hello")
    await echo.got.wait()
    await echo.proxy.mend(late=True)
    assert await pair[0].read(100) == b"hello"


async def test_swallowed_request_never_arrives(echo: Echo) -> None:
    pair = await echo.call()
    await echoed(pair, b"first")
    echo.got.clear()
    echo.proxy.swallow_requests()
    pair[1].write(b"second")
    await echo.proxy.mend()
    assert await ended(pair) == b""
    assert not echo.got.is_set()


async def test_caller_that_is_not_let_in_is_broken(echo: Echo) -> None:
    pair = await echo.call()
    await echoed(pair)
    echo.proxy.lets_in = lambda caller: False
    echo.proxy.cut_refused()
    assert await ended(pair) == b""
    assert await echoed(await echo.call()) == b""


async def test_dripping_proxy_lets_an_answer_pass_byte_by_byte(echo: Echo) -> None:
    pair = await echo.call()
    await echoed(pair)
    echo.proxy.drip(0.3)
    await echoed(pair)  # a read that had begun takes it whole
    assert await echoed(pair) == b"h"
