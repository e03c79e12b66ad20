"""Looks up the sites of queues that this process does not know, beside the calls that ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from babygun.errors import BabygunError
from babygun.routing.routes import Routes
from babygun.runtime.tasks import cancel_all

MOST = 100  # at once, of all calls


class SiteLookups:
    """A lookup goes on when its caller waits no longer: the next call knows the site."""

    def __init__(self, routing: Routes) -> None:
        self._routing = routing
        self._running: dict[str, asyncio.Task[None]] = {}

    def known(self, queue: str) -> str | None:
        """The site of a queue, as far as this process knows it."""
        site = self._routing.known_site(queue)
        return site.name if site else None

    async def find(self, queues: Sequence[str], patience: float) -> None:
        """Has those looked up that are not known, and waits so many seconds at most."""
        tasks = [self._start(queue) for queue in queues if self.known(queue) is None]
        if wanted := [task for task in tasks if task is not None]:
            await asyncio.wait(wanted, timeout=patience)

    def _start(self, queue: str) -> asyncio.Task[None] | None:
        """The lookup of a queue; None where too many run."""
        task = self._running.get(queue)
        if task is None and len(self._running) < MOST:
            task = asyncio.create_task(self._find(queue), name=f"site of {queue}")
            self._running[queue] = task
            task.add_done_callback(lambda _: self._running.pop(queue))
        return task

    async def close(self) -> None:
        """Gives up what runs."""
        await cancel_all(*self._running.values())

    async def _find(self, queue: str) -> None:
        with suppress(BabygunError):  # DNS has none, or no answer: then the queue is its own site
            await self._routing.find_site(queue)
