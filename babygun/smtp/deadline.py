"""A time limit that is set again for each reply.

A process may be stopped, or its machine may sleep. When it goes on, the time has passed, but the
reply may have come meanwhile. So a limit never counts before the event loop has read what is
there. Where the timer is late by SLEPT the process did not run, and the limit begins again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

SLEPT = 1.0  # s; a timer that is so late says that the process did not run
TURNS = 4  # of the loop: it reads the sockets, and wakes the task that waits for the bytes


class Deadline:
    """Calls ``passed`` when the seconds of the latest :meth:`set` have passed.

    Most limits are replaced long before they pass. So one timer of the loop serves many of them:
    when it goes off, it looks at the deadline that counts now. ``often``: the timer goes off at
    least so often, in seconds, while a limit is set.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None], *, often: float
    ) -> None:
        self._loop, self._passed, self._often = loop, passed, often
        self.seconds = 0.0  # of the latest limit
        self._at = 0.0
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0

    def set(self, seconds: float) -> None:
        now = self._loop.time()
        self.seconds, self._at = seconds, now + seconds
        if self._timer is None or self._timer_at > self._at:
            self.cancel()
            self._start(now + min(seconds, self._often))

    def renew(self) -> None:
        """Sets the latest limit again, from now on."""
        self._at = self._loop.time() + self.seconds

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """No limit is set any more. It lets go of its owner, so that both are freed at once."""
        self.cancel()
        self._passed = _nothing

    def _start(self, at: float) -> None:
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        if now - self._timer_at >= SLEPT:
            self._at = now + self.seconds
        if now < self._at:
            self._start(self._at)
        else:
            self._confirm_in(TURNS)

    def _confirm_in(self, turns: int) -> None:
        """Timers may run before sockets are read, so the loop goes round first."""
        call = self._confirm if turns == 0 else partial(self._confirm_in, turns - 1)
        self._timer = self._loop.call_soon(call)

    def _confirm(self) -> None:
        self._timer = None
        if self._loop.time() < self._at:  # a reply came, and another limit counts
            self._start(self._at)
        else:
            self._passed()


def _nothing() -> None:
    pass


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError where the body takes longer, as ``asyncio.timeout`` does."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as scope:
        deadline = Deadline(loop, lambda: scope.reschedule(loop.time()), often=seconds)
        deadline.set(seconds)
        try:
            yield
        finally:
            deadline.cancel()
