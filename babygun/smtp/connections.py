"""The connections to one destination: kept open across messages, and never too many.

A message takes an idle connection, or opens one where there is room, or waits in line.
A connection that comes back goes to the first in line, or is idle (:mod:`idle_connections`).

A destination that turns a connection away while others are open allows no more of them. Then the
limit shrinks to what is open, and grows back by one every GROW seconds. The message that was
turned away waits for a connection, ``patience`` seconds at most. A destination that takes no
connection at all says nothing about its limit, unless its words say so (:meth:`crowded`).

While the limit is shrunk, each idle connection is surplus: others may need it.

Each connection needs a permit of the destination's site (:mod:`permits`). It is taken before the
connection is opened, and given back once it is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from weakref import WeakMethod

from babygun.routing.server import Server
from babygun.runtime import tracing
from babygun.smtp.connect_failed import ConnectFailed
from babygun.smtp.connection import Connection
from babygun.smtp.connection_count import ConnectionCount
from babygun.smtp.connection_limit import ConnectionLimit
from babygun.smtp.envelope import NotSent
from babygun.smtp.idle_connections import IdleConnections
from babygun.smtp.permits import Permits
from babygun.smtp.place import Place
from babygun.smtp.replies import Reply
from babygun.smtp.workarounds import Extension, Workarounds


class Connections:
    """Those to one destination, in one event loop. Times in seconds.

    ``open``: opens one, to a certain server first. Its first argument is called once, when the
    connection is gone. ``most``: connections at once. ``patience``: how long a message that was
    turned away waits for one. ``idle``: how long an unused connection is kept. ``count``: of all
    pools' connections.
    """

    def __init__(
        self,
        open: Callable[[Callable[[Connection], None], Server | None], Awaitable[Connection]],
        permits: Permits,
        count: ConnectionCount,
        *,
        most: int,
        patience: float,
        idle: float,
    ) -> None:
        self._open_one, self._permits, self._count = open, permits, count
        self._most, self._patience, self._keeps_idle = most, patience, idle > 0
        self._loop = loop = asyncio.get_running_loop()
        self._limit = limit = ConnectionLimit(most)
        # It knows us weakly: domains are many, and each dropped pool would wait for the garbage
        # collector. Each connection knows us, so we are there as long as one of them.
        say_goodbye = WeakMethod(self._say_goodbye)
        self._idle = IdleConnections(
            idle, all_surplus=lambda: limit.at(loop.time()) < most, close=say_goodbye
        )
        self._busy: set[Connection] = set()
        self._connecting = 0  # also those that a waiter was woken to open
        # A waiter gets a connection, or a place: there is room to open one.
        self._waiters: deque[asyncio.Future[Connection | Place]] = deque()
        self._asked_for_room: set[bool] = set()  # urgently or not; the call is still to come
        self._goodbyes: set[asyncio.Task[None]] = set()
        self.closed = False

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
        """Whether there is a connection or a message that waits for one, or a limit to keep to."""
        return bool(
            self._busy
            or len(self._idle)
            or self._connecting
            or self._waiters
            or self._goodbyes
            or self._limit.at(self._loop.time()) < self._most
        )

    def forbid(self, feature: Extension, of: Workarounds) -> None:
        """No connection to a server uses the feature any more. ``of``: the server's."""
        for connection in (*self._idle, *self._busy):
            if connection.workarounds is of:
                connection.forbid(feature)

    def crowded(self, reply: Reply) -> None:
        """The destination says that it has too many connections: fewer are opened for a while.

        Idle ones are closed. Where none is left, ``reply`` is the outcome of all who wait.
        """
        self._limit.shrink(max(1, len(self._busy)), self._loop.time(), for_sure=True)
        self._idle.close_all()
        if not self._busy:
            while waiter := self._next_waiter():
                waiter.set_exception(ConnectFailed(reply))

    async def close(self) -> None:
        """Closes everything, within some seconds.

        A message that waits gets NotSent. Idle connections say goodbye, the others are cut.
        """
        self.closed = True
        while waiter := self._next_waiter():
            waiter.set_exception(NotSent("the connection pool was closed"))
        busy = list(self._busy)
        for connection in busy:
            connection.abort("the connection pool was closed")
        self._idle.close_all()
        await asyncio.gather(
            *self._goodbyes,
            *(connection.wait_closed() for connection in busy),
            return_exceptions=True,
        )

    # --- getting a connection ---

    async def acquire(self, *, fresh: bool = False, at: Server | None = None) -> Connection:
        """A connection for one transaction. Raises NotSent, and what the opener raises.

        ``fresh``: a new one, before all who wait in line. ``at``: the server to try first.
        """
        if self.closed:
            raise NotSent("the connection pool is closed")
        found = await self._idle_or_room(first_in_line=fresh, take_idle=not fresh)
        give_up_at = 0.0
        while isinstance(found, Place):
            try:
                return await self._open(found, at)
            except ConnectFailed as error:
                if not self._turned_away(error):
                    self._wake()
                    raise
                give_up_at = give_up_at or self._loop.time() + self._patience
                refused = error
            except BaseException:
                self._wake()
                raise
            found = await self._idle_or_room(
                first_in_line=True, take_idle=True, refused=refused, give_up_at=give_up_at
            )
        return found

    async def exchange(self, connection: Connection, *, at: Server | None) -> Connection:
        """Closes a connection that a message has, and gets it a fresh one. As acquire."""
        await connection.quit()
        self._busy.discard(connection)
        return await self.acquire(fresh=True, at=at)

    async def _idle_or_room(
        self,
        *,
        first_in_line: bool,
        take_idle: bool,
        refused: ConnectFailed | None = None,
        give_up_at: float = 0.0,
    ) -> Connection | Place:
        """Waits for a connection, or for the place to open one, which ``_connecting`` counts.

        With ``refused``, it gives up at ``give_up_at``, a time of the loop's clock, and raises
        ``refused``.
        """
        if first_in_line or not self._waiters:
            if take_idle and (idle := self._take_idle()):
                return idle
            if place := self._take_place():
                return place
        with tracing.child("smtp wait"):
            return await self._wait(first_in_line, refused, give_up_at)

    def _take_idle(self) -> Connection | None:
        connection = self._idle.take()
        if connection is not None:
            self._busy.add(connection)
        return connection

    def _take_place(self) -> Place | None:
        """The right to open a connection; None: there is no room."""
        there = self.open + self._connecting + len(self._goodbyes)
        if there >= self._limit.at(self._loop.time()):
            return None
        place = Place(self._close_if_idle)
        urgent = not there
        permit = self._permits.try_take(place.wanted, urgent=urgent)
        if permit is None:
            if urgent not in self._asked_for_room:
                self._asked_for_room.add(urgent)
                self._permits.on_room(partial(self._on_room, urgent), urgent=urgent)
            return None
        place.permit = permit
        self._connecting += 1
        return place

    def _on_room(self, urgent: bool) -> None:
        self._asked_for_room.discard(urgent)
        self._wake()

    def _close_if_idle(self, connection: Connection) -> None:
        if self._idle.remove(connection):
            self._say_goodbye(connection)

    async def _wait(
        self, first_in_line: bool, refused: ConnectFailed | None, give_up_at: float
    ) -> Connection | Place:
        waiter: asyncio.Future[Connection | Place] = self._loop.create_future()
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

    async def _open(self, place: Place, first: Server | None) -> Connection:
        """Opens a connection, which ``_connecting`` counts already."""

        def on_lost(connection: Connection) -> None:
            self._count.open -= 1
            place.give_back()
            self._on_lost(connection)

        try:
            connection = await self._open_one(on_lost, first)
        except BaseException:
            place.give_back()
            raise
        finally:
            self._connecting -= 1
        self._count.open += 1
        if not place.belongs_to(connection):
            raise NotSent("the right to the connection was lost while it was opened")
        if self.closed:
            self._say_goodbye(connection)
            raise NotSent("the connection pool was closed")
        if not self.open:
            self._limit.reset()
        self._busy.add(connection)
        return connection

    def _turned_away(self, error: ConnectFailed) -> bool:
        """Whether the destination allows no more connections than are there; shrinks the limit."""
        there = self.open + self._connecting if error.reply.code else self.open
        if not error.busy or not there or self.closed:
            return False
        self._limit.shrink(there, self._loop.time())
        return True

    # --- giving it back ---

    def release(self, connection: Connection) -> None:
        """A message needs its connection no more."""
        if connection.lost or connection.retired or self.closed:
            self._busy.discard(connection)
            if not connection.lost:
                self._say_goodbye(connection)
            if not self.closed:
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
        if not self._keeps_idle or self._count.is_full:
            self._say_goodbye(connection)
        else:
            self._idle.add(connection)

    def _give_back(self, found: Connection | Place) -> None:
        """Gives back what a waiter got that was cancelled at that moment."""
        if isinstance(found, Place):
            found.give_back()
            self._connecting -= 1
            self._wake()
        else:
            self.release(found)

    def _next_waiter(self) -> asyncio.Future[Connection | Place] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _wake(self) -> None:
        """Lets the first in line open connections, as far as there is room."""
        while self._waiters:
            if self._waiters[0].done():
                self._waiters.popleft()
            elif place := self._take_place():
                self._waiters.popleft().set_result(place)
            else:
                return

    def _on_lost(self, connection: Connection) -> None:
        if self._idle.remove(connection):
            self._wake()

    def _say_goodbye(self, connection: Connection) -> None:
        task = self._loop.create_task(connection.quit(), name="smtp-quit")
        self._goodbyes.add(task)
        task.add_done_callback(self._said_goodbye)

    def _said_goodbye(self, task: asyncio.Task[None]) -> None:
        self._goodbyes.discard(task)
        self._wake()
