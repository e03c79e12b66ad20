"""The connections to one destination: kept open across messages, never more than the destination allows.

Who wants one takes an idle one, the latest used first, so that those too many grow old and are closed; or opens one, where
there is room; or waits in line. A connection that comes back goes to the first in line.

A destination that turns a connection away while others are open means that it allows no more: the limit shrinks to what is open,
grows back by one every GROW seconds, and whoever was turned away waits for a connection like the rest, ``connect_timeout``
at most. (A destination that is simply gone says nothing about its limit: there the limit stays, or is forgotten once it is back.) A reused connection that proves dead before it answered anything (the destination hung up on it, or says 421) is replaced by a fresh
one, and the message goes there as if nothing had been.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from babygun.routing.destination import Destination
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.smtp.connection import Connection
from babygun.smtp.envelope import Envelope, NotSent, Outcome
from babygun.smtp.handshake import ConnectFailed, connect, load_tls_context
from babygun.smtp.transaction import ChunkingUnknown, Stale, transact

log = get_logger("smtp")

GROW = 5.0  # seconds until a limit that has shrunk grows by one
_ATTEMPTS = 3  # connections that one message may find dead: one, or another if a fresh one was refused and an old one had to do


class SmtpPool:
    """One per destination and worker, of one event loop. Times in seconds.

    ``connect_timeout``: for connecting, TLS and login together; ``timeout``: for a reply to a command; ``data_timeout``: for the
    reply to a message, and for a write that stalls; ``idle``: how long an unused connection is kept.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        hostname: str,
        connect_timeout: float,
        timeout: float,
        data_timeout: float,
        idle: float,
    ) -> None:
        self._destination = destination
        self._hostname = hostname if hostname.isascii() else hostname.encode("idna").decode()
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._data_timeout = data_timeout
        self._idle_time = idle
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: ssl.SSLContext | None = None
        self._context_lock = asyncio.Lock()
        self._context_loaded = False
        self._idle: list[Connection] = []  # the one unused for longest first
        self._busy: set[Connection] = set()
        self._connecting = 0  # also those that somebody was woken to open
        self._waiters: deque[asyncio.Future[Connection | None]] = (
            deque()
        )  # None: there is room to open one
        self._shrunk_to = destination.max_connections
        self._shrunk_at = 0.0
        self._reaper: asyncio.TimerHandle | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def destination(self) -> Destination:
        return self._destination

    @property
    def open(self) -> int:
        """Connections that are there."""
        return len(self._idle) + len(self._busy)

    @property
    def in_use(self) -> int:
        """Connections that carry a message right now."""
        return len(self._busy)

    @property
    def waiting(self) -> int:
        """Messages that wait for a connection."""
        return len(self._waiters)

    async def deliver(self, envelope: Envelope, *, may_send: Callable[[], bool]) -> Outcome:
        """Sends a message; what comes of it is an outcome, whatever the server does. ``may_send`` is asked right before the content goes out.

        Raises NotSent where it says no, and where the pool is closed meanwhile. Cancelled, it closes the connection.
        """
        try:
            connection = await self._acquire(fresh=False)
        except ConnectFailed as failed:
            return Outcome(dict.fromkeys(envelope.recipients, failed.reply))
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return Outcome(await transact(connection, envelope, may_send))
                except Stale as stale:
                    if isinstance(stale, ChunkingUnknown):
                        self._forbid_chunking()
                    if attempt == _ATTEMPTS or self._closed:
                        return Outcome(stale.replies)
                self._busy.discard(connection)
                try:
                    connection = await self._acquire(fresh=True)
                except ConnectFailed as failed:
                    return Outcome(dict.fromkeys(envelope.recipients, failed.reply))
        except BaseException:
            connection.abort("given up in the middle of a transaction")
            raise
        finally:
            self._release(connection)
        raise AssertionError("the last attempt returns")

    async def close(self) -> None:
        """Takes no more, calls off who waits, says goodbye on idle connections and cuts the others. Bounded: some seconds."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(NotSent("the connection pool was closed"))
        idle, self._idle = self._idle, []
        busy = list(self._busy)
        for connection in busy:
            connection.abort("the connection pool was closed")
        for connection in idle:
            self._say_goodbye(connection)
        await asyncio.gather(
            *self._goodbyes,
            *(connection.wait_closed() for connection in busy),
            return_exceptions=True,
        )

    def _forbid_chunking(self) -> None:
        if self._destination.chunking:
            log.warning(
                "BDAT switched off",
                queue=self._destination.name,
            )
        self._destination = replace(self._destination, chunking=False)
        for connection in (*self._idle, *self._busy):
            connection.capabilities = replace(connection.capabilities, chunking=False)

    # --- getting one ----------------------------------------------------------------------------------------------

    async def _acquire(self, *, fresh: bool) -> Connection:
        """A connection for one transaction. ``fresh``: not an idle one, and before all who wait. Raises ConnectFailed and NotSent."""
        if self._closed:
            raise NotSent("the connection pool is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        first_in_line, only_new = fresh, fresh
        give_up_at = 0.0
        failed: ConnectFailed | None = None
        while True:
            if first_in_line or not self._waiters:
                if not only_new and (idle := self._take_idle()):
                    return idle
                got = self._room()
                self._connecting += got
            else:
                got = False
            if not got:
                with tracing.child("smtp wait"):
                    found = await self._wait(first_in_line, give_up_at, failed)
                if found is not None:
                    return found
            try:
                with tracing.child("smtp connect", "client") as span:
                    span.set("server.address", self._destination.host)
                    span.set("server.port", self._destination.port)
                    return await self._open()
            except ConnectFailed as error:
                others = self.open + self._connecting if error.reply.code else self.open
                if not error.busy or not others or self._closed:
                    self._wake()
                    raise
                self._shrunk_to, self._shrunk_at = others, self._loop.time()
                give_up_at = give_up_at or self._loop.time() + self._connect_timeout
                failed, first_in_line, only_new = error, True, False
            except BaseException:
                self._wake()
                raise

    async def _open(self) -> Connection:
        """Opens one; the place for it was counted in ``_connecting``."""
        try:
            if not self._context_loaded:
                async with self._context_lock:
                    if not self._context_loaded:
                        self._context = await load_tls_context(self._destination)
                        self._context_loaded = True
            connection = await connect(
                self._destination,
                self._context,
                hostname=self._hostname,
                connect_timeout=self._connect_timeout,
                timeout=self._timeout,
                data_timeout=self._data_timeout,
                on_lost=self._on_lost,
            )
        finally:
            self._connecting -= 1
        if self._closed:
            self._say_goodbye(connection)
            raise NotSent("the connection pool was closed")
        if not self.open:
            self._shrunk_to = self._destination.max_connections
        self._busy.add(connection)
        return connection

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                self._busy.add(connection)
                return connection
        return None

    def _room(self) -> bool:
        limit = self._destination.max_connections
        if self._shrunk_to < limit:
            assert self._loop is not None
            limit = min(limit, self._shrunk_to + int((self._loop.time() - self._shrunk_at) / GROW))
            if limit == self._destination.max_connections:
                self._shrunk_to = limit
        return self.open + self._connecting < limit

    async def _wait(
        self, first: bool, give_up_at: float, failed: ConnectFailed | None
    ) -> Connection | None:
        """Waits in line for a connection, or for room (None; counted in ``_connecting``). Raises ``failed`` at ``give_up_at``, a time of the loop's clock."""
        assert self._loop is not None
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        if first:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        try:
            if failed is None:
                return await waiter
            await asyncio.wait([waiter], timeout=max(0.0, give_up_at - self._loop.time()))
            if waiter.done():
                return waiter.result()
            self._waiters.remove(waiter)
            raise failed
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            raise

    # --- giving it back -------------------------------------------------------------------------------------------

    def _release(self, connection: Connection) -> None:
        assert self._loop is not None
        if connection.lost or self._closed:
            self._busy.discard(connection)
            if connection.lost:
                self._wake()
            else:
                self._say_goodbye(connection)
            return
        connection.reused = True
        waiter = self._next_waiter()
        if waiter is not None:  # it stays in _busy: its place is never free in between
            waiter.set_result(connection)
            if self._waiters:
                self._wake()  # a limit that had shrunk may have grown
            return
        self._busy.discard(connection)
        if self._idle_time <= 0:
            self._say_goodbye(connection)
        else:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            if self._reaper is None:
                self._reaper = self._loop.call_later(self._idle_time, self._reap)

    def _give_back(self, found: Connection | None) -> None:
        """What somebody was given who was cancelled at that moment."""
        if found is None:
            self._connecting -= 1
            self._wake()
        else:
            self._release(found)

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _wake(self) -> None:
        """Has those first in line open connections, as far as there is room."""
        while self._waiters and self._room():
            waiter = self._next_waiter()
            if waiter is None:
                return
            self._connecting += 1
            waiter.set_result(None)

    def _on_lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
            self._wake()

    def _reap(self) -> None:
        """Closes connections that were not used for long enough."""
        assert self._loop is not None
        self._reaper = None
        before = self._loop.time() - self._idle_time
        while self._idle and self._idle[0].idle_since <= before + 0.001:
            self._say_goodbye(self._idle.pop(0))
        if self._idle:
            self._reaper = self._loop.call_at(
                self._idle[0].idle_since + self._idle_time, self._reap
            )

    def _say_goodbye(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(connection.quit(), name="smtp-quit")
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)
