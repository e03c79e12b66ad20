"""The worker: claims the jobs of its slice and delivers them, hundreds at once on one event loop.

    membership ──slice──▶ feed ──names──▶ ready ──turns──▶ attempts: claim ─▶ deliver ─▶ finish
    timers: not-before ─▶ jobs                 reconcile: owned in etcd but unknown here ─▶ release; read the slice again

Each part runs as a named task; if one of them fails, the worker stops with its error, and whoever started it starts another.
Nothing here is authoritative: a worker that dies anywhere loses no email, since etcd holds its jobs and its lease runs out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from itertools import islice

from babygun.email.lifecycle import QueueResult, RecipientResult
from babygun.email.model import Job, queue_recipients
from babygun.errors import EtcdError, LeaseNotFound
from babygun.routing.routes import load_routes
from babygun.runtime import metrics, tracing
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import bind, get_logger, note
from babygun.runtime.metric_types import MOST_QUEUES
from babygun.runtime.settings import Settings
from babygun.smtp import NotSent
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.cluster.health import Checkup
from babygun.store.emails.claims import Claim, claim, reclaim, release
from babygun.store.emails.reading import owned_by
from babygun.store.keys import JobRef
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness
from babygun.store.upkeep.shedding import Shedding
from babygun.worker import timers
from babygun.worker.counters import Tally
from babygun.worker.delivery import Delivery, Progress
from babygun.worker.feed import Feed
from babygun.worker.finisher import Finisher
from babygun.worker.membership import Membership
from babygun.worker.observe import count_result, show_state
from babygun.worker.ready import ReadyJobs, Slots
from babygun.worker.slices import Slice

log = get_logger("worker")

_RECLAIM_MEMORY = (
    60.0  # seconds for which a dead worker's jobs are remembered, to log who takes them over
)
_PER_CONNECTION, _AHEAD = (
    8,
    32,
)  # claims for each of a relay's connections and beyond: they hide the time that a claim and a finish take, and let batches grow
_LEAST_HOLD, _MOST_HOLD = 0.05, 2.0  # s, between claims that etcd doesn't answer
_MOST_RECLAIMS = (
    3  # from then on a try counts as made, so that an e-mail which kills its worker comes to an end
)
_SPACE_INTERVAL = 1.0  # s, between two looks at etcd's size; at full speed its file grows by some 15 MB in that time


class Worker:
    """One worker. :meth:`run` until :meth:`stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        routes = load_routes(settings)
        self._queues = tuple(islice(routes.destinations, MOST_QUEUES))
        self.store = Store(settings)
        self._delivery = Delivery(settings, routes)
        self._finisher = Finisher(self.store)
        self.ready = ReadyJobs(settings.worker_ready)
        limits = {
            queue: _PER_CONNECTION * destination.max_connections + _AHEAD
            for queue, destination in routes.destinations.items()
        }
        self._slots = Slots(
            total=settings.worker_concurrency, memory=settings.worker_memory, limits=limits
        )
        self._wake = asyncio.Event()
        self.in_flight: dict[JobRef, asyncio.Task[None]] = {}
        self._feed = Feed(self.store, self.ready, self.in_flight, self._wake.set)
        self.tally = Tally()
        self.membership = Membership(
            self.store,
            in_flight=lambda: len(self.in_flight),
            tally=self.tally,
            changed=self._slice_changed,
            died=self._worker_died,
            queues=routes.fingerprints(),
        )
        self.health = Checkup(self.store, "worker", routes)
        fullness = Fullness(self.store.client, settings.etcd_quota)
        self._compaction = Compaction(self.store.client, fullness, self.store.keys.cluster)
        self._shedding = Shedding(self.store.client, self.store.keys, fullness, self._compaction)
        self._held: dict[JobRef, tuple[Claim, Progress]] = {}  # the claims in flight
        self._again: dict[JobRef, Job] = {}  # became ready once more while still in flight here
        self._reclaimed: dict[
            JobRef, tuple[str, float]
        ] = {}  # who held it when it died, and until when to remember
        self._following: asyncio.Task[None] | None = None
        self._refills: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._hold_until = 0.0  # monotonic time before which nothing is claimed, after a claim that etcd did not answer
        self._hold = _LEAST_HOLD

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop."""
        return self._stopping.is_set()

    def show_state(self) -> None:
        """Puts what is now into the metrics."""
        show_state(self.membership, self._queues, self.ready, self._slots, self._delivery.pools)

    def stop(self) -> None:
        """Begins the graceful stop: nothing new is claimed, what is in flight is finished within the drain time."""
        self._stopping.set()
        self._wake.set()

    async def run(self, started: Callable[[], None] | None = None) -> None:
        """Works until stopped; raises where one of its parts failed, and SettingsError where it can't work with this etcd. ``started`` is called after that check."""
        await self.store.start()
        try:
            await self.health.require()
        except BaseException:
            await self.store.close()
            raise
        if started:
            started()
        services = [
            asyncio.create_task(service, name=name)
            for name, service in {
                "membership": self._live(),
                "members": self.membership.follow(),
                "dispatch": self._dispatch(),
                "timers": self._every(timers.INTERVAL, "timers", self._make_due),
                "reconcile": self._every(
                    self._settings.reconcile_interval, "reconcile", self._reconcile
                ),
                "health": self.health.run(),
                "shedding": self._every(
                    _SPACE_INTERVAL,
                    "shedding",
                    partial(self._make_room, self._shedding.once),
                    checked_in=False,
                ),
                "compaction": self._every(
                    _SPACE_INTERVAL,
                    "compaction",
                    partial(self._make_room, self._compaction.once),
                    checked_in=False,
                ),
            }.items()
        ]
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            done, _ = await asyncio.wait([*services, stopping], return_when=asyncio.FIRST_COMPLETED)
            await self._drain()
            for task in done - {stopping}:
                task.result()
            if self._failure is not None:
                raise self._failure
        finally:
            rest = [
                task
                for task in (
                    *services,
                    stopping,
                    self._following,
                    *self._refills.values(),
                    *self.in_flight.values(),
                )
                if task
            ]
            finishing = {
                self.in_flight[ref]
                for ref, (_, progress) in self._held.items()
                if progress.finishing
            }
            for task in rest:
                if task not in finishing:
                    task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await self._delivery.close()
            await self.membership.leave()
            await self.store.close()

    # --- what the feed, the membership and the attempts tell ---

    def _slice_changed(self, part: Slice) -> None:
        if self._following:
            self._following.cancel()
            self._following = None
        self.ready.clear()
        if not part.empty and not self._stopping.is_set():
            self._following = asyncio.create_task(self._feed.follow(part), name="feed")
            self._following.add_done_callback(self._fail_loudly)

    def _worker_died(self, worker_id: str, held: list[JobRef]) -> None:
        until = time.monotonic() + _RECLAIM_MEMORY
        self._reclaimed = {
            ref: entry for ref, entry in self._reclaimed.items() if entry[1] > time.monotonic()
        }
        self._reclaimed |= dict.fromkeys(held, (worker_id, until))

    def _fail_loudly(self, task: asyncio.Task[None]) -> None:
        """A side task must not die in silence: the worker would look alive and do nothing."""
        if not task.cancelled() and (error := task.exception()):
            log.error("task failed", exc=error, task=task.get_name())
            self._failure = error
            self.stop()

    # --- dispatch ---

    async def _dispatch(self) -> None:
        while not self._stopping.is_set():
            identity = self.membership.identity
            if (held_up := self._hold_until - time.monotonic()) > 0:
                await asyncio.sleep(held_up)
            while (
                identity is not None
                and identity.trusted
                and not self._stopping.is_set()
                and time.monotonic() >= self._hold_until
            ):
                taken = self.ready.take(self._slots.may_start)
                if taken is None:
                    break
                self._start(*taken, identity)
            for queue in list(self.ready.truncated):
                if self.ready.count(queue) < self._settings.worker_ready // 4:
                    self._refill(queue)
            self._wake.clear()
            if time.monotonic() < self._hold_until:
                continue
            if identity is None or not identity.trusted:
                await asyncio.sleep(
                    0.05
                )  # until there is an identity again; there is no signal to wait for on its way
            else:
                await self._wake.wait()

    def _start(self, ref: JobRef, job: Job, identity: Identity) -> None:
        if ref in self.in_flight:
            self._again[ref] = job
            return
        self._slots.start(ref.queue, job)
        task = asyncio.create_task(
            self._attempt(ref, job, identity, self.membership.worker_id),
            name=f"attempt {ref.email_id}",
        )
        self.in_flight[ref] = task
        task.add_done_callback(lambda done: self._ended(ref, job, done))

    def _ended(self, ref: JobRef, job: Job, task: asyncio.Task[None]) -> None:
        self._slots.end(ref.queue, job)
        self._held.pop(ref, None)
        self._freed(ref, task)
        if not task.cancelled() and (error := task.exception()):
            log.error(
                "try crashed",
                exc=error,
                email_id=ref.email_id,
                queue=ref.queue,
                worker_id=self.membership.worker_id,
            )

    def _freed(self, ref: JobRef, _: asyncio.Task[None]) -> None:
        del self.in_flight[ref]
        if again := self._again.pop(ref, None):
            self.ready.add(ref, again)
        self._wake.set()

    def _refill(self, queue: str | None) -> None:
        name = queue or ""
        if name not in self._refills and not self.membership.slice.empty:
            task = self._refills[name] = asyncio.create_task(self._read(queue), name=f"read {name}")
            task.add_done_callback(lambda _: self._refills.pop(name, None))
            task.add_done_callback(self._fail_loudly)

    async def _read(self, queue: str | None) -> None:
        try:
            await self._feed.read(self.membership.slice, queue)
        except EtcdError as error:
            log.warning("jobs not read", error=str(error))
            await asyncio.sleep(0.2)
        self._wake.set()

    # --- one attempt ---

    async def _attempt(self, ref: JobRef, job: Job, identity: Identity, worker_id: str) -> None:
        bind(email_id=ref.email_id, queue=ref.queue, worker_id=worker_id)
        started_ns = time.time_ns()
        try:
            claimed = await claim(
                self.store,
                ref,
                worker_id=worker_id,
                lease_id=identity.lease_id,
                size=job.size,
            )
        except LeaseNotFound:
            metrics.CLAIMS["lease_lost"].inc()
            self._again[ref] = job
            identity.lost.set()
            return
        except EtcdError as error:  # should it take effect after all, the reconcile releases it
            metrics.CLAIMS["unanswered"].inc()
            self._again[ref] = job
            self._hold_up(error)
            return
        self._hold = _LEAST_HOLD
        metrics.CLAIMS["claimed" if claimed is not None else "lost"].inc()
        if claimed is None:
            return
        span = tracing.resume(
            "deliver", claimed.email.traceparent, claimed.email.tracestate, started_ns=started_ns
        )
        if not span.recording:
            await self._deliver(ref, job, identity, worker_id, claimed)
            return
        with span:
            _describe(span, claimed, worker_id)
            with tracing.child("etcd claim", started_ns=started_ns):
                pass  # it is over: whose trace this is stands in what was claimed
            await self._deliver(ref, job, identity, worker_id, claimed)

    async def _deliver(
        self, ref: JobRef, job: Job, identity: Identity, worker_id: str, claimed: Claim
    ) -> None:
        progress = Progress()
        self._held[ref] = (claimed, progress)
        if self._stopping.is_set():
            await self._release(ref, claimed.owner_revision)
            return
        before = self._reclaimed.pop(ref, None)
        if before:
            taken_over = await reclaim(
                self.store, claimed, worker_id=worker_id, previous_worker_id=before[0]
            )
            if taken_over is None:
                self._again[ref] = job
                return
            metrics.RECLAIMED.inc()
            claimed = taken_over
            self._held[ref] = (claimed, progress)
            log.info(
                "job reclaimed",
                email_id=ref.email_id,
                queue=ref.queue,
                worker_id=worker_id,
                previous_worker_id=before[0],
            )
        try:
            if claimed.email.queues[ref.queue].reclaims >= _MOST_RECLAIMS:
                log.error(
                    "reclaimed too often",
                    email_id=ref.email_id,
                    queue=ref.queue,
                    workers=_MOST_RECLAIMS,
                )
                results = _faulty(
                    claimed, f"{_MOST_RECLAIMS} workers in a row died while they had this e-mail"
                )
            else:
                results = await self._delivery.deliver(claimed, lambda: identity.trusted, progress)
        except NotSent:
            log.warning(
                "lease not trusted",
                email_id=ref.email_id,
                queue=ref.queue,
                worker_id=worker_id,
            )
            await self._release(ref, claimed.owner_revision)
            self._again[ref] = job
            return
        except Exception as error:  # a fault of ours must not send the same email round and round: it uses up a try
            log.error("delivery crashed", exc=error, email_id=ref.email_id, queue=ref.queue)
            results = _faulty(claimed, f"internal error: {type(error).__name__}: {error}")
        self._begin_finish(progress)
        await self._finish(claimed, QueueResult(ref.queue, worker_id, claimed.claimed_at, results))

    def _begin_finish(self, progress: Progress) -> None:
        """From here on the attempt is not cancelled: a result that is not written is a duplicate to come."""
        progress.finishing = True
        task = asyncio.current_task()
        while (
            task is not None and task.cancelling()
        ):  # it was while it sent, and what is known by now is to be written
            task.uncancel()

    def _hold_up(self, error: EtcdError) -> None:
        """Claims nothing for a moment: an etcd that refuses claims would be asked as fast as it refuses."""
        now = time.monotonic()
        if now >= self._hold_until:
            log.warning("claim unanswered", error=str(error), pause_seconds=self._hold)
            self._hold_until = now + self._hold
            self._hold = min(_MOST_HOLD, 2 * self._hold)
            self._wake.set()

    async def _finish(self, claimed: Claim, result: QueueResult) -> None:
        span = tracing.current()
        if not span.recording:
            finished = await self._finisher.finish(claimed, result)
        else:
            with tracing.child("etcd finish"):
                finished = await self._finisher.finish(claimed, result)
            span.set(
                "babygun.reply_classes",
                sorted({outcome.reply_class for outcome in result.results.values()}),
            )
            if finished.email is not None:
                span.set("babygun.email_status", finished.email.status)
        ref = claimed.ref
        if ref in finished.dropped:
            metrics.RESULTS_DROPPED.inc()
            log.warning(
                "result dropped",
                email_id=ref.email_id,
                queue=ref.queue,
                worker_id=result.worker_id,
            )
        else:
            count_result(result, finished.email, self.tally)
            _log_outcome(claimed, result, finished.email.status if finished.email else None)

    async def _release(self, ref: JobRef, owner_revision: int) -> None:
        try:
            if await release(self.store, ref, owner_revision):
                log.info(
                    "job released",
                    email_id=ref.email_id,
                    queue=ref.queue,
                    worker_id=self.membership.worker_id,
                )
        except EtcdError as error:  # the lease's end, or the reconcile, does it later
            log.warning(
                "job not released",
                email_id=ref.email_id,
                queue=ref.queue,
                worker_id=self.membership.worker_id,
                error=str(error),
            )

    # --- services ---

    async def _live(self) -> None:
        await self.health.join()
        await self.membership.check_in()

    async def _every(
        self,
        seconds: float,
        name: str,
        once: Callable[[], Awaitable[None]],
        *,
        checked_in: bool = True,
    ) -> None:
        """Runs a duty again and again; etcd's absence is no reason to stop. ``checked_in``: only while this worker is."""
        while True:
            await asyncio.sleep(seconds)
            if self.membership.checked_in.is_set() or not checked_in:
                try:
                    await once()
                except EtcdError as error:
                    log.warning("duty failed", duty=name, error=str(error))

    async def _make_due(self) -> None:
        part = self.membership.slice
        if part.empty and time.monotonic() % timers.OVERDUE > timers.INTERVAL:
            return  # one without a slice looks now and then for what is overdue
        if made := await timers.make_due_once(self.store, part):
            log.debug("jobs due", jobs=made)

    async def _reconcile(self) -> None:
        """Releases what etcd says is ours and we know nothing of (a claim that took effect after we gave it up)."""
        for ref, owner_revision in await owned_by(self.store, self.membership.worker_id):
            if (
                ref not in self.in_flight
            ):  # and it is until it is released: an attempt would take what is being given back for its own
                self.in_flight[ref] = asyncio.create_task(
                    self._release(ref, owner_revision), name=f"release {ref.email_id}"
                )
                self.in_flight[ref].add_done_callback(partial(self._freed, ref))
        self._refill(None)

    async def _make_room(self, once: Callable[[], Awaitable[object]]) -> None:
        """By one worker; by each that can't register, which is so when etcd is full."""
        if self.health.joined and (
            self.membership.leads or not self.membership.checked_in.is_set()
        ):
            await once()

    async def _drain(self) -> None:
        """Waits for what is in flight; what isn't done in time is given back."""
        if self._following:
            self._following.cancel()
        self._stopping.set()
        self.membership.drain()
        if not self.in_flight:
            return
        log.info(
            "draining", in_flight=len(self.in_flight), at_most_seconds=self._settings.drain_timeout
        )
        deadline = time.monotonic() + self._settings.drain_timeout
        await self._give_back(
            [ref for ref, (_, progress) in self._held.items() if not progress.connected]
        )
        if self.in_flight:
            await asyncio.wait(
                self.in_flight.values(), timeout=max(0.0, deadline - time.monotonic())
            )
        await self._give_back(list(self._held))

    async def _give_back(self, refs: list[JobRef]) -> None:
        """Ends attempts early, and releases their jobs. One that a server may have taken writes what is known first."""
        held = {
            ref: (self.in_flight[ref], *self._held[ref]) for ref in refs if ref in self.in_flight
        }
        for task, _, progress in held.values():
            if not progress.finishing:
                task.cancel()
        if held:
            await asyncio.wait(
                [task for task, _, _ in held.values()], timeout=self._settings.etcd_timeout
            )
        await asyncio.gather(
            *(self._release(ref, claimed.owner_revision) for ref, (_, claimed, _) in held.items())
        )


def _faulty(claimed: Claim, reason: str) -> dict[str, RecipientResult]:
    fault = RecipientResult("retry", "internal", reason=reason)
    return {r.email: fault for r in queue_recipients(claimed.email, claimed.ref.queue)}


def _describe(span: tracing.Span, claimed: Claim, worker_id: str) -> None:
    note(trace_id=span.trace_id)
    span.set("babygun.email_id", claimed.ref.email_id)
    span.set("babygun.queue", claimed.ref.queue)
    span.set("babygun.try", claimed.email.queues[claimed.ref.queue].tries + 1)
    span.set("babygun.worker_id", worker_id)


def _log_outcome(claimed: Claim, result: QueueResult, status: str | None) -> None:
    counts: dict[str, int] = {}
    for outcome in result.results.values():
        counts[outcome.reply_class] = counts.get(outcome.reply_class, 0) + 1
    since: datetime = claimed.claimed_at
    log.info(
        "try finished",
        email_id=claimed.ref.email_id,
        queue=claimed.ref.queue,
        worker_id=result.worker_id,
        status=status,
        results=counts,
        ms=round((utc_now() - since).total_seconds() * 1000),
    )
