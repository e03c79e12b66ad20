"""What etcd knows of the whole cluster, read when somebody calls for metrics or overview."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.runtime.on_demand import OnDemand
from babygun.store import Store
from babygun.store.cluster.members import MemberState, read_members
from babygun.store.emails.depth import Depth, Depths

log = get_logger("api")

FRESH = 5.0  # s, for which a reading serves all who read the metrics
# s, that etcd is given for an answer, and etcd_timeout at most: Prometheus gives up after some 10.
PATIENCE = 2.0


class ClusterReading:
    """The last reading: depths of the queues, etcd's members and alarms. One is made at a time.

    Where etcd does not answer within PATIENCE, ``depth`` and ``alarms`` are None, and ``problem``
    says why. ``took``: seconds that the reading took; 0 where it failed.
    """

    def __init__(self, store: Store, queues: Iterable[str]) -> None:
        self._store, self._depths = store, Depths(store, queues)
        self._patience = min(PATIENCE, store.settings.etcd_timeout)
        self._reading = OnDemand(self._read, "cluster reading")
        self.depth: Depth | None = None
        self.members: list[MemberState] = []
        self.alarms: list[str] | None = None
        self.problem = ""
        self.took = 0.0

    async def read(self, fresh: float | None = None) -> None:
        """Reads again if the last reading is older than ``fresh`` seconds (FRESH).

        Raises nothing where etcd does not answer.
        """
        await asyncio.shield(self._reading.refresh(FRESH if fresh is None else fresh))

    @property
    def waited(self) -> float:
        """Seconds since the reading that etcd has not answered yet began; 0 where there is none."""
        return self._reading.waited

    async def _read(self) -> None:
        self.members, self.alarms, (self.depth, self.problem) = await asyncio.gather(
            self._read_members(), self._read_alarms(), self._read_depth()
        )
        self.took = self._reading.age if self.depth is not None else 0.0

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
