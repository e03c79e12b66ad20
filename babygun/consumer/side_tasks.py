"""Tasks beside a loop of a worker: reads of its slice, probes of held sites."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all

log = get_logger("worker")


class SideTasks:
    """At most one task of each name at a time. ``ended``: called after each.

    ``failure``: the error of a task that crashed. It is to end the worker: otherwise the worker
    would live on and do nothing.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failure: BaseException | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Starts a task. None of this name runs."""
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(partial(self._task_ended, name))

    def cancel(self, name: str) -> None:
        if task := self._tasks.pop(name, None):
            task.cancel()

    def _task_ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:  # and not the next one, after a cancel
            del self._tasks[name]
        if not task.cancelled() and (error := task.exception()):
            log.error("task failed", exc=error, task=name)
            self.failure = error
        self._ended()

    async def close(self) -> None:
        """Cancels them all, and waits until they have ended."""
        tasks = list(self._tasks.values())
        await cancel_all(*tasks)
