"""The connections to one destination: kept open across messages, and never too many.

A message takes an idle connection, or opens one where there is room, or waits in line. The idle
connection that was used last is taken first, so that surplus ones grow old and are closed.
A connection that comes back goes to the first in line.

A destination that turns a connection away while others are open allows no more of them. Then the
limit shrinks to what is open, and grows back by one every GROW seconds. The message that was
turned away waits for a connection, ``connect_timeout`` at most. A destination that takes no
connection at all says nothing about its limit, unless its words say so (:meth:`crowded`).

Other workers may need the connections that are idle here. So one is kept for ``idle`` seconds, and
surplus ones for SURPLUS_IDLE. While the limit is shrunk, each one is surplus.

A message may have to go out again on another connection (:mod:`again`): the server had hung up,
says 421, or refuses the session. That happens as if nothing had happened before. What the server
does not manage is remembered (:mod:`workarounds`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from babygun.email.domains import ascii_domain
from babygun.routing.destination import Destination
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.smtp.again import Again, ChunkingFailed, PipeliningBroke
from babygun.smtp.connection import Connection
from babygun.smtp.connection_limit import ConnectionLimit
from babygun.smtp.envelope import Envelope, NotSent, Outcome
from babygun.smtp.handshake import ConnectFailed, connect, load_tls_context
from babygun.smtp.replies import Reply
from babygun.smtp.transaction import transact
from babygun.smtp.workarounds import Feature, Workarounds

log = get_logger("smtp")

# Connections that one message uses up at most. The second one is fresh, unless the destination
# turned that away: then it may be another old one. Three may go: dead, no BDAT, no pipelining.
_ATTEMPTS = 4
SURPLUS_IDLE = 1.0  # s, for which idle connections beyond the first are kept


class SmtpPool:
    """The pool of one destination, in one event loop. Times in seconds.

    ``connect_timeout``: for connecting, TLS and login together.
    ``timeout``: for a reply to a command.
    ``data_timeout``: for the reply to a message, and for a write that makes no progress.
    ``idle``: how long an unused connection is kept.
    ``workarounds``: what the server is known not to manage.
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
        workarounds: Workarounds | None = None,
    ) -> None:
        self.destination = destination
        self._hostname = ascii_domain(hostname)
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._data_timeout = data_timeout
        self._idle_time = idle
        self._workarounds = workarounds or Workarounds()
        self._loop = asyncio.get_running_loop()
        self._context: ssl.SSLContext | None = None
        self._context_lock = asyncio.Lock()
        self._context_loaded = False
        self._idle: list[Connection] = []  # the one unused for longest first
        self._busy: set[Connection] = set()
        self._connecting = 0  # also those that a waiter was woken to open
        # A waiter gets a connection, or None: there is room to open one.
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._limit = ConnectionLimit(destination.max_connections)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._closed = False

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

    @property
    def needed(self) -> bool:
        """Whether some message has a connection, opens one or waits for one."""
        return bool(self._busy or self._connecting or self._waiters)

    async def deliver(self, envelope: Envelope, *, may_send: Callable[[], bool]) -> Outcome:
        """Sends a message. Whatever the server does becomes part of the outcome.

        ``may_send`` is asked right before the content goes out. Raises NotSent where it says no,
        and where the pool is closed meanwhile. Cancelled, it closes the connection.
        """
        try:
            connection = await self._acquire(fresh=False)
        except ConnectFailed as failed:
            return Outcome(dict.fromkeys(envelope.recipients, failed.reply))
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    outcome = await transact(connection, envelope, may_send)
                    if connection.capabilities.pipelining and not connection.lost:
                        self._workarounds.pipelining_worked()
                    if connection.plain_because:
                        note = f"sent in plain text, since TLS failed: {connection.plain_because}"
                        return replace(outcome, note=note)
                    return outcome
                except Again as again:
                    self._learn(again)
                    if attempt == _ATTEMPTS or self._closed or not again.again:
                        return Outcome(again.replies)
                    broke = isinstance(again, PipeliningBroke)
                await connection.quit()
                self._busy.discard(connection)
                try:
                    connection = await self._acquire(fresh=True)
                except ConnectFailed as failed:
                    return Outcome(dict.fromkeys(envelope.recipients, failed.reply))
                if broke:
                    connection.forbid("pipelining")
        except BaseException:
            connection.abort("given up in the middle of a transaction")
            raise
        finally:
            self._release(connection)
        raise AssertionError("the last attempt returns")

    def crowded(self, reply: Reply) -> None:
        """The destination says that it has too many connections: fewer are opened for a while.

        Idle ones are closed. Where none is left, ``reply`` is the outcome of all who wait.
        """
        self._limit.shrink(max(1, len(self._busy)), self._loop.time(), for_sure=True)
        while self._idle:
            self._say_goodbye(self._idle.pop())
        if not self._busy:
            while waiter := self._next_waiter():
                waiter.set_exception(ConnectFailed(reply))

    async def close(self) -> None:
        """Closes everything, within some seconds.

        A message that waits gets NotSent. Idle connections say goodbye, the others are cut.
        """
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        while waiter := self._next_waiter():
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

    # --- what the server does not manage ---

    def _learn(self, again: Again) -> None:
        """Remembers what the server did not manage."""
        if isinstance(again, ChunkingFailed):
            self._avoid("chunking", "it refuses BDAT, which it offers")
        elif isinstance(again, PipeliningBroke) and self._workarounds.pipelining_broke():
            self._avoid("pipelining", "it breaks when commands are sent together")

    def _adapt(self, connection: Connection) -> None:
        """Of a new connection: does without what the server does not manage."""
        now = self._loop.time()
        if connection.plain_because and not self._workarounds.why_not("tls", now):
            self._avoid("tls", connection.plain_because)
        for feature in ("pipelining", "chunking"):
            if self._workarounds.why_not(feature, now):
                connection.forbid(feature)

    def _avoid(self, feature: Feature, why: str) -> None:
        now, queue = self._loop.time(), self.destination.name
        if not self._workarounds.why_not(feature, now):
            log.warning("feature switched off", queue=queue, feature=feature, reason=why)
        self._workarounds.avoid(feature, why, now)
        if feature != "tls":
            for connection in (*self._idle, *self._busy):
                connection.forbid(feature)

    # --- getting a connection ---

    async def _acquire(self, *, fresh: bool) -> Connection:
        """A connection for one transaction. Raises ConnectFailed and NotSent.

        ``fresh``: a new one, before all who wait in line.
        """
        if self._closed:
            raise NotSent("the connection pool is closed")
        found = await self._idle_or_room(first_in_line=fresh, take_idle=not fresh)
        give_up_at = 0.0
        while found is None:
            try:
                return await self._open()
            except ConnectFailed as error:
                if not self._turned_away(error):
                    self._wake()
                    raise
                give_up_at = give_up_at or self._loop.time() + self._connect_timeout
                refused = error
            except BaseException:
                self._wake()
                raise
            found = await self._idle_or_room(
                first_in_line=True, take_idle=True, refused=refused, give_up_at=give_up_at
            )
        return found

    async def _idle_or_room(
        self,
        *,
        first_in_line: bool,
        take_idle: bool,
        refused: ConnectFailed | None = None,
        give_up_at: float = 0.0,
    ) -> Connection | None:
        """Waits for a connection. None: there is room to open one, and ``_connecting`` counts it.

        With ``refused``, it gives up at ``give_up_at``, a time of the loop's clock, and raises
        ``refused``.
        """
        if first_in_line or not self._waiters:
            if take_idle and (idle := self._take_idle()):
                return idle
            if self._has_room():
                self._connecting += 1
                return None
        with tracing.child("smtp wait"):
            return await self._wait(first_in_line, refused, give_up_at)

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                self._busy.add(connection)
                return connection
        return None

    def _has_room(self) -> bool:
        there = self.open + self._connecting + len(self._goodbyes)
        return there < self._limit.at(self._loop.time())

    async def _wait(
        self, first_in_line: bool, refused: ConnectFailed | None, give_up_at: float
    ) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        if first_in_line:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        try:
            if refused is None:
                return await waiter
            await asyncio.wait([waiter], timeout=max(0.0, give_up_at - self._loop.time()))
            if waiter.done():
                return waiter.result()
            self._waiters.remove(waiter)
            raise refused
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            raise

    async def _open(self) -> Connection:
        """Opens a connection, which ``_connecting`` counts already."""
        try:
            with tracing.child("smtp connect", "client") as span:
                span.set("server.address", self.destination.host)
                span.set("server.port", self.destination.port)
                connection = await connect(
                    self.destination,
                    await self._tls_context(),
                    hostname=self._hostname,
                    connect_timeout=self._connect_timeout,
                    timeout=self._timeout,
                    data_timeout=self._data_timeout,
                    on_lost=self._on_lost,
                    plain_because=self._workarounds.why_not("tls", self._loop.time()),
                )
        finally:
            self._connecting -= 1
        if self._closed:
            self._say_goodbye(connection)
            raise NotSent("the connection pool was closed")
        self._adapt(connection)
        if not self.open:
            self._limit.reset()
        self._busy.add(connection)
        return connection

    async def _tls_context(self) -> ssl.SSLContext | None:
        """Loaded once, when it is first needed."""
        if not self._context_loaded:
            async with self._context_lock:
                if not self._context_loaded:
                    self._context = await load_tls_context(self.destination)
                    self._context_loaded = True
        return self._context

    def _turned_away(self, error: ConnectFailed) -> bool:
        """Whether the destination allows no more connections than are there; shrinks the limit."""
        there = self.open + self._connecting if error.reply.code else self.open
        if not error.busy or not there or self._closed:
            return False
        self._limit.shrink(there, self._loop.time())
        return True

    # --- giving it back ---

    def _release(self, connection: Connection) -> None:
        if connection.lost or connection.retired or self._closed:
            self._busy.discard(connection)
            if not connection.lost:
                self._say_goodbye(connection)
            if not self._closed:
                self._wake()
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
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._idle_timer is None:
            self._watch_idle()

    def _give_back(self, found: Connection | None) -> None:
        """Gives back what a waiter got that was cancelled at that moment."""
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
        """Lets the first in line open connections, as far as there is room."""
        while self._waiters and self._has_room():
            waiter = self._next_waiter()
            if waiter is None:
                return
            self._connecting += 1
            waiter.set_result(None)

    def _on_lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
            self._wake()

    def _watch_idle(self) -> None:
        self._idle_timer = self._loop.call_later(
            min(SURPLUS_IDLE, self._idle_time), self._close_idle
        )

    def _close_idle(self) -> None:
        """Closes the connections that were unused for long enough."""
        self._idle_timer = None
        now = self._loop.time()
        shrunk = self._limit.at(now) < self.destination.max_connections
        while self._idle:
            surplus = shrunk or len(self._idle) > 1
            kept = min(SURPLUS_IDLE, self._idle_time) if surplus else self._idle_time
            if self._idle[0].idle_since + kept > now + 0.001:
                self._watch_idle()
                return
            self._say_goodbye(self._idle.pop(0))

    def _say_goodbye(self, connection: Connection) -> None:
        task = self._loop.create_task(connection.quit(), name="smtp-quit")
        self._goodbyes.add(task)
        task.add_done_callback(self._said_goodbye)

    def _said_goodbye(self, task: asyncio.Task[None]) -> None:
        self._goodbyes.discard(task)
        self._wake()
