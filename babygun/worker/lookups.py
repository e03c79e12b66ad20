"""Looks up the sites of queues, beside the worker's loop. Until then their jobs wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from babygun.routing.sites import Site
from babygun.runtime.tasks import cancel_all
from babygun.worker.ready import ReadyJobs

MOST_LOOKUPS = 100


class SiteLookups:
    """``find``: awaited for a queue's site. It raises nothing. ``found``: called after each."""

    def __init__(
        self,
        ready: ReadyJobs,
        find: Callable[[str], Awaitable[Site]],
        found: Callable[[], None],
    ) -> None:
        self._ready, self._find, self._found = ready, find, found
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Starts what may start: queues take turns, as sites do."""
        while len(self._tasks) < MOST_LOOKUPS and (queue := self._ready.take_unknown()):
            task = asyncio.create_task(self._look_up(queue), name=f"site of {queue}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _look_up(self, queue: str) -> None:
        self._ready.found(queue, await self._find(queue))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._found()

    async def close(self) -> None:
        await cancel_all(*self._tasks)
