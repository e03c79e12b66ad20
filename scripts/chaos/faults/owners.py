"""Which jobs a worker owns at the moment, so that a fault meets it in the middle of its work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from babygun.errors import EtcdError
from babygun.store import codec
from babygun.store.keys import JobRef, range_end
from babygun.store.records import Worker
from scripts.chaos.history import KEYS
from scripts.chaos.parts import Part
from scripts.chaos.stage import Stage

_POLL = 0.01  # s


async def owned(stage: Stage, parts: Iterable[Part]) -> set[JobRef]:
    """The jobs that these workers own. Raises EtcdError."""
    pids = {part.pid for part in parts}
    workers = await stage.etcd.range(KEYS.workers, range_end(KEYS.workers))
    records = [codec.decode_state(kv.value, Worker) for kv in workers.kvs]
    ids = {record.id for record in records if record.pid in pids}
    owners = await stage.etcd.range(KEYS.owners, range_end(KEYS.owners))
    return {
        KEYS.parse_owner(kv.key)
        for kv in owners.kvs
        if codec.decode_owner(kv.value).worker_id in ids
    }


async def until_owning(stage: Stage, parts: Iterable[Part], within: float = 3.0) -> set[JobRef]:
    """Waits until one of the workers owns a job; returns those jobs, none after ``within`` s."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while True:
                with suppress(EtcdError):
                    if jobs := await owned(stage, parts):
                        return jobs
                await asyncio.sleep(_POLL)
    return set()
