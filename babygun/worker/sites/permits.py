"""The permits of one site in this worker: how many connections it may have, and their pace.

A permit is a slot that is in use. Where all workers share the limits, a slot comes from etcd
(:mod:`keeper`). Where each worker keeps to its own part, it is made here. A slot outlives its
connections, so its pace holds for the next one too (:mod:`slot`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal, Protocol

from babygun.routing.providers import Limits
from babygun.routing.sites import Site
from babygun.worker.sites.pace import SLOW, interval, slot_count
from babygun.worker.sites.slot import Slot

# Claims for each slot. They hide the time that a claim and a finish take. A relay is quick, and
# its mail is most of this worker's.
_CLAIMS, _RELAY_CLAIMS = 2, 8

# Why a site's job can't start. limit: its connections have enough to do. pace: the next message
# may go later. slot: the other workers have all connections.
Obstacle = Literal["limit", "pace", "slot"]


class Keeper(Protocol):
    """Who takes and gives back the slots that all workers share."""

    def need(self, permits: SitePermits) -> None:
        """More could be sent with one more slot."""

    def owes(self, permits: SitePermits, slot: Slot) -> bool:
        """Whether a slot, whose connection is full, is for another worker."""

    def given_back(self, permits: SitePermits, slot: Slot) -> None:
        """A slot's connection was closed."""


