"""The middleware around all others: gives each call its request id, logs it and counts it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from babygun.api.http.caller import caller_of
from babygun.api.http.context import CALL, Call, Handler, logged_path
from babygun.runtime import metrics
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.logs import bind, get_logger
from babygun.runtime.metric_types import OTHER

log = get_logger("api")

PathFields = Callable[[web.Request], Mapping[str, str]]
"""Ids in a request's path that logs and traces name; nothing else that a person typed."""

_sane_id = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
# The caller could invent any number of other methods.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_READS = frozenset({"GET", "HEAD"})  # the page and waiting clients repeat them all the time
_clock = time.perf_counter


def access_log(
    path_fields: PathFields, *, probes: Collection[str], streams: Collection[str]
) -> Middleware:
    """The middleware. Each line that a call logs carries its ``path_fields``.

    ``probes``: paths whose calls are logged for debugging only. ``streams``: paths whose calls are
    open for hours, so that their time is not counted.
    """

    @web.middleware
    async def access_log_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = _clock()
        given = request.headers.get("X-Request-Id")
        request_id = given if given is not None and _sane_id(given) else new_short_id()
        call = request[CALL] = Call(request_id)
        bind(request_id=request_id, **path_fields(request))  # each request is a task of its own
        response = await handler(request)
        response.headers["X-Request-Id"] = request_id
        record(request, response.status, call, _clock() - started)
        return response

    def record(request: web.Request, status: int, call: Call, seconds: float) -> None:
        """Counts the call, and logs its line."""
        method, path = request.method, logged_path(request)
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else OTHER
        counted = method if method in _METHODS else OTHER
        metrics.HTTP_REQUESTS[counted, route, str(status)].inc()
        if route not in streams:
            metrics.HTTP_SECONDS[counted, route].observe(seconds - call.waited)
        quiet = path in probes or (method in _READS and status < 400)
        ms = round(seconds * 1000, 1)
        address = caller_of(request).address
        if quiet:
            log.debug("request", method=method, path=path, status=status, ms=ms, address=address)
        else:
            log.info("request", method=method, path=path, status=status, ms=ms, address=address)

    return access_log_middleware
