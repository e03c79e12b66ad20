"""What waits for its time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from babygun.email.model import Job
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.emails.finish import finish
from babygun.store.emails.schedule import list_waiting, make_all_due, make_due
from babygun.store.keys import JobRef, range_end
from tests.store.emails.steps import SOFT, claimed, pending
from tests.support.invariants import check_invariants
from tests.support.rig import Rig


async def test_due_by_two_workers_at_once_makes_one_job(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, email_id), SOFT)])
    [kv] = (
        await rig.store.client.range(rig.store.keys.waiting, rig.store.keys.waiting + b"\xff")
    ).kvs
    assert sorted(
        await asyncio.gather(*(make_due(rig.store, kv.key, kv.value) for _ in range(5)))
    ) == [False] * 4 + [True]
    await check_invariants(rig.store)


async def test_all_due_makes_jobs_of_what_is_due_and_taken(rig: Rig) -> None:
    now, keys, client = utc_now(), rig.store.keys, rig.store.client
    mine, others, later = (JobRef(new_email_id(), "main") for _ in range(3))
    ago = now - timedelta(seconds=3)
    for ref, due in ((mine, ago), (others, ago), (later, now + timedelta(seconds=60))):
        await client.put(keys.not_before(due, ref), codec.encode_job(Job(100, 1)))
    await client.put(keys.waiting + b"2000-by-hand", b"")
    asked: list[tuple[JobRef, datetime]] = []

    def takes(ref: JobRef, due: datetime) -> bool:
        asked.append((ref, due))
        return ref == mine

    assert await make_all_due(rig.store, now, takes) == 1
    assert {ref for ref, _ in asked} == {mine, others}
    assert all(abs(due - ago) < timedelta(milliseconds=1) for _, due in asked)
    found = await client.range(keys.jobs, range_end(keys.jobs))
    assert [keys.parse_job(kv.key) for kv in found.kvs] == [mine]


async def test_schedule_has_each_queue_of_a_wide_email_with_its_recipients(rig: Rig) -> None:
    email_id = await rig.send_wide(17)
    tried = await claimed(rig, email_id, queue="mx:d0003.example")
    await finish(rig.store, [pending(tried, SOFT)])
    [one] = (await list_waiting(rig.store, client_id=None, limit=10)).waiting
    assert one.ref == JobRef(email_id, "mx:d0003.example")
    [recipient] = one.email.recipients
    assert (recipient.queue, recipient.status, recipient.status_code) == (
        "mx:d0003.example",
        "deferred",
        451,
    )
