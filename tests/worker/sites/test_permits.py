"""The permits of one site in this worker: who gets a connection, and when it is closed."""

from __future__ import annotations

import asyncio
import time

import pytest

from babygun.routing.providers import Limits, Provider, Rate
from babygun.routing.sites import Site
from babygun.runtime.clock import since_boot
from babygun.store.cluster.checkin import Identity
from babygun.worker.sites.permits import PermitsNow, SitePermits
from babygun.worker.sites.slot import Slot
from tests.support.rig import Rig
from tests.worker.sites.senders import shared_site

QUICK = Limits(3, 100, Rate(1000, 1.0))
SLOW = Limits(3, 100, Rate(1, 60.0))


class NoKeeper:
    """No site here is shared."""

    def need(self, permits: SitePermits) -> None:
        raise AssertionError

    def owes(self, permits: SitePermits, slot: Slot) -> bool:
        raise AssertionError

    def given_back(self, permits: SitePermits, slot: Slot) -> None:
        raise AssertionError


def permits_of(limits: Limits, went_on: list[str] | None = None) -> SitePermits:
    site = Site("mx:one", Provider("default", (), limits, False, ()), limits, shared=False)
    return SitePermits(site, limits, NoKeeper(), (went_on if went_on is not None else []).append)


def nobody() -> None:
    """Nobody wants the connection back."""


async def test_connections_are_as_many_as_the_limits_allow_and_who_waits_is_called_in_turn() -> (
    None
):
    permits, called = permits_of(QUICK), []
    slots = [slot for _ in range(3) if (slot := permits.try_take(nobody))]
    assert [slot.number for slot in slots] == [1, 2, 3] and permits.try_take(nobody) is None
    for name in "ab":
        permits.on_room(lambda name=name: called.append(name))  # type: ignore[misc]
    slots[1].give_back()
    assert called == ["a", "b"], "nobody took it, so the next one was called"
    assert permits.try_take(nobody) is slots[1]


async def test_pool_without_a_connection_gets_an_idle_one_of_another_pool() -> None:
    permits, asked = permits_of(QUICK), []
    slots = [
        slot
        for number in range(3)
        if (slot := permits.try_take(lambda number=number: asked.append(number)))  # type: ignore[misc]
    ]
    await slots[0].pace()
    assert permits.try_take(nobody) is None and asked == [], "it is not urgent"
    assert permits.try_take(nobody, urgent=True) is None
    assert permits.try_take(nobody, urgent=True) is None
    assert sorted(asked) == [1, 2], "each idle one was asked once"
    permits.on_room(nobody, urgent=True)
    assert slots[0].used(), "a busy one is closed after its message"


async def test_pool_that_waited_for_room_and_has_a_connection_by_now_keeps_it() -> None:
    permits, went_on = permits_of(Limits(1, 100, Rate(1000, 1.0))), []
    one, two = PermitsNow(lambda: permits), PermitsNow(lambda: permits)
    for _ in range(2):
        one.on_room(lambda: went_on.append(1), urgent=True)
    slot = one.try_take(nobody)
    assert slot is not None
    await slot.pace()
    assert not slot.used(), "the one that waits is the one that has it"
    two.on_room(nobody, urgent=True)
    assert slot.used()


async def test_many_pools_with_few_connections_send_all() -> None:
    """Each of 8 pools opens one connection when it may, and keeps it while it has messages."""
    permits = permits_of(QUICK)
    open_now, most, sent = 0, 0, 0

    async def pool() -> None:
        nonlocal open_now, most, sent
        left = 15
        while left:
            slot = permits.try_take(nobody, urgent=True)
            if slot is None:
                room = asyncio.Event()
                permits.on_room(room.set, urgent=True)
                await room.wait()
                continue
            open_now += 1
            most = max(most, open_now)
            while left:
                await slot.pace()
                await asyncio.sleep(0)
                left, sent = left - 1, sent + 1
                if slot.used():
                    break
            open_now -= 1
            slot.give_back()

    await asyncio.gather(*(pool() for _ in range(8)))
    assert (sent, most) == (120, 3)


