"""What a worker learns of its slice by reading it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from babygun.email.ids import shard_of
from babygun.email.model import Job
from babygun.etcd import Txn, put
from babygun.intake.ids import new_email_id
from babygun.routing.sites import site_of_relay
from babygun.store import codec
from babygun.store.keys import JobRef
from babygun.worker.feed import Feed
from babygun.worker.ready import ReadyJobs
from babygun.worker.slices import NOTHING, Slice
from tests.support.rig import Rig


def ready_jobs(limit: int, most: int = 200_000) -> ReadyJobs:
    return ReadyJobs(limit, lambda queue: site_of_relay(queue, None), most=most)


async def test_slice_that_was_lost_before_its_read_began_holds_nothing(rig: Rig) -> None:
    await rig.send("ann@example.org")
    ready = ready_jobs(100)
    feed = Feed(rig.store, ready, (), lambda: None)
    assert await feed.read(NOTHING) == 0
    assert await feed.read(NOTHING, "main") == 0
    assert ready.count("main") == 0
    assert await feed.read(Slice(0, 256)) > 0
    assert ready.count("main") == 1


async def test_shards_of_a_backlog_are_read_in_turn_so_that_none_waits_for_long(rig: Rig) -> None:
    """Sixteen shards of 20 jobs, with room for 20 at a time.

    A read gets to ten shards, and the next one begins where that ended.
    """
    await backlog(rig, dict.fromkeys(range(16), 20))
    ready = ready_jobs(20)
    feed = Feed(rig.store, ready, (), lambda: None)
    found: list[set[int]] = []
    for _ in range(8):
        await feed.read(Slice(0, 16), "main")
        found.append(set(shards_taken(ready)))
    assert all(len(shards) < 12 for shards in found), (
        "a read brings so much that the test shows nothing"
    )
    assert [found[at] | found[at + 1] for at in range(7)] == [{*range(16)}] * 7


async def test_shard_in_which_more_waits_gets_more_of_a_read(rig: Rig) -> None:
    """Otherwise its jobs would wait longer: here 45 of 90 and 5 of each 10, and not ten of each."""
    await backlog(rig, {0: 90, **dict.fromkeys(range(1, 10), 10)})
    ready = ready_jobs(90)
    feed = Feed(rig.store, ready, (), lambda: None)
    await feed.read(Slice(0, 16), "main")
    found = Counter(shards_taken(ready))
    assert found == {0: 45, **dict.fromkeys(range(1, 10), 5)}
    await feed.read(Slice(0, 16), "other")
    assert not shards_taken(ready)


async def backlog(rig: Rig, sizes: Mapping[int, int]) -> None:
    """So many jobs of the queue ``main`` in each shard."""
    jobs: dict[int, list[JobRef]] = {shard: [] for shard in sizes}
    while any(len(refs) < sizes[shard] for shard, refs in jobs.items()):
        email_id = new_email_id()
        shard = int(shard_of(email_id), 16)
        if shard in jobs and len(jobs[shard]) < sizes[shard]:
            jobs[shard].append(JobRef(email_id, "main"))
    for refs in jobs.values():
        await rig.store.client.txn(
            Txn([], [put(rig.store.keys.job(ref), codec.encode_job(Job(100, 1))) for ref in refs])
        )


def shards_taken(ready: ReadyJobs) -> list[int]:
    """Takes all that is ready; returns the shard of each."""
    found = []
    while taken := ready.take(lambda site, job: None):
        found.append(int(shard_of(taken[0].email_id), 16))
    return found
