"""Queues whose destination has too many connections: they pause in this worker.

Other workers have the connections, and let them go when they need them no more. After a pause one
job of the queue goes first. The others follow once the destination has taken its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from babygun.runtime.logs import get_logger
from babygun.smtp.replies import Reply
from babygun.worker.pause import ClaimPause
from babygun.worker.slots import Slots

log = get_logger("worker")

LEAST, MOST = 1.0, 16.0  # s


class _Crowded(Struct):
    pause: ClaimPause
    timer: asyncio.TimerHandle | None = None


class CrowdedQueues:
    """``go_on``: called with the queue when its jobs may start again."""

    def __init__(self, slots: Slots, go_on: Callable[[str], None]) -> None:
        self._slots, self._go_on = slots, go_on
        self._queues: dict[str, _Crowded] = {}

    def turned_away(self, queue: str, reply: Reply) -> None:
        """A try of the queue got no connection."""
        loop = asyncio.get_running_loop()
        crowded = self._queues.get(queue)
        if crowded is None:
            crowded = self._queues[queue] = _Crowded(ClaimPause(LEAST, MOST))
        if seconds := crowded.pause.unanswered(loop.time()):
            log.warning(
                "too many connections",
                queue=queue,
                seconds=seconds,
                code=reply.code,
                text=reply.text[:200],
            )
            self._slots.allow(queue, 0)
            crowded.timer = loop.call_later(seconds, self._let_one_go, queue)

    def _let_one_go(self, queue: str) -> None:
        self._queues[queue].timer = None
        self._slots.allow(queue, 1)
        self._go_on(queue)

    def ended(self, queue: str) -> None:
        """A try of the queue ended, and was not turned away."""
        if crowded := self._queues.pop(queue, None):
            if crowded.timer is not None:
                crowded.timer.cancel()
            self._slots.allow(queue, None)
            self._go_on(queue)

    def close(self) -> None:
        for crowded in self._queues.values():
            if crowded.timer is not None:
                crowded.timer.cancel()
