"""Reads the body of a request, within its size, its time and the memory for bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager

from aiohttp import web

from babygun.api.http.body_memory import BODY_MEMORY
from babygun.api.http.context import SETTINGS, call_of
from babygun.api.http.inflate import ENCODINGS, Inflater
from babygun.api.http.problem_types import (
    BUSY,
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
)
from babygun.api.http.problems import Problem

MAX_SMALL = 64 << 10  # bytes, for calls that need no more
MAX_SIGN_IN = 4 << 10  # bytes, of credentials: anybody may send some
_READ_AHEAD = 256 << 10  # bytes, of a body that is wanted
_IN_PIECES = 512 << 10  # bytes that a body read in pieces takes here, whatever its size
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def read_json(request: web.Request, *, limit: int | None = None) -> Awaitable[bytes]:
    """The raw body of a request whose Content-Type is JSON, at most ``limit`` bytes.

    Raises the 400, 408, 413, 415 or 503 problem.
    """
    check_json(request)
    return read_body(request, limit=limit)


def check_json(request: web.Request) -> None:
    """Raises the 415 problem unless the Content-Type is JSON."""
    media_type = request.headers.get("Content-Type", "")
    if (
        media_type != "application/json"
        and media_type.partition(";")[0].strip().lower() != "application/json"
    ):
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE,
            "Send the body with Content-Type: application/json.",
            field="Content-Type",
        )


async def read_body(request: web.Request, *, limit: int | None = None) -> bytes:
    """The raw body, inflated, at most ``limit`` (by default ``max_request``) bytes.

    Raises the 400, 408, 413, 415 or 503 problem.
    """
    limit = request.client_max_size if limit is None else min(limit, request.client_max_size)
    announced = _check_announced(request, limit)
    encoding = _encoding(request)
    memory, call = request.app[BODY_MEMORY], call_of(request)
    if announced:
        await memory.take(call, announced)
    if announced is not None and not encoding and request.content.is_eof():
        return request.content.read_nowait()
    with _faults(request):
        async with asyncio.timeout(request.app[SETTINGS].request_timeout) as patience:
            with memory.arriving(call, patience):
                await _ask_for_it(request)
                request.content.set_read_chunk_size(_READ_AHEAD)
                return await _read(request, encoding, limit)


async def body_pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The raw body, inflated, piece by piece as it arrives: at most ``max_request`` bytes.

    What arrives while a piece is in work waits at the client. Only the time spent waiting for
    pieces counts. Raises the 400, 408, 413, 415 or 503 problem.
    """
    limit = request.client_max_size
    _check_announced(request, limit)
    encoding = _encoding(request)
    await request.app[BODY_MEMORY].take(call_of(request), _IN_PIECES)
    left, size = request.app[SETTINGS].request_timeout, 0
    await _ask_for_it(request)
    pieces = _inflated(request, encoding) if encoding else _arriving(request)
    loop = asyncio.get_running_loop()
    while True:
        with _faults(request):
            asked = loop.time()
            async with asyncio.timeout(left):
                piece = await anext(pieces, None)
            left -= loop.time() - asked
        if piece is None:
            return
        size += len(piece)
        if size > limit:
            raise _too_large(limit, limit)
        yield piece


def _check_announced(request: web.Request, limit: int) -> int | None:
    """The announced size of the body, None if there is none. Raises the 413 problem."""
    announced = request.content_length
    if announced is not None and announced > limit:
        raise _too_large(limit, request.client_max_size)
    return announced


@contextmanager
def _faults(request: web.Request) -> Iterator[None]:
    """Makes a problem of what can go wrong while a body arrives."""
    try:
        yield
    except TimeoutError:
        if call_of(request).gave_way:
            raise Problem(
                BUSY, "So many bodies arrive at once that this one was given up."
            ) from None
        seconds = request.app[SETTINGS].request_timeout
        raise Problem(
            REQUEST_TIMEOUT,
            f"The body was not there after {seconds:g} s (setting request_timeout).",
            field="body",
        ) from None
    except web.RequestPayloadError:
        raise Problem(
            MALFORMED_REQUEST,
            "The body is not chunked as its Transfer-Encoding says.",
            field="body",
        ) from None
    except ConnectionError:
        raise Problem(
            MALFORMED_REQUEST, "The connection ended before the body did.", field="body"
        ) from None


async def _ask_for_it(request: web.Request) -> None:
    """Answers ``Expect: 100-continue``: now the body is wanted (RFC 9110, 10.1.1)."""
    if "Expect" in request.headers and request.version >= (1, 1):
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0  # the answer itself is still to come


async def _read(request: web.Request, encoding: str, limit: int) -> bytes:
    """Reads to the end, and takes memory for bytes that were not announced."""
    memory, call = request.app[BODY_MEMORY], call_of(request)
    parts: list[bytes] = []
    size = 0
    async for part in _inflated(request, encoding) if encoding else _arriving(request):
        size += len(part)
        if size > limit:
            raise _too_large(limit, request.client_max_size)
        if size > call.held_bytes:
            memory.grow(call, size)
        parts.append(part)
    return b"".join(parts)


async def _arriving(request: web.Request) -> AsyncIterator[bytes]:
    while part := await request.content.readany():
        yield part


async def _inflated(request: web.Request, encoding: str) -> AsyncIterator[bytes]:
    """The inflated body in small pieces, and other calls have their turn between them."""
    inflater = Inflater(encoding)
    try:
        async for part in _arriving(request):
            for piece in inflater.pieces(part):
                yield piece
                await asyncio.sleep(0)
        inflater.check_complete()
    except ValueError:
        raise Problem(
            MALFORMED_REQUEST,
            f"The body is not {encoding}, as its Content-Encoding says.",
            field="body",
        ) from None


def _encoding(request: web.Request) -> str:
    """How the body is compressed; empty: not at all. Raises the 415 problem."""
    headers = request.headers
    if "Content-Encoding" not in headers:
        return ""
    encoding = ",".join(headers.getall("Content-Encoding")).strip().lower()
    if encoding in ENCODINGS:
        return encoding
    if encoding in ("", "identity"):
        return ""
    raise Problem(
        UNSUPPORTED_MEDIA_TYPE,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
        field="Content-Encoding",
    )


def _too_large(limit: int, max_request: int) -> Problem:
    """The 413 problem. ``limit``: this call's own, or ``max_request``."""
    detail = (
        TOO_LARGE.example
        if limit == max_request
        else f"The body of this call has at most {limit} bytes."
    )
    return Problem(TOO_LARGE, detail, field="body")
