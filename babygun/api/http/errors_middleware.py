"""The innermost middleware: every exception of a call becomes a problem."""

from __future__ import annotations

from aiohttp import web

from babygun.api.http.context import Handler, call_of, logged_path
from babygun.api.http.problem_types import INTERNAL, OUT_OF_MEMORY
from babygun.api.http.problems import as_response, from_exception
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.runtime.logs import get_logger

log = get_logger("api")


@web.middleware
async def errors_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        if request.method == "OPTIONS":
            allowed = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
            return web.Response(status=204, headers={**SECURITY_HEADERS, "Allow": allowed})
        return _answer(request, error)
    except Exception as error:
        return _answer(request, error)


def _answer(request: web.Request, error: Exception) -> web.Response:
    problem = from_exception(error)
    if problem.kind in (INTERNAL, OUT_OF_MEMORY):
        log.error("request failed", exc=error, method=request.method, path=logged_path(request))
    return as_response(
        problem, instance=request.rel_url.raw_path, request_id=call_of(request).request_id
    )
