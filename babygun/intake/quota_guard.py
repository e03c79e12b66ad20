"""Refuses new e-mails before etcd is full, so that workers can still write what became of those that are there.

Workers give space back by shedding what has ended (:mod:`babygun.store.upkeep.shedding`); this is for when that is not enough.
"""

from __future__ import annotations

import asyncio

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.upkeep.fullness import Fullness

log = get_logger("api")

REFUSE_ABOVE = 0.95  # of the quota, in use within REACTION; shedding begins far below
FILE_ABOVE = 0.98  # of the quota, the file: one large write more may be what raises the alarm, and with it nobody can write at all
REACTION = 3.0  # s, from one look to the refusal of what comes after the next one, and to the end of what was being accepted
MEMORY = 10.0  # s, for which a fast growth counts
INTERVAL = 1.0  # s; at full speed etcd's file grows by some 15 MB in that time


class Space:
    """Run :meth:`run` as a task; :attr:`full` is then never older than a moment."""

    def __init__(self, store: Store) -> None:
        self._fullness = Fullness(store.client, store.settings.etcd_quota, memory=MEMORY)
        self.full = False

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except EtcdError:  # whoever needs etcd notices by himself
                pass
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        await self._fullness.look()
        expected, file = self._fullness.expected(REACTION), self._fullness.file
        full = expected > REFUSE_ABOVE or file > FILE_ABOVE
        if full != self.full:
            self.full = full
            if full:
                log.error(
                    "emails refused",
                    full=round(expected, 3),
                    file=round(file, 3),
                )
            else:
                log.info(
                    "emails accepted again",
                    full=round(expected, 3),
                    file=round(file, 3),
                )
