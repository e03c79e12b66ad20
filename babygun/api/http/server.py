"""The connections of the API: what aiohttp's own do, with problems where it would answer in text.

aiohttp has no setting for what becomes of bytes that are no HTTP request (its issues 3287 and
9882), so :class:`Connection` overrides the methods that decide it. It also bounds what a client can
hold here that neither sends nor reads to the end:

* Too many connections, or headers that are too long together, get a problem and are closed.
* A body is never inflated here. A connection whose body stays unread ends with the answer.
* A client that leaves an answer unread is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from aiohttp import http_exceptions, web

from babygun.api.http import malformed
from babygun.api.http.connection_limits import Admission, ConnectionLimits
from babygun.api.http.problem_types import EXPECTATION_FAILED, HEADERS_TOO_LARGE
from babygun.api.http.problems import Problem, as_response, from_exception
from babygun.runtime import metrics
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.logs import get_logger
from babygun.runtime.metric_types import OTHER
from babygun.runtime.networks import Network, is_in, normal_address
from babygun.runtime.settings import Settings

log = get_logger("api")


# Bytes of a body that wait for a call to read them, half of the most. A call that reads a large
# one asks for more.
_READ_AHEAD = 32 << 10
_PIPELINED = 2  # requests that wait for the one before them, until no more is read
_LINGER = 5.0  # s, that a connection goes on after its last answer, so that the client gets it


class Connection(web.RequestHandler):  # type: ignore[type-arg, unused-ignore]
    """One connection.

    ``patience``: seconds that a client has to take an answer. ``peer``: the address at its other
    end, which a load balancer may have named (PROXY protocol). ``proxies``: those that are trusted
    to name who calls, if it comes from one. ``admission``: where it was counted before.
    ``wait``: of the call that is answered now; done when the client is gone.
    """

    wait: asyncio.Future[None] | None = None

    def __init__(
        self,
        *args: Any,
        limits: ConnectionLimits,
        patience: float,
        proxies: Sequence[Network],
        peer: str = "",
        admission: Admission | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.peer, self.proxies = peer, proxies
        self._max_msg_queue_size, self._msg_queue_resume_size = _PIPELINED, _PIPELINED - 1
        self._limits, self._patience = limits, patience
        self._admission = admission
        self._head = 0  # bytes of headers that are not complete
        self._cut: asyncio.TimerHandle | None = None
        self._when_sent: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self.peer and (name := transport.get_extra_info("peername")):
            self.peer = normal_address(f"[{name[0]}]")
        if not is_in(self.proxies, self.peer):
            self.proxies = ()
        admission = self._admission = self._admission or self._limits.admit(self.peer)
        if admission.problem is None:
            super().connection_made(transport)
            return
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        if admission.silent:
            self.transport.abort()
        else:
            self._refuse(admission.problem)

    def data_received(self, data: bytes) -> None:
        if self._close:
            return
        super().data_received(data)
        if self._waiter is not None and not self._waiter.done():
            self._head += len(data)
            if self._head > malformed.MAX_HEAD:
                self._refuse(Problem(HEADERS_TOO_LARGE, malformed.LONG_HEAD))
        else:
            self._head = 0
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
        self._keep_uncut()
        if self._admission is not None:
            self._admission.leave()
        if self.wait is not None and not self.wait.done():
            self.wait.set_result(None)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut_in(self._patience)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.transport is not None and not self.transport.is_closing():
            self._keep_uncut()

    async def start(self) -> None:
        await super().start()
        if self.transport is not None:
            self._cut_in(_LINGER)

    def force_close(self) -> None:
        if self.transport is not None:
            self._cut_in(_LINGER)
        super().force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the answer, and then does what :meth:`when_sent` was given."""
        if not request.content.is_eof():
            resp.force_close()  # what is left of the body is read for _LINGER, and dropped
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            if self._when_sent is not None:
                self._when_sent()
                self._when_sent = None

    def when_sent(self, do: Callable[[], None]) -> None:
        """Has ``do`` called when the answer to the present request is sent, or can't be."""
        self._when_sent = do

    def _cut_in(self, seconds: float) -> None:
        """Cuts the connection off after so many seconds, with what is not sent by then."""
        self._keep_uncut()
        assert self.transport is not None
        self._cut = self._loop.call_later(seconds, self.transport.abort)

    def _keep_uncut(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _refuse(self, problem: Problem) -> None:
        """Answers with a problem before there is a request, and hangs up."""
        transport = self.transport
        assert transport is not None
        metrics.HTTP_REQUESTS[OTHER, OTHER, str(problem.kind.status)].inc()
        transport.write(_as_bytes(problem))
        # Closed with bytes unread, the client's system would drop the answer, too.
        if transport.can_write_eof():  # TLS can't
            transport.write_eof()
        self._cut_in(_LINGER)
        self._close = True  # what still comes is dropped

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


def connection_of(request: web.Request) -> Connection:
    """The connection that a request came by."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection


def connection_factory(
    runner: web.AppRunner, settings: Settings, limits: ConnectionLimits, keepalive: float
) -> Callable[..., Connection]:
    """Makes the connections of one listening socket, after the runner's setup.

    ``keepalive``: seconds that an idle connection stays open.
    """
    assert runner.server is not None
    return partial(
        Connection,
        runner.server,
        loop=asyncio.get_running_loop(),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=keepalive,
        limits=limits,
        lingering_time=_LINGER,
        max_line_size=malformed.MAX_LINE,
        max_field_size=malformed.MAX_FIELD,
        max_headers=malformed.MAX_HEADERS,
        patience=settings.request_timeout,
        proxies=settings.trusted_proxies,
        read_bufsize=_READ_AHEAD,
    )


async def check_expect(request: web.Request) -> web.StreamResponse | None:
    """Refuses an ``Expect`` that can't be met. The call asks for its body when it wants it."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        return None
    problem = Problem(EXPECTATION_FAILED, "Only 100-continue can be expected.")
    return as_response(problem, instance=request.rel_url.raw_path, request_id=new_short_id())


def _as_bytes(problem: Problem) -> bytes:
    """The whole answer, for a connection without a request."""
    response = as_response(problem, instance="", request_id=new_short_id())
    body = response.body
    assert isinstance(body, bytes)
    response.headers.update({"Connection": "close", "Content-Length": str(len(body))})
    lines = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{lines}\r\n".encode() + body
