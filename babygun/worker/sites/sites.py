"""What this worker may send to each site now, and what it learns from each reply.

The parts: :mod:`permits` (connections and pace), :mod:`keeper` (slots that all workers share),
:mod:`adapting` (which limits hold now), :mod:`holds`, :mod:`reports`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Literal, NoReturn

from babygun.email.tries import RecipientResult
from babygun.routing.destination import Destination
from babygun.routing.sites import MX, Site
from babygun.smtp.classifier import Classification
from babygun.smtp.permits import UNLIMITED, Permits
from babygun.smtp.replies import Reply
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.records import Hold
from babygun.store.sites.reports import asked_elsewhere
from babygun.worker.sites import permits as site_permits
from babygun.worker.sites import reports
from babygun.worker.sites.adapting import Adapting
from babygun.worker.sites.holds import SiteHolds
from babygun.worker.sites.keeper import SlotKeeper
from babygun.worker.sites.outlived import Outlived
from babygun.worker.sites.permits import PermitsNow, SitePermits
from babygun.worker.sites.replies import SiteReplies
from babygun.worker.sites.reports import Reports, Waiting

_LOOK = 1.0  # s, between two looks at what is unused
_AT_ONCE = 5000  # sites at which one look looks

Obstacle = Literal["held"] | site_permits.Obstacle


class Sites:
    """Run :meth:`run` as a task; at the end call :meth:`close`.

    ``identity``: asked for this worker's present one. ``workers``: how many live ones there are.
    ``wake``: called when the holds are known. ``may_go_on``: called with a site whose jobs, or
    whose probe, may start again; ``sender_may_go_on`` with a site and a sender domain.
    ``waiting``: asked for the sites whose mail waits. ``to_mx``: a route goes to mail hosts.
    """

    def __init__(
        self,
        store: Store,
        destinations: Mapping[str, Destination],
        *,
        identity: Callable[[], Identity | None],
        workers: Callable[[], int],
        wake: Callable[[], None],
        may_go_on: Callable[[str], None],
        sender_may_go_on: Callable[[str, str], None],
        waiting: Callable[[], Iterable[Waiting]] = tuple,
        to_mx: bool = False,
    ) -> None:
        self._store = store
        self._identity, self._workers = identity, workers
        self._may_go_on, self._sender_may_go_on = may_go_on, sender_may_go_on
        self.holds = SiteHolds(
            store,
            destinations,
            worker_id=self._worker_id,
            wake=wake,
            due=self._may_go_on,
            ended=self._hold_ended,
            recovered=self._recovered,
            to_mx=to_mx,
        )
        self._permits: dict[str, SitePermits] = {}  # by site
        self._shared: dict[str, SitePermits] = {}  # those of sites whose limits all share
        self._keeper = SlotKeeper(store, self._shared, identity)
        self._adapting = Adapting(
            store, worker_id=self._worker_id, workers=workers, changed=self._limits_changed
        )
        self._outlived = Outlived(store, self.holds.followed, self._adapting.followed)
        self._replies = SiteReplies(
            self._permits, self._adapting, self.holds, self._asked_elsewhere
        )
        self._reports = Reports(
            store,
            self._permits,
            waiting=waiting,
            limits_of=self._adapting.whole,
            asked=self._replies.asked,
        )
        self._to_ask: Iterator[str] = iter(())  # sites that may be forgotten
        self._live = 0  # workers, as the parts of limits were made

    async def run(self) -> None:
        """Follows holds, limits and slots until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.holds.run(), name="holds")
            tasks.create_task(self._adapting.run(), name="limits of sites")
            tasks.create_task(self._keeper.run(), name="slots")
            tasks.create_task(self._look(), name="sites")
            tasks.create_task(self._report(), name="reports")

    async def close(self) -> None:
        """Ends what still runs. The slots go with the worker's lease."""
        for permits in self._permits.values():
            permits.close()
        await self._replies.close()
        await self._keeper.close()
        await self._adapting.close()
        await self._outlived.close()

    @property
    def states(self) -> Mapping[str, SitePermits]:
        """By site: what this worker has to do with it now."""
        return self._permits

    # --- claims ---

    def obstacle(self, site: Site) -> Obstacle | None:
        """What keeps a job of the site from being claimed now.

        Asking says that a job waits: for a shared site, it makes this worker take a slot.
        """
        if site.name in self.holds.by_name:
            return "held"
        return None if site.limits is None else self._of(site).obstacle()

    def sender_held(self, site: str, sender: str) -> bool:
        """Whether one sender domain's mail to a site waits."""
        return bool(self.holds.by_name) and f"{site}/{sender}" in self.holds.by_name

    def started(self, site: Site) -> None:
        """A try at a job of the site has started; also a probe."""
        if site.limits is not None:
            self._of(site).in_flight += 1

    def ended(self, site: Site) -> None:
        """A try has ended."""
        if site.limits is not None:
            permits = self._of(site)
            permits.in_flight -= 1
            permits.go_on()

    def permits(self, site: Site) -> Permits:
        """Who says how many connections to the site may be open, for as long as one likes."""
        return UNLIMITED if site.limits is None else PermitsNow(lambda: self._of(site))

    def _of(self, site: Site) -> SitePermits:
        permits = self._permits.get(site.name)
        if permits is None:
            permits = SitePermits(site, self._adapting.of(site), self._keeper, self._may_go_on)
            self._permits[site.name] = permits
            if site.shared:
                self._shared[site.name] = permits
        return permits

    def replied(self, site: Site, reply: Reply, found: Classification, sender: str = "") -> None:
        """A site has said something, or no connection to it came about.

        Called once for each reply of a transaction. ``sender``: the domain of the e-mail's sender.
        """
        self._replies.take_in(site, reply, found, sender)

    # --- changes ---

    def _hold_ended(self, name: str) -> None:
        site, _, sender = name.partition("/")
        if sender:
            self._sender_may_go_on(site, sender)
            return
        self._replies.begin_again(site)
        known = self._permits.get(site)
        shared = known is not None and known.site.shared
        # After an operator's hold it need not begin slowly: its servers were not the reason.
        if site.startswith(MX) and not shared and site not in self.holds.by_operator:
            self._adapting.recovered(site)
        self._may_go_on(site)

    def _recovered(self, hold: Hold) -> None:
        """A probe of this worker has ended a hold: a shared site begins slowly for all."""
        permits = self._permits.get(hold.site)
        if permits is not None and permits.site.shared and permits.site.provider is not None:
            reply = RecipientResult(
                "retry", hold.reason, hold.status_code, hold.enhanced_code, hold.status_reason
            )
            self._adapting.begin_slowly(permits.site, reply)

    def _limits_changed(self, site: str) -> None:
        if permits := self._permits.get(site):
            permits.limit(self._adapting.of(permits.site))

    async def _look(self) -> NoReturn:
        while True:
            await asyncio.sleep(_LOOK)
            now = time.monotonic()
            self._adapting.look(now)
            self._keeper.look(now)
            self._outlived.look()
            if (live := self._workers()) != self._live:
                self._live = live
                for permits in list(self._permits.values()):
                    permits.limit(self._adapting.of(permits.site))
            self._forget(now)

    async def _report(self) -> NoReturn:
        while True:
            await asyncio.sleep(reports.EVERY)
            identity = self._identity()
            if identity is not None and identity.trusted:
                await self._reports.once(identity)

    def _forget(self, now: float) -> None:
        """Forgets the sites that are not in use. One with shared slots gives them back first."""
        names = list(islice(self._to_ask, _AT_ONCE))
        if not names:
            self._to_ask = iter(list(self._permits))
        for name in names:
            permits = self._permits.get(name)
            if permits is None:
                continue
            permits.look_again()
            if permits.unused(now) and not (permits.site.shared and permits.slots):
                permits.close()
                del self._permits[name]
                self._shared.pop(name, None)

    async def _asked_elsewhere(self, site: str) -> Mapping[str, int]:
        if self._workers() < 2:
            return {}
        return await asked_elsewhere(self._store, site, self._worker_id())

    def _worker_id(self) -> str:
        identity = self._identity()
        return identity.process_id if identity is not None else ""
