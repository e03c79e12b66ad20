"""The unused connections to one destination, each until it was unused for long enough.

The one that was used last is taken first, so that surplus ones grow old. Other workers may need
them. So one is kept for ``keep`` seconds, and surplus ones for SURPLUS_IDLE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from babygun.smtp.connection import Connection

SURPLUS_IDLE = 1.0  # s, for which idle connections beyond the first are kept


class IdleConnections:
    """In one event loop. Times in seconds.

    ``all_surplus``: asked whether each one is surplus now. ``close``: a weak reference to what is
    called with one whose time has come, which is not here any more.
    """

    def __init__(
        self,
        keep: float,
        *,
        all_surplus: Callable[[], bool],
        close: Callable[[], Callable[[Connection], None] | None],
    ) -> None:
        self._keep, self._all_surplus, self._close = keep, all_surplus, close
        self._loop = asyncio.get_running_loop()
        self._unused: list[Connection] = []  # the one unused for longest first
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0  # when the timer is due

    def __len__(self) -> int:
        return len(self._unused)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._unused)

    def take(self) -> Connection | None:
        """The one that was used last, if its server has not ended it."""
        while self._unused:
            connection = self._unused.pop()
            if not connection.lost:
                return connection
        return None

    def add(self, connection: Connection) -> None:
        """A connection is unused from now on."""
        now = connection.idle_since = self._loop.time()
        self._unused.append(connection)
        if self._timer is None:
            self._set_timer(now)
        elif len(self._unused) > 1 and self._until > now + SURPLUS_IDLE:
            self._timer.cancel()
            self._set_timer(now)

    def remove(self, connection: Connection) -> bool:
        """False: it is not here."""
        if connection not in self._unused:
            return False
        self._unused.remove(connection)
        return True

    def close_all(self) -> None:
        """Closes them whatever their time is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._unused:
            self._close_one(self._unused.pop())

    def _set_timer(self, now: float) -> None:
        """Comes back when the first one is to be closed."""
        self._until = self._end(now)  # uvloop's timers that are due don't know it
        self._timer = self._loop.call_at(self._until, self._close_old)

    def _end(self, now: float) -> float:
        """When the one that is unused for longest is to be closed."""
        surplus = len(self._unused) > 1 or self._all_surplus()
        kept = min(SURPLUS_IDLE, self._keep) if surplus else self._keep
        return self._unused[0].idle_since + kept

    def _close_old(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._unused:
            if self._end(now) > now + 0.001:
                self._set_timer(now)
                return
            self._close_one(self._unused.pop(0))

    def _close_one(self, connection: Connection) -> None:
        if (close := self._close()) is not None:
            close(connection)
