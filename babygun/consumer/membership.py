"""This worker among the others: its identity, its slice, and which workers have gone.

A worker is its lease. When the lease is lost, the worker goes on under a new id and lease; what it
began under the old one is decided by the fencing of the results.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from babygun.consumer.slices import NOTHING, Slice, slice_of
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.checkin import CheckIn, Identity
from babygun.store.cluster.live_workers import Gone, follow_live_workers
from babygun.store.cluster.shared_settings import shared_settings
from babygun.store.keys import JobRef
from babygun.store.records import Worker

log = get_logger("worker")


class Counts(Protocol):
    """Recipients by what a try did, since the process started."""

    delivered: int
    deferred: int
    failed: int


class Membership:
    """Run :meth:`check_in` and :meth:`follow` as tasks; :meth:`leave` when both have ended.

    ``changed`` is called with the worker's new slice, ``died`` with the id of a worker that is gone
    and the jobs that it owned. ``queues``: the queues that this worker sends, as its record holds
    them.
    """

    def __init__(
        self,
        store: Store,
        *,
        in_flight: Callable[[], int],
        counts: Counts,
        changed: Callable[[Slice], None],
        died: Callable[[str, list[JobRef]], None],
        queues: dict[str, str],
    ) -> None:
        self._store, self._in_flight, self._counts = store, in_flight, counts
        self._changed, self._died, self._queues = changed, died, queues
        self._settings = shared_settings(store.settings)
        self._live: set[str] = set()  # ids of the workers that have a slice
        self._draining = False
        self._address = ""
        self._check_in = CheckIn(store, "worker", self._record)
        self.slice = NOTHING
        self.checked_in = self._check_in.checked_in

    @property
    def identity(self) -> Identity | None:
        """This worker's id and lease; None before the first."""
        return self._check_in.identity

    @property
    def worker_id(self) -> str:
        return self._check_in.process_id

    @property
    def leads(self) -> bool:
        """Whether this worker does what only one should do: it is the first of the live ones."""
        return bool(self._live) and min(self._live) == self.worker_id

    @property
    def workers(self) -> int:
        """How many live workers there are."""
        return len(self._live)

    @property
    def is_live(self) -> bool:
        """Whether this worker is among the live ones, as all see them, so that it has a slice."""
        return self.worker_id in self._live

    def stands_still(self, seconds: float) -> bool:
        """Whether :meth:`check_in` should have gone on so many seconds ago."""
        return self._check_in.stands_still(seconds)

    async def check_in(self) -> None:
        """Checks in again and again until cancelled."""
        await self._check_in.run()

    async def follow(self) -> None:
        """Follows the live workers until cancelled."""
        await follow_live_workers(self._store, self._workers_changed)

    def drain(self) -> None:
        """Announces that this worker takes no more jobs: the others share its slice at once."""
        self._draining = True
        self._check_in.check_in_soon()

    async def leave(self) -> None:
        """Reports the last counts, and gives the lease back."""
        await self._check_in.leave()

    def _record(self, common: dict[str, Any]) -> Worker:
        if not self._address:
            self._address = _own_address(self._store.settings.etcd_endpoints[0])
        return Worker(
            **common,
            ip=self._address,
            checkins=self._check_in.checkins,
            in_flight=self._in_flight(),
            slice=(self.slice.first, self.slice.end),
            draining=self._draining,
            queues=self._queues,
            settings=self._settings,
            delivered=self._counts.delivered,
            deferred=self._counts.deferred,
            failed=self._counts.failed,
        )

    def _workers_changed(self, live: set[str], gone: list[Gone]) -> None:
        """After a worker has gone, the slice is read again even where it is the same."""
        self._live = live
        for worker_id, owned in gone:
            self._died(worker_id, owned)
        part = slice_of(self.worker_id, live)
        if part == self.slice and not gone:
            return
        log.info(
            "slice changed",
            worker_id=self.worker_id,
            first=part.first,
            end=part.end,
            workers=len(live),
        )
        self.slice = part
        self._check_in.check_in_soon()
        self._changed(part)


def _own_address(endpoint: str) -> str:
    """This host's address on the way to etcd. No packet is sent to find it."""
    host, _, port = endpoint.rpartition("//")[2].rstrip("/").rpartition(":")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return "unknown"
