"""What a worker learns of its slice by reading it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from babygun.consumer.slices import NOTHING, Slice
from babygun.email.ids import shard_of
from babygun.email.model import Job
from babygun.etcd import Txn, put
from babygun.intake.ids import new_email_id
from babygun.routing.sites import Site, site_of_relay
from babygun.store import codec
from babygun.store.emails.ready_jobs import ReadyJob
from babygun.store.keys import JobRef
from babygun.worker import feed as feed_module
from babygun.worker.feed import Feed, pause_after
from babygun.worker.ready import ReadyJobs
from tests.support.rig import Rig


@pytest.fixture(autouse=True)
def searches_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a test of many searches waits long where the machine stood still in some of them."""
    monkeypatch.setattr(feed_module, "_SHARE", 1)


def ready_jobs(limit: int, most: int = 200_000) -> ReadyJobs:
    return ReadyJobs(limit, lambda queue: site_of_relay(queue, None), most=most)


def nothing(site: Site, job: Job) -> None:
    """No site has an obstacle."""


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


async def test_jobs_of_other_clients_are_found_behind_a_backlog_of_one(rig: Rig) -> None:
    """The first read ends with what has room. The slice is then read to its end."""
    part = Slice(0, 4)
    await put_jobs(rig, refs_in(part, 600), "flood")
    await put_jobs(rig, refs_in(part, 20), "few")
    ready = ready_jobs(100)
    feed = Feed(rig.store, ready, (), lambda: None)
    await feed.read(part)
    assert len(ready) == 100 and ready.unread.to_sweep
    await feed.read(part, search=True)
    assert len(ready) == 120 and not ready.unread.to_sweep
    taken = [one[1].client for _ in range(40) if (one := ready.take(nothing))]
    assert taken.count("few") == 20
    assert ready.is_cut("main", "flood") and not ready.is_cut("main", "few")


async def test_client_with_few_names_left_is_looked_for_behind_another(rig: Rig) -> None:
    """Both have more than there is room for: a read of the queue finds those of the first only."""
    await put_jobs(rig, [JobRef(new_email_id(), "main") for _ in range(1500)], "flood")
    await put_jobs(rig, [JobRef(new_email_id(), "main") for _ in range(300)], "second")
    ready = ready_jobs(100)
    feed = Feed(rig.store, ready, (), lambda: None)
    await feed.read(Slice(0, 256), search=True)
    assert ready.is_cut("main", "flood") and ready.is_cut("main", "second")
    seen: Counter[str] = Counter()
    while seen["second"] < 300:
        if ready.unread.to_sweep:
            await feed.read(Slice(0, 256), search=True)
        for queue in [*ready.unread.to_read]:
            await feed.read(Slice(0, 256), queue)
        one = ready.take(nothing)
        assert one is not None, "nothing more is read"
        seen[one[1].client] += 1
        await rig.store.client.delete(rig.store.keys.job(one[0]))
    assert seen["flood"] >= 250, "they take turns"


async def test_new_job_does_not_overtake_older_ones_of_its_client_only(rig: Rig) -> None:
    await put_jobs(rig, [JobRef(new_email_id(), "main") for _ in range(300)], "flood")
    ready = ready_jobs(100)
    feed = Feed(rig.store, ready, (), lambda: None)
    await feed.read(Slice(0, 256), search=True)
    known = len(ready)
    feed._take_arrived([ReadyJob(JobRef(new_email_id(), "main"), Job(1, 1, client="flood"))])
    assert len(ready) == known
    feed._take_arrived([ReadyJob(JobRef(new_email_id(), "main"), Job(1, 1, client="other"))])
    assert len(ready) == known + 1


async def test_names_that_fit_nowhere_are_read_later_and_each_queue_has_its_turn(rig: Rig) -> None:
    """300 queues of 3 jobs each, and room for 100 names."""
    refs = [JobRef(new_email_id(), f"q{n:03}") for n in range(300) for _ in range(3)]
    await put_jobs(rig, refs, "shop")
    ready = ready_jobs(100, most=100)
    feed = Feed(rig.store, ready, (), lambda: None)
    await feed.read(Slice(0, 256))
    assert len(ready) == 100 and ready.is_cut("not-known", "shop")
    taken: list[JobRef] = []
    reads = 0
    while len(taken) < len(refs):
        if ready.unread.to_sweep or len(ready.unread.to_read) > 8:
            await feed.read(Slice(0, 256), search=True)
            reads += 1
        for queue in [*ready.unread.to_read]:
            await feed.read(Slice(0, 256), queue)
            reads += 1
        one = ready.take(nothing)
        assert one is not None, f"nothing more is read: {len(taken)}"
        taken.append(one[0])
        await rig.store.client.delete(rig.store.keys.job(one[0]))
    assert len(set(taken)) == len(refs) and reads <= 60


def test_search_of_a_process_that_stood_still_goes_on_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else what was hidden would stay hidden for 20 times as long."""
    monkeypatch.setattr(feed_module, "_SHARE", 20)
    assert pause_after(0.1) == pytest.approx(1.9)
    assert pause_after(60.0) == 10.0


def refs_in(part: Slice, count: int) -> list[JobRef]:
    """New jobs of the queue ``main`` in these shards."""
    ids = iter(new_email_id, "")
    mine = (one for one in ids if part.first <= int(shard_of(one), 16) < part.end)
    return [JobRef(next(mine), "main") for _ in range(count)]


async def put_jobs(rig: Rig, refs: list[JobRef], client: str) -> None:
    """Puts a client's jobs, the oldest first."""
    job = codec.encode_job(Job(100, 1, client=client))
    for at in range(0, len(refs), 100):
        puts = [put(rig.store.keys.job(ref), job) for ref in refs[at : at + 100]]
        await rig.store.client.txn(Txn([], puts))


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
