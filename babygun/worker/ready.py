"""Which ready job a worker starts next. Pure: no clock, no I/O.

:mod:`known_jobs` keeps their names, :mod:`turns` says whose turn it is.

A site whose next job can't start is set aside, by its obstacle, until that may have changed. So
to take a job costs the same, however many sites, queues and clients there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from babygun.email.model import Job
from babygun.routing.sites import Site
from babygun.store.keys import JobRef
from babygun.worker.known_jobs import MOST_NAMES, UNKNOWN, KnownJobs
from babygun.worker.slots import Obstacle, Overtaken
from babygun.worker.turns import Line, SiteJobs, Turns

Taken = tuple[JobRef, Job, Site]


class ReadyJobs(KnownJobs):
    """Ready jobs and their turns, by site and client. Arguments as :class:`KnownJobs` has them."""

    def __init__(
        self, limit: int, site_of: Callable[[str], Site | None], *, most: int = MOST_NAMES
    ) -> None:
        super().__init__(limit, site_of, most=most)
        self._turns = Turns()
        self._unknown = Turns()  # queues whose site must be looked up; they take turns, too
        # Sites that were set aside, by what they wait for. The one that waits longest comes first.
        self._share: OrderedDict[SiteJobs, None] = OrderedDict()
        self._memory: OrderedDict[SiteJobs, None] = OrderedDict()
        self._half: OrderedDict[SiteJobs, None] = OrderedDict()
        self._overtaken: SiteJobs | None = None  # the first of those that wait for memory
        self._overtaking = 0  # bytes that others have started with since it is the first

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

    @property
    def overtaken(self) -> Overtaken | None:
        """What has waited longest for memory, once others as large together have overtaken it.

        Otherwise smaller e-mails of others would take each byte that gets free.
        """
        if not self._memory:
            return None
        first = next(iter(self._memory))
        size = self._next(first).size
        if first is not self._overtaken or self._overtaking < size:
            return None
        return Overtaken(first.site.name, size)

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
        job = self._forget(jobs, line, ref)
        self._count_overtaking(job)
        return ref, job, jobs.site

    def _count_overtaking(self, job: Job) -> None:
        first = next(iter(self._memory), None)
        if first is self._overtaken:
            self._overtaking += job.size
        else:
            self._overtaken, self._overtaking = first, 0

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
        (self._unknown if jobs.aside in UNKNOWN else self._turns).leave(jobs)
        if jobs.aside is not None:
            if (waiting := self._waiting_for(jobs.aside)) is not None:
                waiting.pop(jobs, None)
            jobs.aside = None

    def go_on(self, site: str) -> None:
        """What kept the site from starting may have changed: a job has ended, or a hold."""
        jobs = self._sites.get(site)
        if jobs is not None and jobs.aside is not None:
            if jobs.line is not None and jobs is next(iter(self._memory), None):
                return  # each take asks it first; it keeps its place
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
        if jobs is not None and jobs.parked:
            self._put_first(jobs, jobs.parked.pop(sender, ()))

    def _put_first(self, jobs: SiteJobs, parked: Iterable[JobRef]) -> None:
        by_client: dict[str, list[JobRef]] = {}
        for ref in parked:
            by_client.setdefault(self._jobs[ref].client, []).append(ref)
        for client, refs in by_client.items():
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
            line = self._add_to(jobs, old, old.names)
            line.low = max(line.low, old.low)

    def refile(self, name: str, site: Site) -> None:
        """The jobs of a queue wait for another site from now on: its domain has moved there.

        Jobs that wait for their sender alone come first there, as if its hold had ended.
        """
        old = self._queues.get(name)
        if old is None or old.aside in UNKNOWN or old.site.name == site.name:
            return
        for refs in (old.parked or {}).values():
            if own := [ref for ref in refs if ref.queue == name]:
                refs[:] = [ref for ref in refs if ref.queue != name]
                self._put_first(old, own)
        moved = [(line, old.pull_queue(line, name)) for line in old.lines()]
        if old.line is None:
            self._leave(old)
        cut = self.unread.note_moved(old)
        marks = [(line.client, line.low) for line, _ in moved] if cut else []
        low = old.low
        for line, _ in moved:
            if not line.count and line.low < 0:
                old.forget(line)
        self._forget_queue(old, name)
        if not cut and not any(refs for _, refs in moved):
            return
        jobs = self._sites.get(site.name)
        if jobs is None:
            jobs = self._sites[site.name] = SiteJobs(site)
        self._queues[name] = jobs
        self._add_queue(jobs, name)
        for line, refs in moved:
            if refs:
                self._add_to(jobs, line, refs)
        if cut:
            self.unread.mark_moved(jobs, name, low, marks)

    def _add_to(self, jobs: SiteJobs, old: Line, refs: Iterable[JobRef]) -> Line:
        """Adds jobs of another line of the same client to a site's. Returns their line."""
        line = jobs.line_for(old.client)
        line.weight = old.weight
        for ref in refs:
            if jobs.add(line, ref):
                self._line_joined(jobs, line)
        return line

    def clear(self) -> None:
        """Forgets everything: the worker's slice has changed."""
        super().clear()
        self._turns, self._unknown = Turns(), Turns()
        self._overtaken = None
        for waiting in (self._share, self._memory, self._half):
            waiting.clear()


def _line(jobs: SiteJobs) -> Line:
    """Whose turn it is, in a site that has a job that waits for one."""
    assert jobs.line is not None
    return jobs.line
