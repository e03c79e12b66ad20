"""A worker among the others: its slice, as they come and go, and what those leave that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from babygun.consumer.membership import Membership
from babygun.consumer.slices import NOTHING, Slice
from babygun.store import codec
from babygun.store.emails.claims import claim
from babygun.store.keys import JobRef
from babygun.store.records import Worker
from babygun.worker.counters import RecipientCounts
from tests.support.processes import PATIENCE
from tests.support.rig import Rig


class Member:
    """A membership, and what it has reported."""

    def __init__(self, rig: Rig) -> None:
        self.slices: list[Slice] = []
        self.died: list[tuple[str, list[JobRef]]] = []
        self.counts = RecipientCounts(str, delivered=1, deferred=2, failed=3)
        self.news = asyncio.Event()
        self.membership = Membership(
            rig.store,
            in_flight=lambda: 4,
            counts=self.counts,
            changed=self._changed,
            died=self._died,
            queues={"main": "f"},
        )

    def _changed(self, part: Slice) -> None:
        self.slices.append(part)
        self.news.set()

    def _died(self, worker_id: str, owned: list[JobRef]) -> None:
        self.died.append((worker_id, owned))
        self.news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def member(rig: Rig) -> AsyncIterator[Member]:
    """A live member; it leaves at the end."""
    one = Member(rig)
    tasks = [
        asyncio.create_task(one.membership.check_in()),
        asyncio.create_task(one.membership.follow()),
    ]
    try:
        await one.until(lambda: not one.membership.slice.empty)
        yield one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await one.membership.leave()


async def record(rig: Rig, member: Member) -> Worker:
    found = await rig.store.client.get(rig.store.keys.worker(member.membership.worker_id))
    assert found is not None
    return codec.decode_state(found.value, Worker)


async def test_members_share_the_shards_and_the_first_by_id_leads(rig: Rig) -> None:
    async with member(rig) as one:
        assert one.membership.slice == Slice(0, 256) and one.membership.leads
        async with member(rig) as other:
            await one.until(lambda: one.membership.slice != Slice(0, 256))
            both = sorted([one.membership, other.membership], key=lambda each: each.worker_id)
            assert [each.slice for each in both] == [Slice(0, 128), Slice(128, 256)]
            assert [each.leads for each in both] == [True, False]
            assert one.membership.is_live and other.membership.is_live


async def test_member_that_is_gone_is_reported_with_what_it_owned_and_the_slice_read_again(
    rig: Rig,
) -> None:
    ref = JobRef(await rig.send("ann@example.org"), "main")
    async with member(rig) as one:
        async with member(rig) as other:
            await one.until(lambda: one.membership.slice != Slice(0, 256))
            identity = other.membership.identity
            assert identity is not None
            assert await claim(
                rig.store, ref, worker_id=identity.process_id, lease_id=identity.lease_id
            )
        await one.until(lambda: one.membership.slice == Slice(0, 256))
        assert one.died == [(identity.process_id, [ref])]


async def test_member_that_drains_gives_its_shards_to_the_others_and_stays(rig: Rig) -> None:
    async with member(rig) as one, member(rig) as other:
        other.membership.drain()
        await one.until(lambda: one.membership.slice == Slice(0, 256))
        await other.until(lambda: other.membership.slice == NOTHING)
        assert (await record(rig, other)).draining and not other.membership.is_live
        assert not one.died


async def test_member_whose_lease_is_lost_goes_on_under_a_new_id(rig: Rig) -> None:
    async with member(rig) as one:
        first = one.membership.identity
        assert first is not None
        await rig.store.client.revoke(first.lease_id)
        await one.until(lambda: one.membership.worker_id != first.process_id)
        await one.until(lambda: one.membership.slice == Slice(0, 256))
        assert one.died == [(first.process_id, [])]


async def test_member_has_a_record_of_what_it_does(rig: Rig) -> None:
    async with member(rig) as one:
        found = await record(rig, one)
        assert (found.in_flight, found.queues, found.ip) == (4, {"main": "f"}, "127.0.0.1")
        assert (found.delivered, found.deferred, found.failed) == (1, 2, 3)
