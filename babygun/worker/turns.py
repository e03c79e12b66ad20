"""Whose turn it is: sites take turns, and in each site its clients. Pure: no clock, no I/O.

A site takes its turns in the name of one of its clients, preferably of one with few such sites.
Clients take turns by weight, and so do the sites of each client. So a client whose mail goes to
100,000 sites takes no more turns from the others than one whose mail goes to a single site.

Inside the site, deficit round robin decides whose job is next: a client has as many turns in a row
as its weight says. A client's own jobs go first come, first served.

A turn costs the same, however many sites, clients and jobs there are.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from babygun.routing.sites import Site
from babygun.store.keys import JobRef

# Names that a line keeps in a list. A deque costs 700 bytes, and most lines are short.
SHORT = 32


class Line:
    """The jobs of one client in one site, the first one first.

    ``weight``: turns in a row. ``count``: names known, also those that are parked. ``low``: if the
    client has more jobs in etcd than are known, so many names are few; else -1.
    """

    __slots__ = ("client", "count", "low", "names", "weight")

    def __init__(self, client: str) -> None:
        self.client, self.weight = client, 1
        self.names: list[JobRef] | deque[JobRef] = []
        self.count, self.low = 0, -1


class SiteJobs:
    """The jobs of one site that are known, by client.

    ``line``: the client's whose turn it is; None where no job waits for a turn. ``ring``: those
    whose turn comes after it. ``count``: names known, also those that are parked. ``queues``: those
    that have or had one. ``low``: as a line's, for the whole site. ``unread``: queues with more
    jobs in etcd than are known. ``aside``: why it takes no turns. ``parked``: jobs that wait for
    their sender, by its domain. ``sponsor``: see :class:`Turns`.
    """

    __slots__ = (
        "_left",
        "_lines",
        "aside",
        "count",
        "line",
        "low",
        "parked",
        "queues",
        "ring",
        "site",
        "sponsor",
        "unread",
    )

    def __init__(self, site: Site) -> None:
        self.site = site
        self.count, self.low = 0, -1
        self.line: Line | None = None
        self.ring: deque[Line] | None = None
        self.queues: str | set[str] = ""  # most sites have one
        self.unread: set[str] | None = None
        self.aside: str | None = None
        self.parked: dict[str, list[JobRef]] | None = None
        self.sponsor: Sponsor | None = None
        self._lines: Line | dict[str, Line] | None = None  # most sites have one
        self._left = 0  # turns of ``line``, the present one too, until the next one's

    def lines(self) -> list[Line]:
        lines = self._lines
        if isinstance(lines, dict):
            return list(lines.values())
        return [] if lines is None else [lines]

    def line_of(self, client: str) -> Line | None:
        lines = self._lines
        if isinstance(lines, Line):
            return lines if lines.client == client else None
        return lines.get(client) if lines else None

    def line_for(self, client: str) -> Line:
        """The client's line, a new one if it has none."""
        line = self.line_of(client)
        if line is None:
            line = Line(client)
            if self._lines is None:
                self._lines = line
            elif isinstance(self._lines, Line):
                self._lines = {self._lines.client: self._lines, client: line}
            else:
                self._lines[client] = line
        return line

    def forget(self, line: Line) -> None:
        """Forgets a line without jobs."""
        if isinstance(self._lines, dict):
            del self._lines[line.client]
        else:
            self._lines = None

    def add(self, line: Line, ref: JobRef) -> bool:
        """Adds a job. True: the line had none that waited for a turn."""
        names = line.names
        if len(names) == SHORT and type(names) is list:
            names = line.names = deque(names)
        names.append(ref)
        line.count += 1
        self.count += 1
        if len(names) > 1:
            return False
        self._join(line)
        return True

    def _join(self, line: Line) -> None:
        """A line takes turns from now on, after the others."""
        if self.line is None:
            self.line, self._left = line, line.weight
        elif self.ring is None:
            self.ring = deque((line,))
        else:
            self.ring.append(line)

    def take(self, line: Line) -> JobRef:
        """The first job of the line whose turn it is. It is still counted."""
        names = line.names
        ref = names.popleft() if isinstance(names, deque) else names.pop(0)
        if self.ring or not names:
            self._left -= 1
            if self._left <= 0 or not names:
                self._next_line(line)
        return ref

    def _next_line(self, line: Line) -> None:
        if self.ring:
            if line.names:
                self.ring.append(line)
            self.line = line = self.ring.popleft()
        elif not line.names:
            self.line = None
            return
        self._left = line.weight

    def pull(self, line: Line, ref: JobRef) -> None:
        """Takes one job out of turn. It is still counted."""
        line.names.remove(ref)
        if not line.names:
            self._leave(line)

    def _leave(self, line: Line) -> None:
        """A line without jobs takes no turns."""
        if self.line is line:
            self._next_line(line)
        elif self.ring:
            self.ring.remove(line)

    def pull_queue(self, line: Line, queue: str) -> list[JobRef]:
        """Takes all jobs of a queue that wait in the line. They are not counted any more."""
        pulled = [ref for ref in line.names if ref.queue == queue]
        if pulled:
            rest = [ref for ref in line.names if ref.queue != queue]
            line.names = deque(rest) if len(rest) > SHORT else rest
            line.count -= len(pulled)
            self.count -= len(pulled)
            if not rest:
                self._leave(line)
        return pulled

    def put_first(self, line: Line, refs: Iterable[JobRef]) -> bool:
        """Puts back jobs that are counted, before the line's others; returns as :meth:`add`."""
        idle = not line.names
        line.names = deque([*refs, *line.names])
        if idle:
            self._join(line)
        return idle


