"""What waits for its time."""

from __future__ import annotations

import asyncio

from babygun.store.emails.finish import finish
from babygun.store.emails.schedule import make_due
from tests.store.emails.steps import SOFT, claimed, held
from tests.support.invariants import check_invariants
from tests.support.rig import Rig


async def test_due_by_two_workers_at_once_makes_one_job(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [held(await claimed(rig, email_id), SOFT)])
    [kv] = (
        await rig.store.client.range(rig.store.keys.waiting, rig.store.keys.waiting + b"\xff")
    ).kvs
    assert sorted(
        await asyncio.gather(*(make_due(rig.store, kv.key, kv.value) for _ in range(5)))
    ) == [False] * 4 + [True]
    await check_invariants(rig.store)
