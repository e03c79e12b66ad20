"""The overview for all listeners: made once a second for all of them, while there are some."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from babygun.api.live.listener import Listener
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all

log = get_logger("api")

INTERVAL = 1.0  # s
_encode = msgspec.json.Encoder().encode


class OverviewStream:
    """``make``: makes the document."""

    def __init__(self, make: Callable[[], Awaitable[msgspec.Struct]]) -> None:
        self._make = make
        self._listeners: set[Listener] = set()
        self._running: asyncio.Task[None] | None = None

    def join(self, listener: Listener) -> None:
        """Offers the listener each overview from now on."""
        self._listeners.add(listener)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="live overview")

    def leave(self, listener: Listener) -> None:
        """Offers the listener nothing more; one that never joined may leave too."""
        self._listeners.discard(listener)
        if not self._listeners and self._running is not None:
            self._running.cancel()
            self._running = None

    async def close(self) -> None:
        """Stops, and waits for the end."""
        running, self._running = self._running, None
        if running is not None:
            await cancel_all(running)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            try:
                event = b"event: overview\ndata: %b\n\n" % _encode(await self._make())
            except Exception as error:  # a fault of ours: the next second may be better
                log.error("overview failed", exc=error)
            else:
                for listener in self._listeners:
                    listener.offer_overview(event)
            await asyncio.sleep(max(0.0, due - loop.time()))
