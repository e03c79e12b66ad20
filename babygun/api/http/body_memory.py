"""Bounds the memory that the bodies of all requests take together.

Small bodies are always read. A large body takes its announced size before it is read, and waits a
moment for it, while its bytes stay with the client. It gives the memory back with the answer.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import web

from babygun.api.http.access_log import Handler
from babygun.api.http.context import call_of
from babygun.api.http.problem_types import BUSY
from babygun.api.http.problems import Problem

SMALL = 64 << 10  # bytes; 1,000 of these at once are still little
PATIENCE = 5.0  # s, that a large body waits for memory


class BodyMemory:
    """``limit``: bytes. A single body that is larger is read when no other is held."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Takes memory, in the order of arrival.

        Raises the 503 problem where there is none within PATIENCE.
        """
        if not self._waiting and self._fits(size):
            self.held += size
            return
        given = asyncio.get_running_loop().create_future()
        self._waiting.append((size, given))
        try:
            async with asyncio.timeout(PATIENCE):
                await given
        except BaseException as error:
            if given.cancelled():
                self._waiting.remove((size, given))
                self._hand_out()
            else:  # it was given at this very moment
                self.give_back(size)
            if isinstance(error, TimeoutError):
                raise _busy() from None
            raise

    def grow(self, size: int) -> None:
        """Takes more memory at once, for a body whose size was not announced.

        Raises the 503 problem where there is none.
        """
        if not self._fits(size):
            raise _busy()
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size
        self._hand_out()

    def _fits(self, size: int) -> bool:
        return self.held + size <= self.limit or not self.held

    def _hand_out(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]) and not self._waiting[0][1].done():
            size, given = self._waiting.popleft()
            self.held += size
            given.set_result(None)


BODY_MEMORY = web.AppKey("body memory", BodyMemory)


def gives_body_memory_back(handler: Handler) -> Handler:
    """``handler``; what its request's body took is given back when it has answered."""

    async def give_back(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            if taken := call_of(request).body_bytes:
                request.app[BODY_MEMORY].give_back(taken)

    return give_back


def _busy() -> Problem:
    return Problem(BUSY, BUSY.example)
