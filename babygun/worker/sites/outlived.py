"""Ends holds and limits of sites whose end has come, where nothing else does.

Their lease ends then, too. But an etcd without checkpoints begins the time of each lease again at
each start and with each new leader: on a laptop that is started daily no lease of a day ever ends.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from babygun.errors import EtcdError
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store.sites import holds as store_holds
from babygun.store.sites import limits as store_limits
from babygun.store.sites.holds import Held, Holds
from babygun.store.sites.limits import KeptLimits, SharedLimits
from babygun.store.upkeep.trusted_clock import TrustedClock

log = get_logger("worker")

_LATE = timedelta(seconds=1)  # after an end, in which the lease ends the usual one


class Outlived:
    """Call :meth:`look` every second; at the end :meth:`close`.

    It leaves a hold that is probed: the next e-mail ends that one.
    """

    def __init__(self, store: Store, holds: Holds, limits: SharedLimits) -> None:
        self._store, self._holds, self._limits = store, holds, limits
        # A worker whose clock is ahead must not let mail go that an operator holds.
        self._clock = TrustedClock(store.settings, 0.0)
        self._ending: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Begins to end those whose end has come."""
        if self._ending is not None and not self._ending.done():
            return
        over = utc_now() - _LATE
        holds = [
            held
            for held in self._holds.by_name.values()
            if held.hold.until <= over and (held.hold.by_operator or held.hold.sender)
        ]
        limits = [kept for kept in self._limits.by_name.values() if kept.lowered.until <= over]
        if holds or limits:
            self._ending = asyncio.create_task(self._end(holds, limits), name="outlived")

    async def _end(self, holds: list[Held], limits: list[KeptLimits]) -> None:
        try:
            if (now := await self._clock.now()) is None:
                return
            await self._end_holds(holds, now.earliest - _LATE)
            await self._end_limits(limits, now.earliest - _LATE)
        except EtcdError as error:  # the next look does it
            log.warning("duty failed", duty="outlived holds", error=str(error))

    async def _end_holds(self, holds: list[Held], over: datetime) -> None:
        known, late = self._holds.by_name, False  # late: another worker was first
        for held in holds:
            if held.hold.until <= over and known.get(held.name) is held:
                late |= not await store_holds.end(self._store, held)
        if late:
            await self._holds.read()

    async def _end_limits(self, limits: list[KeptLimits], over: datetime) -> None:
        known, late = self._limits.by_name, False
        for kept in limits:
            if kept.lowered.until <= over and known.get(kept.name) is kept:
                late |= not await store_limits.end(self._store, kept.name, kept)
        if late:
            await self._limits.read()

    async def close(self) -> None:
        if self._ending is not None:
            await cancel_all(self._ending)
