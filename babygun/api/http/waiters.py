"""Calls that wait for something to happen, and what ends their wait early."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from babygun.api.http.problem_types import TOO_MANY_WAITING
from babygun.api.http.problems import Problem
from babygun.api.http.server import connection_of


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
        """Yields a future that is done when the call must stop waiting.

        That is when its client is gone, or this process stops. Raises the 503 problem where too
        many calls wait.
        """
        if len(self._waits) >= self.limit:
            raise Problem(
                TOO_MANY_WAITING,
                f"{self.limit} calls wait at this process already."
                " Call without wait, or again in a moment.",
            )
        wait = connection_of(request).wait = asyncio.get_running_loop().create_future()
        if self._stopped or request.transport is None:
            wait.set_result(None)
        self._waits.add(wait)
        try:
            yield wait
        finally:
            self._waits.discard(wait)

    def stop(self) -> None:
        """Ends every wait now; later calls don't wait at all."""
        self._stopped = True
        for wait in self._waits:
            if not wait.done():
                wait.set_result(None)


WAITERS = web.AppKey("waiters", Waiters)
