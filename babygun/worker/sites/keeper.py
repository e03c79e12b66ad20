"""Takes slots of shared sites from etcd, and gives them back.

A slot is kept while it is used, over many connections, so a busy site costs etcd next to nothing.
It goes back after REST seconds without use, or at once where another worker waits and this one has
nothing to send. If others wait that have fewer, it goes back when its connection is full, or after
SHARE seconds.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NoReturn

from babygun.errors import EtcdError, LeaseNotFound
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.sites import slots as store_slots
from babygun.store.sites.slots import Slots
from babygun.worker.sites.permits import SitePermits
from babygun.worker.sites.slot import Slot

log = get_logger("worker")

REST = 5.0  # s, for which an unused slot is kept
SHARE = 30.0  # s, for which a slot is kept while others wait
_LEAVE_IT = 2.0  # s, in which the others may take a slot that was given back for them


class SlotKeeper:
    """Run :meth:`run` as a task; at the end call :meth:`close`.

    ``permits``: those of all shared sites that this worker has to do with. ``identity``: asked for
    the worker's present one.
    """

    def __init__(
        self,
        store: Store,
        permits: Mapping[str, SitePermits],
        identity: Callable[[], Identity | None],
    ) -> None:
        self._store, self._permits, self._identity = store, permits, identity
        self._slots = Slots(store, self._changed)
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._waits: dict[str, Identity] = {}  # by site: who has said so that it waits

    async def run(self) -> NoReturn:
        """Follows the slots of all workers until cancelled."""
        await self._slots.run()

    def need(self, permits: SitePermits) -> None:
        """A site has more to send than its slots here allow: takes one more, or waits for one."""
        site, identity = permits.site.name, self._identity()
        if identity is None or not identity.trusted or time.monotonic() < permits.not_before:
            return
        if ("take", site) in self._tasks:
            return
        taken = self._slots.taken(site)
        free = [n for n in range(1, permits.count + 1) if n not in taken and n not in permits.slots]
        if free:
            number = free[identity.lease_id % len(free)]  # so that workers want different ones
            self._start(("take", site), lambda: self._take(permits, number, identity))
        elif self._waits.get(site) is not identity and len(permits.slots) < permits.count:
            self._start(("want", site), lambda: self._want(site, identity))

    def owes(self, permits: SitePermits, slot: Slot) -> bool:
        return time.monotonic() >= slot.since + REST and self._others_wait(permits)

    def _others_wait(self, permits: SitePermits) -> bool:
        """Whether another worker that waits has a better right to one of the slots here."""
        return self._fewest_of_others(permits) < max(1, len(permits.slots) - 1)

    def _fewest_of_others(self, permits: SitePermits) -> float:
        """How many slots that other worker has which waits and has the fewest."""
        site = permits.site.name
        worker_id = identity.process_id if (identity := self._identity()) else ""
        has: dict[str, int] = {}
        for taken in self._slots.taken(site).values():
            has[taken.worker_id] = has.get(taken.worker_id, 0) + 1
        return min(
            (has.get(other, 0) for other in self._slots.wanted(site) if other != worker_id),
            default=math.inf,
        )

    def look(self, now: float) -> None:
        """Called every second: gives back what is not used, or is for others; takes what waits."""
        for permits in list(self._permits.values()):
            self._look_at(permits, now)
        for site in list(self._waits):
            known = self._permits.get(site)
            if known is None or not known.wants:
                self._start(("want", site), partial(self._want_no_more, site))
        self._drop_unknown()

    def _look_at(self, permits: SitePermits, now: float) -> None:
        wants, alone = permits.wants, self._fewest_of_others(permits) == math.inf
        oldest = min(permits.slots.values(), key=lambda slot: slot.since, default=None)
        if (
            oldest is not None
            and now >= max(permits.not_before, oldest.since + SHARE)
            and self._others_wait(permits)
        ):
            oldest.ending = True
        for slot in list(permits.slots.values()):
            over = slot.ending or slot.number > permits.count
            rests = not slot.busy and now >= slot.rest_since + (REST if wants or alone else 0.0)
            if not slot.in_use and (over or (rests and not wants)):
                self._give_back(permits, slot, now)
            elif slot.in_use and (over or (rests and not slot.slow)):
                slot.ask_back()
        if permits.waits and len(permits.slots) < permits.count:
            self.need(permits)

    def given_back(self, permits: SitePermits, slot: Slot) -> None:
        """A slot's connection was closed."""
        if slot.ending or slot.number > permits.count:
            self._give_back(permits, slot, time.monotonic())

    def _give_back(self, permits: SitePermits, slot: Slot, now: float) -> None:
        if permits.slots.get(slot.number) is slot:
            del permits.slots[slot.number]
        if slot.ending:
            permits.not_before = now + _LEAVE_IT
        self._start_delete(permits.site.name, slot.number, slot.created)

    def _drop_unknown(self) -> None:
        """Gives back what is this worker's in etcd and unknown here: an answer was lost."""
        identity = self._identity()
        if identity is None:
            return
        for site, number, created in self._slots.of_worker(identity.process_id):
            permits = self._permits.get(site)
            if ("take", site) not in self._tasks and (
                permits is None or number not in permits.slots
            ):
                self._start_delete(site, number, created)

    # --- what etcd does ---

    def _start_delete(self, site: str, number: int, created: int) -> None:
        self._start(("give back", site, number), lambda: self._delete(site, number, created))

    def _start(self, name: object, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Does it beside the rest, unless it is being done."""
        if name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(work(), name=str(name))
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _take(self, permits: SitePermits, number: int, identity: Identity) -> None:
        site = permits.site.name
        try:
            taken, ours = await store_slots.take(
                self._store,
                site,
                number,
                worker_id=identity.process_id,
                lease_id=identity.lease_id,
            )
            if not self._slots.learn(site, number, taken):
                await self._slots.read()
                ours = ours and self._slots.taken(site).get(number) == taken
        except LeaseNotFound:
            identity.lost.set()
            return
        except EtcdError as error:  # the next look takes one, or gives this one back
            log.warning("slot not taken", site=site, error=str(error))
            return
        if ours and self._permits.get(site) is not permits:  # nobody waits for it any more
            self._start_delete(site, number, taken.created)
        elif ours and not identity.lost.is_set():
            permits.slots[number] = Slot(
                permits,
                number,
                now=time.monotonic(),
                created=taken.created,
                identity=identity,
            )
            self._start(("lost", identity), lambda: self._close_when_lost(identity))
        asyncio.get_running_loop().call_soon(permits.room)

    async def _close_when_lost(self, identity: Identity) -> None:
        """The lease has ended, and others may have its slots: their connections are closed."""
        await identity.lost.wait()
        for permits in list(self._permits.values()):
            for number, slot in list(permits.slots.items()):
                if slot.identity is identity:
                    del permits.slots[number]
                    slot.lost = True
                    slot.ask_back()

    async def _delete(self, site: str, number: int, created: int) -> None:
        try:
            await store_slots.give_back(self._store, site, number, created)
        except EtcdError as error:  # the next look does it again
            log.warning("slot not given back", site=site, error=str(error))
            return
        self._slots.forget(site, number, created)

    async def _want(self, site: str, identity: Identity) -> None:
        try:
            await store_slots.want(
                self._store, site, worker_id=identity.process_id, lease_id=identity.lease_id
            )
        except LeaseNotFound:
            identity.lost.set()
        except EtcdError as error:
            log.warning("slot not taken", site=site, error=str(error))
        else:
            self._waits[site] = identity

    async def _want_no_more(self, site: str) -> None:
        identity = self._waits[site]
        try:
            await store_slots.want_no_more(self._store, site, worker_id=identity.process_id)
        except EtcdError as error:
            log.warning("slot not given back", site=site, error=str(error))
        else:
            self._waits.pop(site, None)

    def _changed(self, site: str) -> None:
        """A slot was taken or given back, or a worker waits."""
        permits = self._permits.get(site)
        if permits is None:
            return
        if self._fewest_of_others(permits) < len(permits.slots):  # a slot may have become free
            permits.not_before = time.monotonic() + _LEAVE_IT
        elif permits.waits and len(permits.slots) < permits.count:
            self.need(permits)

    async def close(self) -> None:
        """The slots go with the worker's lease."""
        await cancel_all(*self._tasks.values())
