"""What the tests share that send requests byte by byte."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.api import EMAIL, RunningApi
from tests.support.processes import PATIENCE

GOOD = json.dumps(EMAIL).encode()


POST = (
    b"POST /emails HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n"
    b"Content-Type: application/json\r\n"
)


TOKENS = b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


STRANGER = b"POST /emails HTTP/1.1\r\nHost: a\r\n"


GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def encoded(head: bytes, encoding: bytes, body: bytes) -> bytes:
    return (
        head + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body)) + body
    )


@asynccontextmanager
async def connected(
    api: RunningApi,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


async def answers(reader: asyncio.StreamReader) -> list[tuple[int, Any]]:
    """Status and problem of each answer, until the server hangs up."""
    async with asyncio.timeout(PATIENCE):
        data = await reader.read()
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        found.append((int(head.split()[1]), json.loads(rest[:length] or b"null")))
        data = rest[length:]
    return found


async def one_answer(api: RunningApi, *parts: bytes) -> tuple[int, Any]:
    """What comes back for these bytes, each part sent by itself."""
    async with connected(api) as (reader, writer):
        for part in parts:
            writer.write(part.replace(b"TOKEN", api.token.encode()))
            await writer.drain()
            await asyncio.sleep(0.02)  # two packets, as far as one can bring that about
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
            return int(head.split()[1]), json.loads(await reader.readexactly(length) or b"null")


async def until_read(api: RunningApi, token: str = "") -> None:
    """Returns once what was sent on other connections is being read: a later one was answered.

    ``token``: of those calls. The API must know its client: made before its start, as that of the
    usual token. Else each call reads it from etcd, which answers in any order.
    """
    head = "GET /tokens HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n"
    await one_answer(api, head.format(token or api.token).encode())


async def raw(api: RunningApi, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """What comes back for these very bytes."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    await writer.wait_closed()
    return int(lines[0].split()[1]), headers, body


def check_log(caplog: pytest.LogCaptureFixture, lines: int = 1) -> None:
    """No traceback, nothing above info, and at most so many lines."""
    seen = [
        record
        for record in caplog.records
        if record.name.startswith(("babygun.api", "aiohttp", "asyncio"))
        and record.levelno >= logging.INFO
        # Of no call: etcd may confirm the key after its watch has brought it.
        and record.getMessage() != "signing key created"
    ]
    assert not [record for record in seen if record.levelno > logging.INFO or record.exc_info], [
        record.getMessage() for record in seen
    ]
    assert len(seen) <= lines, [record.getMessage() for record in seen]


async def until_logged(caplog: pytest.LogCaptureFixture, message: str) -> Any:
    async with asyncio.timeout(PATIENCE):
        while not (found := [record for record in caplog.records if record.message == message]):  # noqa: ASYNC110 (a log has no signal)
            await asyncio.sleep(0.01)
    return found[0].fields
