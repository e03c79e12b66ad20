"""What an API process knows of sites: holds and limits are followed, reports read on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store.records import SiteReport
from babygun.store.sites.holds import Held, Holds
from babygun.store.sites.limits import SharedLimits
from babygun.store.sites.reports import read_reports
from babygun.store.store import Store

log = get_logger("api")

FRESH = 2.0  # s, for which the reports that were read serve all callers
_PATIENCE = 1.0  # s, that a call waits for them; then it shows those that were read last


class KnownSites:
    """Run :meth:`run` as a task.

    ``site_of``: the site of a queue; None: not known yet. ``reports``: by site, what the workers
    said last.
    """

    def __init__(
        self, store: Store, for_calls: Store, *, site_of: Callable[[str], str | None]
    ) -> None:
        self.holds, self.limits = Holds(store), SharedLimits(store)
        self.reports: Mapping[str, SiteReport] = {}
        self._store, self.site_of = for_calls, site_of
        self._begun = -FRESH
        self._reading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Follows holds and limits until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.holds.run(), name="held sites")
            group.create_task(self.limits.run(), name="limits of sites")

    async def read(self) -> None:
        """Reads holds and limits again, to show what was just written. Raises EtcdError."""
        await asyncio.gather(self.holds.read(), self.limits.read())

    def hold_of(self, queue: str) -> Held | None:
        """The hold of a queue's site."""
        site = self.site_of(queue)
        return self.holds.by_name.get(site) if site else None

    async def read_reports(self) -> None:
        """Reads the reports again, if they are older than FRESH.

        Raises nothing: where etcd does not answer, those that were read last stay.
        """
        now = time.monotonic()
        if self._reading is None or (self._reading.done() and now - self._begun >= FRESH):
            self._begun = now
            self._reading = asyncio.create_task(self._read(), name="reports of sites")
        await asyncio.wait([self._reading], timeout=_PATIENCE)

    async def _read(self) -> None:
        try:
            self.reports = {report.site: report for report in await read_reports(self._store)}
        except EtcdError as error:
            log.warning("site reports not read", error=str(error))
