"""One try at a job: claim it, send it, write the result.

A try that is cancelled has sent nothing, or writes its result first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from weakref import WeakValueDictionary

from msgspec import Struct, field

from babygun.consumer.pause import GrowingPause
from babygun.email.model import Job, queue_recipients
from babygun.email.tries import QueueResult, RecipientResult, is_first, left_out
from babygun.errors import EtcdError, LeaseNotFound
from babygun.routing.sites import Site
from babygun.runtime import metrics, tracing
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import bind, get_logger, note
from babygun.smtp import NotSent
from babygun.smtp.replies import Reply
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.emails.claims import Claim, claim, release
from babygun.store.keys import JobRef
from babygun.store.suppressions.lookup import find_in_queue
from babygun.store.upkeep.trusted_clock import TrustedClock
from babygun.worker import expiry
from babygun.worker.counters import RecipientCounts
from babygun.worker.delivery import Delivery
from babygun.worker.reclaims import Reclaims
from babygun.worker.replies import Crowded
from babygun.worker.result_writer import ResultWriter
from babygun.worker.results import Sent
from babygun.worker.sites.holds import SiteHolds
from babygun.worker.transactions import Progress
from babygun.worker.warm_ups import NotCounted

log = get_logger("worker")

# Workers in a row that may die with an e-mail. Then a try counts as made, so that an e-mail which
# kills its workers becomes final.
_MOST_RECLAIMS = 3


class Attempt(Struct):
    """A try and how far it has come. ``claim``: None before the job is this worker's.

    ``probe``: its turn to probe a held site; 0: it does not. ``crowded``: the server's reply, if it
    takes no more connections. ``put_off``: nobody was sent to, since a source is warming up.
    ``slow``: it had no connection yet when somebody looked. ``apart``: it has no slot any more,
    since it took too long to connect.
    """

    ref: JobRef
    job: Job
    site: Site
    identity: Identity
    probe: int = 0
    claim: Claim | None = None
    progress: Progress = field(default_factory=Progress)
    crowded: Reply | None = None
    put_off: bool = False
    slow: bool = False
    apart: bool = False

    @property
    def went_to(self) -> Site:
        """The site that it went to, as DNS said it then. The domain may have moved there."""
        return self.progress.site or self.site

    @property
    def moved(self) -> bool:
        """Whether it went to another site than its job was filed under."""
        return self.went_to.name != self.site.name


class Attempts:
    """Makes tries.

    ``stopping``: set it to give back all jobs that are claimed from now on.
    ``pause``: no claim is to be made before its end.
    """

    def __init__(
        self, store: Store, delivery: Delivery, counts: RecipientCounts, holds: SiteHolds
    ) -> None:
        self._store, self._delivery, self._counts, self._holds = store, delivery, counts, holds
        self._results = ResultWriter(store, counts)
        # By e-mail: one takeover or end of its queues at a time. Hundreds would refuse each other.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.reclaims = Reclaims(store, self._lock)
        self._clock = TrustedClock(store.settings, 0.0)
        self.pause = GrowingPause()
        self.stopping = False

    async def run(self, attempt: Attempt) -> bool:
        """Makes the try. True: the job is still ready, for this worker too."""
        ref, identity = attempt.ref, attempt.identity
        bind(email_id=ref.email_id, queue=ref.queue, worker_id=identity.process_id)
        started_ns = time.time_ns()
        expires_at = attempt.job.expires_at
        if expires_at is not None and expires_at <= utc_now() and await self._is_past(expires_at):
            return await self._expire(ref, identity.process_id)
        try:
            claimed = await claim(
                self._store,
                ref,
                worker_id=identity.process_id,
                lease_id=identity.lease_id,
                size=attempt.job.size,
                has_part=attempt.job.wide,
            )
        except LeaseNotFound:
            metrics.CLAIMS["lease_lost"].inc()
            identity.lost.set()
            return True
        except EtcdError as error:  # if it takes effect after all, the reconcile releases it
            self._pause(error)
            return True
        self.pause.answered()
        metrics.CLAIMS["claimed" if claimed is not None else "lost"].inc()
        if claimed is None:
            return False
        attempt.claim = claimed
        email = claimed.email
        with tracing.resume(
            "deliver", email.traceparent, email.tracestate, started_ns=started_ns
        ) as span:
            if span.recording:
                _describe(span, claimed, identity.process_id)
                with tracing.child("etcd claim", started_ns=started_ns):
                    pass  # it has ended: only the claimed record says whose trace this is
            return await self._try(attempt, claimed)

    def _pause(self, error: EtcdError) -> None:
        metrics.CLAIMS["unanswered"].inc()
        if pause := self.pause.unanswered(time.monotonic()):
            log.warning("claim unanswered", error=str(error), pause_seconds=pause)

    def _lock(self, email_id: str) -> asyncio.Lock:
        return self._locks.setdefault(email_id, asyncio.Lock())

    async def _is_past(self, at: datetime) -> bool:
        """Whether that is so by etcd's clock too: a clock that is ahead must not end mail."""
        now = await self._clock.now()
        return now is not None and at <= now.earliest

    async def _expire(self, ref: JobRef, worker_id: str) -> bool:
        """Ends a job whose e-mail's own end has come. True: etcd did not answer."""
        try:
            async with self._lock(ref.email_id):
                await expiry.expire(self._store, ref, expiry.TOO_LATE, worker_id, self._counts)
        except EtcdError as error:
            self._pause(error)
            return True
        self.pause.answered()
        return False

    async def _try(self, attempt: Attempt, claimed: Claim) -> bool:
        """Makes the try at a claimed job. True: the job is still ready."""
        ref, worker_id = attempt.ref, attempt.identity.process_id
        if self.stopping:
            await release_job(self._store, ref, claimed.owner_revision, worker_id)
            return False
        taken_over = await self.reclaims.take_over(claimed, worker_id)
        if taken_over is None:
            return True
        claimed = attempt.claim = taken_over
        try:
            left_out = await self._left_out(claimed)
            sent = await self._deliver(attempt, claimed, left_out)
        except EtcdError as error:
            self._pause(error)
        except Crowded as crowded:
            attempt.crowded = crowded.reply
        except NotCounted as error:
            self._pause(error.reason)
        except NotSent:
            log.warning(
                "lease not trusted", email_id=ref.email_id, queue=ref.queue, worker_id=worker_id
            )
        else:
            return await self._finish(attempt, claimed, sent)
        await release_job(self._store, ref, claimed.owner_revision, worker_id)
        return True

    async def _left_out(self, claimed: Claim) -> dict[str, RecipientResult]:
        """The results of recipients that were suppressed since the acceptance has looked."""
        email, queue = claimed.email, claimed.ref.queue
        if email.ignore_suppressions or is_first(email, queue):
            return {}
        found = await find_in_queue(self._store, email, queue)
        return {address: left_out(suppression) for address, suppression in found.items()}

    async def _deliver(
        self, attempt: Attempt, claimed: Claim, left_out: Mapping[str, RecipientResult]
    ) -> Sent:
        """Sends to all but ``left_out``. Returns a result for each recipient.

        Raises NotSent, and CancelledError if nothing was sent.
        """
        ref = claimed.ref
        if left_out and all(
            r.email in left_out for r in queue_recipients(claimed.email, ref.queue)
        ):
            return Sent(dict(left_out))
        if claimed.email.queues[ref.queue].reclaims >= _MOST_RECLAIMS:
            log.error(
                "reclaimed too often",
                email_id=ref.email_id,
                queue=ref.queue,
                workers=_MOST_RECLAIMS,
            )
            return _our_fault(
                claimed, f"{_MOST_RECLAIMS} workers in a row died while they had this e-mail"
            )
        try:
            sent = await self._delivery.deliver(
                claimed, lambda: attempt.identity.trusted, attempt.progress, skip=left_out
            )
            sent.results |= left_out
            return sent
        except NotSent:
            raise
        except Exception as error:
            # Our own fault uses up a try: the same e-mail must not be sent without end.
            log.error("delivery crashed", exc=error, email_id=ref.email_id, queue=ref.queue)
            return _our_fault(claimed, f"internal error: {type(error).__name__}: {error}")

    async def _finish(self, attempt: Attempt, claimed: Claim, sent: Sent) -> bool:
        """Begins or ends the site's hold, and writes the result. True: the job is still ready."""
        ref, worker_id = attempt.ref, attempt.identity.process_id
        _begin_finish(attempt.progress)
        attempt.put_off = all(each.action == "put_off" for each in sent.results.values())
        site = attempt.went_to.name
        results = await self._holds.settle(
            claimed,
            sent,
            site=site,
            probe=bool(attempt.probe) and not attempt.moved,
            started=attempt.progress.claimed_at,
        )
        if _all_held(results) and self._holds.is_logged(claimed, site):
            await release_job(self._store, ref, claimed.owner_revision, worker_id)
            return True
        other = site if site != ref.queue else ""
        result = QueueResult(
            ref.queue, worker_id, claimed.claimed_at, results, sent.in_rounds, other, sent.tls
        )
        await self._results.write(claimed, result, sent.server)
        return False


