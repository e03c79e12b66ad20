"""What a worker learns of its slice by reading it."""

from __future__ import annotations

from babygun import codec
from babygun.etcd import Txn, put
from babygun.ids import new_email_id, shard_of
from babygun.keys import JobRef
from babygun.model import Job
from babygun.worker.feed import Feed
from babygun.worker.ready import ReadyJobs
from babygun.worker.slices import NOTHING, Slice
from tests.rig import Rig


async def test_slice_that_was_lost_before_its_read_began_holds_nothing(rig: Rig) -> None:
    await rig.send("ann@example.org")
    ready = ReadyJobs(100)
    feed = Feed(rig.store, ready, (), lambda: None)
    assert await feed.read(NOTHING) == 0
    assert await feed.read(NOTHING, "main") == 0
    assert ready.count("main") == 0
    assert await feed.read(Slice(0, 256)) > 0
    assert ready.count("main") == 1


async def test_shards_of_a_backlog_are_read_in_turn_so_that_none_waits_for_long(rig: Rig) -> None:
    """Sixteen shards of 20 jobs, of which 100 find room at a time: five shards a read, and the next one begins where that ended."""
    jobs: dict[int, list[JobRef]] = {shard: [] for shard in range(16)}
    while any(len(refs) < 20 for refs in jobs.values()):
        email_id = new_email_id()
        if (refs := jobs.get(int(shard_of(email_id), 16))) is not None and len(refs) < 20:
            refs.append(JobRef(email_id, "main"))
    for refs in jobs.values():
        await rig.store.client.txn(Txn([], [put(rig.store.keys.job(ref), codec.encode_job(Job(100, 1))) for ref in refs]))
    ready = ReadyJobs(100)
    feed = Feed(rig.store, ready, (), lambda: None)
    found: list[set[int]] = []
    for _ in range(8):
        await feed.read(Slice(0, 16), "main")
        found.append(set())
        while taken := ready.take(lambda queue, job: True):
            found[-1].add(int(shard_of(taken[0].email_id), 16))
    assert all(len(shards) < 8 for shards in found), "a read brings so much that the test shows nothing"
    assert [set[int]().union(*found[at : at + 4]) for at in range(5)] == [{*range(16)}] * 5
