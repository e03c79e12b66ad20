"""What of the ready jobs has no room here, and when it is to be read. Pure: no clock, no I/O.

Names are bounded in all. There is less room for each site and client as all fills up, so that there
is always some for another. What has no room stays in etcd: it is *cut*, and is read on when few
names are left. Until then new jobs of the same client must not overtake it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from babygun.routing.sites import Site
from babygun.worker.turns import Line, SiteJobs

# Queues of a site that are read on one by one. If it has more of them, the slice is read.
_FEW = 8

# What a job finds no room in: its client's part of its site, its site, or all.
Full = Literal["client", "site", "all"]


class Marks(NamedTuple):
    """What a read took the mark from, to put it back if the read does not get to the end.

    ``low``: of a site (client None), or of one client in it.
    """

    unread: list[tuple[Site, str]]
    low: list[tuple[Site, str | None, int]]


class Unread:
    """``limit``: names kept for one client in one site. All clients of a site have a third more.

    ``most``: names in all. ``calm``: up to so many, there is room for any site that has fewer names
    than ``limit``. ``any``: whether anything is cut. ``to_read``: queues to read on, with their
    site. ``to_sweep``: whether the whole slice is to be read. ``site_at``: a site's jobs, made if
    none are known. ``drop``: called with a site that has neither jobs nor marks.
    """

    def __init__(
        self,
        limit: int,
        most: int,
        *,
        site_at: Callable[[Site], SiteJobs],
        drop: Callable[[SiteJobs], None],
    ) -> None:
        self.limit, self.most, self._site_at, self._drop = limit, most, site_at, drop
        self._site_limit = limit + -(-limit // 3)
        self.calm = most - self._site_limit
        self.any = False
        self.to_read: dict[str, SiteJobs] = {}
        self.to_sweep = False
        self.short = False  # also queues without a name here have jobs in etcd
        self._cut: set[SiteJobs] = set()
        self._scattered = False  # some of them have too few names to be read on one by one

    def full(self, name: str, jobs: SiteJobs, line: Line, known: int) -> Full | None:
        """What has no room for another job of the queue ``name``; marks it as cut."""
        room = min(self.most - known, self._site_limit) - jobs.count
        if room > 0 and line.count < min(self.limit, 3 * room):
            return None
        if jobs.count >= self.limit // _FEW:
            self._mark(jobs, name)
        else:  # it is not worth a read of its own
            self._mark(jobs)
            self._scattered = True
        if room > 0:
            line.low = line.count // 4
            return "client"
        jobs.low = jobs.count // 4
        if known < self.most:
            return "site"
        self.note_short()
        return "all"

    def note_short(self) -> None:
        """No more names fit: also queues may be cut that have none."""
        self.short = self.any = True

    def _mark(self, jobs: SiteJobs, *names: str) -> None:
        self._cut.add(jobs)
        self.any = True
        if jobs.unread is None:
            jobs.unread = set()
        if len(jobs.unread) <= _FEW:
            jobs.unread.update(names)

    def note_low(self, jobs: SiteJobs, line: Line, known: int) -> None:
        """Notes what is to be read on, since few names are left."""
        if jobs.unread and (line.count <= line.low or jobs.count <= jobs.low):
            if len(jobs.unread) > _FEW:
                self.to_sweep = True
            else:
                self.to_read |= dict.fromkeys(jobs.unread, jobs)
        if (self.short or self._scattered) and known <= self.most * 3 // 4:
            self.to_sweep = True

    def is_cut(self, jobs: SiteJobs, client: str) -> bool:
        """Whether a client's new job would overtake others that are not known."""
        line = jobs.line_of(client)
        return jobs.low >= 0 or (line is not None and line.low >= 0)

    def note_moved(self, jobs: SiteJobs) -> bool:
        """A queue has left this site. True: what is unread of the site may be of that queue."""
        cut = jobs in self._cut
        self.to_sweep |= cut
        return cut

    def mark_moved(
        self, jobs: SiteJobs, name: str, low: int, of_clients: list[tuple[str, int]]
    ) -> None:
        """Such a queue has come to this site: its new jobs must not overtake what is unread.

        ``low``, ``of_clients``: the marks of the site that it has left, and of its clients there.
        """
        self._mark(jobs, name)
        jobs.low = max(jobs.low, low)
        for client, mark in of_clients:
            if mark >= 0:
                line = jobs.line_for(client)
                line.low = max(line.low, mark)

    def merge(self, alone: SiteJobs, jobs: SiteJobs) -> None:
        """The jobs of one site have been added to another's."""
        if alone in self._cut:
            self._cut.discard(alone)
            self._mark(jobs, *(alone.unread or ()))
            jobs.low = max(jobs.low, alone.low)

    # --- reads ---

    def begin_read(self, queue: str | None, jobs: SiteJobs | None = None) -> Marks:
        """A read begins: of one queue, or of all (None). It marks again what it has no room for.

        ``jobs``: of the queue's site, if any are known.
        """
        marks = Marks([], [])
        if queue is None:
            self.to_read.clear()
            self.to_sweep = self.short = self._scattered = False
            for each in list(self._cut):
                self._unmark(each, marks)
        else:
            jobs = self.to_read.pop(queue, jobs)
            if jobs is not None and jobs.unread and queue in jobs.unread:
                if len(jobs.unread) > 1:  # its marks are for others, too
                    jobs.unread.discard(queue)
                    marks.unread.append((jobs.site, queue))
                else:
                    self._unmark(jobs, marks)
        self.any = self.short or bool(self._cut)
        return marks

    def _unmark(self, jobs: SiteJobs, marks: Marks) -> None:
        site = jobs.site
        self._cut.discard(jobs)
        marks.unread.extend((site, name) for name in jobs.unread or ())
        jobs.unread = None
        if jobs.low >= 0:
            marks.low.append((site, None, jobs.low))
            jobs.low = -1
        for line in jobs.lines():
            if line.low >= 0:
                marks.low.append((site, line.client, line.low))
                line.low = -1
                if not line.count:
                    jobs.forget(line)
        if not jobs.count:
            self._drop(jobs)

    def stop_read(self, queue: str | None, marks: Marks, *, known: int, failed: bool) -> None:
        """A read ended before it had read all. ``failed``: it is to be made again."""
        for site, name in marks.unread:
            self._mark(self._site_at(site), name)
        for site, client, low in marks.low:
            jobs = self._site_at(site)
            self._mark(jobs)
            one = jobs if client is None else jobs.line_for(client)
            if one.low < 0:  # the read did not get to what is unread of it
                one.low = low
                self.to_sweep |= not failed and one.count <= low and known < self.most
        if queue is None and (failed or known < self.most):
            self.to_sweep = True
        elif queue is None:
            self.note_short()
        elif failed:
            self.to_read |= {name: self._site_at(site) for site, name in marks.unread}

    def clear(self) -> None:
        self._cut.clear()
        self.to_read.clear()
        self.any = self.short = self._scattered = self.to_sweep = False