async def test_connection_ends_after_the_messages_that_the_site_takes() -> None:
    permits = permits_of(Limits(1, 2, Rate(1000, 1.0)))
    slot = permits.try_take(nobody)
    assert slot is not None
    await slot.pace()
    assert not slot.used()
    await slot.pace()
    assert slot.used()
    slot.give_back()
    assert permits.try_take(nobody) is slot
    await slot.pace()
    assert not slot.used(), "the next connection counts for itself"


async def test_slot_beyond_lowered_limits_opens_no_connection() -> None:
    permits = permits_of(Limits(2, 100, Rate(1000, 1.0)))
    first, second = permits.try_take(nobody), permits.try_take(nobody)
    assert first is not None and second is not None
    permits.limit(Limits(1, 100, Rate(1000, 1.0)))
    for slot in (first, second):
        slot.give_back()
    assert permits.try_take(nobody) is not None
    assert permits.try_take(nobody) is None


async def test_slow_site_gets_a_connection_for_one_message_when_that_may_go() -> None:
    permits = permits_of(SLOW)
    assert permits.obstacle() is None
    permits.in_flight += 1
    assert permits.obstacle() == "limit", "one claim is enough"
    slot = permits.try_take(nobody)
    assert slot is not None
    await slot.pace()
    assert slot.used()
    slot.give_back()
    assert permits.try_take(nobody) is None, "the next message may go in a minute"
    permits.in_flight -= 1
    assert permits.obstacle() == "pace" and permits.waits
    slot.way.sent(time.monotonic() - 60.0 * 1.03)
    permits.room()
    assert permits.obstacle() is None and permits.try_take(nobody) is slot
    permits.close()


async def test_lower_limits_close_connections_and_slow_the_others() -> None:
    permits, asked = permits_of(QUICK), []
    slots = [
        slot
        for number in (1, 2, 3)
        if (slot := permits.try_take(lambda number=number: asked.append(number)))  # type: ignore[misc]
    ]
    before = slots[0].way.interval
    permits.limit(Limits(1, 100, Rate(10, 1.0)))
    assert asked == [2, 3] and slots[0].way.interval > before
    slots[1].give_back()
    slots[2].give_back()
    assert set(permits.slots) == {1} and permits.try_take(nobody) is None


async def test_site_goes_on_when_a_claim_ends_or_more_is_allowed() -> None:
    went_on: list[str] = []
    permits = permits_of(Limits(1, 100, Rate(1000, 1.0)), went_on)
    while permits.obstacle() is None:
        permits.in_flight += 1
    assert permits.in_flight == 2
    permits.in_flight -= 1
    permits.go_on()
    assert went_on == ["mx:one"]
    permits.in_flight += 1
    assert permits.obstacle() == "limit"
    permits.limit(QUICK)
    assert went_on == ["mx:one"] * 2


async def test_permits_without_use_need_not_be_remembered_once_the_pace_allows_more() -> None:
    permits = permits_of(QUICK)
    slot = permits.try_take(nobody)
    assert slot is not None and not permits.unused(time.monotonic() + 60)
    await slot.pace()
    slot.give_back()
    now = time.monotonic()
    slot.way.sent(now)
    assert not permits.unused(now) and permits.unused(now + slot.way.interval)


@pytest.mark.parametrize("shared", [True, False])
async def test_shared_site_without_a_slot_lets_no_job_be_claimed(shared: bool) -> None:
    class Asked(NoKeeper):
        asked = 0

        def need(self, permits: SitePermits) -> None:
            self.asked += 1

    keeper = Asked()
    site = shared_site(QUICK)._replace(shared=shared)
    permits = SitePermits(site, QUICK, keeper, lambda _: None)
    assert permits.obstacle() == ("slot" if shared else None)
    assert keeper.asked == shared


async def test_slot_of_a_lease_that_is_not_trusted_opens_no_connection(rig: Rig) -> None:
    """A worker that was paused past its lease may still think that the slot is its own."""
    limits = QUICK.within(Limits(1, 100, Rate(1000, 1.0)))
    permits = SitePermits(shared_site(limits), limits, NoKeeper(), lambda _: None)
    identity = Identity(rig.store.client, 30, "w1")
    now = time.monotonic()
    slot = permits.slots[1] = Slot(permits, 1, now=now, created=1, identity=identity)
    assert permits.try_take(nobody) is None
    identity.trusted_until = since_boot() + 30
    assert permits.try_take(nobody) is slot
