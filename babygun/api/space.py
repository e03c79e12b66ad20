"""Refuses new e-mails before etcd is full, so that workers can still write what became of those that are there.

Workers give space back by shedding what has ended (:mod:`babygun.store.retention`); this is for when that is not enough.
"""

from __future__ import annotations

import asyncio

from babygun.errors import EtcdError
from babygun.logs import get_logger
from babygun.store import Store

log = get_logger("api")

REFUSE_ABOVE = 0.95  # of the quota, in use; shedding begins far below
INTERVAL = 1.0  # seconds; at full speed etcd's file grows by some 15 MB in that time


class Space:
    """Run :meth:`run` as a task; :attr:`full` is then never older than a moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = False

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except EtcdError:  # whoever needs etcd notices by himself
                pass
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        status = await self._store.client.status()
        share = status.db_size_in_use / (status.quota or self._store.settings.etcd_quota)
        full = share > REFUSE_ABOVE
        if full != self.full:
            self.full = full
            if full:
                log.error("etcd is nearly full, e-mails are refused", full=round(share, 3))
            else:
                log.info("etcd has space again, e-mails are taken", full=round(share, 3))
