"""GET /events: Server-Sent Events (HTML, section 9.2) over HTTP.

A listener that does not read is dropped, and so is one whose token ends. The process's end ends
all streams at once; their listeners come back at another process.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Literal

from aiohttp import web

from babygun.api.access.authenticator import (
    AUTHENTICATOR,
    KNOWN_CLIENTS,
    Access,
    access_of,
    lacks_scope,
)
from babygun.api.emails.fields import EMAIL_ID
from babygun.api.http.context import PROCESS, SITES, STORE, call_of
from babygun.api.http.problem_types import (
    INVALID_REQUEST,
    NOT_FOUND,
    NOT_READY,
    TOO_MANY_LISTENERS,
)
from babygun.api.http.problems import Problem
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.api.live.hub import Hub
from babygun.api.live.listener import Listener
from babygun.api.live.overview import OverviewStream
from babygun.api.operations.overview import live_state
from babygun.errors import NotFound
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.store.changes.position import BEGINNING
from babygun.store.emails import reading

log = get_logger("api")

MOST_LISTENERS = 500  # of one process; half of these of one client
RETRY = 1000  # ms, after which a browser comes back
ALIVE = 4.0  # s, between two events that say nothing but that the stream is alive
# Seconds after which a listener gets the stream's position though no event was for it: it must be
# able to come back from there.
POSITION_INTERVAL = 5.0
UNREAD = 10.0  # s, that a listener may leave a piece unread
_CHECK_INTERVAL = 1.0  # s, between two checks whether the listener is still there
_PIECE = 64 << 10  # bytes
_HEADERS = {**SECURITY_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}


class Streams:
    """All open streams of this process."""

    def __init__(self, app: web.Application) -> None:
        self.hub = Hub(app[STORE], app[SITES].hold_of)
        self.overview = OverviewStream(lambda: live_state(app))
        self._app = app
        self._open: dict[Listener, Access] = {}
        app[KNOWN_CLIENTS].on_change.append(self._check)

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, listener: Listener, access: Access) -> None:
        """Count a listener; raises the 503 problem where too many listen."""
        if self._app[PROCESS].stopping:
            raise Problem(NOT_READY, "This process is stopping; another one goes on.")
        theirs = sum(other.client.id == access.client.id for other in self._open.values())
        if len(self._open) >= MOST_LISTENERS or theirs >= max(1, MOST_LISTENERS // 2):
            raise Problem(
                TOO_MANY_LISTENERS,
                "This process has no room for another stream, or this client has half of them.",
            )
        self._open[listener] = access
        metrics.EVENT_LISTENERS.inc()

    def leave(self, listener: Listener) -> None:
        del self._open[listener]
        metrics.EVENT_LISTENERS.dec()

    async def close(self) -> None:
        """Ends all streams at once."""
        for listener in self._open:
            listener.end()

    async def stop(self) -> None:
        await self.hub.close()
        await self.overview.close()

    def _check(self) -> None:
        """Ends the streams whose token no longer allows them: clients, keys or tokens changed."""
        for listener, access in self._open.items():
            if not self._app[AUTHENTICATOR].holds(access, "emails:read"):
                listener.end()


STREAMS = web.AppKey("streams", Streams)


routes = Routes("emails")
_LAST_ID = "The id of the last event that the listener got; the stream goes on after it."
_EXAMPLE = """\
retry: 1000
id: 4711

event: gone
data: {"id":"019ab8c2-6a10-7b44-8d21-5e0c3a77d4f2"}
id: 4713.4711

