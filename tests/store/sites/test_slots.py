"""Slots: one owner each, followed by all."""

from __future__ import annotations

import asyncio

from babygun.store.cluster.checkin import Identity
from babygun.store.sites.slots import Slots, give_back, take, want, want_no_more
from tests.support.processes import PATIENCE
from tests.support.rig import Rig


async def lease(rig: Rig) -> int:
    identity = Identity(rig.store.client, 600, "w")
    await identity.start()
    return identity.lease_id


async def test_slot_has_one_owner_until_it_is_given_back_or_its_lease_ends(rig: Rig) -> None:
    store, leases = rig.store, [await lease(rig), await lease(rig)]
    taken = await asyncio.gather(
        *(take(store, "mx:a", 1, worker_id=f"w{n}", lease_id=leases[n]) for n in (0, 1))
    )
    assert sorted(ours for _, ours in taken) == [False, True]
    (owner,) = {found.worker_id for found, _ in taken}
    (created,) = {found.created for found, _ in taken}
    await give_back(store, "mx:a", 1, created - 1)  # an earlier owner's
    assert not (await take(store, "mx:a", 1, worker_id="w2", lease_id=leases[0]))[1]
    await give_back(store, "mx:a", 1, created)
    later, ours = await take(store, "mx:a", 1, worker_id="w2", lease_id=leases[0])
    assert ours and later.worker_id == "w2" != owner
    await store.client.revoke(leases[0])
    assert (await take(store, "mx:a", 1, worker_id="w3", lease_id=leases[1]))[1]


async def test_slots_and_those_who_wait_are_followed(rig: Rig) -> None:
    store, lease_id = rig.store, await lease(rig)
    changed: asyncio.Queue[str] = asyncio.Queue()
    slots = Slots(store, changed.put_nowait)
    await store.client.put(store.keys.slots + b"mx:a/rubbish/x", b"")
    first, _ = await take(store, "mx:a", 2, worker_id="w1", lease_id=lease_id)
    following = asyncio.create_task(slots.run())
    try:
        async with asyncio.timeout(PATIENCE):
            assert await changed.get() == "mx:a"
            assert slots.taken("mx:a") == {2: first} and slots.wanted("mx:a") == set()
            assert slots.of_worker("w1") == [("mx:a", 2, first.created)]
            await want(store, "mx:a", worker_id="w2", lease_id=lease_id)
            await changed.get()
            assert slots.wanted("mx:a") == {"w2"}
            await want_no_more(store, "mx:a", worker_id="w2")
            await changed.get()
            await give_back(store, "mx:a", 2, first.created)
            await changed.get()
            assert slots.taken("mx:a") == {} and slots.wanted("mx:a") == set()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_what_is_known_here_first_is_not_undone_by_older_news(rig: Rig) -> None:
    slots = Slots(rig.store, lambda _: None)
    lease_id = await lease(rig)
    first, _ = await take(rig.store, "mx:a", 1, worker_id="w1", lease_id=lease_id)
    later = first._replace(worker_id="w2", created=first.created + 1)
    slots.learn("mx:a", 1, later)
    slots.learn("mx:a", 1, first)
    slots.forget("mx:a", 1, first.created)
    assert slots.taken("mx:a") == {1: later}


async def test_answer_counts_only_while_the_watch_has_not_passed_it(rig: Rig) -> None:
    """Where etcd lost its data, its revisions begin again: a read finds out."""
    slots = Slots(rig.store, lambda _: None)
    lease_id = await lease(rig)
    first, _ = await take(rig.store, "mx:a", 1, worker_id="w1", lease_id=lease_id)
    assert slots.learn("mx:a", 1, first) and slots.learn("mx:a", 1, first)
    await give_back(rig.store, "mx:a", 1, first.created)
    await slots.read()
    assert not slots.learn("mx:a", 1, first) and slots.taken("mx:a") == {}
    slots._followed = 1 << 60
    second, _ = await take(rig.store, "mx:a", 1, worker_id="w1", lease_id=lease_id)
    assert not slots.learn("mx:a", 1, second)
    await slots.read()
    assert slots.learn("mx:a", 1, second) and slots.taken("mx:a") == {1: second}
