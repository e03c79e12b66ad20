"""Which limits hold for each site now, and how they change.

The limits of shared sites are changed by a key that all workers follow. Those of the others are
changed here alone: each worker learns them itself. An operator's limits are a key for any site.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import Struct

from babygun.email.reasons import quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.errors import EtcdError
from babygun.routing.providers import Limits
from babygun.routing.sites import Site
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store.sites import limits as store_limits
from babygun.store.sites.limits import KeptLimits, SharedLimits
from babygun.worker.sites.adaptation import LASTS, Less, Progress, halved, lowest, step_up
from babygun.worker.sites.pace import part_of

log = get_logger("worker")

MOST = 10_000  # sites whose limits this worker has learned itself


class _Learned(Struct):
    """Limits of a site that is not shared. ``limits``: None until a job of it is seen again."""

    limits: Limits | None
    until: float


class Adapting:
    """Run :meth:`run` as a task; at the end call :meth:`close`.

    ``workers``: how many live ones there are. ``changed`` is called with each site whose limits are
    others now. ``followed``: the limits that all workers share, as etcd has them.
    """

    def __init__(
        self,
        store: Store,
        *,
        worker_id: Callable[[], str],
        workers: Callable[[], int],
        changed: Callable[[str], None],
    ) -> None:
        self._store, self._worker_id, self._workers = store, worker_id, workers
        self._changed = changed
        self.followed = SharedLimits(store, self._took_in)
        self._learned: dict[str, _Learned] = {}  # by site
        self._progress: dict[str, Progress] = {}  # of sites that take less now
        self._writing: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        await self.followed.run()

    # --- what holds ---

    def of(self, site: Site) -> Limits:
        """What this worker keeps to now: for a site that is not shared, its part."""
        limits = self.whole(site)
        return limits if site.shared else part_of(limits, self._workers())

    def whole(self, site: Site) -> Limits:
        """What holds now for all workers together. The site has limits."""
        assert site.limits is not None
        if kept := self.followed.by_name.get(site.name):
            return kept.lowered.instead_of(site.limits)
        learned = self._learned.get(site.name)
        if learned is None:
            return site.limits
        if learned.limits is None:
            learned.limits = lowest(site.limits)
        return learned.limits.within(site.limits)

    # --- changes ---

    def slow(self, site: Site, limits: Limits, lasts: float, reply: RecipientResult) -> None:
        """A reply asks for these limits, as the provider's table says."""
        now = self.whole(site)
        if (less := limits.within(now)) != now:
            self._lower(site, less, lasts, reply)

    def halve(self, site: Site, what: Less, reply: RecipientResult) -> None:
        """A reply asks for less. Further ones about the same burst change nothing."""
        progress = self._progress.get(site.name)
        if progress is not None and not progress.settled(time.monotonic()):
            return
        now = self.whole(site)
        if (less := halved(now, what)) != now:
            self._lower(site, less, LASTS, reply)

    def begin_slowly(self, site: Site, reply: RecipientResult) -> None:
        """A hold of a shared site has ended by a probe of this worker."""
        assert site.limits is not None
        self._lower(site, lowest(site.limits).within(self.whole(site)), LASTS, reply)

    def recovered(self, name: str) -> None:
        """A hold of the site has ended: its mail begins slowly."""
        if name not in self.followed.by_name:
            self._learn(name, None, LASTS)

    def succeeded(self, site: Site) -> None:
        """The site took a message."""
        progress = self._progress.get(site.name)
        if progress is None or not progress.succeeded(time.monotonic()):
            return
        assert site.limits is not None
        now = self.whole(site)
        more = step_up(now, site.limits)
        kept = self.followed.by_name.get(site.name)
        if kept is not None:
            self._write(site, partial(self._raise_shared, site, more, kept))
        elif learned := self._learned.get(site.name):
            if more == site.limits:
                self._forget(site.name)
            else:
                learned.limits = more
                self._progress[site.name] = Progress(time.monotonic())
            self._changed(site.name)

    def look(self, now: float) -> None:
        """Called every second: learned limits end in their time."""
        for name in [name for name, one in self._learned.items() if one.until <= now]:
            self._forget(name)
            self._changed(name)

    def _lower(self, site: Site, less: Limits, lasts: float, reply: RecipientResult) -> None:
        kept = self.followed.by_name.get(site.name)
        if kept is not None and kept.lowered.by_operator:
            return
        log.warning(
            "site slowed",
            site=site.name,
            connections=less.connections,
            messages_per_connection=less.messages_per_connection,
            rate=str(less.rate),
            seconds=lasts,
            reply_class=reply.reply_class,
            code=reply.status_code,
            text=quoted_to_others(reply.reason, 200),
        )
        self._progress[site.name] = Progress(time.monotonic())
        if site.shared:
            self._write(site, partial(self._write_shared, site, less, lasts, reply, kept))
        else:
            self._learn(site.name, less, lasts)

    def _learn(self, name: str, limits: Limits | None, lasts: float) -> None:
        if name not in self._learned and len(self._learned) >= MOST:
            self._forget(next(iter(self._learned)))
        now = time.monotonic()
        before = self._learned.get(name)
        self._learned[name] = _Learned(limits, max(now + lasts, before.until if before else 0.0))
        self._progress[name] = Progress(now)
        self._changed(name)

    def _forget(self, name: str) -> None:
        self._learned.pop(name, None)
        self._progress.pop(name, None)

    # --- shared sites ---

    def _write(self, site: Site, write: Callable[[], Awaitable[None]]) -> None:
        if site.name not in self._writing:
            task = asyncio.create_task(self._guarded(write), name=f"limits {site.name}")
            self._writing[site.name] = task
            task.add_done_callback(lambda _: self._writing.pop(site.name, None))

    async def _guarded(self, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        except EtcdError as error:  # the next reply or success does it again
            log.warning("limits not written", error=str(error))

    async def _write_shared(
        self,
        site: Site,
        limits: Limits,
        lasts: float,
        reply: RecipientResult,
        before: KeptLimits | None,
    ) -> None:
        if before is not None:  # what a table's reply asked for is not shortened by another
            left = before.lowered.until - await self._store.clock.now()
            lasts = max(lasts, left.total_seconds())
        kept = await store_limits.write(
            self._store,
            site.name,
            limits,
            reply=reply,
            lasts=lasts,
            worker_id=self._worker_id(),
            before=before,
        )
        if kept is not None:  # otherwise another worker's are on their way to here
            self.followed.learn(kept)

    async def _raise_shared(self, site: Site, more: Limits, before: KeptLimits) -> None:
        lowered = before.lowered
        left = (lowered.until - await self._store.clock.now()).total_seconds()
        if more == site.limits or left <= 0:
            await store_limits.end(self._store, site.name, before)
            return
        reply = RecipientResult(
            "retry",
            lowered.reason,
            lowered.status_code,
            lowered.enhanced_code,
            lowered.status_reason,
        )
        await self._write_shared(site, more, left, reply, before)

    def _took_in(self, name: str) -> None:
        """Somebody changed a site's limits."""
        kept = self.followed.by_name.get(name)
        if kept is None:
            self._progress.pop(name, None)
        elif kept.lowered.by_operator:
            self._forget(name)
        else:
            self._progress[name] = Progress(time.monotonic())
        self._changed(name)

    async def close(self) -> None:
        await cancel_all(*self._writing.values())
