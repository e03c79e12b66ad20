"""Reads the body of a request, within its size, its time and the memory for bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from aiohttp import web

from babygun.api.http.body_memory import BODY_MEMORY, SMALL
from babygun.api.http.context import SETTINGS, call_of
from babygun.api.http.malformed import unreadable_encoding
from babygun.api.http.problem_types import (
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
)
from babygun.api.http.problems import Problem

MAX_SMALL = 64 << 10  # bytes, for calls that need no more: no stranger can fill our memory

_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})


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
    """The raw body, decompressed, at most ``limit`` (by default ``max_request``) bytes.

    Raises the 400, 408, 413, 415 or 503 problem.
    """
    limit = request.client_max_size if limit is None else min(limit, request.client_max_size)
    announced = request.content_length
    if announced is not None and announced > limit:
        raise _too_large(limit, request.client_max_size)
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise unreadable_encoding()
    plain = encoding in ("", "identity")
    if plain and announced is not None and announced > SMALL:
        await request.app[BODY_MEMORY].take(announced)
        call_of(request).body_bytes = announced
    try:
        if plain and announced is not None and request.content.is_eof():
            return request.content.read_nowait()
        seconds = request.app[SETTINGS].request_timeout
        async with asyncio.timeout(seconds):
            return await _read(request, limit)
    except TimeoutError:
        raise Problem(
            REQUEST_TIMEOUT,
            f"The body was not there after {seconds:g} s (setting request_timeout).",
            field="body",
        ) from None
    except web.RequestPayloadError:
        detail = (
            "The body is not chunked as its Transfer-Encoding says."
            if plain
            else f"The body is not {encoding}, as its Content-Encoding says."
        )
        raise Problem(MALFORMED_REQUEST, detail, field="body") from None
    except ConnectionError:
        raise Problem(
            MALFORMED_REQUEST, "The connection ended before the body did.", field="body"
        ) from None


async def _read(request: web.Request, limit: int) -> bytes:
    """Reads to the end, and takes memory for bytes that were not announced."""
    memory, call = request.app[BODY_MEMORY], call_of(request)
    parts: list[bytes] = []
    size = 0
    while part := await request.content.readany():
        size += len(part)
        if size > limit:
            raise _too_large(limit, request.client_max_size)
        if size > max(SMALL, call.body_bytes):
            memory.grow(size - call.body_bytes)
            call.body_bytes = size
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int, max_request: int) -> Problem:
    """The 413 problem. ``limit``: this call's own, or ``max_request``."""
    detail = (
        TOO_LARGE.example
        if limit == max_request
        else f"The body of this call has at most {limit} bytes."
    )
    return Problem(TOO_LARGE, detail, field="body")
