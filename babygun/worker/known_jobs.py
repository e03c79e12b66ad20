"""Which ready jobs a worker knows, by site and client. Pure: no clock, no I/O.

It keeps the names of jobs only, MOST_NAMES of them in all. What there is no room for stays in etcd,
and is read on when few names are left (:mod:`unread`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from babygun.email.model import Job
from babygun.routing.sites import Site
from babygun.store.keys import JobRef
from babygun.worker.ends import Ends
from babygun.worker.turns import SHORT, Line, SiteJobs
from babygun.worker.unread import Full, Marks, Unread

MOST_NAMES = 200_000
# Queues without a name that a site may remember.
_OLD_QUEUES = 1000
# A queue whose site is not known is a site of its own, set aside. It waits for its turn to be
# looked up, or is looked up.
UNKNOWN = ("unknown", "looked up")
_NO_SITE = "mx:unknown"  # the label of all of these


class Waiting(NamedTuple):
    """A site whose mail waits: how many of its jobs and queues are known, and its oldest e-mail."""

    site: Site
    obstacle: str
    jobs: int
    queues: int
    oldest: str


class KnownJobs(ABC):
    """Those whose names are kept. :class:`babygun.worker.ready.ReadyJobs` has their turns.

    ``limit``: see :class:`Unread`. ``site_of``: the site of a queue; None where it must be looked
    up.
    """

    def __init__(self, limit: int, site_of: Callable[[str], Site | None], *, most: int) -> None:
        self._limit, self._site_of = limit, site_of
        self.unread = Unread(limit, most, site_at=self._site_at, drop=self._drop)
        self._jobs: dict[JobRef, Job] = {}
        self.ends = Ends(self._jobs)
        self._queues: dict[str, SiteJobs] = {}
        self._sites: dict[str, SiteJobs] = {}

    @abstractmethod
    def _line_joined(self, jobs: SiteJobs, line: Line) -> None:
        """A line that had no job has one now."""

    def __len__(self) -> int:
        return len(self._jobs)

    # --- what is known ---

    def count(self, queue: str) -> int:
        jobs = self._queues.get(queue)
        if jobs is None or jobs.queues == queue:
            return jobs.count if jobs else 0
        return sum(ref.queue == queue for ref, _ in self.waiting_of(jobs.site.name))

    def by_label(self) -> Counter[str]:
        """How many jobs are known, by the label of their site."""
        found: Counter[str] = Counter()
        for jobs in self._sites.values():
            found[jobs.site.label] += jobs.count
        if unknown := len(self._jobs) - found.total():
            found[_NO_SITE] = unknown
        return found

    def knows(self, queue: str) -> bool:
        """Whether a job of the queue is known here."""
        return queue in self._queues

    def queues_of(self, site: str) -> list[str]:
        """The queues of a site that have jobs. Last come those whose jobs may all be unread."""
        jobs = self._sites.get(site)
        if jobs is None:
            return []
        queues = {jobs.queues} - {""} if isinstance(jobs.queues, str) else jobs.queues
        used = dict.fromkeys(ref.queue for ref, _ in self.waiting_of(site))
        return [*used, *(queues - used.keys() if jobs.unread is not None else ())]

    @property
    def full(self) -> bool:
        """Whether no more names fit."""
        return len(self._jobs) >= self.unread.most

    def is_cut(self, queue: str, client: str) -> bool:
        """Whether a client's new job would overtake others that are not known yet."""
        if not self.unread.any:
            return False
        jobs = self._queues.get(queue)
        if jobs is None:
            if self.unread.short:
                return True
            site = self._site_of(queue)
            jobs = self._sites.get(site.name) if site is not None else None
        return jobs is not None and self.unread.is_cut(jobs, client)

    def waiting(self) -> Iterator[Waiting]:
        """The sites that are set aside."""
        for jobs in self._sites.values():
            if jobs.aside is not None:
                oldest = min(line.names[0].email_id for line in jobs.lines() if line.names)
                queues = 1 if isinstance(jobs.queues, str) else len(jobs.queues)
                yield Waiting(jobs.site, jobs.aside, jobs.count, queues, oldest)

    def waiting_of(self, site: str) -> Iterator[tuple[JobRef, Job]]:
        """The site's jobs that are known, also those that wait for their sender."""
        jobs = self._sites.get(site)
        for refs in (jobs.parked or {}).values() if jobs else ():
            yield from ((ref, self._jobs[ref]) for ref in refs)
        yield from ((ref, self._jobs[ref]) for ref in self.jobs(site))

    def jobs(self, site: str) -> list[JobRef]:
        """The site's jobs that are known, each client's first one first."""
        jobs = self._sites.get(site)
        return [ref for line in jobs.lines() for ref in line.names] if jobs else []

    def ended(self, now: datetime, most: int) -> list[tuple[JobRef, str]]:
        """Jobs whose e-mail's own end has come, with their site. They stay known until dropped."""
        return [(ref, self._queues[ref.queue].site.name) for ref in self.ends.due(now, most)]

    # --- adding ---

    def add(self, ref: JobRef, job: Job) -> Full | None:
        """Adds a job. Where there is no room for it, it is to be read again later."""
        known = self._jobs
        if ref in known:
            return None
        jobs = self._queues.get(ref.queue)
        if jobs is None:
            if self.full:
                self.unread.note_short()
                return "all"
            jobs = self._new_queue(ref.queue)
        line = jobs.line
        if line is None or line.client != job.client:
            line = jobs.line_for(job.client)
        unread = self.unread
        if (jobs.count >= self._limit or len(known) >= unread.calm) and (
            full := unread.full(ref.queue, jobs, line, len(known))
        ):
            if not line.count:
                jobs.forget(line)
            return full
        line.weight = job.weight
        known[ref] = job
        if job.expires_at is not None:
            self.ends.add(job.expires_at, ref)
        if len(line.names) > SHORT:  # the usual case of a backlog, without a call
            line.names.append(ref)
            line.count += 1
            jobs.count += 1
        elif jobs.add(line, ref):
            self._line_joined(jobs, line)
        return None

    def _new_queue(self, name: str) -> SiteJobs:
        site = self._site_of(name)
        jobs = self._sites.get(site.name) if site else None
        if jobs is None:
            jobs = SiteJobs(site or Site(name, None, None, False))
            if site is None:
                jobs.aside = "unknown"
            else:
                self._sites[site.name] = jobs
        self._queues[name] = jobs
        self._add_queue(jobs, name)
        return jobs

    def _add_queue(self, jobs: SiteJobs, name: str) -> None:
        """Notes a queue of a site. Of those that have no name any more, it forgets some."""
        queues = jobs.queues
        if not queues:
            jobs.queues = name
            return
        if isinstance(queues, str):
            jobs.queues = queues = {queues}
        elif len(queues) > 2 * jobs.count + _OLD_QUEUES:
            used = {ref.queue for ref, _ in self.waiting_of(jobs.site.name)}
            for old in queues - used - {name}:
                del self._queues[old]
            jobs.queues = queues = used
        queues.add(name)

    def _forget_queue(self, jobs: SiteJobs, name: str) -> None:
        """A queue does not belong to the site any more."""
        del self._queues[name]
        if isinstance(jobs.queues, str):
            jobs.queues = ""
        else:
            jobs.queues.discard(name)
        if not jobs.count and jobs.unread is None:
            self._drop(jobs)

    def _forget(self, jobs: SiteJobs, line: Line, ref: JobRef) -> Job:
        """A job is not known any more."""
        line.count -= 1
        jobs.count -= 1
        if self.unread.any:
            self.unread.note_low(jobs, line, len(self._jobs))
        if not line.count:
            if line.low < 0:
                jobs.forget(line)
            if not jobs.count and jobs.unread is None:
                self._drop(jobs)
        return self._jobs.pop(ref)

    def _drop(self, jobs: SiteJobs) -> None:
        """Forgets a site without jobs."""
        queues = jobs.queues
        for name in (queues,) if isinstance(queues, str) else queues:
            self._queues.pop(name, None)
        if self._sites.get(jobs.site.name) is jobs:
            del self._sites[jobs.site.name]

    # --- reading ---

    def begin_read(self, queue: str | None) -> Marks:
        """A read begins: of one queue, or of all (None). It marks again what it has no room for."""
        return self.unread.begin_read(queue, self._queues.get(queue) if queue else None)

    def stop_read(self, queue: str | None, marks: Marks, *, failed: bool) -> None:
        """A read ended before it had read all. ``failed``: it is to be made again."""
        self.unread.stop_read(queue, marks, known=len(self), failed=failed)

    def _site_at(self, site: Site) -> SiteJobs:
        """The jobs of a site; of a queue whose site is not known, those that are alone."""
        alone = self._queues.get(site.name)
        if alone is not None and alone.aside in UNKNOWN:
            return alone
        jobs = self._sites.get(site.name)
        if jobs is None:
            jobs = self._sites[site.name] = SiteJobs(site)
        return jobs

    def clear(self) -> None:
        """Forgets everything: the worker's slice has changed."""
        self._jobs.clear()
        self.ends.clear()
        self._queues.clear()
        self._sites.clear()
        self.unread.clear()
