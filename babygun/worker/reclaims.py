"""Takes over the jobs of dead workers: the e-mail's log says who had the job before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.emails.claims import Claim, reclaim
from babygun.store.keys import JobRef

log = get_logger("worker")

_REMEMBER = 60.0  # s, for which a dead worker's jobs are known as such


class Reclaims:
    """``lock``: of an e-mail, by its id. Its queues are taken over one after the other."""

    def __init__(self, store: Store, lock: Callable[[str], asyncio.Lock]) -> None:
        self._store, self._lock = store, lock
        # By job of a dead worker: its id, and until when it is remembered.
        self._dead: dict[JobRef, tuple[str, float]] = {}

    def worker_died(self, worker_id: str, owned: Iterable[JobRef]) -> None:
        """Remembers for a minute what a worker owned when it died."""
        now = time.monotonic()
        self._dead = {ref: entry for ref, entry in self._dead.items() if entry[1] > now}
        self._dead |= dict.fromkeys(owned, (worker_id, now + _REMEMBER))

    async def take_over(self, claimed: Claim, worker_id: str) -> Claim | None:
        """Writes who had the job before, if that worker has died. Returns the claim as it is now.

        None: it is not this worker's any more.
        """
        ref = claimed.ref
        if (dead := self._dead.pop(ref, None)) is None:
            return claimed
        async with self._lock(ref.email_id):
            taken_over = await reclaim(
                self._store, claimed, worker_id=worker_id, previous_worker_id=dead[0]
            )
        if taken_over is not None:
            metrics.RECLAIMED.inc()
            log.info(
                "job reclaimed",
                email_id=ref.email_id,
                queue=ref.queue,
                worker_id=worker_id,
                previous_worker_id=dead[0],
            )
        return taken_over
