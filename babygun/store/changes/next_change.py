"""Waits for the next change of one e-mail."""

from __future__ import annotations

import asyncio

from babygun.errors import Compacted
from babygun.etcd import Watch
from babygun.runtime.tasks import cancel_all
from babygun.store.keys import range_end
from babygun.store.store import Store


async def next_change(store: Store, email_id: str, revision: int) -> None:
    """Returns when the record was written, or a queue claimed or released, after ``revision``.

    Returns at once where that is past already. Waits as long as etcd is away. A return may be a
    false alarm: read the record and compare. Raises EtcdError where etcd refuses the watch.
    """
    owners = store.keys.email_owners(email_id)
    async with (
        Watch(store.client, store.keys.email(email_id), b"", revision=revision + 1) as records,
        Watch(store.client, owners, range_end(owners), revision=revision + 1) as claims,
    ):
        waits = [
            asyncio.create_task(_one(changes), name="next change") for changes in (records, claims)
        ]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            await cancel_all(*waits)


async def _one(changes: Watch) -> None:
    try:
        await anext(changes)
    except Compacted:  # too long ago to say what changed
        return
