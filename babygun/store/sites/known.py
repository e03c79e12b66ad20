"""What an API process knows of sites: holds and limits are followed, reports read on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.runtime.on_demand import OnDemand
from babygun.store.records import SiteReport
from babygun.store.sites.holds import Held, Holds
from babygun.store.sites.limits import SharedLimits
from babygun.store.sites.reports import read_reports
from babygun.store.store import Store

log = get_logger("api")

FRESH = 2.0  # s, for which the reports that were read serve all callers
PATIENCE = 1.0  # s, that a call waits for them; then it shows those that were read last


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
        self._reports = OnDemand(self._read_reports, "reports of sites")

    async def run(self) -> None:
        """Follows holds and limits until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.holds.run(), name="held sites")
            group.create_task(self.limits.run(), name="limits of sites")

    async def read(self) -> None:
        """Reads holds and limits again, to show what was just written. Raises EtcdError."""
        await asyncio.gather(self.holds.read(), self.limits.read())

    def hold_of(self, queue: str, sender: str, last: str) -> Held | None:
        """The hold of a queue's site, or that of the sender's domain there.

        ``last``: the site that the last try found; it counts until this process knows.
        """
        site = self.site_of(queue) or last
        return self.hold_at(site, sender) if site else None

    def hold_at(self, site: str, sender: str) -> Held | None:
        """The same of a site by its name."""
        holds = self.holds.by_name
        return holds.get(site) or holds.get(f"{site}/{sender}")

    async def read_reports(self, patience: float | None = None) -> None:
        """Reads the reports again, if they are older than FRESH. ``patience``: by default PATIENCE.

        Raises nothing: where etcd does not answer in time, those that were read last stay.
        """
        seconds = PATIENCE if patience is None else patience
        await asyncio.wait([self._reports.refresh(FRESH)], timeout=seconds)

    async def _read_reports(self) -> None:
        try:
            self.reports = {report.site: report for report in await read_reports(self._store)}
        except EtcdError as error:
            log.warning("site reports not read", error=str(error))
