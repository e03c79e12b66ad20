"""Which workers' clocks differ from this machine's.

An old check-in is no proof: etcd may have refused the newer ones, been away, or been restored. So a
worker whose check-in looks old is judged by its next two. One alone may have waited in etcd, while
etcd stood still.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import timedelta
from typing import NamedTuple

from babygun.etcd import Watch
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.cluster import worker_checks
from babygun.store.keys import range_end
from babygun.store.records import Worker
from babygun.store.store import Store


class _CheckIn(NamedTuple):
    """``behind``: seconds that the worker's clock is at least behind ours; negative for ahead."""

    worker: Worker
    behind: float


async def wrong_clocks(store: Store, workers: Sequence[Worker]) -> dict[str, str]:
    """By worker, how far its clock is from ours.

    Waits for two check-ins of those whose last one looks old: one comes every third of a lease.
    Nothing is said of those that don't check in. Raises EtcdError.
    """
    now = utc_now()
    found = worker_checks.clocks_ahead(workers, now)
    oldest = now - timedelta(seconds=store.settings.lease_ttl + worker_checks.SKEW)
    waiting = {worker.id for worker in workers if worker.last_checkin < oldest}
    if not waiting:
        return found
    seen: set[str] = set()
    try:
        async with asyncio.timeout(store.settings.lease_ttl):
            async for worker, behind in _check_ins(store, waiting):
                sentence = worker_checks.clock_behind(worker, behind)
                if sentence and worker.id not in seen:
                    seen.add(worker.id)
                    continue
                if sentence and worker.id in waiting:
                    found[worker.id] = sentence
                waiting.discard(worker.id)
                if not waiting:
                    break
    except TimeoutError:
        pass
    return found


async def _check_ins(store: Store, of: Collection[str]) -> AsyncIterator[_CheckIn]:
    """The check-ins of these workers from now on.

    A check-in is made up to etcd_timeout before etcd has it, and it was not there at ``since``.
    """
    prefix, end = store.keys.workers, range_end(store.keys.workers)
    since = utc_now() - timedelta(seconds=store.settings.etcd_timeout)
    revision = (await store.client.range(prefix, end, limit=1, keys_only=True)).revision
    async with Watch(store.client, prefix, end, revision=revision + 1, deletes=False) as batches:
        async for batch in batches:
            for event in batch.events:
                if store.keys.last_part(event.kv.key) in of:
                    worker = codec.decode_state(event.kv.value, Worker)
                    yield _CheckIn(worker, (since - worker.last_checkin).total_seconds())
