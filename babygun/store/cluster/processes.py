"""The workers and API processes that are there, and the rates of what they count.

Each process checks in every third of its lease. The age of a check-in is counted from its arrival
here, since the machines' clocks differ. While etcd is away the last known state stays.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from babygun.etcd import KeyValue, WatchBatch, follow
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.cluster.rates import STEP, Rates
from babygun.store.keys import range_end
from babygun.store.records import ApiProcess, Process, Worker
from babygun.store.store import Store

# E-mails accepted; recipients delivered, deferred and failed.
COUNTED = ("accepted", "delivered", "deferred", "failed")

_MOST_WORKERS = 1000  # that are listed

P = TypeVar("P", Worker, ApiProcess)


@dataclass(frozen=True, slots=True)
class LastCheckIn(Generic[P]):
    """A process as it checked in last, at ``at`` (time.monotonic())."""

    process: P
    at: float

    @property
    def age(self) -> float:
        """Seconds since then."""
        return max(0.0, time.monotonic() - self.at)


class Processes:
    """Run :meth:`run` as a task. ``workers`` and ``apis`` are by id."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.workers: dict[str, LastCheckIn[Worker]] = {}
        self.apis: dict[str, LastCheckIn[ApiProcess]] = {}
        self.rates = Rates(COUNTED, settling=max(STEP, store.settings.lease_ttl / 3))

    async def run(self) -> None:
        """Follows the records of both kinds until cancelled."""
        keys = self._store.keys
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._follow("workers", keys.workers, Worker, self.workers), name="known workers"
            )
            group.create_task(
                self._follow("API processes", keys.apis, ApiProcess, self.apis), name="known APIs"
            )

    async def _follow(
        self, what: str, prefix: bytes, kind: type[P], present: dict[str, LastCheckIn[P]]
    ) -> NoReturn:
        client, last_part, end = self._store.client, self._store.keys.last_part, range_end(prefix)

        async def read() -> int:
            found = await client.range(prefix, end)
            for process_id in set(present) - {last_part(kv.key) for kv in found.kvs}:
                self._left(present, process_id)
            for kv in found.kvs:
                if (process := codec.state_of(kv, kind)) is not None:
                    known = present.get(last_part(kv.key))
                    if known is None or known.process != process:
                        age = (utc_now() - process.last_checkin).total_seconds()
                        self._checked_in(present, kv, process, max(0.0, age))
            return found.revision

        async def changed(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "delete":
                    self._left(present, last_part(event.kv.key))
                elif (process := codec.state_of(event.kv, kind)) is not None:
                    self._checked_in(present, event.kv, process, 0.0)

        await follow(client, prefix, end, what=what, read=read, changed=changed)

    def _checked_in(
        self, present: dict[str, LastCheckIn[P]], kv: KeyValue, process: P, age: float
    ) -> None:
        """``age``: seconds since the check-in."""
        process_id = self._store.keys.last_part(kv.key)
        present[process_id] = LastCheckIn(process, time.monotonic() - age)
        self.rates.add(_source(process), _counts(process), time.time())

    def _left(self, present: dict[str, LastCheckIn[P]], process_id: str) -> None:
        if last := present.pop(process_id, None):
            self.rates.leave(_source(last.process))


def _source(process: Process) -> tuple[object, ...]:
    """Names the process for as long as it runs.

    A process that loses its lease checks in under a new id, and its counts go on.
    """
    return process.hostname, process.pid, process.started_at, isinstance(process, Worker)


def _counts(process: Worker | ApiProcess) -> dict[str, int]:
    if isinstance(process, ApiProcess):
        return {"accepted": process.accepted}
    return {"delivered": process.delivered, "deferred": process.deferred, "failed": process.failed}


async def list_workers(store: Store) -> list[Worker]:
    """The workers with a live lease, sorted by id.

    Raises ValueError for a record that somebody wrote by hand.
    """
    found = await store.client.range(
        store.keys.workers, range_end(store.keys.workers), limit=_MOST_WORKERS
    )
    return [codec.decode_state(kv.value, Worker) for kv in found.kvs]
