"""Which ready jobs a worker knows, and which it starts next. Pure: no clock, no I/O.

It keeps the names of jobs only, MOST_NAMES of them in all. What there is no room for stays in etcd,
and is read on when few names are left. :mod:`turns` says whose turn it is.

A site whose next job can't start is set aside, by its obstacle, until that may have changed. So
to take a job costs the same, however many sites, queues and clients there are.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from babygun.email.model import Job
from babygun.routing.sites import Site
from babygun.store.keys import JobRef
from babygun.worker.ends import Ends
from babygun.worker.slots import Obstacle
from babygun.worker.turns import SHORT, Line, SiteJobs, Turns
from babygun.worker.unread import Full, Marks, Unread

MOST_NAMES = 200_000
# Queues without a name that a site may remember.
_OLD_QUEUES = 1000
# A queue whose site is not known is a site of its own, set aside. It waits for its turn to be
# looked up, or is looked up.
_UNKNOWN = ("unknown", "looked up")
_NO_SITE = "mx:unknown"  # the label of all of these

Taken = tuple[JobRef, Job, Site]


class Waiting(NamedTuple):
    """A site whose mail waits: how many of its jobs and queues are known, and its oldest e-mail."""

    site: Site
    obstacle: str
    jobs: int
    queues: int
    oldest: str


class ReadyJobs:
    """Ready jobs by site and client.

    ``limit``: see :class:`Unread`. ``site_of``: the site of a queue; None where it must be looked
    up.
    """

    def __init__(
        self, limit: int, site_of: Callable[[str], Site | None], *, most: int = MOST_NAMES
    ) -> None:
        self._limit, self._site_of = limit, site_of
        self.unread = Unread(limit, most, site_at=self._site_at, drop=self._drop)
        self._jobs: dict[JobRef, Job] = {}
        self.ends = Ends(self._jobs)
        self._queues: dict[str, SiteJobs] = {}
        self._sites: dict[str, SiteJobs] = {}
        self._turns = Turns()
        self._unknown = Turns()  # queues whose site must be looked up; they take turns, too
        self._share: OrderedDict[SiteJobs, None] = OrderedDict()
        self._memory: OrderedDict[SiteJobs, None] = OrderedDict()
        self._half: OrderedDict[SiteJobs, None] = OrderedDict()

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

    def _line_joined(self, jobs: SiteJobs, line: Line) -> None:
        """A line that had no job has one now."""
        turns = self._unknown if jobs.aside == "unknown" else self._turns
        if jobs.sponsor is not None:
            turns.offer(jobs, line)
        elif jobs.aside is None or jobs.aside == "unknown":
            turns.join(jobs, line)

    # --- taking ---

    def take(self, obstacle: Callable[[Site, Job], Obstacle | None]) -> Taken | None:
        """The next job that may start, of the next site in turn; None where there is none.

        ``obstacle`` says what keeps a site's job from starting. Ask only while a slot is free.
        Sites that were set aside for want of a share or of memory come first. One with half of all
        slots comes last.
        """
        if (self._share or self._memory) and (taken := self._take_first(obstacle)) is not None:
            return taken
        while (jobs := self._turns.first()) is not None:
            line = jobs.line
            assert line is not None
            found = obstacle(jobs.site, self._jobs[line.names[0]])
            if found is None:
                return self._pop(jobs, line)
            self._set_aside(jobs, line, found)
        for jobs in self._half:
            if obstacle(jobs.site, self._next(jobs)) in (None, "half"):
                del self._half[jobs]
                return self._take_back(jobs)
        return None

    def _take_first(self, obstacle: Callable[[Site, Job], Obstacle | None]) -> Taken | None:
        """A job of those that waited for a share or for memory, if one may start."""
        for waiting in (self._share, self._memory):
            while waiting:
                jobs = next(iter(waiting))
                found = obstacle(jobs.site, self._next(jobs))
                if found is not None and found == jobs.aside:
                    break  # so it is with those behind, except for a smaller job's memory
                del waiting[jobs]
                if found is None:
                    return self._take_back(jobs)
                self._join_again(jobs)
                self._set_aside(jobs, _line(jobs), found)
        return None

    def _take_back(self, jobs: SiteJobs) -> Taken:
        """Takes the next job of a site that was set aside."""
        self._join_again(jobs)
        return self._pop(jobs, _line(jobs))

    def _join_again(self, jobs: SiteJobs) -> None:
        jobs.aside = None
        self._turns.join(jobs, _line(jobs))

    def _next(self, jobs: SiteJobs) -> Job:
        return self._jobs[_line(jobs).names[0]]

    def _pop(self, jobs: SiteJobs, line: Line) -> Taken:
        """Takes the next job of the site, which takes turns."""
        ref = jobs.take(line)
        if self._turns.count > 1 or jobs.line is None:
            self._turns.served(jobs)
        return ref, self._forget(jobs, line, ref), jobs.site

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

    def take_probe(self, site: str, ref: JobRef | None = None) -> Taken | None:
        """A job of a held site, ``ref`` if that is still known; None where none is known."""
        jobs = self._sites.get(site)
        if jobs is None or jobs.line is None:
            return None
        job = self._jobs.get(ref) if ref is not None else None
        line = jobs.line_of(job.client) if job is not None else None
        if ref is None or line is None or ref not in line.names:
            line = jobs.line
            ref = jobs.take(line)
        else:
            jobs.pull(line, ref)
        if jobs.line is None:
            self._leave(jobs)
        return ref, self._forget(jobs, line, ref), jobs.site

    def drop(self, ref: JobRef) -> None:
        """A job has ended without a try, and is not known any more."""
        job, jobs = self._jobs.get(ref), self._queues.get(ref.queue)
        line = jobs.line_of(job.client) if jobs is not None and job is not None else None
        if jobs is None or job is None or line is None:
            return
        if ref in line.names:
            jobs.pull(line, ref)
            if jobs.line is None:
                self._leave(jobs)
        elif jobs.parked is not None:
            jobs.parked[job.sender].remove(ref)
        self._forget(jobs, line, ref)

    # --- obstacles ---

    def _set_aside(self, jobs: SiteJobs, line: Line, found: Obstacle) -> None:
        """Sets a site aside, or only its next job."""
        if found == "sender":
            self._park(jobs, line)
            return
        self._turns.leave(jobs)
        jobs.aside = found
        if (waiting := self._waiting_for(found)) is not None:
            waiting[jobs] = None

    def _waiting_for(self, aside: str) -> OrderedDict[SiteJobs, None] | None:
        return {"share": self._share, "memory": self._memory, "half": self._half}.get(aside)

    def _leave(self, jobs: SiteJobs) -> None:
        """A site without a job that waits for a turn takes none, and is not set aside."""
        (self._unknown if jobs.aside in _UNKNOWN else self._turns).leave(jobs)
        if jobs.aside is not None:
            if (waiting := self._waiting_for(jobs.aside)) is not None:
                waiting.pop(jobs, None)
            jobs.aside = None

    def go_on(self, site: str) -> None:
        """What kept the site from starting may have changed: a job has ended, or a hold."""
        jobs = self._sites.get(site)
        if jobs is not None and jobs.aside is not None:
            self._leave(jobs)
            if jobs.line is not None:
                self._turns.join(jobs, jobs.line)

    def _park(self, jobs: SiteJobs, line: Line) -> None:
        """Sets one job aside, until its sender's mail may go to this site again."""
        ref = jobs.take(line)
        if jobs.parked is None:
            jobs.parked = {}
        jobs.parked.setdefault(self._jobs[ref].sender, []).append(ref)
        self._turns.served(jobs)

    def sender_may_go_on(self, site: str, sender: str) -> None:
        """The mail of a sender's domain may go to the site again: it comes first."""
        jobs = self._sites.get(site)
        by_client: dict[str, list[JobRef]] = {}
        for ref in jobs.parked.pop(sender, ()) if jobs and jobs.parked else ():
            by_client.setdefault(self._jobs[ref].client, []).append(ref)
        for client, refs in by_client.items():
            assert jobs is not None
            line = jobs.line_of(client)
            assert line is not None  # it counts what is parked
            if jobs.put_first(line, refs):
                self._line_joined(jobs, line)

    # --- queues whose site is not known ---

    def take_unknown(self) -> str | None:
        """The next queue whose site is to be looked up; None where there is none."""
        jobs = self._unknown.first()
        if jobs is None:
            return None
        self._unknown.leave(jobs)
        jobs.aside = "looked up"
        return jobs.site.name

    def found(self, name: str, site: Site) -> None:
        """The site of such a queue is known now."""
        alone, jobs = self._queues.get(name), self._sites.get(site.name)
        if alone is None or alone.aside != "looked up":
            return
        if jobs is None:
            self._sites[site.name], alone.site = alone, site
            self._join_again(alone)
            return
        self._queues[name] = jobs
        self._add_queue(jobs, name)
        self.unread.merge(alone, jobs)
        for old in alone.lines():
            line = jobs.line_for(old.client)
            line.weight, line.low = old.weight, max(line.low, old.low)
            for ref in old.names:
                if jobs.add(line, ref):
                    self._line_joined(jobs, line)

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
        if alone is not None and alone.aside in _UNKNOWN:
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
        self._turns, self._unknown = Turns(), Turns()
        for line in (self._share, self._memory, self._half):
            line.clear()
        self.unread.clear()


def _line(jobs: SiteJobs) -> Line:
    """Whose turn it is, in a site that has a job that waits for one."""
    assert jobs.line is not None
    return jobs.line
