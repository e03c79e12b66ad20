"""GET /openapi.json: the document, made once when the application is built."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from babygun.api.http.responses import SECURITY_HEADERS
from babygun.api.http.routes import Answer, Routes

OPENAPI = web.AppKey("openapi", bytes)

routes = Routes("operations")


@routes.call(
    "GET",
    "/openapi.json",
    summary="This description",
    answers=[Answer(200, "An OpenAPI 3.1 document.", dict[str, Any], {"openapi": "3.1.0"})],
)
async def show_openapi(request: web.Request) -> web.Response:
    """The example has only its first part."""
    return web.Response(
        body=request.app[OPENAPI], headers={**SECURITY_HEADERS, "Content-Type": "application/json"}
    )
