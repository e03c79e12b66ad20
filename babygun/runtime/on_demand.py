"""A reading that is made when somebody asks, and serves all who ask for some seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any


class OnDemand:
    """``read``: makes it. It raises nothing. One is made at a time."""

    def __init__(self, read: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._read, self._name = read, name
        self._task: asyncio.Task[None] | None = None
        self._begun = 0.0

    def refresh(self, fresh: float) -> asyncio.Task[None]:
        """The present reading; a new one if that has ended, and began ``fresh`` seconds ago.

        It goes on though a caller waits for it no longer: use :func:`asyncio.wait` or shield it.
        """
        now, task = time.monotonic(), self._task
        if task is None or (task.done() and now - self._begun >= fresh):
            self._begun = now
            task = self._task = asyncio.create_task(self._read(), name=self._name)
        return task

    @property
    def age(self) -> float:
        """Seconds since the last reading began."""
        return time.monotonic() - self._begun

    @property
    def waited(self) -> float:
        """Seconds since the reading began that has not ended yet; 0 where there is none."""
        return 0.0 if self._task is None or self._task.done() else self.age
