"""The span of a call, where traces are on, by OpenTelemetry's conventions for HTTP.

It is named by method and route, and belongs to the caller's trace (W3C Trace Context).
Nothing that a person typed gets into it: no query, no address of the caller, and a path only
where every part of it is known.
"""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from babygun.api.http.access_log import PathFields
from babygun.api.http.caller import caller_of
from babygun.api.http.context import Handler, call_of
from babygun.runtime import tracing
from babygun.runtime.logs import bind


def traced(path_fields: PathFields, *, untraced: Collection[str]) -> Middleware:
    """The middleware. Place it around those that make each exception an answer.

    ``untraced``: paths whose calls get no span.
    """

    @web.middleware
    async def tracing_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else None
        if route in untraced:
            return await handler(request)
        method = request.method if request.method in hdrs.METH_ALL else "_OTHER"
        name = "HTTP" if method == "_OTHER" else method
        with tracing.request(f"{name} {route}" if route else name, request.headers) as span:
            if span.recording:
                bind(trace_id=span.trace_id)
            response = await handler(request)
            if span.recording:
                span.set("http.request.method", method)
                span.set("http.response.status_code", response.status)
                version = request.version
                span.set("network.protocol.version", f"{version.major}.{version.minor}")
                span.set("url.scheme", caller_of(request).scheme)
                span.set("babygun.request_id", call_of(request).request_id)
                if route:
                    span.set("http.route", route)
                fields = path_fields(request)
                for field, value in fields.items():
                    span.set(f"babygun.{field}", value)
                if fields or route == request.path:
                    span.set("url.path", request.path)
                if response.status >= 500:
                    span.fail(str(response.status))
            return response

    return tracing_middleware
