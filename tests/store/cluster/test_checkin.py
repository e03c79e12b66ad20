"""A process checks in: a record on its lease, with a new id when the lease is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from babygun.etcd import Watch
from babygun.store import codec
from babygun.store.cluster import checkin
from babygun.store.cluster.checkin import CheckIn
from babygun.store.keys import range_end
from babygun.store.records import ApiProcess
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for


class Accepted:
    """What the records of a test say."""

    def __init__(self) -> None:
        self.count = 0

    def record(self, common: dict[str, Any]) -> ApiProcess:
        return ApiProcess(**common, accepted=self.count)


@asynccontextmanager
async def checking_in(rig: Rig, accepted: Accepted) -> AsyncIterator[CheckIn]:
    check_in = CheckIn(rig.store, "api", accepted.record)
    task = asyncio.create_task(check_in.run())
    try:
        await asyncio.wait_for(check_in.checked_in.wait(), PATIENCE)
        yield check_in
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def records(rig: Rig) -> dict[str, ApiProcess]:
    prefix = rig.store.keys.apis
    found = await rig.store.client.range(prefix, range_end(prefix))
    return {
        rig.store.keys.last_part(kv.key): codec.decode_state(kv.value, ApiProcess)
        for kv in found.kvs
    }


async def says(rig: Rig, process_id: str, count: int) -> None:
    """Waits until the process's record has this count."""

    def pick(value: bytes) -> bool | None:
        return codec.decode_state(value, ApiProcess).accepted == count or None

    await rig.seen(rig.store.keys.api(process_id), pick)


async def test_process_that_checks_in_has_a_record_on_its_lease(rig: Rig) -> None:
    accepted = Accepted()
    async with (
        rig_for(changed(rig.settings, lease_ttl=60.0)) as own,
        checking_in(own, accepted) as check_in,
    ):
        assert check_in.identity is not None and check_in.identity.trusted
        found = await rig.store.client.get(rig.store.keys.api(check_in.process_id))
        assert found is not None and found.lease == check_in.identity.lease_id
        [(process_id, record)] = (await records(rig)).items()
        assert process_id == record.id == check_in.process_id
        assert record.accepted == 0 and record.started_at <= record.last_checkin


async def test_process_checks_in_again_every_third_of_its_lease(rig: Rig) -> None:
    accepted = Accepted()
    async with checking_in(rig, accepted) as check_in:
        accepted.count = 5
        await says(rig, check_in.process_id, 5)
        assert check_in.checkins > 1


async def test_process_that_is_asked_to_checks_in_at_once(rig: Rig) -> None:
    accepted = Accepted()
    async with (
        rig_for(changed(rig.settings, lease_ttl=600.0)) as patient,
        checking_in(patient, accepted) as check_in,
    ):
        accepted.count = 6
        check_in.check_in_soon()
        await says(rig, check_in.process_id, 6)
        assert check_in.checkins == 2


async def test_process_whose_lease_is_lost_checks_in_under_a_new_id(rig: Rig) -> None:
    async with checking_in(rig, Accepted()) as check_in:
        first = check_in.identity
        assert first is not None
        started = (await records(rig))[first.process_id].started_at
        await rig.store.client.revoke(first.lease_id)
        await rig.seen(
            rig.store.keys.apis, lambda value: first.process_id.encode() not in value or None
        )
        assert first.lost.is_set() and not first.trusted
        [record] = (await records(rig)).values()
        assert record.id == check_in.process_id and record.started_at == started


async def test_process_that_leaves_reports_its_last_count_and_gives_the_lease_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkin, "_AT_STOP", PATIENCE)
    accepted = Accepted()
    async with rig_for(changed(rig.settings, lease_ttl=60.0)) as own:
        async with checking_in(own, accepted) as check_in:
            key = rig.store.keys.api(check_in.process_id)
        revision = (await rig.store.client.range(key, range_end(key))).revision
        accepted.count = 7
        await check_in.leave()
    assert await rig.store.client.get(key) is None
    last = None
    async with (
        asyncio.timeout(PATIENCE),
        Watch(rig.store.client, key, range_end(key), revision=revision + 1) as batches,
    ):
        async for batch in batches:
            for event in batch.events:
                if event.type != "put":
                    assert last is not None
                    assert codec.decode_state(last, ApiProcess).accepted == 7
                    return
                last = event.kv.value


async def test_process_that_leaves_does_not_wait_for_an_etcd_that_is_away(rig: Rig) -> None:
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy:
        settings = changed(
            rig.settings, etcd_endpoints=(proxy.url,), lease_ttl=600.0, etcd_timeout=60.0
        )
        async with rig_for(settings) as away:
            async with checking_in(away, Accepted()) as check_in:
                pass
            proxy.cut()
            async with asyncio.timeout(30):  # etcd_timeout is longer
                await check_in.leave()
            proxy.mend()


async def test_process_started_while_etcd_is_away_checks_in_when_it_is_back(rig: Rig) -> None:
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy:
        proxy.cut()
        settings = changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=2.0)
        async with rig_for(settings) as away:
            check_in = CheckIn(away.store, "worker", Accepted().record)
            task = asyncio.create_task(check_in.run())
            await asyncio.sleep(0.5)
            assert check_in.identity is None and check_in.process_id == ""
            proxy.mend()
            await asyncio.wait_for(check_in.checked_in.wait(), PATIENCE)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
