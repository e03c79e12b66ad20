"""How much of requests' bodies is held at once, all requests together: many large e-mails must not take the process down.

Small bodies always go on. A large one takes its announced size of the room before it is read, and waits for that a moment, while
its bytes stay with the client; the room is given back when its call has been answered.
"""

from __future__ import annotations

import asyncio
from collections import deque

from babygun.api.http.problems import BUSY, Problem

SMALL = 64 << 10  # bytes; of these even 1,000 at once are few
PATIENCE = 5.0  # s, that a large one waits for room


class BodyMemory:
    """``limit``: bytes. One body that is larger goes alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Takes room, in the order of arrival. Raises the 503 problem where there is none within PATIENCE."""
        if not self._waiting and self._fits(size):
            self.held += size
            return
        room = asyncio.get_running_loop().create_future()
        self._waiting.append((size, room))
        try:
            async with asyncio.timeout(PATIENCE):
                await room
        except BaseException as error:
            if room.cancelled():
                self._waiting.remove((size, room))
                self._hand_out()
            else:  # it was given at this very moment
                self.give_back(size)
            if isinstance(error, TimeoutError):
                raise _busy() from None
            raise

    def grow(self, size: int) -> None:
        """Takes more room at once, for a body whose size was not announced; raises the 503 problem where there is none."""
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
            size, room = self._waiting.popleft()
            self.held += size
            room.set_result(None)


def _busy() -> Problem:
    return Problem(
        BUSY,
        "As many large e-mails are being taken as this server has memory for (setting api_memory).",
    )
