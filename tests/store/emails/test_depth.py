"""How many jobs there are and how old they are, on a real etcd: exact, and with few requests."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from babygun.email.model import Job
from babygun.etcd import Txn, TxnResult, put
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.runtime.metric_types import OTHER
from babygun.store.codec import encode_job
from babygun.store.emails import depth as depth_module
from babygun.store.emails.claims import claim
from babygun.store.emails.depth import Depths
from babygun.store.emails.schedule import make_due
from babygun.store.keys import JobRef
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

JOB = encode_job(Job(100, 1))


def within(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


async def write(rig: Rig, keys: list[bytes]) -> None:
    for at in range(0, len(keys), 100):
        await rig.store.client.txn(Txn([], [put(key, JOB) for key in keys[at : at + 100]]))


async def test_depth_of_nothing_is_zero_for_the_queues_asked_for(rig: Rig) -> None:
    depth = await Depths(rig.store, ["main"]).read(within())
    assert depth.jobs == {("main", "ready"): 0, ("main", "waiting"): 0} and depth.oldest == {
        ("main", "ready"): 0.0,
        ("main", "waiting"): 0.0,
    }
    assert (depth.owned, depth.workers) == (0, 0)


async def test_depth_distinguishes_queues_states_and_owned_jobs(two_queues: Rig) -> None:
    rig = two_queues
    for _ in range(7):
        await rig.send("ann@a.example")
    for _ in range(5):
        await rig.send("ann@b.example", "bob@a.example")
    for _ in range(3):
        await rig.send("ann@b.example", send_at=utc_now() + timedelta(hours=1))
    lease = await rig.store.client.grant(600)
    email_id = await rig.send("ann@b.example")
    assert await claim(rig.store, JobRef(email_id, "b"), worker_id="w", lease_id=lease)
    await rig.store.client.put(rig.store.keys.worker("w"), b"", lease)
    depth = await Depths(rig.store).read(within())
    assert depth.jobs == {("a", "ready"): 12, ("b", "ready"): 6, ("b", "waiting"): 3}
    assert (depth.owned, depth.workers) == (1, 1)
    assert 0 < depth.oldest["a", "ready"] < 600 and depth.oldest["b", "waiting"] == 0


async def test_depth_of_many_queues_in_one_shard_is_exact_and_lumps_what_is_beyond_the_limit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [new_email_id()[:-2] + "7f" for _ in range(5)]
    await write(
        rig,
        [
            rig.store.keys.job(JobRef(email_id, f"q{n}"))
            for n in range(4)
            for email_id in ids[: n + 1]
        ],
    )
    depth = await Depths(rig.store).read(within())
    assert depth.jobs == {
        ("q0", "ready"): 1,
        ("q1", "ready"): 2,
        ("q2", "ready"): 3,
        ("q3", "ready"): 4,
    }
    monkeypatch.setattr(depth_module, "MOST_QUEUES", 2)
    depth = await Depths(rig.store).read(within())
    assert depth.jobs == {("q0", "ready"): 1, ("q1", "ready"): 2, (OTHER, "ready"): 7}


async def test_most_overdue_waiting_job_of_each_queue_is_found(rig: Rig) -> None:
    now, keys = utc_now(), rig.store.keys
    dues = {"a": (-30, -90, 60), "b": (60, 120)}
    await write(
        rig,
        [
            keys.not_before(now + timedelta(seconds=s), JobRef(new_email_id(), queue))
            for queue, seconds in dues.items()
            for s in seconds
        ],
    )
    depth = await Depths(rig.store).read(within())
    assert depth.jobs == {("a", "waiting"): 3, ("b", "waiting"): 2}
    assert 90 <= depth.oldest["a", "waiting"] < 600 and depth.oldest["b", "waiting"] == 0


async def test_waiting_jobs_beyond_those_that_are_read_count_as_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth_module, "READ_WAITING", 20)
    monkeypatch.setattr(depth_module, "_PAGE", 10)
    soon, later = utc_now() + timedelta(hours=1), utc_now() + timedelta(hours=2)
    await write(
        rig, [rig.store.keys.not_before(soon, JobRef(new_email_id(), "a")) for _ in range(15)]
    )
    await write(
        rig, [rig.store.keys.not_before(later, JobRef(new_email_id(), "b")) for _ in range(15)]
    )
    depth = await Depths(rig.store).read(within())
    assert depth.jobs == {("a", "waiting"): 15, ("b", "waiting"): 5, (OTHER, "waiting"): 10}


async def test_job_that_waited_long_counts_from_when_it_became_ready(rig: Rig) -> None:
    """An e-mail that was deferred an hour ago, and is due again now, is no sign of a backlog."""
    email_id = new_email_id(time.time_ns() - 3600 * 10**9)
    key = rig.store.keys.not_before(utc_now(), JobRef(email_id, "main"))
    await write(rig, [key])
    depths = Depths(rig.store)
    await depths.read(within())
    assert await make_due(rig.store, key, JOB)
    assert (await depths.read(within())).oldest["main", "ready"] < 600
    assert (await Depths(rig.store).read(within())).oldest[
        "main", "ready"
    ] >= 3600  # nothing but its id to go by


async def test_keys_that_can_not_be_read_are_counted_and_harm_nothing(rig: Rig) -> None:
    await rig.send("ann@example.org")
    await write(
        rig,
        [
            rig.store.keys.job_shard(3) + b"nonsense",
            rig.store.keys.jobs + b"nonsense",
            rig.store.keys.waiting + b"nonsense",
        ],
    )
    depth = await Depths(rig.store).read(within())
    assert depth.jobs["main", "ready"] == 1 and depth.jobs[OTHER, "ready"] == 1


async def test_depth_of_20000_jobs_takes_a_dozen_requests(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(rig, [rig.store.keys.job(JobRef(new_email_id(), "main")) for _ in range(20_000)])
    requests = 0
    read = rig.store.client.read

    async def counted(*args: Any, **kwargs: Any) -> TxnResult:
        nonlocal requests
        requests += 1
        return await read(*args, **kwargs)

    monkeypatch.setattr(rig.store.client, "read", counted)
    depth = await Depths(rig.store).read(within())
    assert depth.jobs["main", "ready"] == 20_000 and 4 <= requests <= 12


async def test_depth_of_many_domains_is_one_number_read_in_two_rounds(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [JobRef(new_email_id(), f"mx:d{n}.example") for n in range(300)]
    refs += [JobRef(new_email_id(), "zoo") for _ in range(20)]
    await write(rig, [rig.store.keys.job(ref) for ref in refs])
    due = utc_now() - timedelta(seconds=60)
    await write(rig, [rig.store.keys.not_before(due, ref) for ref in refs[:3]])
    reads: list[Any] = []
    read = rig.store.client.read

    async def counted(ops: Any, **more: Any) -> TxnResult:
        reads.append(ops)
        return await read(ops, **more)

    monkeypatch.setattr(rig.store.client, "read", counted)
    depth = await Depths(rig.store).read(within())
    assert depth.jobs == {("mx:*", "ready"): 300, ("zoo", "ready"): 20, ("mx:*", "waiting"): 3}
    assert depth.oldest["mx:*", "waiting"] > 59 > depth.oldest["mx:*", "ready"]
    assert len(reads) <= 1 + 2 * 3
