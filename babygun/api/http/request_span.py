"""The span of a call, where traces are on: named by method and route, in the caller's trace (W3C Trace Context), by OpenTelemetry's HTTP conventions.

No query, no caller's address, and a path only where it is one of ours: nothing that a person typed gets into a trace.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from babygun.api.http.context import call_of
from babygun.api.http.middleware import Handler, email_id_of
from babygun.runtime import tracing
from babygun.runtime.logs import bound

_UNTRACED = frozenset(
    {"/healthz", "/readyz", "/metrics", "/events"}
)  # asked every few seconds, by nobody who waits; or open for hours


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Goes around ``edge``, which makes each exception an answer."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else None
    if route in _UNTRACED:
        return await handler(request)
    method = request.method if request.method in hdrs.METH_ALL else "_OTHER"
    name = "HTTP" if method == "_OTHER" else method
    with (
        tracing.request(f"{name} {route}" if route else name, request.headers) as span,
        bound(trace_id=span.trace_id),
    ):
        response = await handler(request)
        if span.recording:
            _describe(span, request, response, method, route)
        return response


def _describe(
    span: tracing.Span,
    request: web.Request,
    response: web.StreamResponse,
    method: str,
    route: str | None,
) -> None:
    span.set("http.request.method", method)
    span.set("http.response.status_code", response.status)
    span.set("network.protocol.version", f"{request.version.major}.{request.version.minor}")
    span.set("url.scheme", request.scheme)
    call = call_of(request)
    span.set("babygun.request_id", call.request_id)
    if route:
        span.set("http.route", route)
    email_id = email_id_of(request)
    if email_id:
        span.set("babygun.email_id", email_id)
    if email_id or route == request.path:
        span.set("url.path", request.path)
    if call.access is not None:
        span.set("babygun.client_id", call.access.client.id)
    if response.status >= 500:
        span.fail(str(response.status))
