"""Ends e-mails whose own end has come before they could be sent.

A worker looks at the held jobs of its slice, since nobody claims those. A relay's jobs are read
from etcd. Those of a site of mail hosts are in many queues; of these, it looks at the ones that it
knows. Any other job that it knows is ended as soon as its e-mail's own end has come. The end of one
that has no room in memory is looked at when it gets there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from babygun.consumer.slices import Slice
from babygun.email.ids import created_ms
from babygun.email.model import Email, Job
from babygun.email.retry import end_of_held
from babygun.email.tries import RecipientResult
from babygun.errors import Conflict, NotFound
from babygun.routing.sites import MX
from babygun.runtime import metrics
from babygun.runtime.clock import at_ms, format_time, utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.emails import on_request
from babygun.store.emails.ready_jobs import ReadyJob, read_jobs, shard_range
from babygun.store.keys import JobRef
from babygun.store.records import Hold
from babygun.store.sites.holds import Held
from babygun.store.upkeep.timeline import FINENESS
from babygun.store.upkeep.trusted_clock import TrustedClock
from babygun.worker.counters import RecipientCounts
from babygun.worker.ready import ReadyJobs

log = get_logger("worker")

INTERVAL = 1.0  # s, between two looks at what is to be read
EVERY = 60.0  # s, between two reads of a held site's jobs
_SHARE = 50  # a queue is read again after this many times the time that it took
_PER_SHARD = 16  # jobs in one read of a shard
_AT_ONCE = 16  # e-mails that are ended at a time
_IN_A_ROW = 1000  # known jobs that are looked at before others have their turn
TOO_LATE = RecipientResult("retry", "expired", reason="expires_at came before it could be sent")


async def expire(
    store: Store,
    ref: JobRef,
    outcome: RecipientResult,
    worker_id: str,
    counts: RecipientCounts,
    *,
    hold: bytes | None = None,
) -> bool:
    """Ends one job that nobody sends. False: it was sent, put off, stopped or ended meanwhile.

    ``hold``: the key of the hold by which it ends; False, too, if that has ended. Raises EtcdError.
    """
    left: set[str] = set()

    def note(email: Email) -> bool:
        left.update(r.email for r in email.recipients if r.queue == ref.queue and not r.final)
        return True

    try:
        email = await on_request.expire(
            store,
            ref,
            outcome,
            worker_id=worker_id,
            ends=note,
            needs=(hold,) if hold is not None else (),
        )
    except (NotFound, Conflict):
        return False
    except ValueError as error:
        log.error("record unreadable", email_id=ref.email_id, error=str(error))
        return False
    counts.add(ref.queue, left, email)
    if email.final:
        metrics.EMAILS_ENDED[email.status].inc()
    log.info("e-mail expired", email_id=ref.email_id, queue=ref.queue, worker_id=worker_id)
    return True


class HeldExpiry:
    """Looks at each held site's jobs every EVERY seconds, more rarely if that takes long.

    ``known``: the jobs of a site that this worker knows. ``ended`` is called with each of these
    that nobody is to claim any more.
    """

    def __init__(
        self,
        store: Store,
        counts: RecipientCounts,
        *,
        known: Callable[[str], Iterable[tuple[JobRef, Job]]],
        ended: Callable[[JobRef], None],
    ) -> None:
        self._store, self._counts = store, counts
        self._known, self._ended = known, ended
        after = store.settings.hold_expires_after
        self._clock = TrustedClock(store.settings, after / FINENESS)
        self._next: dict[str, tuple[int, float]] = {}  # by site: the hold, and its next look

    async def once(self, held: Mapping[str, Held], part: Slice, worker_id: str) -> None:
        """Looks at the sites whose time has come, and ends what has to end. Raises EtcdError."""
        self._next = {
            site: entry
            for site, entry in self._next.items()
            if site in held and held[site].created == entry[0]
        }
        if part.empty or not held or (now := await self._clock.now()) is None:
            return
        for site, one in list(held.items()):
            started = time.monotonic()
            if not one.hold.sender and started >= self._next.get(site, (0, 0.0))[1]:
                if site.startswith(MX):
                    ended = await self._look(held, one.hold, worker_id, now.earliest)
                else:
                    ended = await self._read(held, one.hold, part, worker_id, now.earliest)
                if ended:
                    log.warning("held e-mails expired", site=site, jobs=ended, worker_id=worker_id)
                took = time.monotonic() - started
                self._next[site] = one.created, started + max(EVERY, _SHARE * took)

    async def _look(
        self, held: Mapping[str, Held], hold: Hold, worker_id: str, now: datetime
    ) -> int:
        """Ends known jobs of a site of mail hosts. Returns how many."""
        ended, jobs = 0, list(self._known(hold.site))
        for at in range(0, len(jobs), _IN_A_ROW):
            if hold.site not in held:
                break
            some = [ReadyJob(*job) for job in jobs[at : at + _IN_A_ROW]]
            over = [job for job in some if self._ends(job, hold, now)]
            for ref in await self._expire(over, hold, worker_id):
                self._ended(ref)
                ended += 1
            await asyncio.sleep(0)
        return ended

    async def _read(
        self, held: Mapping[str, Held], hold: Hold, part: Slice, worker_id: str, now: datetime
    ) -> int:
        """Ends jobs of a relay, which are one queue. Returns how many."""
        ranges = {
            shard: shard_range(self._store, shard, hold.site)._replace(limit=_PER_SHARD)
            for shard in range(part.first, part.end)
        }
        ended = 0
        while ranges and hold.site in held:
            rests = {}
            async for _, found in read_jobs(self._store, ranges):
                for shard, jobs, rest in found:
                    over = [job for job in jobs if self._ends(job, hold, now)]
                    ended += len(await self._expire(over, hold, worker_id))
                    if rest:
                        rests[shard] = rest
            ranges = rests
        return ended

    def _ends(self, ready: ReadyJob, hold: Hold, now: datetime) -> bool:
        end = end_of_held(
            ready.job,
            accepted=at_ms(created_ms(ready.ref.email_id)),
            held_since=hold.since,
            expires_after=self._store.settings.hold_expires_after,
            schedule=self._store.routes.schedule(ready.ref.queue),
        )
        return end <= now

    async def _expire(self, jobs: list[ReadyJob], hold: Hold, worker_id: str) -> list[JobRef]:
        """Ends these jobs. Returns those that it has ended."""
        outcome = _outcome(hold)
        key = self._store.keys.hold(hold.site)
        done: list[JobRef] = []
        for at in range(0, len(jobs), _AT_ONCE):
            refs = [job.ref for job in jobs[at : at + _AT_ONCE]]
            ended = await asyncio.gather(
                *(
                    expire(self._store, ref, outcome, worker_id, self._counts, hold=key)
                    for ref in refs
                )
            )
            done += [ref for ref, has_ended in zip(refs, ended, strict=True) if has_ended]
        return done


class OwnExpiry:
    """Ends known jobs whose e-mail's own end has come: their site may be slow for hours."""

    def __init__(self, store: Store, counts: RecipientCounts, ready: ReadyJobs) -> None:
        self._store, self._counts, self._ready = store, counts, ready
        self._clock = TrustedClock(store.settings, 0.0)

    async def once(self, held: Mapping[str, Held], worker_id: str) -> None:
        """Ends what has to end by now, _IN_A_ROW jobs at most. Raises EtcdError."""
        if not self._ready.ends.any(utc_now()) or (now := await self._clock.now()) is None:
            return
        jobs = [(ref, held.get(site)) for ref, site in self._ready.ended(now.earliest, _IN_A_ROW)]
        for at in range(0, len(jobs), _AT_ONCE):
            some = jobs[at : at + _AT_ONCE]
            have_ended = await asyncio.gather(*(self._end(*job, worker_id) for job in some))
            for (ref, _), has_ended in zip(some, have_ended, strict=True):
                if has_ended:
                    self._ready.drop(ref)

    async def _end(self, ref: JobRef, held: Held | None, worker_id: str) -> bool:
        if held is None:
            return await expire(self._store, ref, TOO_LATE, worker_id, self._counts)
        key = self._store.keys.hold(held.hold.site)
        return await expire(
            self._store, ref, _outcome(held.hold), worker_id, self._counts, hold=key
        )


def _outcome(hold: Hold) -> RecipientResult:
    """Of a job that ends while its site is held."""
    return RecipientResult(
        "retry", hold.reason, hold.status_code, hold.enhanced_code, _reason(hold)
    )


def _reason(hold: Hold) -> str:
    code = f" {hold.status_code}" if hold.status_code else ""
    return f"site {hold.site} was held since {format_time(hold.since)}:{code} {hold.status_reason}"
