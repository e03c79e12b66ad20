"""Looks up the sites of queues, beside the worker's loop.

Jobs of a queue wait until its site is known. A queue of a held site is looked up again and again: a
held site is not tried, so nothing else would show that its domain has moved to other hosts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from itertools import zip_longest
from typing import Any

from babygun.routing.sites import Site
from babygun.runtime.tasks import cancel_all
from babygun.worker.ready import ReadyJobs

MOST_LOOKUPS = 100
INTERVAL = 1.0  # s, between two calls of look_again
AGAIN = 30.0  # s, between two looks at a queue at the earliest: DNS's answers are kept as long
_AT_ONCE = 100  # queues that are looked up again, in one interval too


class SiteLookups:
    """``find``: awaited for a queue's site. It raises nothing. ``found``: called after each.

    ``find_again``: the same, for a queue whose site is known; None: nobody can say now.
    """

    def __init__(
        self,
        ready: ReadyJobs,
        find: Callable[[str], Awaitable[Site]],
        find_again: Callable[[str], Awaitable[Site | None]],
        found: Callable[[], None],
    ) -> None:
        self._ready, self._find, self._find_again = ready, find, find_again
        self._found = found
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: set[asyncio.Task[None]] = set()
        self._line: deque[str] = deque()  # queues to look up again
        self._next_line = 0.0  # time.monotonic()

    def start(self) -> None:
        """Starts what may start: queues take turns, as sites do."""
        while len(self._tasks) < MOST_LOOKUPS and (queue := self._ready.take_unknown()):
            self._start(self._tasks, self._look_up(queue), queue)

    def look_again(self, held: Callable[[], Iterable[str]]) -> None:
        """Looks up some more queues of the sites ``held`` again. Call it every INTERVAL.

        Sites take turns: one with very many domains holds up no other.
        """
        now = time.monotonic()
        if not self._line and now >= self._next_line:
            self._next_line = now + AGAIN
            for in_turn in zip_longest(*map(self._ready.queues_of, held())):
                self._line.extend(queue for queue in in_turn if queue is not None)
        while self._line and len(self._again) < _AT_ONCE:
            queue = self._line.popleft()
            self._start(self._again, self._look_again(queue), queue)

    def _start(
        self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None], queue: str
    ) -> None:
        task = asyncio.create_task(work, name=f"site of {queue}")
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: self._found())

    async def _look_up(self, queue: str) -> None:
        self._ready.found(queue, await self._find(queue))

    async def _look_again(self, queue: str) -> None:
        if (site := await self._find_again(queue)) is not None:
            self._ready.refile(queue, site)

    async def close(self) -> None:
        await cancel_all(*self._tasks, *self._again)
