"""What a worker does for TLS reports: it counts, and makes and sends them while it leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from babygun.errors import EtcdError
from babygun.routing.routes import Routes
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import run_together
from babygun.store import Store
from babygun.tls_reports.counting import TlsCounts
from babygun.tls_reports.sender import INTERVAL, TlsReports

log = get_logger("tls")


class TlsReporting:
    """Run :meth:`run` as a task; :meth:`close` while etcd is still connected.

    ``counts``: of this worker's connections.
    """

    def __init__(self, store: Store, routes: Routes) -> None:
        self._store = store
        self.counts = TlsCounts(store, routes.resolver)
        self._reports = TlsReports(store, routes)
        self._patience = store.settings.etcd_timeout

    async def run(self, leads: Callable[[], bool]) -> None:
        """Until cancelled. ``leads``: whether this worker makes and sends the reports now."""

        store = self._store

        async def send() -> None:
            while True:
                await asyncio.sleep(INTERVAL)
                if leads():
                    try:
                        await self._reports.once(await store.clock.now())
                    except EtcdError as error:
                        log.warning("duty failed", duty="TLS reports", error=str(error))

        await run_together("TLS reports", self.counts.run(), send())

    async def close(self) -> None:
        """Writes what is counted, if etcd takes it soon, and ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self.counts.write()
        await self._reports.close()
