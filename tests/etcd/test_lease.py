"""Leases: kept alive, trusted only while they can't have expired, and known lost when they are."""

from __future__ import annotations

import asyncio

import pytest

from babygun.etcd import EtcdClient, Lease
from babygun.runtime.clock import since_boot
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.sleeping import sleep_for


async def test_lease_that_runs_outlives_its_ttl_and_close_takes_its_keys(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    key = etcd_prefix.encode() + b"k"
    ttl = 10  # s; it is renewed every third of it, and a busy process may be late
    lease = Lease(etcd, ttl)
    began = since_boot()
    await lease.start()
    await etcd.put(key, b"", lease.lease_id)
    running = asyncio.create_task(lease.run())
    async with asyncio.timeout(PATIENCE):
        while since_boot() < began + ttl + 1:
            assert began < lease.trusted_until <= since_boot() + ttl - lease.margin
            await asyncio.sleep(0.1)
    assert await etcd.get(key) is not None
    await lease.close()
    await asyncio.wait_for(running, PATIENCE)
    assert not lease.lost.is_set()
    assert not lease.trusted
    assert await etcd.get(key) is None


async def test_lease_revoked_by_somebody_is_lost(etcd: EtcdClient) -> None:
    lease = Lease(etcd, 2)
    await lease.start()
    await etcd.revoke(lease.lease_id)
    await asyncio.wait_for(lease.run(), PATIENCE)
    assert lease.lost.is_set()
    assert not lease.trusted
    await lease.close()


async def test_lease_etcd_silent_past_the_ttl_is_distrusted_before_it_is_lost(
    server: EtcdServer,
) -> None:
    async with EtcdClient([server.endpoint]) as client:
        lease = Lease(client, 2)
        await lease.start()
        running = asyncio.create_task(lease.run())
        server.pause()
        async with asyncio.timeout(PATIENCE):
            await lease.lost.wait()
            assert since_boot() >= lease.trusted_until + lease.margin
            await running
        server.resume()
        await lease.close()
        another = Lease(client, 30)
        await another.start()
        assert another.trusted
        assert another.lease_id != lease.lease_id
        await another.close()


async def test_lease_etcd_restarted_within_its_ttl_goes_on(server: EtcdServer) -> None:
    async with EtcdClient([server.endpoint]) as client:
        lease = Lease(client, 24)
        await lease.start()
        await client.put(b"k", b"", lease.lease_id)
        before = lease.trusted_until
        running = asyncio.create_task(lease.run())
        await asyncio.to_thread(server.restart)
        async with asyncio.timeout(PATIENCE):
            while lease.trusted_until == before:  # noqa: ASYNC110 (nothing else shows it)
                await asyncio.sleep(0.05)
        assert lease.trusted
        found = await client.get(b"k")
        assert found is not None and found.lease == lease.lease_id
        await lease.close()
        await running


async def test_lease_goes_on_although_each_answer_takes_more_than_a_third_of_it(
    server: EtcdServer,
) -> None:
    # Late are the answers to gRPC's pings, too.
    async with (
        proxy_to(server.endpoint) as proxy,
        EtcdClient([proxy.url], keepalive=PATIENCE) as client,
    ):
        lease = Lease(client, 20)
        await lease.start()
        before = lease.trusted_until
        running = asyncio.create_task(lease.run())
        proxy.late_by = 7.0
        async with asyncio.timeout(PATIENCE):
            while lease.trusted_until == before and not lease.lost.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert lease.trusted
        proxy.late_by = 0.0
        await lease.close()
        await running


async def test_lease_is_not_trusted_after_the_machine_has_slept(
    etcd: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """etcd has let it expire meanwhile, and another process has what hung on it."""
    lease = Lease(etcd, 600)
    await lease.start()
    assert lease.trusted
    sleep_for(600.0, monkeypatch)
    assert not lease.trusted
    await asyncio.wait_for(lease.run(), PATIENCE)
    assert lease.lost.is_set()
    await etcd.revoke(lease.lease_id)
