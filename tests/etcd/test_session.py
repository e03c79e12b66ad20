"""Leases: kept alive, trusted only while they can't have expired, and known lost when they are."""

from __future__ import annotations

import asyncio
import time

from babygun.etcd import EtcdClient, Session
from tests.support.etcd_server import EtcdServer


async def test_session_that_runs_outlives_its_ttl_and_close_takes_its_keys(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    key = etcd_prefix.encode() + b"k"
    session = Session(etcd, 2)
    began = time.monotonic()
    await session.start()
    await etcd.put(key, b"", session.lease_id)
    running = asyncio.create_task(session.run())
    while time.monotonic() < began + 3.5:
        assert session.trusted
        assert began < session.trusted_until <= time.monotonic() + 2 - session.margin
        await asyncio.sleep(0.1)
    assert await etcd.get(key) is not None
    await session.close()
    await asyncio.wait_for(running, 1)
    assert not session.lost.is_set()
    assert not session.trusted
    assert await etcd.get(key) is None


async def test_session_closed_without_revoking_leaves_its_keys_to_expire(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    key = etcd_prefix.encode() + b"k"
    session = Session(etcd, 30)
    await session.start()
    await etcd.put(key, b"", session.lease_id)
    await session.close(revoke=False)
    assert await etcd.get(key) is not None
    await etcd.revoke(session.lease_id)


async def test_lease_revoked_by_somebody_the_session_is_lost(etcd: EtcdClient) -> None:
    session = Session(etcd, 2)
    await session.start()
    await etcd.revoke(session.lease_id)
    await asyncio.wait_for(session.run(), 2)
    assert session.lost.is_set()
    assert not session.trusted
    await session.close()


async def test_etcd_silent_past_the_ttl_trust_ends_before_the_lease_can_and_then_the_session_is_lost(
    server: EtcdServer,
) -> None:
    async with EtcdClient([server.endpoint]) as client:
        session = Session(client, 2)
        await session.start()
        running = asyncio.create_task(session.run())
        server.pause()
        paused = time.monotonic()
        while session.trusted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert not session.lost.is_set()
        assert time.monotonic() - paused < 2 - session.margin + 0.2
        await asyncio.wait_for(session.lost.wait(), 3)
        assert time.monotonic() - paused < 2.5
        await asyncio.wait_for(running, 1)
        server.resume()
        await session.close()
        another = Session(client, 2)
        await another.start()
        assert another.trusted
        assert another.lease_id != session.lease_id
        await another.close()


async def test_etcd_restarted_within_the_ttl_the_session_goes_on(server: EtcdServer) -> None:
    async with EtcdClient([server.endpoint]) as client:
        session = Session(client, 6)
        await session.start()
        await client.put(b"k", b"", session.lease_id)
        before = session.trusted_until
        running = asyncio.create_task(session.run())
        await asyncio.to_thread(server.restart)
        while session.trusted_until == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert session.trusted
        found = await client.get(b"k")
        assert found is not None and found.lease == session.lease_id
        await session.close()
        await running
