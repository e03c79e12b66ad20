"""Waiting for the next change of one e-mail, on a real etcd."""

from __future__ import annotations

import asyncio

from babygun.store.changes.next_change import next_change
from babygun.store.emails.on_request import cancel
from tests.support.processes import PATIENCE
from tests.support.rig import Rig
from tests.support.tries import claimed


async def test_next_change_returns_when_the_record_is_written(rig: Rig) -> None:
    email_id, other = await rig.send("ann@example.org"), await rig.send("bob@example.org")
    kv = await rig.store.client.get(rig.store.keys.email(other))
    assert kv is not None
    waiting = asyncio.create_task(next_change(rig.store, email_id, kv.mod_revision))
    await cancel(rig.store, other)
    await asyncio.sleep(0)
    assert not waiting.done(), "another e-mail's change is not waited for"
    await cancel(rig.store, email_id)
    async with asyncio.timeout(PATIENCE):
        await waiting


async def test_next_change_returns_at_once_where_the_change_is_past(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    kv = await rig.store.client.get(rig.store.keys.email(email_id))
    assert kv is not None
    await cancel(rig.store, email_id)
    async with asyncio.timeout(PATIENCE):
        await next_change(rig.store, email_id, kv.mod_revision)


async def test_next_change_returns_when_a_queue_is_claimed(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    kv = await rig.store.client.get(rig.store.keys.email(email_id))
    assert kv is not None
    waiting = asyncio.create_task(next_change(rig.store, email_id, kv.mod_revision))
    await claimed(rig.store, email_id, "main")
    async with asyncio.timeout(PATIENCE):
        await waiting
