"""The jobs that a worker has to do with right now: starts their tries, and ends them all.

Which job starts when is decided elsewhere: :mod:`ready` has the order, :mod:`slots` how many run
at once, :mod:`dispatch` brings them together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from babygun.email.model import Job
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.keys import JobRef
from babygun.worker.attempt import Attempt, Attempts, release_job

log = get_logger("worker")


class InFlight:
    """At the end of the worker call :meth:`drain`, then :meth:`close`.

    ``tasks``: of all jobs that this worker has to do with: it tries or releases them.
    ``ended``: called with each try that has ended. ``freed``: called with a job after its task; the
    job is None unless it is ready again.
    """

    def __init__(
        self,
        store: Store,
        attempts: Attempts,
        *,
        ended: Callable[[Attempt], None],
        freed: Callable[[JobRef, Job | None], None],
    ) -> None:
        self._store, self._attempts = store, attempts
        self._ended, self._freed = ended, freed
        self.tasks: dict[JobRef, asyncio.Task[Any]] = {}
        self._tries: dict[JobRef, Attempt] = {}
        self._again: dict[JobRef, Job] = {}  # ready again, or still

    def __len__(self) -> int:
        return len(self.tasks)

    def __contains__(self, ref: JobRef) -> bool:
        return ref in self.tasks

    def start(self, attempt: Attempt) -> None:
        """Starts a try at a job that is not in flight."""
        ref = attempt.ref
        self._tries[ref] = attempt
        task = asyncio.create_task(self._attempts.run(attempt), name=f"try {ref.email_id}")
        self.tasks[ref] = task
        task.add_done_callback(partial(self._try_ended, attempt))

    def tries(self) -> list[Attempt]:
        """Those that run."""
        return list(self._tries.values())

    def ready_again(self, ref: JobRef, job: Job) -> None:
        """A job in flight is ready again: it is freed as such."""
        self._again[ref] = job

    def release(self, ref: JobRef, owner_revision: int, worker_id: str) -> None:
        """Gives back a job that is this worker's in etcd, and is not in flight.

        It is in flight until then: a try would take the old claim for its own.
        """
        task = asyncio.create_task(
            release_job(self._store, ref, owner_revision, worker_id), name=f"release {ref.email_id}"
        )
        self.tasks[ref] = task
        task.add_done_callback(partial(self._free, ref))

    def _try_ended(self, attempt: Attempt, task: asyncio.Task[bool]) -> None:
        ref = attempt.ref
        del self._tries[ref]
        self._ended(attempt)
        if not task.cancelled():
            if error := task.exception():
                log.error(
                    "try crashed",
                    exc=error,
                    email_id=ref.email_id,
                    queue=ref.queue,
                    worker_id=attempt.identity.process_id,
                )
            elif task.result():
                self._again[ref] = attempt.job
        self._free(ref, task)

    def _free(self, ref: JobRef, _: asyncio.Task[Any]) -> None:
        del self.tasks[ref]
        self._freed(ref, self._again.pop(ref, None))

    # --- the end ---

    async def drain(self) -> None:
        """Waits for what is in flight, ``drain_timeout`` at most, and gives the rest back.

        Jobs without a connection are given back at once.
        """
        if not self.tasks:
            return
        within = self._store.settings.drain_timeout
        log.info("draining", in_flight=len(self), at_most_seconds=within)
        deadline = time.monotonic() + within
        tries = self._tries
        await self._give_back([one for one in tries.values() if not one.progress.connected])
        if self.tasks:
            rest = max(0.0, deadline - time.monotonic())
            await asyncio.wait(self.tasks.values(), timeout=rest)
        await self._give_back(list(tries.values()))

    async def _give_back(self, tries: Iterable[Attempt]) -> None:
        """Ends tries early and releases their jobs.

        Where a server may have taken the message, the try writes its result first. A job whose
        result is still not written then stays owned: another worker would send a second copy.
        """
        claimed = [(one, one.claim, self.tasks[one.ref]) for one in tries if one.claim is not None]
        for attempt, _, task in claimed:
            if not attempt.progress.finishing:
                task.cancel()
        if claimed:
            await asyncio.wait(
                [task for _, _, task in claimed], timeout=self._store.settings.etcd_timeout
            )
        await asyncio.gather(
            *(
                release_job(self._store, one.ref, claim.owner_revision, one.identity.process_id)
                for one, claim, task in claimed
                if task.done() or not one.progress.finishing
            )
        )

    async def close(self) -> None:
        """Cancels what still runs. Tries that write their result are waited for."""
        tasks = dict(self.tasks)
        for ref, task in tasks.items():
            if not (ref in self._tries and self._tries[ref].progress.finishing):
                task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
