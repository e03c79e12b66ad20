"""Reading and following the jobs that are ready, shard by shard."""

from __future__ import annotations

import asyncio

import pytest

from babygun.email.ids import shard_of
from babygun.email.model import Job
from babygun.intake.ids import new_email_id
from babygun.runtime.tasks import cancel_all
from babygun.store import codec
from babygun.store.emails.ready_jobs import (
    JobRange,
    ReadyJob,
    ShardRead,
    count_jobs,
    follow_jobs,
    past_queue,
    read_jobs,
    shard_range,
)
from babygun.store.keys import JobRef
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

JOB = Job(100, 1)


async def add(rig: Rig, shard: int, *queues: str) -> list[JobRef]:
    """One job in the shard for each of the queues, in the order of their keys."""
    refs: list[JobRef] = []
    for queue in queues:
        while int(shard_of(email_id := new_email_id()), 16) != shard:
            pass
        refs.append(JobRef(email_id, queue))
    for ref in refs:
        await rig.store.client.put(rig.store.keys.job(ref), codec.encode_job(JOB))
    return sorted(refs, key=rig.store.keys.job)


async def read(rig: Rig, ranges: dict[int, JobRange]) -> list[ShardRead]:
    return [one async for _, found in read_jobs(rig.store, ranges) for one in found]


async def test_count_jobs_of_a_queue_leaves_out_the_others(rig: Rig) -> None:
    await add(rig, 3, "main", "main", "other")
    await add(rig, 200, "main")
    ranges = {shard: shard_range(rig.store, shard, "main") for shard in range(256)}
    counts = await count_jobs(rig.store, ranges)
    assert len(counts) == 256
    assert {shard: count for shard, count in counts.items() if count} == {3: 2, 200: 1}


async def test_read_jobs_of_many_shards_comes_in_the_order_of_the_ranges(rig: Rig) -> None:
    [first] = await add(rig, 9, "main")
    [second] = await add(rig, 2, "main")
    shards = [*range(9, 100), *range(9)]
    found = await read(rig, {shard: shard_range(rig.store, shard) for shard in shards})
    assert [one.shard for one in found] == shards
    assert [job for one in found for job in one.jobs] == [
        ReadyJob(first, JOB),
        ReadyJob(second, JOB),
    ]
    assert not any(one.rest for one in found)


async def test_read_jobs_up_to_the_limit_leaves_the_rest_to_the_next_read(rig: Rig) -> None:
    refs = await add(rig, 7, "a", "a", "b")
    [first] = await read(rig, {7: shard_range(rig.store, 7)._replace(limit=2)})
    assert [job.ref for job in first.jobs] == refs[:2]
    assert first.rest is not None and first.rest.limit == 2
    [second] = await read(rig, {7: first.rest})
    assert [job.ref for job in second.jobs] == refs[2:] and second.rest is None


async def test_past_queue_skips_what_is_left_of_it(rig: Rig) -> None:
    *_, last = await add(rig, 7, "a", "a", "a", "b")
    [first] = await read(rig, {7: shard_range(rig.store, 7)._replace(limit=1)})
    assert first.rest is not None
    rest = past_queue(rig.store, 7, "a", first.rest)
    assert rest is not None
    [second] = await read(rig, {7: rest})
    assert [job.ref for job in second.jobs] == [last]
    assert past_queue(rig.store, 7, "a", shard_range(rig.store, 7, "a")) is None


async def test_read_jobs_with_a_key_written_by_hand_passes_over_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    [ref] = await add(rig, 7, "main")
    await rig.store.client.put(rig.store.keys.job_shard(7) + b"main/x", b"")
    [found] = await read(rig, {7: shard_range(rig.store, 7)})
    assert [job.ref for job in found.jobs] == [ref]
    assert "key unreadable" in caplog.text


async def test_follow_jobs_brings_what_becomes_ready_in_these_shards(rig: Rig) -> None:
    arrived: asyncio.Queue[ReadyJob] = asyncio.Queue()

    async def read_all() -> int:
        key = rig.store.keys.cluster
        revision = (await rig.store.client.range(key, key + b"\0")).revision
        await add(rig, 5, "main")
        return revision

    def take(jobs: list[ReadyJob]) -> None:
        for job in jobs:
            arrived.put_nowait(job)

    following = asyncio.create_task(follow_jobs(rig.store, 4, 6, read=read_all, arrived=take))
    try:
        assert shard_of((await asyncio.wait_for(arrived.get(), PATIENCE)).ref.email_id) == "05"
        await add(rig, 6, "main")
        [last] = await add(rig, 4, "main")
        assert await asyncio.wait_for(arrived.get(), PATIENCE) == ReadyJob(last, JOB)
    finally:
        await cancel_all(following)
