"""Which calls of this process wait for something to happen, and what ends them though it doesn't."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from babygun.api.http.problems import TOO_MANY_WAITING, Problem

GONE = web.RequestKey("gone", asyncio.Future)  # done when the client's connection is lost


class Waiters:
    """The calls of this process that wait; at most ``limit``."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self._waits: set[asyncio.Future[None]] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._waits)

    @contextmanager
    def waiting(self, request: web.Request) -> Iterator[asyncio.Future[None]]:
        """A future that is done when this call must not wait any more. Raises the 503 problem where too many do."""
        if len(self._waits) >= self.limit:
            raise Problem(
                TOO_MANY_WAITING,
                f"{self.limit} calls wait at this process already; ask without wait, or again in a moment.",
            )
        over = request[GONE] = asyncio.get_running_loop().create_future()
        if self._stopped or request.transport is None:
            over.set_result(None)
        self._waits.add(over)
        try:
            yield over
        finally:
            self._waits.discard(over)

    def stop(self) -> None:
        """Has every call answer now, and those that come from now on not wait."""
        self._stopped = True
        for over in self._waits:
            if not over.done():
                over.set_result(None)