class SitePermits:
    """Those of one site. All times are of time.monotonic().

    ``in_flight``: tries of its jobs that run here. ``blocked``: an obstacle was named since jobs
    could last go on: so some wait. ``may_go_on``: called with the site's name when they may again.
    ``sent``, ``deferred``: replies that took a message, and those that did not.
    """

    __slots__ = (
        "_keeper",
        "_may_go_on",
        "_room",
        "_timer",
        "blocked",
        "deferred",
        "in_flight",
        "limits",
        "not_before",
        "sent",
        "site",
        "slots",
        "why",
    )

    def __init__(
        self, site: Site, limits: Limits, keeper: Keeper, may_go_on: Callable[[str], None]
    ) -> None:
        self.site, self.limits = site, limits
        self._keeper, self._may_go_on = keeper, may_go_on
        self.slots: dict[int, Slot] = {}
        self.in_flight = 0
        self.sent = self.deferred = 0  # replies
        self.blocked = False
        self.why: Obstacle | None = None  # the last obstacle
        self.not_before = 0.0  # no slot is taken before: another worker is to have it
        # Who waits for room: whether that is urgent, and for which pool.
        self._room: list[tuple[Callable[[], None], bool, object]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """How many connections the limits allow: of all workers, or of this one's part."""
        return slot_count(self.limits)

    @property
    def wants(self) -> bool:
        """Whether there is something to send."""
        return self.waits or self.in_flight > 0

    @property
    def waits(self) -> bool:
        """Whether something waits for room."""
        return self.blocked or bool(self._room)

    # --- claims ---

    def obstacle(self) -> Obstacle | None:
        """What keeps a job of the site from being claimed now. Asking says that one waits."""
        now = time.monotonic()
        if self.in_flight < self._most_claims(now):
            self.blocked = False
            return None
        self.blocked = True
        if self.site.shared and len(self.slots) < self.count:
            self._keeper.need(self)
        if self.site.shared and not self.slots:
            self.why = "slot"
        elif self._is_slow and self.in_flight < len(self.slots):
            self.why = "pace"
            self._wait_for_pace(now)
        else:
            self.why = "limit"
        return self.why

    def _most_claims(self, now: float) -> int:
        if self._is_slow:
            due = sum(slot.in_use or slot.ready(now) for slot in self.slots.values())
            return due if self.site.shared else due + self.count - len(self.slots)
        each = _CLAIMS if self.site.provider is not None else _RELAY_CLAIMS
        return each * (len(self.slots) if self.site.shared else self.count)

    @property
    def _is_slow(self) -> bool:
        return self.limits.rate.seconds >= SLOW and interval(self.limits, 1) >= SLOW

    # --- permits ---

    def try_take(
        self, wanted: Callable[[], None], *, urgent: bool = False, pool: object = None
    ) -> Slot | None:
        """``urgent``: the pool has no connection at all, so another pool's may be closed for it."""
        now = time.monotonic()
        slot = self._free(now)
        if slot is None:
            if self.site.shared and len(self.slots) < self.count:
                self._keeper.need(self)
            self._wait_for_pace(now)
            if urgent:
                self._ask_another_pool()
            return None
        slot.take(wanted, now, pool)
        return slot

    def on_room(
        self, callback: Callable[[], None], *, urgent: bool = False, pool: object = None
    ) -> None:
        self._room.append((callback, urgent, pool))

    @property
    def _urgent(self) -> bool:
        """Whether a pool waits that has no connection by now, either."""
        if not self._room:  # the usual case, at each message
            return False
        served = {id(slot.pool) for slot in self.slots.values() if slot.in_use and slot.pool}
        return any(urgent and id(pool) not in served for _, urgent, pool in self._room)

    def _free(self, now: float) -> Slot | None:
        """The slot with which a connection may be opened; the one whose message may go first."""
        free = [slot for slot in self.slots.values() if slot.ready(now)]
        if not self.site.shared and len(self.slots) < self.count and not free:
            number = next(n for n in range(1, self.count + 1) if n not in self.slots)
            slot = self.slots[number] = Slot(self, number, now=now)
            return slot
        return min(free, key=lambda slot: slot.way.next_at, default=None)

    def _ask_another_pool(self) -> None:
        """Another pool of this worker may have an idle connection. A busy one ends by `used`."""
        idle = [s for s in self.slots.values() if s.in_use and not (s.busy or s.asked)]
        if idle:
            min(idle, key=lambda slot: slot.rest_since).ask_back()

    def is_enough(self, slot: Slot, messages: int) -> bool:
        """Whether a slot's connection is to be closed after so many messages."""
        if messages >= self.limits.messages_per_connection:
            slot.ending = slot.ending or (self.site.shared and self._keeper.owes(self, slot))
            return True
        over = slot.ending or slot.slow or slot.number > self.count
        return over or self._urgent

    def given_back(self, slot: Slot) -> None:
        """A slot's connection is closed."""
        if slot.lost:
            return
        if self.site.shared:
            self._keeper.given_back(self, slot)
        elif slot.number > self.count:
            self.slots.pop(slot.number, None)
        self.room()

    # --- changes ---

    def room(self) -> None:
        """There may be room: who waits for a connection comes first, then further jobs."""
        now = time.monotonic()
        for _ in range(len(self._room)):
            if not self._room or self._free(now) is None:
                break
            callback, *_ = self._room.pop(0)
            callback()
        self.go_on()
        if self.waits:
            self._wait_for_pace(now)

    def go_on(self) -> None:
        """Lets further jobs be claimed, if some wait and may."""
        if self.blocked and self.in_flight < self._most_claims(time.monotonic()):
            self.blocked = False
            self._may_go_on(self.site.name)

    def limit(self, limits: Limits) -> None:
        """Other limits hold from now on."""
        if limits == self.limits:
            return
        self.limits = limits
        count = self.count
        for slot in list(self.slots.values()):
            if slot.number <= count:
                slot.way.interval = interval(limits, slot.number)
            elif slot.in_use:
                slot.ask_back()
            elif not self.site.shared:
                del self.slots[slot.number]
        self.room()

    def look_again(self) -> None:
        """Called now and then: who waits may have a right to what another pool has."""
        if self._room:
            self.room()
            if self._urgent:
                self._ask_another_pool()

    def unused(self, now: float) -> bool:
        """Whether nothing needs to be remembered of the site."""
        return not self.wants and not any(
            slot.in_use or slot.way.next_at > now for slot in self.slots.values()
        )

    def _wait_for_pace(self, now: float) -> None:
        """Comes back when the next slow slot may be used."""
        later = [
            slot.way.next_at
            for slot in self.slots.values()
            if slot.slow and not slot.in_use and slot.way.next_at > now
        ]
        if later and self._timer is None:
            wait = min(later) - now + 0.001
            self._timer = asyncio.get_running_loop().call_later(wait, self._pace_over)

    def _pace_over(self) -> None:
        self._timer = None
        self.room()

    def close(self) -> None:
        """Forgets its slots, which know it: all are freed at once."""
        if self._timer is not None:
            self._timer.cancel()
        self.slots.clear()


class PermitsNow:
    """A site's permits for a pool, which may outlive them: unused ones are forgotten.

    ``now``: the present ones, which are not forgotten while a connection has one of them.
    """

    __slots__ = ("_now",)

    def __init__(self, now: Callable[[], SitePermits]) -> None:
        self._now = now

    def try_take(self, wanted: Callable[[], None], *, urgent: bool = False) -> Slot | None:
        return self._now().try_take(wanted, urgent=urgent, pool=self)

    def on_room(self, callback: Callable[[], None], *, urgent: bool = False) -> None:
        self._now().on_room(callback, urgent=urgent, pool=self)
