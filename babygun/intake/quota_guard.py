"""Refuses new e-mails shortly before etcd is full.

Workers can then still write the results of the e-mails that are stored. Long before that, workers
delete finished e-mails early (:mod:`babygun.store.upkeep.shedding`).
"""

from __future__ import annotations

import asyncio

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.upkeep.fullness import Fullness

log = get_logger("api")

# Shares of the quota. One more large write may raise etcd's alarm, and then nobody can write.
REFUSE_ABOVE = 0.95  # in use, as expected in REACTION seconds
FILE_ABOVE = 0.98  # the size of etcd's file
REACTION = 3.0  # s, from a measurement until all that was being accepted is written
MEMORY = 10.0  # s, for which a fast growth counts
INTERVAL = 1.0  # s; at full speed etcd's file grows by some 15 MB in that time


class QuotaGuard:
    """``full``: new e-mails are to be refused. Kept up to date while :meth:`run` runs."""

    def __init__(self, store: Store) -> None:
        self._fullness = Fullness(store.client, store.settings.etcd_quota, memory=MEMORY)
        self.full = False

    async def run(self) -> None:
        while True:
            try:
                await self.measure()
            except EtcdError:  # a call that needs etcd notices by itself
                pass
            await asyncio.sleep(INTERVAL)

    async def measure(self) -> None:
        """Asks etcd, and sets ``full``. Raises EtcdError."""
        await self._fullness.measure()
        expected, file = self._fullness.expected(REACTION), self._fullness.file
        full = expected > REFUSE_ABOVE or file > FILE_ABOVE
        if full == self.full:
            return
        self.full = full
        if full:
            log.error("emails refused", full=round(expected, 3), file=round(file, 3))
        else:
            log.info("emails accepted again", full=round(expected, 3), file=round(file, 3))
