"""The processes that are there, with the age of their last check-in, and their rates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.cluster.processes import Processes
from babygun.store.cluster.rates import STEP
from babygun.store.records import ApiProcess, Worker
from tests.store.cluster.workers import record
from tests.support.processes import PATIENCE
from tests.support.rig import Rig


@asynccontextmanager
async def following(rig: Rig) -> AsyncIterator[Processes]:
    processes = Processes(rig.store)
    task = asyncio.create_task(processes.run())
    try:
        yield processes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def write(rig: Rig, process: Worker | ApiProcess) -> None:
    keys = rig.store.keys
    key = keys.worker(process.id) if isinstance(process, Worker) else keys.api(process.id)
    await rig.store.client.put(key, codec.encode_state(process))


async def test_processes_of_both_kinds_come_and_go(rig: Rig) -> None:
    now = utc_now()
    api = ApiProcess(
        id="api-1",
        pid=1,
        hostname="host",
        started_at=now,
        last_checkin=now,
        version="1",
        accepted=3,
    )
    await write(rig, record("w1"))
    async with following(rig) as processes:
        await until(lambda: processes.workers.keys() == {"w1"})
        await write(rig, api)
        await until(lambda: processes.apis.keys() == {"api-1"})
        assert processes.apis["api-1"].process == api
        await rig.store.client.delete(rig.store.keys.worker("w1"))
        await until(lambda: not processes.workers)


async def test_process_read_at_the_start_is_as_old_as_its_own_clock_says(rig: Rig) -> None:
    await write(rig, record("old", checked_in=-30))
    async with following(rig) as processes:
        await until(lambda: "old" in processes.workers)
        assert 29 < processes.workers["old"].age < 90
        await write(rig, record("old", checked_in=-30))
        await until(lambda: processes.workers["old"].age < 25)


async def test_rates_of_a_process_with_a_new_id_go_on_from_its_last_counts(rig: Rig) -> None:
    first = replace(record("w1"), delivered=1000)
    async with following(rig) as processes:
        await write(rig, first)
        await until(lambda: "w1" in processes.workers)
        again = replace(first, id="w2", delivered=1010, last_checkin=utc_now())
        await write(rig, again)
        await until(lambda: "w2" in processes.workers)
        settled = processes.rates.history(time.time() + 60).values["delivered"]
        assert sum(settled) * STEP == pytest.approx(10, abs=0.1)


async def test_record_written_by_hand_is_passed_over(rig: Rig) -> None:
    await rig.store.client.put(rig.store.keys.worker("broken"), b"{")
    await write(rig, record("w1"))
    async with following(rig) as processes:
        await until(lambda: processes.workers.keys() == {"w1"})
