"""Who is there, workers and API processes, and what they count: their keys, followed by a watch each.

They check in every third of their lease. How long ago that was is counted here, from the arrival: clocks of machines differ.
While etcd is away the last known state stays, and grows old.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Generic, TypeVar

from babygun.errors import Compacted, EtcdError
from babygun.etcd import watch
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.cluster.rates import STEP, Rates
from babygun.store.keys import range_end
from babygun.store.records import ApiProcess, Worker
from babygun.store.store import Store

log = get_logger("store")

COUNTED = (
    "accepted",
    "delivered",
    "deferred",
    "failed",
)  # e-mails accepted, recipients delivered and so on
_LOOK_AGAIN = 0.5  # s, after etcd refused

P = TypeVar("P", Worker, ApiProcess)


@dataclass(frozen=True, slots=True)
class Heard(Generic[P]):
    """A process as it checked in last, at ``at`` (time.monotonic())."""

    process: P
    at: float

    @property
    def age(self) -> float:
        """Seconds since then."""
        return max(0.0, time.monotonic() - self.at)


class Presence:
    """Run :meth:`run` as a task; :attr:`workers` and :attr:`apis` are by id."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.workers: dict[str, Heard[Worker]] = {}
        self.apis: dict[str, Heard[ApiProcess]] = {}
        self.rates = Rates(COUNTED, settling=max(STEP, store.settings.lease_ttl / 3))

    async def run(self) -> None:
        keys = self._store.keys
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._follow(keys.workers, Worker, self.workers), name="presence of workers"
            )
            group.create_task(
                self._follow(keys.apis, ApiProcess, self.apis), name="presence of APIs"
            )

    async def _follow(self, prefix: bytes, kind: type[P], present: dict[str, Heard[P]]) -> None:
        end = range_end(prefix)
        while True:
            try:
                found = await self._store.client.range(prefix, end)
                for name in set(present) - {self._store.keys.last_part(kv.key) for kv in found.kvs}:
                    self._left(present, name)
                for kv in found.kvs:
                    self._checked_in(present, kind, kv.key, kv.value, arrived=False)
                async with watch(
                    self._store.client, prefix, end, revision=found.revision + 1
                ) as batches:
                    async for batch in batches:
                        for event in batch.events:
                            if event.type == "put":
                                self._checked_in(
                                    present, kind, event.kv.key, event.kv.value, arrived=True
                                )
                            else:
                                self._left(present, self._store.keys.last_part(event.kv.key))
            except Compacted:
                continue
            except EtcdError as error:
                log.warning("processes not followed", prefix=prefix.decode(), error=str(error))
                await asyncio.sleep(_LOOK_AGAIN)

    def _checked_in(
        self,
        present: dict[str, Heard[P]],
        kind: type[P],
        key: bytes,
        value: bytes,
        *,
        arrived: bool,
    ) -> None:
        """``arrived``: just now, by the watch; else as long ago as the process's own clock says."""
        try:
            process = codec.decode_state(value, kind)
        except ValueError as error:  # put there by hand
            log.error("key unreadable", key=key.decode(errors="replace"), error=str(error))
            return
        name = self._store.keys.last_part(key)
        age = 0.0 if arrived else max(0.0, (utc_now() - process.last_checkin).total_seconds())
        if name in present and not arrived and present[name].process == process:
            return
        present[name] = Heard(process, time.monotonic() - age)
        self.rates.tell(_identity(process), _counts(process), time.time())

    def _left(self, present: dict[str, Heard[P]], name: str) -> None:
        if heard := present.pop(name, None):
            self.rates.gone(_identity(heard.process))


def _identity(process: Worker | ApiProcess) -> tuple[object, ...]:
    """Of the process itself: one that lost its lease registers again under another id, and counts on."""
    return process.hostname, process.pid, process.started_at, isinstance(process, Worker)


def _counts(process: Worker | ApiProcess) -> dict[str, int]:
    if isinstance(process, ApiProcess):
        return {"accepted": process.accepted}
    return {"delivered": process.delivered, "deferred": process.deferred, "failed": process.failed}
