"""Retention really removes keys, and etcd under pressure sheds the oldest and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from babygun import metrics
from babygun.errors import OutOfSpace
from babygun.keys import range_end
from babygun.store import retention
from babygun.store.retention import LeasePool, Shedding
from babygun.worker import worker
from tests.etcd.test_client import compact
from tests.etcd_server import EtcdServer
from tests.invariants import check_invariants, snapshot
from tests.rig import Rig, changed, rig_for
from tests.scraping import Scraped
from tests.smtp_server import MisbehavingServer


async def test_ended_email_goes_when_its_retention_is_over_and_an_incomplete_one_stays(rig: Rig) -> None:
    async with rig_for(changed(rig.settings, retention=2.0, contents_retention=1.0, retry_intervals=(60.0,))) as short:
        async with short.worker():
            ended, deferred = await short.send("ann@example.org"), await short.send("soft@example.org")
            await short.ended(ended)
            await short.logged(deferred, "deferred")
        for prefix in (short.store.keys.content(ended), short.store.keys.log(ended), short.store.keys.email(ended)):
            await short.emptied(prefix)
        seen = await check_invariants(short.store)
        assert list(seen.emails) == [deferred] and list(seen.chunks) == [deferred]
        await short.emptied(short.store.keys.retentions)


async def test_failed_email_keeps_its_content_as_long_as_its_record(rig: Rig) -> None:
    async with rig_for(changed(rig.settings, retention=60.0, contents_retention=1.0)) as short, short.worker():
        delivered, failed = await short.send("ann@example.org"), await short.send("hard@example.org")
        await short.ended(delivered, failed)
        await short.emptied(short.store.keys.content(delivered))
        seen = await check_invariants(short.store)
        assert list(seen.chunks) == [failed] and seen.emails[failed].status == "failed"


async def test_lease_is_shared_up_to_its_number_of_keys(rig: Rig) -> None:
    pool = LeasePool(rig.store.client, rig.store.keys, "emails", 600)
    leases = await asyncio.gather(*(pool.lease(10) for _ in range(250)))
    assert len(set(leases)) == 3 and leases == sorted(leases, key=leases.index)
    assert await rig.store.client.lease_ttl(leases[0]) >= 600
    pool.forget(leases[-1])
    assert await pool.lease(1) not in leases


@pytest.mark.timeout(120)
async def test_shedding_frees_a_filling_etcd_and_touches_no_incomplete_email(rig: Rig, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CONTENTS_ABOVE", 0.3)  # etcd goes by its file, which grows by 16 MiB at once: far from a quota so small
    monkeypatch.setattr(worker, "_SHED_INTERVAL", 600.0)  # the shedding here is the test's own
    server = EtcdServer("--quota-backend-bytes=100000000", fsync=False).start()
    try:
        async with rig_for(changed(rig.settings, etcd_endpoints=(server.endpoint,), retry_intervals=(600.0,))) as own, own.worker():
            shedding = Shedding(own.store.client, own.store.keys, 100_000_000)
            waiting = [await own.send("soft@example.org", body="w" * 100_000) for _ in range(20)]
            for email_id in waiting:
                await own.logged(email_id, "deferred")
            sent = 0
            for _ in range(12):
                ids = await asyncio.gather(*(own.send(f"r{n}@example.org", body="x" * 100_000) for n in range(40)))
                await own.ended(*ids)
                sent += len(ids)
                own.store.record_leases.forget(own.store.record_leases._lease_id)
                await shedding.once()
                await compact(own.store.client, await own.store.client.put(b"/now", b""))
            seen = await check_invariants(own.store)
            assert set(waiting) <= set(seen.emails) and set(waiting) <= set(seen.chunks)
            assert shedding.shed["contents"] > 0 and len(seen.chunks) < sent
            assert (Scraped(metrics.render("worker")[0].decode()).get("babygun_shed_total", kind="contents") or 0) >= shedding.shed["contents"]
            assert not await own.store.client.alarms()
    finally:
        server.stop()


async def test_etcd_that_is_full_refuses_new_mail_and_lets_the_rest_drain(rig: Rig, smtp: MisbehavingServer) -> None:
    server = EtcdServer("--quota-backend-bytes=8000000", fsync=False).start()
    try:
        async with rig_for(changed(rig.settings, etcd_endpoints=(server.endpoint,))) as own:
            accepted = []
            with pytest.raises(OutOfSpace):
                for _ in range(100):
                    accepted.append(await own.send("ann@example.org", body="x" * 300_000))
            seen = await snapshot(own.store)
            assert set(accepted) == set(seen.emails), "what was refused has left nothing behind"
            assert await own.store.client.alarms() == ["NOSPACE"]
            assert range_end(own.store.keys.prefix) > own.store.keys.prefix
    finally:
        server.stop()
