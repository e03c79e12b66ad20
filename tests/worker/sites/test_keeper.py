"""Slots that all workers share: taken when there is mail, given back when they are not used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from babygun.routing.providers import Limits, Rate
from babygun.smtp.envelope import NotSent
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.keys import range_end
from babygun.store.sites import slots as store_slots
from babygun.store.sites.slots import Taken
from babygun.worker.sites import keeper as keeper_module
from babygun.worker.sites.keeper import SlotKeeper
from babygun.worker.sites.permits import SitePermits
from tests.support.processes import PATIENCE
from tests.support.rig import Rig
from tests.worker.sites.senders import shared_site

ONE = Limits(1, 100, Rate(100, 1.0))
NAME = "mx:large"


class Holder:
    """What one worker has to do with the site: its keeper, permits and lease."""

    def __init__(self, store: Store, identity: Identity, limits: Limits) -> None:
        self.store, self.identity = store, identity
        self.states: dict[str, SitePermits] = {}
        self.keeper = SlotKeeper(store, self.states, lambda: identity)
        self.permits = SitePermits(
            shared_site(limits), limits, self.keeper, lambda _: self.went_on.set()
        )
        self.states[NAME] = self.permits
        self.went_on = asyncio.Event()

    async def has_slot(self) -> None:
        """Waits until a job of the site may be claimed."""
        while self.permits.obstacle() is not None:
            self.went_on.clear()
            await self.went_on.wait()


@asynccontextmanager
async def holder(rig: Rig, worker_id: str, limits: Limits = ONE) -> AsyncIterator[Holder]:
    identity = Identity(rig.store.client, 120, worker_id)  # nobody renews it
    await identity.start()
    one = Holder(rig.store, identity, limits)
    following = asyncio.create_task(one.keeper.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield one
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await one.keeper.close()
        await identity.close()


async def keys_are(rig: Rig, wanted: Callable[[list[str]], bool], *holders: Holder) -> None:
    """Waits for the slots and wants that etcd has, while these look at theirs."""
    prefix = rig.store.keys.slots
    while True:
        found = await rig.store.client.range(prefix, range_end(prefix))
        if wanted([kv.key[len(prefix) :].decode() for kv in found.kvs]):
            return
        await asyncio.sleep(0.02)
        look(*holders)


def look(*holders: Holder) -> None:
    """As a worker does every second."""
    for one in holders:
        one.keeper.look(time.monotonic())


async def look_until_done(task: asyncio.Task[None], *holders: Holder) -> None:
    """Those that have slots may be looking before those that wait are known to them."""
    while not task.done():
        look(*holders)
        await asyncio.sleep(0.02)
    await task


async def test_slot_is_taken_when_mail_waits_and_goes_back_unused(rig: Rig) -> None:
    async with holder(rig, "w1") as one:
        assert one.permits.obstacle() == "slot"
        await one.has_slot()
        await keys_are(rig, lambda keys: keys == [f"{NAME}/1"])
        [slot] = one.permits.slots.values()
        one.keeper.look(slot.rest_since + keeper_module.REST - 0.1)
        assert one.permits.slots, "it has not rested for long"
        one.keeper.look(slot.rest_since + keeper_module.REST)
        await keys_are(rig, lambda keys: not keys)
        assert not one.permits.slots


async def test_slot_in_use_is_kept_and_its_idle_connection_is_closed(rig: Rig) -> None:
    async with holder(rig, "w1") as one:
        await one.has_slot()
        asked: list[bool] = []
        slot = one.permits.try_take(lambda: asked.append(True))
        assert slot is not None
        waiting = asyncio.create_task(slot.pace())
        await asyncio.sleep(0)
        later = time.monotonic() + 100
        one.keeper.look(later)
        assert not asked, "a message goes over it"
        await waiting
        assert not slot.used()
        one.keeper.look(later)
        assert asked
        slot.give_back()
        one.keeper.look(later)
        await keys_are(rig, lambda keys: not keys)


async def test_worker_that_waits_gets_the_slot_after_a_while(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "SHARE", 0.0)
    monkeypatch.setattr(keeper_module, "_LEAVE_IT", 0.1)
    async with holder(rig, "w1") as one, holder(rig, "w2") as two:
        await one.has_slot()
        one.permits.in_flight = 1  # it has more to send
        waiting = asyncio.create_task(two.has_slot())
        await keys_are(rig, lambda keys: f"{NAME}/wanted/w2" in keys, two)
        await look_until_done(waiting, one, two)
        assert not one.permits.slots
        assert [slot.number for slot in two.permits.slots.values()] == [1]
        two.permits.in_flight = 0
        look(two)
        await keys_are(rig, lambda keys: f"{NAME}/wanted/w2" not in keys, two)


async def test_worker_with_fewer_slots_gets_one_and_those_with_as_many_keep_theirs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "SHARE", 0.0)
    monkeypatch.setattr(keeper_module, "_LEAVE_IT", 60.0)  # else it gives back a second one, too
    limits = Limits(3, 100, Rate(100, 1.0))
    async with holder(rig, "w1", limits) as one, holder(rig, "w2", limits) as two:
        one.permits.in_flight = 1000
        while len(one.permits.slots) < 3:
            one.keeper.need(one.permits)
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(two.has_slot())
        while not one.keeper._slots.wanted(NAME):  # its watch brings it
            look(two)
            await asyncio.sleep(0.01)
        one.keeper.look(time.monotonic() + 61)
        await look_until_done(waiting, one, two)
        while not one.keeper._slots.of_worker("w2"):  # noqa: ASYNC110 (its watch brings it)
            await asyncio.sleep(0.01)
        two.permits.in_flight = 1000
        assert two.permits.obstacle() == "limit"
        for _ in range(5):
            one.keeper.look(time.monotonic() + 200)
            await asyncio.sleep(0.02)
        assert (len(one.permits.slots), len(two.permits.slots)) == (2, 1)


async def test_slot_of_an_answer_that_was_lost_is_given_back(rig: Rig) -> None:
    async with holder(rig, "w1") as one:
        await one.has_slot()
        one.keeper.look(time.monotonic() + 100)
        await keys_are(rig, lambda keys: not keys)
        await store_slots.take(rig.store, NAME, 1, worker_id="w1", lease_id=one.identity.lease_id)
        while one.permits.obstacle() == "slot":
            one.keeper.look(time.monotonic())
            await asyncio.sleep(0.02)
        assert one.permits.slots, "it gave it back, and took it again"


async def test_connections_are_closed_when_the_lease_is_lost(rig: Rig) -> None:
    async with holder(rig, "w1") as one:
        await one.has_slot()
        closed = asyncio.Event()
        slot = one.permits.try_take(closed.set)
        assert slot is not None
        await slot.pace()
        one.identity.lost.set()
        await closed.wait()
        assert slot.lost and not one.permits.slots
        with pytest.raises(NotSent):
            await slot.pace()
        slot.give_back()
        assert one.permits.try_take(lambda: None) is None


async def test_no_message_goes_while_the_lease_cannot_be_trusted(rig: Rig) -> None:
    async with holder(rig, "w1") as one:
        await one.has_slot()
        slot = one.permits.try_take(lambda: None)
        assert slot is not None
        one.identity.trusted_until = 0.0
        with pytest.raises(NotSent):
            await slot.pace()


async def test_answer_that_names_an_owner_who_is_gone_takes_no_slot_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch was faster: it has brought the slot's end already, and brings no more."""
    take = store_slots.take
    async with holder(rig, "w1") as one, holder(rig, "w2") as two:
        await one.has_slot()
        await knows(two, taken=True)

        async def late(*args: Any, **others: Any) -> tuple[Taken, bool]:
            monkeypatch.setattr(store_slots, "take", take)
            answer = await take(*args, **others)
            one.keeper.look(time.monotonic() + 100)
            await knows(two, taken=False)
            return answer

        monkeypatch.setattr(store_slots, "take", late)
        await two.keeper._take(two.permits, 1, two.identity)  # as if it had not heard of it
        await look_until_done(asyncio.create_task(two.has_slot()), two)
        assert [slot.number for slot in two.permits.slots.values()] == [1]


async def test_own_slot_that_ended_before_its_answer_came_is_not_used(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker may have it by then."""
    take = store_slots.take
    async with holder(rig, "w1") as one:

        async def late(*args: Any, **others: Any) -> tuple[Taken, bool]:
            monkeypatch.setattr(store_slots, "take", take)
            answer = await take(*args, **others)
            await knows(one, taken=True)
            await store_slots.give_back(rig.store, NAME, 1, answer[0].created)
            await knows(one, taken=False)
            return answer

        monkeypatch.setattr(store_slots, "take", late)
        await one.keeper._take(one.permits, 1, one.identity)
        assert not one.permits.slots
        await look_until_done(asyncio.create_task(one.has_slot()), one)
        [slot] = one.permits.slots.values()
        found = await rig.store.client.get(rig.store.keys.slot(NAME, 1))
        assert found is not None and found.create_revision == slot.created


async def knows(one: Holder, *, taken: bool) -> None:
    """Waits until a worker's watch has brought it that the slot is taken, or free."""
    while bool(one.keeper._slots.taken(NAME)) is not taken:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
