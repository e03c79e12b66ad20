"""A time limit that is set again for each reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


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
        self._timer: asyncio.TimerHandle | None = None
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

    def _start(self, at: float) -> None:
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._loop.time() < self._at:
            self._start(self._at)
        else:
            self._passed()
