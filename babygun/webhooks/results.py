"""Writes what became of a webhook's notices: the results of many tries in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context

from babygun.store import Store
from babygun.store.webhooks.notices import MOST_BYTES, MOST_RESULTS, Outcome, finish
from babygun.webhooks.health import Health

_GATHER = 0.02  # s, for which results wait for others
_ENOUGH = 50  # results that wait for no others


class Results:
    """``written`` gets what is in etcd. ``lost`` is called if this worker is not the owner.

    The webhook's health is written along. ``rests`` is called when all is written.
    """

    def __init__(
        self,
        store: Store,
        webhook_id: str,
        token: int,
        health: Health,
        *,
        written: Callable[[list[Outcome]], None],
        lost: Callable[[], None],
        rests: Callable[[], None],
    ) -> None:
        self._store, self._webhook_id, self._token = store, webhook_id, token
        self._health, self._written, self._lost, self._rests = health, written, lost, rests
        self._outcomes: list[Outcome] = []
        self._task: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._at_last = False

    def __len__(self) -> int:
        """Those that no write has taken yet."""
        return len(self._outcomes)

    @property
    def writing(self) -> bool:
        return self._task is not None

    def add(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        if len(self._outcomes) >= _ENOUGH:
            self._enough.set()
        self.flush()

    def flush(self, *, at_last: bool = False) -> None:
        """Writes what there is, and the health if it is time for that. ``at_last``: all of it."""
        self._at_last |= at_last
        if self._task is None and (
            self._outcomes or self._health.is_due(time.monotonic(), at_last)
        ):
            self._task = asyncio.create_task(self._write(), name="results", context=Context())

    async def close(self) -> None:
        """Ends a write under way: it is done, or not."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while True:
                if len(self._outcomes) < _ENOUGH and not self._at_last:
                    await self._gather()
                batch = self._take()
                health = self._health.to_write(time.monotonic(), self._at_last)
                if not batch and health is None:
                    return
                if not await finish(self._store, self._webhook_id, self._token, batch, health):
                    self._outcomes.clear()
                    self._lost()
                    return
                self._written(batch)
        finally:
            self._task = None
            self._rests()

    async def _gather(self) -> None:
        self._enough.clear()
        try:
            async with asyncio.timeout(_GATHER):
                await self._enough.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[Outcome]:
        """As many as one transaction takes, at least one."""
        count = size = 0
        for outcome in self._outcomes[:MOST_RESULTS]:
            size += len(outcome.stored.value)
            if count and size > MOST_BYTES:
                break
            count += 1
        batch, self._outcomes = self._outcomes[:count], self._outcomes[count:]
        return batch