class Sponsor:
    """A client in whose name sites take turns. ``left``: its turns until the next client's."""

    __slots__ = ("client", "left", "sites", "weight")

    def __init__(self, client: str) -> None:
        self.client, self.left, self.weight = client, 0, 1
        self.sites: OrderedDict[SiteJobs, None] = OrderedDict()


class Turns:
    """A ring of clients, and for each a ring of the sites that take turns in its name.

    ``count``: sites that take turns.
    """

    def __init__(self) -> None:
        self.count = 0
        self._ring: OrderedDict[str, Sponsor] = OrderedDict()
        self._first: SiteJobs | None = None  # None also where it must be found again

    def first(self) -> SiteJobs | None:
        """The site whose turn it is; None where there is none."""
        if self._first is None:
            for sponsor in self._ring.values():
                for self._first in sponsor.sites:
                    return self._first
        return self._first

    def join(self, site: SiteJobs, line: Line) -> None:
        """A site with a job takes turns, after the others, in the name of the line's client."""
        sponsor = self._ring.get(line.client)
        if sponsor is None:
            sponsor = self._ring[line.client] = Sponsor(line.client)
            sponsor.left = line.weight
        sponsor.weight = line.weight
        sponsor.sites[site] = None
        site.sponsor = sponsor
        self.count += 1

    def leave(self, site: SiteJobs) -> None:
        """A site takes no more turns."""
        sponsor, site.sponsor = site.sponsor, None
        if sponsor is not None:
            del sponsor.sites[site]
            if not sponsor.sites:
                del self._ring[sponsor.client]
            self.count -= 1
            self._first = None

    def served(self, site: SiteJobs) -> None:
        """The site whose turn it was has used it."""
        sponsor = site.sponsor
        assert sponsor is not None
        self._first = None
        if len(self._ring) > 1:
            sponsor.left -= 1
            if sponsor.left <= 0:
                sponsor.left = sponsor.weight
                self._ring.move_to_end(sponsor.client)
        line = site.line
        if line is None:
            self.leave(site)
        elif len(sponsor.sites) > 1:
            sponsor.sites.move_to_end(site)
            if line.client != sponsor.client:
                own = site.line_of(sponsor.client)
                if own is None or not own.names:
                    self.leave(site)
                    self.join(site, line)
                else:
                    self.offer(site, line)

    def offer(self, site: SiteJobs, line: Line) -> None:
        """Passes the site on to this client if that has far fewer sites than the one it has now.

        If a few fewer were enough, a site could be passed on for ever, always to a ring's end.
        """
        sponsor, other = site.sponsor, self._ring.get(line.client)
        sites = len(other.sites) if other is not None else 0
        if sponsor is not None and 2 * (sites + 1) <= len(sponsor.sites):
            self.leave(site)
            self.join(site, line)
