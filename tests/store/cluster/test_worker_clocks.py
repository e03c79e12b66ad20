"""Clocks of workers: no guess from a check-in that could not be renewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aetcd import rpc

from babygun.errors import OutOfSpace
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.store import Store, codec
from babygun.store.cluster.processes import list_workers
from babygun.store.cluster.worker_clocks import wrong_clocks
from tests.store.cluster.workers import record
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed, rig_for


async def check_in(rig: Rig, name: str, *, checked_in: float) -> None:
    worker = record(name, checked_in=checked_in)
    await rig.store.client.put(rig.store.keys.worker(name), codec.encode_state(worker))


@asynccontextmanager
async def checking_in(rig: Rig, name: str, *, checked_in: float) -> AsyncIterator[None]:
    """A worker that checks in again and again, each time so many seconds after now."""

    async def again() -> None:
        while True:
            await check_in(rig, name, checked_in=checked_in)
            await asyncio.sleep(0.05)

    await check_in(rig, name, checked_in=checked_in)
    task = asyncio.create_task(again())
    try:
        yield
    finally:
        await cancel_all(task)


async def found_in(store: Store) -> dict[str, str]:
    return await wrong_clocks(store, await list_workers(store))


@pytest.fixture
async def patient(rig: Rig) -> AsyncIterator[Rig]:
    """Waits long for the next check-ins. A check-in may be on its way for five seconds."""
    async with rig_for(changed(rig.settings, lease_ttl=60.0, etcd_timeout=5.0)) as own:
        own.store.client.timeout = PATIENCE
        yield own


async def test_clock_that_is_behind_is_found_by_the_next_check_ins(patient: Rig) -> None:
    async with (
        checking_in(patient, "slow", checked_in=-440),
        checking_in(patient, "good", checked_in=0),
    ):
        found = await found_in(patient.store)
    assert list(found) == ["slow"]
    assert "the clock of worker slow on host host is 7 min behind" in found["slow"]


async def test_old_check_in_of_a_worker_that_then_checks_in_says_nothing(patient: Rig) -> None:
    await check_in(patient, "worker", checked_in=-400)
    workers = await list_workers(patient.store)
    async with checking_in(patient, "worker", checked_in=0):
        assert await wrong_clocks(patient.store, workers) == {}


async def test_check_in_that_waited_in_etcd_says_nothing_where_the_next_one_is_right(
    patient: Rig,
) -> None:
    await check_in(patient, "worker", checked_in=-400)
    workers = await list_workers(patient.store)
    check = asyncio.create_task(wrong_clocks(patient.store, workers))
    late = record("worker", checked_in=-30)
    while not check.done():  # the late one comes again until the watch has it: then a right one
        for worker in (late, record("worker")):
            key = patient.store.keys.worker("worker")
            await patient.store.client.put(key, codec.encode_state(worker))
    assert check.result() == {}


async def test_check_ins_that_etcd_refuses_say_nothing_of_clocks(settings: Settings) -> None:
    with EtcdServer(fsync=False) as server:
        own = changed(settings, etcd_endpoints=(server.endpoint,), lease_ttl=2.0)
        async with rig_for(own) as rig:
            await check_in(rig, "worker", checked_in=-400)
            endpoint, call = await rig.store.client.open_watch(rpc.WatchRequest())
            call.cancel()
            status = await rig.store.client.status()
            await rpc.MaintenanceStub(endpoint.channel).Alarm(
                rpc.AlarmRequest(
                    action=rpc.AlarmRequest.ACTIVATE,
                    memberID=status.member,
                    alarm=rpc.AlarmType.NOSPACE,
                ),
                timeout=PATIENCE,
            )
            with pytest.raises(OutOfSpace):
                await check_in(rig, "worker", checked_in=0)
            assert await found_in(rig.store) == {}
