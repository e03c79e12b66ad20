"""The sending domains that a process knows: followed, and learnt by its own writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from babygun.etcd import Txn, put
from babygun.runtime.clock import utc_now
from babygun.runtime.tasks import cancel_all
from babygun.store import Store, codec
from babygun.store.domains.change import checked, delete_domain, share_domain
from babygun.store.domains.known import KnownDomains
from tests.store.domains.steps import NAME, client_of, new_domain
from tests.support.processes import PATIENCE


class Following:
    """Known domains with their changes."""

    def __init__(self, known: KnownDomains) -> None:
        self.known, self._changed = known, asyncio.Event()
        known.on_change.append(lambda name: self._changed.set())

    async def until(self, **holders: list[str]) -> None:
        """Waits until the known domains have these clients, by the first label."""
        async with asyncio.timeout(PATIENCE):
            while {
                one.name.partition(".")[0]: list(one.clients) for one in self.known.all()
            } != holders:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def _following(store: Store) -> AsyncIterator[Following]:
    known = KnownDomains(store.client, store.keys)
    following = Following(known)
    task = asyncio.create_task(known.run())
    try:
        await known.ready.wait()
        yield following
    finally:
        await cancel_all(task)


async def test_domains_that_change_in_one_transaction_are_all_followed(store: Store) -> None:
    shop, other = await client_of(store, "shop"), await client_of(store, "other")
    domains = [await new_domain(store, shop, name) for name in ("a.example", "b.example")]
    async with _following(store) as following:
        await following.until(a=[shop], b=[shop])
        shared = [replace(domain, clients=(shop, other)) for domain in domains]
        puts = [put(store.keys.domain(one.name), codec.encode_state(one)) for one in shared]
        await store.client.txn(Txn([], puts))
        await following.until(a=[shop, other], b=[shop, other])


async def test_known_domains_follow_what_is_made_shared_verified_and_deleted(
    store: Store,
) -> None:
    shop, other = await client_of(store, "shop"), await client_of(store, "other")
    await new_domain(store, shop, "a.example")
    async with _following(store) as following:
        known = following.known
        await following.until(a=[shop])
        await new_domain(store, other, "b.example")
        await following.until(a=[shop], b=[other])
        await share_domain(store, "a.example", [shop, other])
        await following.until(a=[shop, other], b=[other])
        assert [one.name for one in known.of(other)] == ["a.example", "b.example"]
        await share_domain(store, "a.example", [other])
        await following.until(a=[other], b=[other])
        assert known.of(shop) == [] and known.covering(shop, "a.example") is None
        await checked(store, "b.example", (), "verified", (), utc_now())
        await delete_domain(store, "a.example")
        await following.until(b=[other])
        found = known.get("b.example")
        assert (
            found and found.status == "verified" and known.covering(other, "x.b.example") == found
        )
        assert known.covering(other, "a.example") is None
        assert known.covering(other, "example") is None and known.covering("nobody", NAME) is None


async def test_own_write_is_known_before_the_watch_has_it_and_never_undone_by_an_older_one(
    store: Store,
) -> None:
    shop, other = await client_of(store, "shop"), await client_of(store, "other")
    first = await new_domain(store, shop)
    revision = (await store.client.get(store.keys.domain(NAME))).mod_revision  # type: ignore[union-attr]
    shared = await share_domain(store, NAME, [other])
    assert store.domains.get(NAME) == shared
    store.domains.learn(first, revision)
    assert store.domains.get(NAME) == shared
    store.domains.forget(NAME, revision)
    assert store.domains.get(NAME) == shared, "it was made after that"


async def test_read_that_comes_after_the_deletion_does_not_bring_a_domain_back(
    store: Store,
) -> None:
    shop = await client_of(store, "shop")
    domain = await new_domain(store, shop)
    found = await store.client.get(store.keys.domain(NAME))
    assert found
    async with _following(store) as following:
        await following.until(example=[shop])
        await delete_domain(store, NAME)
        await following.until()
        following.known.learn(domain, found.mod_revision)
        assert following.known.get(NAME) is None


async def test_domains_of_a_restored_backup_take_the_place_of_later_ones(store: Store) -> None:
    """Restored keys are older than what is known, but etcd's revision is not."""
    shop = await client_of(store, "shop")
    restored = await new_domain(store, shop)
    lost = await new_domain(store, shop, "lost.example")
    known = KnownDomains(store.client, store.keys)
    known.learn(replace(restored, clients=()), 10**15)
    known.learn(lost, 10**15)
    known._followed = 10**15  # as it was before the backup was restored
    await store.client.delete(store.keys.domain(lost.name))
    task = asyncio.create_task(known.run())
    try:
        await known.ready.wait()
        assert known.all() == [restored]
    finally:
        await cancel_all(task)


async def test_domains_are_read_by_name_without_being_followed(store: Store) -> None:
    shop = await client_of(store, "shop")
    domain = await new_domain(store, shop)
    known = KnownDomains(store.client, store.keys)
    await known.read(["nowhere.example", NAME])
    assert known.covering(shop, NAME) == domain and not known.ready.is_set()


async def test_key_that_can_not_be_read_or_names_another_is_nobodys_domain(store: Store) -> None:
    shop = await client_of(store, "shop")
    await new_domain(store, shop)
    found = await store.client.get(store.keys.domain(NAME))
    assert found
    async with _following(store) as following:
        await following.until(example=[shop])
        await store.client.put(store.keys.domain("b.example"), found.value)
        await store.client.put(store.keys.domain(NAME), b"by hand")
        await following.until()
        assert following.known.of(shop) == []