"""


@routes.call(
    "GET",
    "/events",
    summary="Follow changes, live",
    scope="emails:read",
    parameters=[
        Parameter("id", "query", str, "Changes of this e-mail only.", EMAIL_ID),
        Parameter(
            "only",
            "query",
            Literal["overview"],
            "The overview only, which needs the scope `workers:read`.",
        ),
        Parameter("last_event_id", "query", str, f"{_LAST_ID} The header goes before it.", "4711"),
        Parameter("Last-Event-ID", "header", str, _LAST_ID, "4711"),
    ],
    answers=[Answer(200, "The stream.", str, _EXAMPLE, media_type="text/event-stream")],
    errors=(INVALID_REQUEST, NOT_FOUND, TOO_MANY_LISTENERS, *READ_ERRORS),
    kind="stream",
)
async def show_events(request: web.Request) -> web.StreamResponse:
    """Server-Sent Events until one side ends it.

    `email`: an e-mail that has changed, as the listing shows it. `gone`: the `id` of an e-mail that
    was removed. `overview`: as `GET /overview` without `history`, every second to those with the
    scope `workers:read`. `reset`: some changes are missing, for this `reason`, so load again what
    you show. `alive`: nothing but that the stream is alive. docs/api.md says more.
    """
    access, streams = access_of(request), request.app[STREAMS]
    listener = _listener(request, access)
    if listener.only is not None:
        await _check_exists(request, access, listener.only)
    headers = {**_HEADERS, "X-Request-Id": call_of(request).request_id}
    if request.method == "HEAD":
        return web.Response(headers=headers)
    streams.enter(listener, access)
    try:
        if not listener.emails:
            return await _streamed(request, streams, listener, access, headers)
        try:
            await streams.hub.join(
                listener,
                request.headers.get("Last-Event-ID") or request.query.get("last_event_id", ""),
            )
            return await _streamed(request, streams, listener, access, headers)
        finally:
            streams.hub.leave(listener)
    finally:
        streams.leave(listener)


def _listener(request: web.Request, access: Access) -> Listener:
    only, wanted = request.query.get("only"), request.query.get("id")
    if only and wanted is not None:
        raise Problem(
            INVALID_REQUEST, "Ask for one e-mail, or for the overview only.", field="only"
        )
    overview = access.allows("workers:read")
    if only and not overview:
        raise lacks_scope("workers:read", "The overview needs the scope workers:read.")
    return Listener(
        None if access.is_admin else access.client.identity,
        only=wanted,
        emails=only is None,
        overview=overview and wanted is None,
    )


async def _check_exists(request: web.Request, access: Access, email_id: str) -> None:
    view = await reading.get_email(request.app[STORE], email_id, content=False)
    if view is None or not (access.is_admin or view.email.client_id == access.client.identity):
        raise NotFound(
            "There is no e-mail with this id. E-mails are removed some time after their end."
        )


async def _streamed(
    request: web.Request,
    streams: Streams,
    listener: Listener,
    access: Access,
    headers: dict[str, str],
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    if listener.overview:
        streams.overview.join(listener)
    try:
        await response.prepare(request)
        await _write_all(request, response, streams, listener, access)
    except (ConnectionError, TimeoutError) as error:
        if isinstance(error, TimeoutError):
            log.info("listener dropped", seconds=UNREAD)
        _break_off(request)
    except Exception as error:
        if not response.prepared:
            raise
        log.error("stream failed", exc=error)  # no other answer can be sent any more
        _break_off(request)
    finally:
        streams.overview.leave(listener)
    return response


async def _write_all(
    request: web.Request,
    response: web.StreamResponse,
    streams: Streams,
    listener: Listener,
    access: Access,
) -> None:
    loop = asyncio.get_running_loop()
    alive, positioned = 0.0, loop.time()
    ends = positioned + access.expires_at.timestamp() - time.time()
    position = _id_line(listener) if listener.sent != BEGINNING else b""
    await _write(response, b"retry: %d\n%b\n" % (RETRY, position))
    while (
        not listener.ended
        and loop.time() < ends
        and request.transport is not None
        and not request.transport.is_closing()
    ):
        listener.wake.clear()
        data = listener.take(streams.hub.position)
        now = loop.time()
        if listener.emails and now - positioned >= POSITION_INTERVAL:
            positioned = now
            if (reached := _id_line(listener)) != position:
                position = reached
                data += reached + b"\n"
        if now - alive >= ALIVE:
            alive = now
            data += b'event: alive\ndata: {"seconds":%g}\n\n' % ALIVE
        if data:
            await _write(response, data)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_CHECK_INTERVAL, max(0.0, ends - now))):
                await listener.wake.wait()


def _id_line(listener: Listener) -> bytes:
    return b"id: %b\n" % str(listener.sent).encode()


def _break_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Writes to the stream; raises TimeoutError where the listener does not read."""
    for at in range(0, len(data), _PIECE):
        async with asyncio.timeout(UNREAD):
            await response.write(data[at : at + _PIECE])
