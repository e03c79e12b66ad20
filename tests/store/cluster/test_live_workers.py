"""Which workers take jobs, and what a worker that is gone has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from babygun.store import codec
from babygun.store.cluster.live_workers import Gone, follow_live_workers
from babygun.store.emails.claims import claim
from babygun.store.keys import JobRef
from tests.store.cluster.workers import record
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

Change = tuple[set[str], list[Gone]]


@asynccontextmanager
async def following(rig: Rig) -> AsyncIterator[asyncio.Queue[Change]]:
    changes: asyncio.Queue[Change] = asyncio.Queue()

    def changed(live: set[str], gone: list[Gone]) -> None:
        changes.put_nowait((set(live), gone))

    task = asyncio.create_task(follow_live_workers(rig.store, changed))
    try:
        yield changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def next_of(changes: asyncio.Queue[Change]) -> Change:
    return await asyncio.wait_for(changes.get(), PATIENCE)


async def write(rig: Rig, name: str, lease: int, *, draining: bool = False) -> None:
    value = codec.encode_state(replace(record(name), draining=draining))
    await rig.store.client.put(rig.store.keys.worker(name), value, lease)


async def test_live_workers_are_those_on_a_lease_that_do_not_drain(rig: Rig) -> None:
    lease = await rig.store.client.grant(600)
    await write(rig, "a", lease)
    await write(rig, "by-hand", 0)
    await write(rig, "draining", lease, draining=True)
    await rig.store.client.put(rig.store.keys.worker("broken"), b"{", lease)
    async with following(rig) as changes:
        assert await next_of(changes) == ({"a"}, [])
        await write(rig, "b", lease)
        assert await next_of(changes) == ({"a", "b"}, [])
        await write(rig, "a", lease, draining=True)
        assert await next_of(changes) == ({"b"}, [])


async def test_worker_that_is_gone_is_reported_with_the_jobs_that_it_owned(rig: Rig) -> None:
    client = rig.store.client
    lease, other = await client.grant(600), await client.grant(600)
    await write(rig, "a", lease)
    await write(rig, "b", other)
    refs = [JobRef(await rig.send(f"r{n}@example.org"), "main") for n in range(2)]
    for ref in refs:
        assert await claim(rig.store, ref, worker_id="a", lease_id=lease)
    async with following(rig) as changes:
        assert await next_of(changes) == ({"a", "b"}, [])
        await client.revoke(lease)
        live, [gone] = await next_of(changes)
        assert live == {"b"}
        assert gone.worker_id == "a" and sorted(gone.owned) == sorted(refs)
        await client.revoke(other)
        assert await next_of(changes) == (set(), [Gone("b", [])])
