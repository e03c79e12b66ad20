"""Bounds the memory that the bodies of all requests and large answers take together.

A large body takes its announced size before it is read, and waits a moment for it, while its bytes
stay with the client. Small bodies have memory of their own, so that large ones never stop them. If
that is used up, the one that has been arriving for the longest time gives way: somebody may have
sent it only to hold the memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from babygun.api.http.context import Call, Handler, call_of
from babygun.api.http.problem_types import BUSY
from babygun.api.http.problems import Problem

SMALL = 64 << 10  # bytes
PATIENCE = 5.0  # s, that a large body waits for memory
_LEAST_FOR_SMALL = 4 << 20  # bytes


class BodyMemory:
    """``limit``: bytes of large bodies. A single one that is larger is read when no other is held.

    Small ones get a quarter of that beside it.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.small_limit = limit, max(_LEAST_FOR_SMALL, limit // 4)
        self.held = self.small_held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._arriving: dict[Call, asyncio.Timeout] = {}  # small ones, the oldest first

    async def take(self, call: Call, size: int) -> None:
        """Takes memory for a body or an answer of this size; large ones in the order of arrival.

        Raises the 503 problem where there is none within PATIENCE.
        """
        if size <= SMALL:
            self._take_small(size)
        elif not self._waiting and self._fits(size):
            self.held += size
        else:
            await self._wait(size)
        call.held_bytes = size

    def grow(self, call: Call, size: int) -> None:
        """Takes the memory of a body whose size was not announced, and is ``size`` by now.

        Raises the 503 problem where there is none.
        """
        held = call.held_bytes
        if size <= SMALL:
            self._take_small(size - held)
        else:
            more = size - held if held > SMALL else size
            if not self._fits(more):
                raise _busy()
            self.held += more
            if held <= SMALL:
                self.small_held -= held
        call.held_bytes = size

    def give_back(self, call: Call) -> None:
        size, call.held_bytes = call.held_bytes, 0
        if size <= SMALL:
            self.small_held -= size
        else:
            self._give_back_large(size)

    @contextmanager
    def arriving(self, call: Call, patience: asyncio.Timeout) -> Iterator[None]:
        """While the body arrives. ``patience`` ends at once if it has to give way."""
        self._arriving[call] = patience
        try:
            yield
        finally:
            self._arriving.pop(call, None)

    def _take_small(self, size: int) -> None:
        while self.small_held + size > self.small_limit:
            oldest = next((call for call in self._arriving if 0 < call.held_bytes <= SMALL), None)
            if oldest is None:
                raise _busy()
            patience = self._arriving.pop(oldest)
            if not patience.expired():
                oldest.gave_way = True
                patience.reschedule(0)
            self.give_back(oldest)
        self.small_held += size

    async def _wait(self, size: int) -> None:
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
                self._give_back_large(size)
            if isinstance(error, TimeoutError):
                raise _busy() from None
            raise

    def _give_back_large(self, size: int) -> None:
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


def holds_memory(handler: Handler) -> Handler:
    """``handler``; what its request's body took is given back when it has answered.

    A large answer takes memory, too. :class:`babygun.api.http.server.Connection` gives that back
    when it is sent.
    """

    async def hold(request: web.Request) -> web.StreamResponse:
        call, memory = call_of(request), request.app[BODY_MEMORY]
        try:
            response = await handler(request)
        finally:
            if call.held_bytes:
                memory.give_back(call)
        if isinstance(response, web.Response) and (size := response.content_length or 0) > SMALL:
            await memory.take(call, size)
        return response

    return hold


def _busy() -> Problem:
    return Problem(BUSY, BUSY.example)
