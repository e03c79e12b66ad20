"""How many tries may run at once, of each queue and in all. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

from msgspec import Struct

from babygun.email.model import Job
from babygun.routing.sites import Site

# Tries without a slot that may wait for a connection, for each slot.
_MOST_APART = 4

# Sites that have a part of the slots of their own, also while they send nothing.
KEPT_SITES = 32

# Why a site's job can't start now.
# limit: the site has as many tries as it may have. memory: the job's content does not fit.
# share: the site's own part is used up, and the slots that all share are taken.
# half: the site has half of all slots. It gets more only if no other site has a job that may start.
# held, slot, pace, sender: the site is held, it has no slot of those that all workers share, its
# next message is seconds away, or only the mail of the job's sender is held. The dispatch says so.
Obstacle = Literal["limit", "share", "half", "memory", "held", "slot", "pace", "sender"]


# Of the memory. E-mails of this size are small: hundreds at a time leave much of it free.
_SMALL = 1024


class Overtaken(NamedTuple):
    """An e-mail that waits for memory, while others have started. ``size``: of its content."""

    site: str
    size: int


class _Use(Struct):
    """The slots that a site has: of its own part, and of those that all share."""

    site: Site
    limit: int
    own: int = 0
    shared: int = 0


class Slots:
    """Half of the slots are kept for the sites in equal parts, the other half all may take.

    So a site with a server that hangs leaves the others their parts. The parts are for the sites in
    use, one slot at least. Of the sites that are not in use, up to KEPT_SITES have a part.

    ``sites``: how many may be in use. ``limit``: the most tries of a site. ``memory``: bytes of
    contents. One e-mail that is larger than all of it may go beside what fits.
    """

    def __init__(
        self, *, total: int, memory: int, sites: int, limit: Callable[[Site], int]
    ) -> None:
        self._limit = limit
        self._kept = max(1, min(sites, KEPT_SITES))
        self._half = max(1, total // 2)
        self._own = max(1, total // 2 // self._kept) * self._kept
        self._shared = max(0, total - self._own)
        self._own_in_use = 0
        self._shared_in_use = 0
        self._in_use: dict[str, _Use] = {}
        self._most: dict[str, int] = {}  # tries of a site, while fewer than its limit may run
        self._bounded = False  # whether there are such sites, or some with tries that are set apart
        self._part = 0  # slots of a site's own part
        self._divide()
        self._memory = memory
        self._bytes = 0
        self._apart: Counter[str] = Counter()  # by site: tries without a slot
        self._all_apart, self._most_apart = 0, _MOST_APART * total
        self._oversize = 0  # e-mails under way that are larger than the memory

    def by_label(self) -> Counter[str]:
        """Sends that run, by the label of their site."""
        found: Counter[str] = Counter()
        for use in self._in_use.values():
            found[use.site.label] += use.own + use.shared
        return found

    @property
    def full(self) -> bool:
        """Whether no site may start anything."""
        return self._own_in_use >= self._own and self._shared_in_use >= self._shared

    def obstacle(self, site: Site, job: Job, overtaken: Overtaken | None = None) -> Obstacle | None:
        """What keeps this job from starting; None: nothing.

        ``overtaken``: for whom memory is kept.
        """
        name = site.name
        use = self._in_use.get(name)
        tries = use.own + use.shared if use else 0
        if use and tries >= use.limit:
            return "limit"
        if self._bounded and (name in self._apart or tries >= self._most.get(name, tries + 1)):
            return "limit"
        if self._shared_in_use >= self._shared and not self._has_own(use):
            return "share"
        if job.size > self._memory:
            if self._oversize:
                return "memory"
        elif self._bytes + job.size > self._memory or (
            overtaken is not None
            and self._bytes + job.size + self._kept_free(site, job, overtaken) > self._memory
        ):
            return "memory"
        return "half" if tries >= self._half else None

    def _kept_free(self, site: Site, job: Job, overtaken: Overtaken) -> int:
        """The bytes that this job has to leave free. Small ones go on beside tries that hang.

        If the other site has tries under way, their ends free memory for it.
        """
        if overtaken.site == site.name or overtaken.site in self._in_use:
            return 0
        small = job.size <= self._memory // _SMALL or overtaken.size > self._memory
        return 0 if small else overtaken.size

    def allow(self, site: str, most: int | None) -> None:
        """Lets a site have fewer tries than its limit; None: no longer."""
        if most is None:
            self._most.pop(site, None)
        else:
            self._most[site] = most
        self._bounded = bool(self._most or self._apart)

    def _has_own(self, use: _Use | None) -> bool:
        """Whether a slot of the site's own part is free."""
        return (use is None or use.own < self._part) and self._own_in_use < self._own

    def _divide(self) -> None:
        """Makes the parts equal for the sites that are in use now."""
        self._part = max(1, self._own // max(self._kept, len(self._in_use)))

    def start(self, site: Site, job: Job) -> None:
        use = self._in_use.get(site.name)
        if use is None:
            use = self._in_use[site.name] = _Use(site, self._limit(site))
            self._divide()
        if self._has_own(use):
            use.own += 1
            self._own_in_use += 1
        else:
            use.shared += 1
            self._shared_in_use += 1
        self._count(job, 1)

    def set_apart(self, site: Site, job: Job) -> bool:
        """Takes the slot of a try that still waits for a connection; it goes on without one.

        Its content is still counted. Its site starts no more until it has a connection, or has
        ended. False: too many wait so already.
        """
        if self._all_apart >= self._most_apart:
            return False
        self.end(site, job)
        self._count(job, 1)
        self._apart[site.name] += 1
        self._all_apart += 1
        self._bounded = True
        return True

    def end_apart(self, site: Site, job: Job, *, connected: bool) -> None:
        """Such a try has ended. ``connected``: that was said before."""
        self._all_apart -= 1
        self._count(job, -1)
        if not connected:
            self.connected(site)

    def connected(self, site: Site) -> None:
        """Such a try has a connection, so its site may start more again."""
        self._apart[site.name] -= 1
        if not self._apart[site.name]:
            del self._apart[site.name]
            self._bounded = bool(self._most or self._apart)

    def end(self, site: Site, job: Job) -> None:
        use = self._in_use[site.name]
        if use.shared:
            use.shared -= 1
            self._shared_in_use -= 1
        else:
            use.own -= 1
            self._own_in_use -= 1
        if not use.own and not use.shared:
            del self._in_use[site.name]
            self._divide()
        self._count(job, -1)

    def _count(self, job: Job, sign: int) -> None:
        if job.size > self._memory:
            self._oversize += sign
        else:
            self._bytes += sign * job.size
