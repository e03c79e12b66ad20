"""GET /openapi.json: the document, made once when the application is built."""

from __future__ import annotations

from aiohttp import web

from babygun.api.http.responses import SECURITY_HEADERS

OPENAPI = web.AppKey("openapi", bytes)


async def show_openapi(request: web.Request) -> web.Response:
    return web.Response(
        body=request.app[OPENAPI], headers={**SECURITY_HEADERS, "Content-Type": "application/json"}
    )
