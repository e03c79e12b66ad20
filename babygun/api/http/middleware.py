"""Around every call: a request id, one access-log line, and each exception as a problem.

Below HTTP, where a request can't even be parsed, aiohttp would answer in plain text; :class:`Server` gives that the same shape.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import http_exceptions, web

from babygun.api.http import malformed, problems
from babygun.api.http.context import CALL, SECURITY_HEADERS, Call, api_of
from babygun.api.http.waiters import GONE
from babygun.email.ids import is_email_id
from babygun.runtime import metrics
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.logs import bound, get_logger

log = get_logger("api")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_sane_id = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
_STREAMS = frozenset({"/events"})  # as long as somebody listens: their times say nothing
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
)  # others are the caller's invention, without number
_READS = frozenset({"GET", "HEAD"})  # the page and whoever waits for an e-mail ask again and again
_clock = time.perf_counter
LIMITS: dict[str, Any] = {
    "max_line_size": malformed.MAX_LINE,
    "max_field_size": malformed.MAX_FIELD,
    "max_headers": malformed.MAX_HEADERS,
}
"""The sizes that aiohttp's parser is given."""


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = _clock()
    given = request.headers.get("X-Request-Id")
    request_id = given if given is not None and _sane_id(given) else new_short_id()
    call = request[CALL] = Call(request_id)
    with bound(request_id=request_id, email_id=email_id_of(request)):
        try:
            response = await handler(request)
        except web.HTTPMethodNotAllowed as error:
            response = (
                _options(error)
                if request.method == "OPTIONS"
                else _problem(request, error, request_id)
            )
        except Exception as error:
            response = _problem(request, error, request_id)
        response.headers["X-Request-Id"] = request_id
        if call.held:
            api_of(request).memory.give_back(call.held)
        _tell(request, response.status, call, _clock() - started)
        return response


def _tell(request: web.Request, status: int, call: Call, seconds: float) -> None:
    """Counts the call, and logs its line."""
    method, path, access = request.method, request.path, call.access
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else metrics.OTHER
    counted = method if method in _METHODS else metrics.OTHER
    metrics.HTTP_REQUESTS[counted, route, str(status)].inc()
    if route not in _STREAMS:
        metrics.HTTP_SECONDS[counted, route].observe(seconds - call.waited)
    quiet = path in _PROBES or (method in _READS and status < 400)
    write = log.debug if quiet else log.info
    write(
        "request",
        method=method,
        path=path,
        status=status,
        ms=round(seconds * 1000, 1),
        client_id=access.client.id if access is not None else None,
        request_id=call.request_id,
    )


def email_id_of(request: web.Request) -> str | None:
    """The e-mail that the path names, if what stands there can be an id at all."""
    email_id = request.match_info.get("id")
    return email_id if email_id is not None and is_email_id(email_id) else None


def _problem(request: web.Request, error: Exception, request_id: str) -> web.Response:
    problem = problems.from_exception(error)
    if problem.kind is problems.INTERNAL:
        log.error(
            "request failed",
            exc=error,
            method=request.method,
            path=request.path,
            request_id=request_id,
        )
    response = problems.as_response(
        problem, instance=request.rel_url.raw_path, request_id=request_id, extra=SECURITY_HEADERS
    )
    if problem.kind is problems.REQUEST_TIMEOUT:
        response.force_close()
    return response


def _options(error: web.HTTPMethodNotAllowed) -> web.Response:
    return web.Response(
        status=204,
        headers={
            **SECURITY_HEADERS,
            "Allow": ", ".join(sorted({*error.allowed_methods, "OPTIONS"})),
        },
    )


async def expect(request: web.Request) -> web.StreamResponse | None:
    """Answers ``Expect: 100-continue``: a body that is announced as too large is refused before it is sent."""
    request_id = new_short_id()
    if request.headers.get("Expect", "").lower() != "100-continue":
        problem = problems.Problem(
            problems.EXPECTATION_FAILED, "Only 100-continue can be expected."
        )
    elif (request.content_length or 0) > request.client_max_size:
        problem = problems.from_exception(
            web.HTTPRequestEntityTooLarge(request.client_max_size, request.content_length or 0)
        )
    else:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the real answer is still to come
        return None
    response = problems.as_response(
        problem, instance=request.rel_url.raw_path, request_id=request_id, extra=SECURITY_HEADERS
    )
    response.headers["X-Request-Id"] = request_id
    return response


class _Connection(web.RequestHandler):  # type: ignore[type-arg, unused-ignore]
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # aiohttp queues what can't be parsed as the next request; where it is the rest of a body, whoever reads that would wait for ever.
        if (
            self._messages
            and self._current_request is not None
            and isinstance(error := getattr(self._messages[-1][0], "exc", None), Exception)
        ):
            content = self._current_request.content
            if not content.is_eof() and content.exception() is None:
                content.set_exception(web.RequestPayloadError(str(error)))

    def connection_lost(self, exc: BaseException | None) -> None:
        request = self._current_request
        super().connection_lost(exc)
        if (
            isinstance(request, web.Request)
            and (gone := request.get(GONE)) is not None
            and not gone.done()
        ):
            gone.set_result(None)

    def log_exception(
        self, *args: Any, exc_info: BaseException | None = None, **fields: Any
    ) -> None:
        """What is left of a broken body is met again when the connection is cleared for the next request: that has been answered and logged."""
        if not isinstance(
            exc_info,
            web.RequestPayloadError | http_exceptions.HttpProcessingError | ConnectionError,
        ):
            log.error("connection failed", exc=exc_info, said=str(args[0]) if args else None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP request, or to a failure in aiohttp itself. The connection is closed."""
        request_id = new_short_id()
        if status == 400:
            problem = malformed.as_problem(exc)
            log.info(
                "request malformed",
                status=problem.kind.status,
                reason=problem.detail,
                request_id=request_id,
            )
        else:
            problem = problems.from_exception(RuntimeError())
            log.error("connection failed", exc=exc, status=status, request_id=request_id)
        metrics.HTTP_REQUESTS[metrics.OTHER, metrics.OTHER, str(problem.kind.status)].inc()
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, so no other can be sent")
        response = problems.as_response(
            problem, instance="", request_id=request_id, extra=SECURITY_HEADERS
        )
        response.headers["X-Request-Id"] = request_id
        response.force_close()
        return response


class _Server(web.Server):  # type: ignore[type-arg, unused-ignore]
    def __call__(self) -> web.RequestHandler:  # type: ignore[type-arg, unused-ignore]
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner with our answers to what is no HTTP request."""

    async def _make_server(self) -> Any:
        server = await super()._make_server()
        server.__class__ = _Server  # aiohttp has no other place to name the connection's class
        return server
