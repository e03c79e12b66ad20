"""The connections of the API: what aiohttp's own do, with problems where it would answer in text.

aiohttp has no setting for what becomes of bytes that are no HTTP request (its issues 3287 and
9882), so :class:`Connection` overrides the methods that decide it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import http_exceptions, web

from babygun.api.http import malformed
from babygun.api.http.problem_types import EXPECTATION_FAILED
from babygun.api.http.problems import Problem, as_response, from_exception
from babygun.runtime import metrics
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.logs import get_logger
from babygun.runtime.metric_types import OTHER

log = get_logger("api")


class Connection(web.RequestHandler):  # type: ignore[type-arg, unused-ignore]
    """One connection. ``wait``: of the call that is answered now; done when the client is gone."""

    wait: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # aiohttp's parser in C queues an error in a body as the next request. The call
        # that reads the body would not notice, and wait until its timeout.
        if (
            self._messages
            and self._current_request is not None
            and isinstance(error := getattr(self._messages[-1][0], "exc", None), Exception)
        ):
            content = self._current_request.content
            if not content.is_eof() and content.exception() is None:
                content.set_exception(web.RequestPayloadError(str(error)))

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.wait is not None and not self.wait.done():
            self.wait.set_result(None)

    def log_exception(
        self, *args: Any, exc_info: BaseException | None = None, **fields: Any
    ) -> None:
        """Logs a failure in aiohttp itself.

        The rest of a broken body fails once more when the connection is made ready for its next
        request. That request has been answered and logged, so nothing is logged then.
        """
        if not isinstance(
            exc_info,
            web.RequestPayloadError | http_exceptions.HttpProcessingError | ConnectionError,
        ):
            log.error("aiohttp failed", exc=exc_info, error=str(args[0]) if args else None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes that are no HTTP request, or to a failure in aiohttp itself.

        The connection ends with it. Raises ConnectionError where an answer has begun already.
        """
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
            problem = from_exception(RuntimeError())
            log.error("connection failed", exc=exc, status=status, request_id=request_id)
        metrics.HTTP_REQUESTS[OTHER, OTHER, str(problem.kind.status)].inc()
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, so no other can be sent")
        response = as_response(problem, instance="", request_id=request_id)
        response.force_close()
        return response


def connection_factory(runner: web.AppRunner, keepalive: float) -> Callable[[], Connection]:
    """What a listening socket makes of each new connection, after the runner's setup.

    ``keepalive``: seconds that an idle connection stays open.
    """
    assert runner.server is not None
    return partial(
        Connection,
        runner.server,
        loop=asyncio.get_running_loop(),
        access_log=None,  # type: ignore[arg-type]  # aiohttp's documents allow None
        keepalive_timeout=keepalive,
        max_line_size=malformed.MAX_LINE,
        max_field_size=malformed.MAX_FIELD,
        max_headers=malformed.MAX_HEADERS,
    )


async def answer_expect(request: web.Request) -> web.StreamResponse | None:
    """Answers ``Expect: 100-continue``. Refuses a body that is announced as too large."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        problem = Problem(EXPECTATION_FAILED, "Only 100-continue can be expected.")
    elif (request.content_length or 0) > request.client_max_size:
        problem = from_exception(
            web.HTTPRequestEntityTooLarge(request.client_max_size, request.content_length or 0)
        )
    else:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself is still to come
        return None
    return as_response(problem, instance=request.rel_url.raw_path, request_id=new_short_id())
