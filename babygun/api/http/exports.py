"""Files of any length, written while they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from babygun.api.http.context import call_of
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.runtime.logs import get_logger

log = get_logger("api")


def headers_of(request: web.Request, name: str, media_type: str) -> dict[str, str]:
    """``name``: of the file."""
    return {
        **SECURITY_HEADERS,
        "Content-Type": media_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Request-Id": call_of(request).request_id,
    }


@asynccontextmanager
async def written(
    request: web.Request, headers: dict[str, str]
) -> AsyncIterator[web.StreamResponse]:
    """Begins the answer, which the caller writes, and ends it.

    After an error the connection breaks: no other answer can be sent any more.
    """
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    try:
        yield response
        await response.write_eof()
    except Exception as error:
        if not isinstance(error, ConnectionError):
            log.error("export broken off", exc=error)
        if request.transport is not None:
            request.transport.abort()
