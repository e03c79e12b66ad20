"""Requests that break off, lie about themselves or are none: an answer in our words where somebody is there to get it, no traceback, no handler that hangs."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from babygun.api.http import body_memory as memory
from babygun.api.http.body_memory import BodyMemory
from babygun.api.http.problems import Problem
from tests.api.conftest import EMAIL, RunningApi, StartApi

GOOD = json.dumps(EMAIL).encode()
POST = b"POST /emails HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\n"
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


async def answers(reader: asyncio.StreamReader, within: float = 10.0) -> list[tuple[int, Any]]:
    """Status and problem of each answer, until the server hangs up."""
    async with asyncio.timeout(within):
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
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
            return int(head.split()[1]), json.loads(await reader.readexactly(length) or b"null")


def check_log(caplog: pytest.LogCaptureFixture, lines: int = 1) -> None:
    """No traceback, nothing above info, and at most so many lines."""
    seen = [
        record
        for record in caplog.records
        if record.name.startswith(("babygun.api", "aiohttp", "asyncio"))
        and record.levelno >= logging.INFO
    ]
    assert not [record for record in seen if record.levelno > logging.INFO or record.exc_info], [
        record.getMessage() for record in seen
    ]
    assert len(seen) <= lines, [record.getMessage() for record in seen]


async def until_logged(caplog: pytest.LogCaptureFixture, message: str) -> Any:
    async with asyncio.timeout(5):
        while not (found := [record for record in caplog.records if record.message == message]):  # noqa: ASYNC110 (a log has no signal)
            await asyncio.sleep(0.01)
    return found[0].fields


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 500\r\n\r\n{",
        TOKENS + b"Content-Length: 500\r\n\r\n{",
        POST + CHUNKED + b"5\r\n{}",
        encoded(POST, b"gzip", gzip.compress(GOOD))[:-20],
    ],
    ids=["announced", "without a token", "chunked", "compressed"],
)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_body_cut_off_is_one_line_in_the_log(
    api: RunningApi, caplog: pytest.LogCaptureFixture, data: bytes, how: str
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (_, writer):
            writer.write(data.replace(b"TOKEN", api.token.encode()))
            await writer.drain()
            await asyncio.sleep(0.05)  # the handler reads by then
            if how == "reset":
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                writer.transport.abort()
        assert (await until_logged(caplog, "request"))["status"] == 400
        assert (await api.call("GET", "/healthz")).status == 200
    check_log(caplog)


BROKEN: list[tuple[str, tuple[bytes, ...], int, str]] = [
    (
        "no gzip",
        (encoded(POST, b"gzip", GOOD),),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    (
        "no gzip, without a token",
        (encoded(TOKENS, b"gzip", GOOD),),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    (
        "no gzip, in another packet",
        (encoded(POST, b"gzip", b"abcd")[:-4], b"abcd"),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    ("no gzip, from a stranger", (encoded(STRANGER, b"gzip", b"abcd"),), 401, ""),
    (
        "no gzip, to nothing",
        (encoded(STRANGER.replace(b"/emails", b"/nothing"), b"gzip", b"abcd")[:-4], b"abcd"),
        404,
        "",
    ),
    ("no gzip, where none is read", (encoded(GET, b"gzip", b"abcd"),), 200, ""),
    (
        "no deflate",
        (encoded(POST, b"deflate", GOOD),),
        400,
        "The body is not deflate, as its Content-Encoding says.",
    ),
    (
        "deflate cut off",
        (encoded(POST, b"deflate", zlib.compress(GOOD)[:-6]),),
        400,
        "The body is not compressed as its Content-Encoding says.",
    ),
    (
        "gzip cut off",
        (encoded(POST, b"gzip", gzip.compress(GOOD)[:-12]),),
        400,
        "The body ends in the middle of its JSON.",
    ),
    (
        "more than gzip",
        (encoded(POST, b"gzip", gzip.compress(GOOD) + b"junk"),),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    (
        "gzip that swells",
        (encoded(POST, b"gzip", gzip.compress(bytes(50_000_000))),),
        413,
        "The body is larger than this server takes (setting max_request).",
    ),
    (
        "brotli",
        (encoded(POST, b"br", GOOD),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "zstd",
        (encoded(POST, b"zstd", GOOD),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "an encoding of no name",
        (encoded(POST, b"foo", GOOD),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "rubbish for a chunk",
        (POST + CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",),
        400,
        "The body is not chunked as its Transfer-Encoding says.",
    ),
    (
        "rubbish after a chunk",
        (POST + CHUNKED, b"2\r\n{}\r\nzz\r\n"),
        400,
        "The body is not chunked as its Transfer-Encoding says.",
    ),
    (
        "a chunk of negative size",
        (POST + CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",),
        400,
        "The body is not chunked as its Transfer-Encoding says.",
    ),
    ("no host", (b"GET /healthz HTTP/1.1\r\n\r\n",), 400, "A request has one Host header."),
    (
        "two lengths",
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",),
        400,
        "The Content-Length is no number, or does not stand alone.",
    ),
    (
        "a target that is no path",
        (b"GET http://[::/healthz HTTP/1.1\r\nHost: a\r\n\r\n",),
        400,
        "The request's target is not a path.",
    ),
    (
        "TLS",
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",),
        400,
        "This port speaks plain HTTP, and was called with TLS.",
    ),
    (
        "HTTP/2",
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
        400,
        "Speak HTTP/1.1; HTTP/2 is not spoken here.",
    ),
    (
        "a long path",
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",),
        414,
        "Path and query have more than 8190 bytes.",
    ),
    (
        "a long query",
        (b"GET /emails?tag=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",),
        414,
        "Path and query have more than 8190 bytes.",
    ),
    (
        "a long header",
        (GET + b"X: " + b"a" * 9000 + b"\r\n\r\n",),
        431,
        "A header has more than 8192 bytes.",
    ),
    (
        "many headers",
        (GET + b"".join(b"X-%d: a\r\n" % n for n in range(300)) + b"\r\n",),
        431,
        "There are more than 128 headers.",
    ),
]


@pytest.mark.parametrize(
    ("parts", "status", "detail"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
async def test_request_that_is_broken_is_answered_in_our_words(
    api: RunningApi,
    caplog: pytest.LogCaptureFixture,
    parts: tuple[bytes, ...],
    status: int,
    detail: str,
) -> None:
    with caplog.at_level(logging.INFO):
        got, document = await one_answer(api, *parts)
        assert got == status, document
        if detail:
            assert (document["status"], document["detail"]) == (status, detail)
        assert (await one_answer(api, GET + b"\r\n"))[0] == 200
    check_log(caplog)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_body_that_is_compressed_as_it_says_is_taken(api: RunningApi, encoding: str) -> None:
    body = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](GOOD)
    assert (await one_answer(api, encoded(POST, encoding.encode(), body)))[0] == 202


async def test_rubbish_behind_good_requests_is_answered_after_them(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (reader, writer):
            writer.write((GET + b"\r\n") * 100 + b"\x00\xff" * 100)
            got = await answers(reader)
        assert (
            {status for status, _ in got[:-1]} == {200} and len(got) > 32 and got[-1][0] == 400
        )  # what came in one packet with the rubbish is not answered
        assert (
            got[-1][1]["detail"] == "The request does not begin with a method, a path and HTTP/1.1."
        )
    check_log(caplog)


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X: " + b"a" * 10_000_000,
        GET + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 8000) for n in range(1250)),
        b"GET /" + b"a" * 10_000_000,
        b"a" * 10_000_000,
    ],
    ids=["one header", "many headers", "path", "method"],
)
async def test_ten_megabytes_before_the_body_end_the_connection_early(
    api: RunningApi, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (reader, writer):
            writer.write(data)
            try:
                async with asyncio.timeout(5):
                    await reader.read()
            except ConnectionError:
                pass
        assert (await api.call("GET", "/healthz")).status == 200
    check_log(caplog)


async def test_headers_half_sent_and_left_are_no_line_in_the_log(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (_, writer):
            writer.write(POST[:-5])
            await writer.drain()
        assert (await api.call("GET", "/healthz")).status == 200
    check_log(caplog, lines=0)


async def test_headers_that_do_not_come_end_the_connection(
    api_settings: Any, start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.api.app.KEEPALIVE", 0.3)
    api = await start_api()
    async with connected(api) as (reader, writer):
        writer.write(POST[:-5])
        assert await answers(reader, within=3) == []


@pytest.mark.parametrize(
    "data",
    [POST + b"Content-Length: 500\r\n\r\n{", TOKENS + CHUNKED + b"2\r\n{}\r\n"],
    ids=["announced", "chunked"],
)
async def test_body_that_does_not_come_is_given_up(
    start_api: StartApi, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    api = await start_api(request_timeout=0.3)
    with caplog.at_level(logging.INFO):
        status, document = await one_answer(api, data)
        assert (status, document["type"], document["field"]) == (
            408,
            "urn:babygun:problem:request-timeout",
            "body",
        )
        assert "0.3 s" in document["detail"]
    check_log(caplog)


LARGE = b'{"x": "' + b"a" * 100_000 + b'"}'


async def test_large_bodies_beyond_the_memory_wait_their_turn_and_small_ones_go_on(
    start_api: StartApi,
) -> None:
    api = await start_api(api_memory=150_000)
    async with connected(api) as (reader, writer):
        writer.write(
            POST.replace(b"TOKEN", api.token.encode())
            + b"Content-Length: %d\r\n\r\n" % len(LARGE)
            + LARGE[:70_000]
        )
        await writer.drain()
        waiting = asyncio.create_task(api.send(body="b" * 100_000))
        await api.accepted()
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done, "there is no room for it yet"
        writer.write(LARGE[70_000:])
        await reader.readuntil(b"\r\n\r\n")
        assert (await waiting).status == 202


async def test_large_bodies_that_find_no_room_are_sent_away_for_a_moment(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PATIENCE", 0.2)
    api = await start_api(api_memory=150_000)

    async def chunks() -> AsyncIterator[bytes]:
        yield LARGE

    async with connected(api) as (_, writer):
        writer.write(
            POST.replace(b"TOKEN", api.token.encode())
            + b"Content-Length: %d\r\n\r\n" % len(LARGE)
            + LARGE[:70_000]
        )
        await writer.drain()
        while (
            answer := await api.send(body="b" * 100_000)
        ).status == 202:  # until the first one is being read
            pass
        answer.problem(503, "busy")
        assert answer.headers["Retry-After"] == "5"
        (await api.call("POST", "/emails", data=chunks(), content_type="application/json")).problem(
            503, "busy"
        )
        await api.accepted()
    async with asyncio.timeout(5):
        while (
            await api.send(body="b" * 100_000)
        ).status != 202:  # the one that was cut off has given its room back
            pass


async def test_body_larger_than_all_of_the_memory_goes_alone(start_api: StartApi) -> None:
    api = await start_api(api_memory=1000)
    for _ in range(2):
        await api.accepted(body="b" * 200_000)


async def test_room_is_handed_out_in_order_and_none_is_lost_with_those_who_leave() -> None:
    room = BodyMemory(100)
    await room.take(80)
    waiting = [asyncio.create_task(room.take(size)) for size in (60, 50, 10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    assert not waiting[1].done() and not waiting[2].done(), (
        "the small one stays behind the large one"
    )
    room.give_back(80)
    await asyncio.gather(*waiting[1:])
    assert room.held == 60
    with pytest.raises(Problem, match="api_memory"):
        room.grow(50)
    given = asyncio.create_task(room.take(100))
    await asyncio.sleep(0)
    room.give_back(60)
    given.cancel()
    await asyncio.wait([given])
    assert room.held == 0, "given and cancelled in the same moment"


async def test_body_for_a_token_is_a_small_one(api: RunningApi) -> None:
    answer = await api.call(
        "POST", "/tokens", token="", data=b"x" * 70_000, content_type="application/json"
    )
    assert "65536" in answer.problem(413, "too-large", "body")["detail"]
