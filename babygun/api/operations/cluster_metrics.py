"""What the metrics and the overview tell of the whole cluster: asked of etcd when somebody scrapes or looks, at most every few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from babygun.errors import EtcdError
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.members import MemberState, read_members
from babygun.store.emails.depth import Depth, Depths

log = get_logger("api")

FRESH = 5.0  # seconds for which a reading serves all who scrape
PATIENCE = (
    2.0  # seconds that etcd is given, and etcd_timeout at most: scrapers give up after some 10
)


class Cluster:
    """What etcd says when it is asked: depths of the queues, workers, its own members. One reading at a time, kept for FRESH seconds.

    Where etcd does not answer, its numbers are absent until it does, and nobody waits longer than PATIENCE. ``depth`` is None then, and
    ``problem`` says why; ``alarms`` is None. ``members``: by endpoint its status, or why there is none.
    """

    def __init__(self, store: Store, queues: Iterable[str]) -> None:
        self._store, self._depths = store, Depths(store, queues)
        self._patience = min(PATIENCE, store.settings.etcd_timeout)
        self._reading: asyncio.Task[None] | None = None
        self._begun = 0.0
        self.depth: Depth | None = None
        self.members: list[MemberState] = []
        self.alarms: list[str] | None = None
        self.problem = ""
        self.took = 0.0  # s, that the last reading took; 0 where it failed

    async def read(self, fresh: float | None = None) -> None:
        """Reads anew where the last reading is older than ``fresh`` seconds (FRESH). Raises nothing of etcd's."""
        if self._reading is None or (
            self._reading.done()
            and time.monotonic() - self._begun >= (FRESH if fresh is None else fresh)
        ):
            self._begun = time.monotonic()
            self._reading = asyncio.create_task(self._read(), name="cluster reading")
        await asyncio.shield(self._reading)

    @property
    def waited(self) -> float:
        """For how long, in seconds, etcd has been owing the answer to a reading; 0 where it owes none."""
        return (
            0.0 if self._reading is None or self._reading.done() else time.monotonic() - self._begun
        )

    async def _read(self) -> None:
        self.members, self.alarms, (self.depth, self.problem) = await asyncio.gather(
            self._read_members(), self._read_alarms(), self._read_depth()
        )
        self.took = time.monotonic() - self._begun if self.depth is not None else 0.0

    async def _read_members(self) -> list[MemberState]:
        try:
            return await read_members(self._store, timeout=self._patience)
        except EtcdError:  # the client is closed
            return []

    async def _read_alarms(self) -> list[str] | None:
        try:
            return await self._store.client.alarms(timeout=self._patience)
        except EtcdError:
            return None

    async def _read_depth(self) -> tuple[Depth | None, str]:
        try:
            async with asyncio.timeout(self._patience):
                return await self._depths.read(time.monotonic() + self._patience), ""
        except (EtcdError, TimeoutError) as error:
            problem = str(error) or "etcd takes too long"
            if problem != self.problem:
                log.warning("queue depths not read", error=problem)
            return None, problem

    def show(self) -> None:
        """Puts the last reading into the metrics."""
        depth = self.depth
        metrics.QUEUE_JOBS.show(depth.jobs if depth else None)
        metrics.OLDEST_JOB.show(depth.oldest if depth else None)
        metrics.OWNED_JOBS.show(depth.owned if depth else None)
        metrics.WORKERS.show(depth.workers if depth else None)
        members = self.members
        metrics.ETCD_MEMBER_UP.show({(m.endpoint,): float(m.sizes is not None) for m in members})
        metrics.ETCD_DB.show({(m.endpoint,): m.sizes.file for m in members if m.sizes})
        metrics.ETCD_DB_IN_USE.show({(m.endpoint,): m.sizes.in_use for m in members if m.sizes})
        metrics.ETCD_QUOTA.show({(m.endpoint,): m.sizes.quota for m in members if m.sizes})
