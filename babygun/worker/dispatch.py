"""Starts the tries: which jobs, when, and how many at once.

slice ─▶ feed ─▶ ready jobs ─turns, slots─▶ tries
                    ▲                         │
                    └───── still ready ───────┘
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from babygun.email.model import Job
from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.emails.reading import owned_by
from babygun.store.keys import JobRef
from babygun.worker.attempt import Attempt, Attempts, release_job
from babygun.worker.crowded import CrowdedQueues
from babygun.worker.feed import Feed
from babygun.worker.holds import QueueHolds
from babygun.worker.membership import Membership
from babygun.worker.ready import ReadyJobs
from babygun.worker.slices import Slice
from babygun.worker.slots import Obstacle, Slots

log = get_logger("worker")

_LEASE_POLL = 0.05  # s, between two checks of a lease that can't be trusted
_READ_AGAIN = 0.2  # s, after a read that failed


class Dispatch:
    """Run :meth:`run` as a task. At the end call :meth:`stop`, :meth:`drain`, :meth:`close`.

    ``in_flight``: the tasks of all jobs that this worker has to do with.
    """

    def __init__(
        self,
        store: Store,
        membership: Membership,
        attempts: Attempts,
        holds: QueueHolds,
        *,
        queues: int,
        limit: Callable[[str], int],
    ) -> None:
        """``queues``: how many are known. ``limit``: the most tries at once of a queue."""
        settings = store.settings
        self._store, self._membership, self._attempts = store, membership, attempts
        self._holds = holds
        self.ready = ReadyJobs(settings.worker_ready)
        self.slots = Slots(
            total=settings.worker_concurrency,
            memory=settings.worker_memory,
            queues=queues,
            limit=limit,
        )
        self.in_flight: dict[JobRef, asyncio.Task[Any]] = {}
        self._attempts_in_flight: dict[JobRef, Attempt] = {}
        self._crowded = CrowdedQueues(self.slots, self._ask_again)
        self._again: dict[JobRef, Job] = {}  # became ready again while in flight
        self._wake = asyncio.Event()
        self._feed = Feed(store, self.ready, self.in_flight, self._wake.set)
        self._following: asyncio.Task[None] | None = None
        self._reads: dict[str | None, asyncio.Task[None]] = {}  # by queue; None: the whole slice
        self._probes: dict[str, asyncio.Task[None]] = {}  # by queue
        self._stopping = False
        self._failure: BaseException | None = None  # of a side task

    async def run(self) -> None:
        """Starts what may start, until stopped. Raises the error of a side task that crashed."""
        while not self._stopping and self._failure is None:
            self._wake.clear()
            identity = self._membership.identity
            if pause := self._attempts.pause.left(time.monotonic()):
                await asyncio.sleep(pause)
            elif identity is None or not identity.trusted:
                await asyncio.sleep(_LEASE_POLL)  # nothing signals that there is a new lease
            elif not self._holds.known:
                await self._wake.wait()
            else:
                for queue in list(self._holds.due()):
                    self._begin_probe(queue)
                while not self.slots.full and (taken := self.ready.take(self._obstacle)):
                    self._start(*taken, identity)
                for queue in list(self.ready.to_read):
                    self._begin_read(queue)
                await self._wake.wait()
        if self._failure is not None:
            raise self._failure

    def wake(self) -> None:
        """Starts what may start by now."""
        self._wake.set()

    def resume(self, queue: str) -> None:
        """The queue is not held any more."""
        self.ready.resume(queue)
        self._wake.set()

    # --- tries ---

    def _obstacle(self, queue: str, job: Job) -> Obstacle | None:
        return "held" if self._holds.is_held(queue) else self.slots.obstacle(queue, job)

    def _begin_probe(self, queue: str) -> None:
        """Probes a held queue, if there is a job to do it with, and no other worker is first."""
        first = self.ready.first(queue)
        if queue in self._probes or first is None or self.slots.obstacle(queue, first):
            return
        task = asyncio.create_task(self._probe(queue), name=f"probe {queue}")
        self._probes[queue] = task
        task.add_done_callback(partial(self._probe_ended, queue))

    async def _probe(self, queue: str) -> None:
        if not await self._holds.take_turn(queue):
            return
        best = await self._holds.best_probe(queue, self.ready.jobs(queue))
        if not self._stopping:
            identity = self._membership.identity
            if identity is not None and (taken := self.ready.take_probe(queue, best)):
                self._start(*taken, identity, probe=True)
            else:
                self._holds.keep_turn(queue)

    def _probe_ended(self, queue: str, task: asyncio.Task[None]) -> None:
        del self._probes[queue]
        self._side_task_ended(task)
        self._wake.set()

    def _start(self, ref: JobRef, job: Job, identity: Identity, *, probe: bool = False) -> None:
        if ref in self.in_flight:
            self._again[ref] = job
            return
        self.slots.start(ref.queue, job)
        attempt = self._attempts_in_flight[ref] = Attempt(ref, job, identity, probe)
        task = asyncio.create_task(self._attempts.run(attempt), name=f"try {ref.email_id}")
        self.in_flight[ref] = task
        task.add_done_callback(partial(self._ended, attempt))

    def _ended(self, attempt: Attempt, task: asyncio.Task[bool]) -> None:
        ref = attempt.ref
        self.slots.end(ref.queue, attempt.job)
        if attempt.crowded is not None:
            self._crowded.turned_away(ref.queue, attempt.crowded)
        elif attempt.claim is not None:
            self._crowded.ended(ref.queue)
        if attempt.probe and (attempt.claim is None or attempt.crowded is not None):
            self._holds.keep_turn(ref.queue)
        self.ready.ask_again(ref.queue)
        del self._attempts_in_flight[ref]
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

    def _ask_again(self, queue: str) -> None:
        self.ready.ask_again(queue)
        self._wake.set()

    def _free(self, ref: JobRef, _: asyncio.Task[Any]) -> None:
        del self.in_flight[ref]
        if again := self._again.pop(ref, None):
            self.ready.add(ref, again)
        self._wake.set()

    # --- reading what is ready ---

    def follow(self, part: Slice) -> None:
        """Takes the jobs of another slice from now on."""
        if self._following:
            self._following.cancel()
            self._following = None
        self.ready.clear()
        if not part.empty and not self._stopping:
            self._following = asyncio.create_task(self._feed.follow(part), name="feed")
            self._following.add_done_callback(self._side_task_ended)

    def _begin_read(self, queue: str | None) -> None:
        """Reads on in a queue, or in the whole slice (None)."""
        if queue in self._reads or self._membership.slice.empty:
            return
        task = asyncio.create_task(self._read(queue), name=f"read {queue or 'slice'}")
        self._reads[queue] = task
        task.add_done_callback(partial(self._read_ended, queue))

    async def _read(self, queue: str | None) -> None:
        try:
            await self._feed.read(self._membership.slice, queue)
        except EtcdError as error:
            log.warning("jobs not read", error=str(error))
            await asyncio.sleep(_READ_AGAIN)

    def _read_ended(self, queue: str | None, task: asyncio.Task[None]) -> None:
        del self._reads[queue]
        self._side_task_ended(task)
        self._wake.set()

    def _side_task_ended(self, task: asyncio.Task[None]) -> None:
        """Its error ends the worker: otherwise the worker would live on and do nothing."""
        if not task.cancelled() and (error := task.exception()):
            log.error("task failed", exc=error, task=task.get_name())
            self._failure = error
            self._wake.set()

    async def reconcile(self) -> None:
        """Releases what is this worker's in etcd and unknown here, and reads the slice again.

        Such a job comes from a claim that took effect after it was given up.
        """
        worker_id = self._membership.worker_id
        for ref, owner_revision in await owned_by(self._store, worker_id):
            if ref not in self.in_flight:
                # It is in flight until it is released: a try would take the old claim for its own.
                task = asyncio.create_task(
                    release_job(self._store, ref, owner_revision, worker_id),
                    name=f"release {ref.email_id}",
                )
                self.in_flight[ref] = task
                task.add_done_callback(partial(self._free, ref))
        self._begin_read(None)

    # --- the end ---

    def stop(self) -> None:
        """Starts nothing more."""
        self._stopping = self._attempts.stopping = True
        self._crowded.close()
        if self._following:
            self._following.cancel()
        self._wake.set()

    async def drain(self) -> None:
        """Waits for what is in flight, ``drain_timeout`` at most, and gives the rest back.

        Jobs without a connection are given back at once.
        """
        if not self.in_flight:
            return
        within = self._store.settings.drain_timeout
        log.info("draining", in_flight=len(self.in_flight), at_most_seconds=within)
        deadline = time.monotonic() + within
        attempts = self._attempts_in_flight
        await self._give_back([a for a in attempts.values() if not a.progress.connected])
        if self.in_flight:
            rest = max(0.0, deadline - time.monotonic())
            await asyncio.wait(self.in_flight.values(), timeout=rest)
        await self._give_back(list(attempts.values()))

    async def _give_back(self, attempts: Iterable[Attempt]) -> None:
        """Ends tries early and releases their jobs.

        Where a server may have taken the message, the try writes its result first.
        """
        claimed = [(a, a.claim, self.in_flight[a.ref]) for a in attempts if a.claim is not None]
        for attempt, _, task in claimed:
            if not attempt.progress.finishing:
                task.cancel()
        if claimed:
            await asyncio.wait(
                [task for _, _, task in claimed], timeout=self._store.settings.etcd_timeout
            )
        await asyncio.gather(
            *(
                release_job(self._store, a.ref, claim.owner_revision, a.identity.process_id)
                for a, claim, _ in claimed
            )
        )

    async def close(self) -> None:
        """Cancels what still runs. Tries that write their result are waited for."""
        finishing = {
            self.in_flight[ref]
            for ref, attempt in self._attempts_in_flight.items()
            if attempt.progress.finishing
        }
        tasks = [*self._reads.values(), *self._probes.values(), *self.in_flight.values()]
        if self._following:
            tasks.append(self._following)
        for task in tasks:
            if task not in finishing:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
