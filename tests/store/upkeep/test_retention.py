"""A final e-mail is removed after its retention."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from babygun.errors import EtcdUnavailable
from babygun.etcd import EtcdClient
from babygun.store.keys import range_end
from babygun.store.upkeep.retention import KEY_BYTES, SHARED_KEYS, LeasePool
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for
from tests.support.sleeping import sleep_for
from tests.support.tries import failed_softly


async def test_ended_email_goes_when_its_retention_is_over_and_an_incomplete_one_stays(
    rig: Rig,
) -> None:
    async with rig_for(
        changed(rig.settings, retention=2.0, contents_retention=1.0, retry_intervals=(60.0,))
    ) as short:
        ended, deferred = (
            await short.send("ann@example.org"),
            await short.send("soft@example.org"),
        )
        await failed_softly(short.store, ended, "main")
        async with short.worker():
            await short.logged(deferred, "deferred")
            for prefix in (
                short.store.keys.content(ended),
                short.store.keys.log(ended),
                short.store.keys.email(ended),
            ):
                await short.emptied(prefix)
            seen = await check_invariants(short.store)
            assert list(seen.emails) == [deferred] and list(seen.chunks) == [deferred]
            for kind in ("emails", "delivered", "undelivered"):
                await short.emptied(short.store.keys.retention_kind(kind))


async def test_failed_email_keeps_its_content_as_long_as_its_record(rig: Rig) -> None:
    async with (
        rig_for(changed(rig.settings, retention=600.0, contents_retention=1.0)) as short,
        short.worker(),
    ):
        delivered, failed = (
            await short.send("ann@example.org"),
            await short.send("hard@example.org"),
        )
        await short.ended(delivered, failed)
        await short.emptied(short.store.keys.content(delivered))
        seen = await check_invariants(short.store)
        assert list(seen.chunks) == [failed] and seen.emails[failed].status == "failed"


async def test_lease_is_shared_up_to_its_number_of_keys(rig: Rig) -> None:
    pool = LeasePool(rig.store.client, rig.store.keys, "emails", 600)
    leases = await asyncio.gather(*(pool.lease(10) for _ in range(250)))
    assert len(set(leases)) == 3 and leases == sorted(leases, key=leases.index)
    assert await rig.store.client.keep_alive(leases[0]) >= 600
    pool.forget(leases[-1])
    assert await pool.lease(1) not in leases


async def test_lease_takes_no_new_keys_after_the_machine_has_slept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others count its time from before the sleep, and revoke it as old."""
    pool = LeasePool(rig.store.client, rig.store.keys, "idempotency", 86_400)
    lease = await pool.lease(1)
    sleep_for(86_400.0, monkeypatch)
    assert await pool.lease(1) != lease


async def test_lease_that_is_full_says_how_much_hangs_on_it(rig: Rig) -> None:
    client, prefix = rig.store.client, rig.store.keys.retention_kind("emails")
    pool = LeasePool(client, rig.store.keys, "emails", 600)
    first = await pool.lease(SHARED_KEYS - 10)
    assert (await client.range(prefix, range_end(prefix))).kvs[0].value == b""
    assert await pool.lease(11) != first, "a lease takes so many keys, and then it is full"
    assert sorted(kv.value for kv in (await client.range(prefix, range_end(prefix))).kvs) == [
        b"",
        b"%d" % ((SHARED_KEYS - 10) * KEY_BYTES),
    ]


async def test_lease_that_is_not_granted_fails_all_who_wait_by_one_request(rig: Rig) -> None:
    asked = 0

    class Counting(EtcdClient):
        async def grant(self, ttl: int) -> int:
            nonlocal asked
            asked += 1
            return await super().grant(ttl)

    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        Counting([proxy.url], timeout=PATIENCE) as client,
    ):
        await client.status()
        client.timeout = 3.0
        proxy.swallow_answers()
        pool = LeasePool(client, rig.store.keys, "emails", 600)
        results = await asyncio.gather(*(pool.lease(1) for _ in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {EtcdUnavailable}, "nothing hangs on it"
        assert asked == 1
        proxy.mend()
        client.timeout = PATIENCE
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(EtcdUnavailable):
                    assert await pool.lease(1)
                    return
