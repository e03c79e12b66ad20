"""Starts the tries of a worker's slice: the loop that brings its parts together.

slice ─▶ feed ─▶ ready ─turns─▶ slots ─free─▶ in_flight: tries
                   ▲                              │
                   └────────── still ready ───────┘

:mod:`ready` knows whose turn it is, :mod:`slots` how many tries may run, :mod:`sites` what each
site takes now, :mod:`crowded` which ones pause. A queue whose site is not known waits for
:mod:`lookups`. Nothing else keeps a ready job from its try.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from babygun.consumer.membership import Membership
from babygun.consumer.side_tasks import SideTasks
from babygun.consumer.slices import Slice
from babygun.email.model import Job
from babygun.errors import EtcdError
from babygun.routing.sites import Site
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.emails.reading import owned_by
from babygun.store.keys import JobRef
from babygun.worker.attempt import Attempt, Attempts
from babygun.worker.crowded import CrowdedSites
from babygun.worker.feed import Feed
from babygun.worker.in_flight import InFlight
from babygun.worker.lookups import SiteLookups
from babygun.worker.ready import ReadyJobs
from babygun.worker.sites.sites import Sites
from babygun.worker.slots import Obstacle, Slots

log = get_logger("worker")

_LEASE_POLL = 0.05  # s, between two checks of a lease that can't be trusted
_READ_AGAIN = 0.2  # s, after a read that failed
_MOST_READS = 8  # queues that are read on one by one; if there are more, the slice is read
_SWEEP = "read slice"


class Dispatch:
    """Run :meth:`run` as a task. At the end call :meth:`stop`, :meth:`drain`, :meth:`close`."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        attempts: Attempts,
        sites: Sites,
        *,
        kept: int,
        site_of: Callable[[str], Site | None],
        find_site: Callable[[str], Awaitable[Site]],
        find_again: Callable[[str], Awaitable[Site | None]],
        limit: Callable[[Site], int],
    ) -> None:
        """``kept``: sites that keep a part of the slots. ``site_of``: a queue's site, if known.

        ``find_site`` looks it up, ``find_again`` once more; see :class:`SiteLookups`. ``limit``:
        the most tries at once of a site.
        """
        settings = store.settings
        self._store, self._membership, self._attempts = store, membership, attempts
        self._sites, self._site_of = sites, site_of
        self.ready = ReadyJobs(settings.worker_ready, site_of)
        self.slots = Slots(
            total=settings.worker_concurrency,
            memory=settings.worker_memory,
            sites=kept,
            limit=limit,
        )
        self.in_flight = InFlight(store, attempts, ended=self._try_ended, freed=self._freed)
        self._crowded = CrowdedSites(self.slots, self.go_on)
        self._wake = asyncio.Event()
        self._feed = Feed(store, self.ready, self.in_flight.tasks, self._wake.set)
        self._lookups = SiteLookups(self.ready, find_site, find_again, self._wake.set)
        self._side = SideTasks(self._wake.set)
        self._probing: set[str] = set()  # sites for which this worker tries to get the probe
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
            elif not self._sites.holds.known:
                await self._wake.wait()
            else:
                while not self.slots.full and (taken := self.ready.take(self._obstacle)):
                    self._start(*taken, identity)
                self._lookups.start()
                self._read_on()
                await self._wake.wait()
        if self._side.failure is not None:
            raise self._side.failure

    def wake(self) -> None:
        """Starts what may start by now."""
        self._wake.set()

    # --- tries ---

    def _obstacle(self, site: Site, job: Job) -> Obstacle | None:
        if (found := self._sites.obstacle(site)) is not None:
            return self._begin_probe(site, job) if found == "held" else found
        if job.sender and self._sites.sender_held(site.name, job.sender):
            return "sender"
        return self.slots.obstacle(site, job, self.ready.overtaken)

    def _start(
        self, ref: JobRef, job: Job, site: Site, identity: Identity, *, probe: int = 0
    ) -> None:
        if ref in self.in_flight:
            self.in_flight.ready_again(ref, job)
        else:
            self.slots.start(site, job)
            self._sites.started(site)
            self.in_flight.start(Attempt(ref, job, site, identity, probe))

    def _try_ended(self, attempt: Attempt) -> None:
        site = attempt.site
        if attempt.apart:
            self.slots.end_apart(site, attempt.job, connected=not attempt.slow)
        else:
            self.slots.end(site, attempt.job)
        self._sites.ended(site)
        if attempt.crowded is not None:
            self._crowded.turned_away(attempt.went_to.name, attempt.crowded)
        elif attempt.claim is not None:
            self._crowded.ended(attempt.went_to.name)
        if attempt.moved:  # a newer try may have found a third site
            queue = attempt.ref.queue
            self.ready.refile(queue, self._site_of(queue) or attempt.went_to)
        if attempt.probe and (
            attempt.claim is None or attempt.crowded or attempt.put_off or attempt.moved
        ):
            self._sites.holds.keep_turn(site.name, attempt.probe)
        self.ready.go_on(site.name)

    async def look(self) -> None:
        """Takes the slots of tries at mail hosts that had no connection at the last look either.

        A thousand domains whose hosts don't answer would otherwise hold all slots.
        """
        for attempt in self.in_flight.tries():
            if attempt.site.provider is None:
                continue
            if attempt.apart:
                if attempt.slow and attempt.progress.connected:
                    attempt.slow = False
                    self.slots.connected(attempt.site)
                    self.go_on(attempt.site.name)
            elif not attempt.progress.connected:
                if attempt.slow and self.slots.set_apart(attempt.site, attempt.job):
                    attempt.apart = True
                    self._wake.set()
                attempt.slow = True

    def _freed(self, ref: JobRef, again: Job | None) -> None:
        if again is not None:
            self.ready.add(ref, again)
        self._wake.set()

    def go_on(self, site: str) -> None:
        """The site's jobs may start again: it is not held any more, or pauses no longer."""
        self.ready.go_on(site)
        self._wake.set()

    def sender_may_go_on(self, site: str, sender: str) -> None:
        """The mail of a sender's domain may go to the site again."""
        self.ready.sender_may_go_on(site, sender)
        self._wake.set()

    # --- held sites ---

    def _begin_probe(self, site: Site, job: Job) -> Obstacle:
        """Probes a held site, if its next probe is due, and no other worker is first.

        Returns why no job of it starts now.
        """
        name = site.name
        if name in self._probing or not self._sites.holds.is_due(name):
            return "held"
        found = self.slots.obstacle(site, job)
        if found is not None and found != "half":
            return found
        self._probing.add(name)
        self._side.start(f"probe {name}", self._probe(name))
        return "held"

    async def _probe(self, site: str) -> None:
        try:
            if not (turn := await self._sites.holds.take_turn(site)):
                return
            best = await self._sites.holds.refused_senders.best_probe(site, self.ready.jobs(site))
        finally:
            self._probing.discard(site)
        if not self._stopping:
            identity = self._membership.identity
            if identity is not None and (taken := self.ready.take_probe(site, best)):
                self._start(*taken, identity, probe=turn)
            else:
                self._sites.holds.keep_turn(site, turn)

    def look_again(self) -> None:
        """Looks whether domains have left the sites that are held. Call it every second."""
        self._lookups.look_again(self._sites.holds.of_mail_hosts)

    # --- reading what is ready ---

    def follow(self, part: Slice) -> None:
        """Takes the jobs of another slice from now on."""
        self._side.cancel("feed")
        self._side.cancel(_SWEEP)
        self.ready.clear()
        if not part.empty and not self._stopping:
            self._side.start("feed", self._feed.follow(part))

    def _read_on(self) -> None:
        """Reads what more there is in etcd, where few names are left."""
        unread = self.ready.unread
        if unread.to_sweep or len(unread.to_read) > _MOST_READS:
            self._begin_read(None)
        else:
            for queue in list(unread.to_read):
                self._begin_read(queue)

    def _begin_read(self, queue: str | None) -> None:
        """Reads on in a queue, or in the whole slice (None)."""
        name = _SWEEP if queue is None else f"read queue {queue}"
        if name not in self._side and not self._membership.slice.empty:
            self._side.start(name, self._read(queue))

    async def _read(self, queue: str | None) -> None:
        try:
            await self._feed.read(self._membership.slice, queue, search=queue is None)
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
        self._side.cancel(_SWEEP)
        self._wake.set()

    async def drain(self) -> None:
        """Waits for what is in flight, and gives back what takes too long."""
        await self.in_flight.drain()

    async def close(self) -> None:
        """Cancels what still runs. Tries that write their result are waited for."""
        await asyncio.gather(self._side.close(), self._lookups.close(), self.in_flight.close())