async def release_job(store: Store, ref: JobRef, owner_revision: int, worker_id: str) -> None:
    """Gives a job back. Where etcd does not answer, the reconcile does it, or the lease's end."""
    try:
        if await release(store, ref, owner_revision):
            log.info("job released", email_id=ref.email_id, queue=ref.queue, worker_id=worker_id)
    except EtcdError as error:
        log.warning(
            "job not released",
            email_id=ref.email_id,
            queue=ref.queue,
            worker_id=worker_id,
            error=str(error),
        )


def _begin_finish(progress: Progress) -> None:
    """From here on the try is not cancelled: an unwritten result becomes a duplicate."""
    progress.finishing = True
    task = asyncio.current_task()
    while task is not None and task.cancelling():  # while it sent; write what is known by now
        task.uncancel()


def _our_fault(claimed: Claim, reason: str) -> Sent:
    fault = RecipientResult("retry", "internal", reason=reason)
    return Sent({r.email: fault for r in queue_recipients(claimed.email, claimed.ref.queue)})


def _all_held(results: Mapping[str, RecipientResult]) -> bool:
    return all(result.action == "hold" for result in results.values())


def _describe(span: tracing.Span, claimed: Claim, worker_id: str) -> None:
    note(trace_id=span.trace_id)
    span.set("babygun.email_id", claimed.ref.email_id)
    span.set("babygun.queue", claimed.ref.queue)
    span.set("babygun.try", claimed.email.queues[claimed.ref.queue].tries + 1)
    span.set("babygun.worker_id", worker_id)
