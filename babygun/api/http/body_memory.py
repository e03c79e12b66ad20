"""Bounds the memory that the bodies of all requests and large answers take together.

A large body takes its announced size before it is read, and waits a moment for it, while its bytes
stay with the client. One client gets no more than it leaves free for others, beyond its first body.
So one alone has at most half, and the next one finds some.

Small bodies have memory of their own, so that large ones never stop them. If that is used up, one
gives way: of the client whose small ones hold the most, the one that arrives for the longest time.
Somebody may have sent it only to hold the memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from babygun.api.http.context import Call
from babygun.api.http.problem_types import BUSY
from babygun.api.http.problems import Problem

SMALL = 64 << 10  # bytes
PATIENCE = 5.0  # s, that a large body waits for memory
_LEAST_FOR_SMALL = 4 << 20  # bytes


class Held:
    """Bytes that are held: in all, and by client."""

    def __init__(self) -> None:
        self.total = 0
        self.of: Counter[str] = Counter()

    def add(self, client: str, size: int) -> None:
        """``size``: negative for what is given back."""
        self.total += size
        size += self.of.pop(client, 0)
        if size:
            self.of[client] = size


class BodyMemory:
    """``limit``: bytes of large bodies. A single one that is larger is read when no other is held.

    Small ones get a quarter of that beside it.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.small_limit = limit, max(_LEAST_FOR_SMALL, limit // 4)
        self.large, self.small = Held(), Held()
        # By client, in the order of arrival.
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}
        self._arriving: dict[Call, asyncio.Timeout] = {}  # the oldest first

    async def take(self, call: Call, size: int) -> None:
        """Takes memory for a body or an answer of this size.

        Raises the 503 problem where there is none within PATIENCE.
        """
        if size <= SMALL:
            self._take_small(call, size)
        elif not self._waiting and self._fits(call.client, size):
            self.large.add(call.client, size)
        else:
            await self._wait(call.client, size)
        call.held_bytes = size

    def grow(self, call: Call, size: int) -> None:
        """Takes the memory of a body whose size was not announced, and is ``size`` by now.

        Raises the 503 problem where there is none.
        """
        held = call.held_bytes
        if size <= SMALL:
            self._take_small(call, size - held)
        else:
            large = held if held > SMALL else 0
            if not self._fits(call.client, size, large):
                raise _busy()
            self.large.add(call.client, size - large)
            self.small.add(call.client, large - held)
        call.held_bytes = size

    def give_back(self, call: Call) -> None:
        size, call.held_bytes = call.held_bytes, 0
        if size <= SMALL:
            self.small.add(call.client, -size)
        else:
            self._give_back_large(call.client, size)

    @contextmanager
    def arriving(self, call: Call, patience: asyncio.Timeout) -> Iterator[None]:
        """While the body arrives. ``patience`` ends at once if it has to give way."""
        self._arriving[call] = patience
        try:
            yield
        finally:
            self._arriving.pop(call, None)

    def _take_small(self, call: Call, size: int) -> None:
        while self.small.total + size > self.small_limit:
            small = (each for each in self._arriving if 0 < each.held_bytes <= SMALL)
            oldest = max(small, key=lambda each: self.small.of[each.client], default=None)
            if oldest is None:
                raise _busy()
            patience = self._arriving.pop(oldest)
            if not patience.expired():
                oldest.gave_way = True
                patience.reschedule(0)
            self.give_back(oldest)
        self.small.add(call.client, size)

    async def _wait(self, client: str, size: int) -> None:
        given = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append((size, given))
        try:
            async with asyncio.timeout(PATIENCE):
                self._hand_out()
                await given
        except BaseException as error:
            if given.cancelled():
                self._leave(client, (size, given))
                self._hand_out()
            else:  # it was given at this very moment
                self._give_back_large(client, size)
            if isinstance(error, TimeoutError):
                raise _busy() from None
            raise

    def _give_back_large(self, client: str, size: int) -> None:
        self.large.add(client, -size)
        self._hand_out()

    def _fits(self, client: str, size: int, held: int = 0) -> bool:
        """Whether there is room. ``held``: what the same body holds already of its ``size``."""
        others, theirs = self.large.total - held, self.large.of[client] - held
        left = self.limit - others - size
        return not others or (left >= 0 and (not theirs or theirs + size <= left))

    def _hand_out(self) -> None:
        """Gives what is free to those that wait: first to the client that holds the least."""
        while (client := self._following()) is not None:
            size, given = self._waiting[client][0]
            self._leave(client, (size, given))
            self.large.add(client, size)
            given.set_result(None)

    def _following(self) -> str | None:
        """The client whose turn it is, if there is room."""
        for client in sorted(self._waiting, key=self.large.of.__getitem__):
            size, given = self._waiting[client][0]
            if given.done():  # cancelled; it leaves in a moment
                return None
            if self._fits(client, size):
                return client
            if not self.large.of[client]:  # smaller ones of others would pass it for ever
                return None
        return None

    def _leave(self, client: str, waiting: tuple[int, asyncio.Future[None]]) -> None:
        self._waiting[client].remove(waiting)
        if not self._waiting[client]:
            del self._waiting[client]


BODY_MEMORY = web.AppKey("body memory", BodyMemory)


def _busy() -> Problem:
    return Problem(BUSY, BUSY.example)
