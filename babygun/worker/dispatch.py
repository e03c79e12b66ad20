"""Starts the tries of a worker's slice: the loop that brings its parts together.

slice ─▶ feed ─▶ ready ─turns─▶ slots ─free─▶ in_flight: tries
                   ▲                              │
                   └────────── still ready ───────┘

:mod:`ready` knows whose turn it is, :mod:`slots` how many tries may run, :mod:`holds` which queues
are held, :mod:`crowded` which ones pause. Nothing else keeps a ready job from its try.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from babygun.email.model import Job
from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.emails.reading import owned_by
from babygun.store.keys import JobRef
from babygun.worker.attempt import Attempt, Attempts
from babygun.worker.crowded import CrowdedQueues
from babygun.worker.feed import Feed
from babygun.worker.in_flight import InFlight
from babygun.worker.membership import Membership
from babygun.worker.ready import ReadyJobs
from babygun.worker.side_tasks import SideTasks
from babygun.worker.sites.holds import SiteHolds
from babygun.worker.slices import Slice
from babygun.worker.slots import Obstacle, Slots

log = get_logger("worker")

_LEASE_POLL = 0.05  # s, between two checks of a lease that can't be trusted
_READ_AGAIN = 0.2  # s, after a read that failed


class Dispatch:
    """Run :meth:`run` as a task. At the end call :meth:`stop`, :meth:`drain`, :meth:`close`."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        attempts: Attempts,
        holds: SiteHolds,
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
        self.in_flight = InFlight(store, attempts, ended=self._try_ended, freed=self._freed)
        self._crowded = CrowdedQueues(self.slots, self._ask_again)
        self._wake = asyncio.Event()
        self._feed = Feed(store, self.ready, self.in_flight.tasks, self._wake.set)
        self._side = SideTasks(self._wake.set)
        self._stopping = False

    async def run(self) -> None:
        """Starts what may start, until stopped. Raises the error of a side task that crashed."""
        while not self._stopping and self._side.failure is None:
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
        if self._side.failure is not None:
            raise self._side.failure

    def wake(self) -> None:
        """Starts what may start by now."""
        self._wake.set()

    # --- tries ---

    def _obstacle(self, queue: str, job: Job) -> Obstacle | None:
        return "held" if self._holds.is_held(queue) else self.slots.obstacle(queue, job)

    def _start(self, ref: JobRef, job: Job, identity: Identity, *, probe: bool = False) -> None:
        if ref in self.in_flight:
            self.in_flight.ready_again(ref, job)
        else:
            self.slots.start(ref.queue, job)
            self.in_flight.start(ref, job, identity, probe=probe)

    def _try_ended(self, attempt: Attempt) -> None:
        queue = attempt.ref.queue
        self.slots.end(queue, attempt.job)
        if attempt.crowded is not None:
            self._crowded.turned_away(queue, attempt.crowded)
        elif attempt.claim is not None:
            self._crowded.ended(queue)
        if attempt.probe and (attempt.claim is None or attempt.crowded is not None):
            self._holds.keep_turn(queue)
        self.ready.ask_again(queue)

    def _freed(self, ref: JobRef, again: Job | None) -> None:
        if again is not None:
            self.ready.add(ref, again)
        self._wake.set()

    def _ask_again(self, queue: str) -> None:
        self.ready.ask_again(queue)
        self._wake.set()

    # --- held queues ---

    def resume(self, queue: str) -> None:
        """The queue is not held any more."""
        self.ready.resume(queue)
        self._wake.set()

    def _begin_probe(self, queue: str) -> None:
        """Probes a held queue, if there is a job to do it with, and no other worker is first."""
        name, first = f"probe {queue}", self.ready.first(queue)
        if name not in self._side and first is not None and not self.slots.obstacle(queue, first):
            self._side.start(name, self._probe(queue))

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

    # --- reading what is ready ---

    def follow(self, part: Slice) -> None:
        """Takes the jobs of another slice from now on."""
        self._side.cancel("feed")
        self.ready.clear()
        if not part.empty and not self._stopping:
            self._side.start("feed", self._feed.follow(part))

    def _begin_read(self, queue: str | None) -> None:
        """Reads on in a queue, or in the whole slice (None)."""
        name = "read slice" if queue is None else f"read queue {queue}"
        if name not in self._side and not self._membership.slice.empty:
            self._side.start(name, self._read(queue))

    async def _read(self, queue: str | None) -> None:
        try:
            await self._feed.read(self._membership.slice, queue)
        except EtcdError as error:
            log.warning("jobs not read", error=str(error))
            await asyncio.sleep(_READ_AGAIN)

    async def reconcile(self) -> None:
        """Releases what is this worker's in etcd and unknown here, and reads the slice again.

        Such a job comes from a claim that took effect after it was given up.
        """
        worker_id = self._membership.worker_id
        for ref, owner_revision in await owned_by(self._store, worker_id):
            if ref not in self.in_flight:
                self.in_flight.release(ref, owner_revision, worker_id)
        self._begin_read(None)

    # --- the end ---

    def stop(self) -> None:
        """Starts nothing more."""
        self._stopping = self._attempts.stopping = True
        self._crowded.close()
        self._side.cancel("feed")
        self._wake.set()

    async def drain(self) -> None:
        """Waits for what is in flight, and gives back what takes too long."""
        await self.in_flight.drain()

    async def close(self) -> None:
        """Cancels what still runs. Tries that write their result are waited for."""
        await asyncio.gather(self._side.close(), self.in_flight.close())
