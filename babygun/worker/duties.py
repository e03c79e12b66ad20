"""What a worker does again and again: it makes jobs due, ends e-mails, and makes room in etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from babygun.consumer.membership import Membership
from babygun.domains import daily_look
from babygun.domains.daily_look import DailyLook
from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.health import Checkup
from babygun.store.upkeep import removal
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.ending import Ending
from babygun.store.upkeep.fullness import Fullness
from babygun.store.upkeep.make_room import Rescue
from babygun.store.upkeep.shedding import Shedding
from babygun.worker import expiry, lookups, timers
from babygun.worker.counters import RecipientCounts
from babygun.worker.dispatch import Dispatch
from babygun.worker.expiry import HeldExpiry, OwnExpiry
from babygun.worker.sites.holds import SiteHolds

log = get_logger("worker")

_LOOK_INTERVAL = 2.0  # s, between two looks at tries that wait for a connection
_UPKEEP_INTERVAL = 1.0  # s; at full speed etcd's file grows by some 15 MB in that time


class Duties:
    """Run all of :meth:`services` as tasks."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        dispatch: Dispatch,
        holds: SiteHolds,
        counts: RecipientCounts,
        health: Checkup,
    ) -> None:
        self._store, self._membership, self._dispatch = store, membership, dispatch
        self._holds, self._health = holds, health
        self._own_expiry = OwnExpiry(store, counts, dispatch.ready)
        self._held_expiry = HeldExpiry(
            store, counts, known=dispatch.ready.waiting_of, ended=dispatch.ready.drop
        )
        fullness = Fullness(store.client, store.settings.etcd_quota)
        self._compaction = Compaction(store.client, fullness, store.keys.cluster)
        self._shedding = Shedding(store, fullness, self._compaction)
        self._ending = Ending(store, "worker")
        self._rescue = Rescue(store, fullness, self._shedding.reserve)
        self._daily_look = DailyLook(store)
        self._rounds = 0  # of the timers

    def services(self) -> dict[str, Coroutine[Any, Any, None]]:
        """By name. Each runs until cancelled."""
        every, making_room = self._every, self._making_room
        reconcile = self._store.settings.reconcile_interval
        return {
            "timers": every(timers.INTERVAL, "timers", self._make_due),
            "ends": every(expiry.INTERVAL, "ends", self._expire),
            "reconcile": every(reconcile, "reconcile", self._dispatch.reconcile),
            "moved domains": every(lookups.INTERVAL, "moved domains", self._look_again),
            "daily look": every(daily_look.INTERVAL, "daily look", self._look_at_domains),
            "slow connections": every(
                _LOOK_INTERVAL, "slow connections", self._dispatch.look, checked_in=False
            ),
            "shedding": making_room("shedding", self._shed),
            "compaction": making_room("compaction", self._compaction.once),
            "removal": making_room("removal", partial(removal.go_on, self._store), checked_in=True),
            "ending": making_room("ending", self._ending.once),
        }

    def _making_room(
        self, name: str, once: Callable[[], Awaitable[object]], *, checked_in: bool = False
    ) -> Coroutine[Any, Any, None]:
        duty = partial(self._make_room, once)
        return self._every(_UPKEEP_INTERVAL, name, duty, checked_in=checked_in)

    async def _every(
        self,
        seconds: float,
        name: str,
        duty: Callable[[], Awaitable[None]],
        *,
        checked_in: bool = True,
    ) -> None:
        """Does a duty again and again, also when etcd is away.

        ``checked_in``: only while this worker is checked in.
        """
        while True:
            await asyncio.sleep(seconds)
            if self._membership.checked_in.is_set() or not checked_in:
                try:
                    await duty()
                except EtcdError as error:
                    log.warning("duty failed", duty=name, error=str(error))

    async def _make_due(self) -> None:
        """Makes jobs due. Without a slice: overdue ones only, and less often."""
        self._rounds += 1
        part = self._membership.slice
        if part.empty and self._rounds % round(timers.OVERDUE / timers.INTERVAL):
            return
        if made := await timers.make_due_once(self._store, part):
            log.debug("jobs due", jobs=made)

    async def _expire(self) -> None:
        """Ends the e-mails of this worker's slice whose end has come: held ones, and known ones."""
        held, worker_id = self._holds.by_name, self._membership.worker_id
        await self._own_expiry.once(held, worker_id)
        await self._held_expiry.once(held, self._membership.slice, worker_id)

    async def _look_again(self) -> None:
        self._dispatch.look_again()

    async def _look_at_domains(self) -> None:
        if self._membership.leads:
            await self._daily_look.once()

    async def _shed(self) -> None:
        await self._shedding.once()
        await self._rescue.once(leads=self._membership.leads)

    async def _make_room(self, once: Callable[[], Awaitable[object]]) -> None:
        """One worker does it, and each one that can't check in: then etcd may be full."""
        if self._health.joined and (
            self._membership.leads or not self._membership.checked_in.is_set()
        ):
            await once()
