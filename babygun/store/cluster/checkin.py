"""A process's record in etcd: written at each check-in, on a lease, so it goes with the process.

A process has an id for as long as its lease lives. When the lease is lost, because etcd or the
process stood still for too long, the process checks in under a new id.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from babygun import __version__
from babygun.errors import EtcdError, PermissionDenied
from babygun.etcd import EtcdClient, Lease
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_process_id
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all
from babygun.store import codec
from babygun.store.audit.runs import note_run
from babygun.store.records import Process
from babygun.store.store import Store

log = get_logger("store")

_TRY_AGAIN = 0.5  # s, until a lease that etcd did not grant is asked for again
_AT_STOP = 3.0  # s, for the last check-in: a stop does not wait for an etcd that is away


class Identity(Lease):
    """One id of a process, and its lease. The id ends when the lease does."""

    def __init__(self, client: EtcdClient, ttl: int, process_id: str) -> None:
        super().__init__(client, ttl)
        self.process_id = process_id


class CheckIn:
    """Checks a process in. Run :meth:`run` as a task, and :meth:`leave` when that has ended.

    ``record`` makes the record. It gets the fields that all processes have, and adds its own.
    ``identity``: the present one, None before the first. ``checkins``: so far under this identity.
    ``checked_in``: set while the record is in etcd, as far as is known.
    """

    def __init__(
        self,
        store: Store,
        kind: Literal["worker", "api"],
        record: Callable[[dict[str, Any]], Process],
    ) -> None:
        self._store, self._kind, self._record = store, kind, record
        self._key = store.keys.worker if kind == "worker" else store.keys.api
        self._hostname, self._started_at = socket.gethostname(), utc_now()
        self._soon = asyncio.Event()
        self._noted = False
        self._turn_by = math.inf  # monotonic: when the loop has turned again, if all is well
        self.identity: Identity | None = None
        self.checkins = 0
        self.checked_in = asyncio.Event()

    @property
    def process_id(self) -> str:
        """The present id; empty before the first."""
        return self.identity.process_id if self.identity is not None else ""

    @property
    def name(self) -> str:
        """The present id; before the first, the host's name."""
        return self.process_id or self._hostname

    async def run(self) -> None:
        """Checks in every third of the lease, under a new id whenever the lease is lost."""
        while True:
            self._turns()
            identity = Identity(
                self._store.client,
                int(self._store.settings.lease_ttl),
                new_process_id(self._hostname, self._kind),
            )
            try:
                await identity.start()
            except EtcdError as error:
                log.warning("not checked in", kind=self._kind, error=str(error))
                await asyncio.sleep(_TRY_AGAIN)
                continue
            self.identity = identity
            log.info("checked in", process_id=identity.process_id)
            keeping_alive = asyncio.create_task(identity.run(), name="lease")
            try:
                await self._repeat(identity)
            finally:
                self.checked_in.clear()
                await cancel_all(keeping_alive)
            log.warning("lease lost", process_id=identity.process_id)

    def stands_still(self, seconds: float) -> bool:
        """Whether :meth:`run` should have gone on so many seconds ago, also without etcd."""
        return time.monotonic() > self._turn_by + seconds

    def _turns(self) -> None:
        settings = self._store.settings
        self._turn_by = time.monotonic() + settings.lease_ttl / 3 + 2 * settings.etcd_timeout

    def check_in_soon(self) -> None:
        """Checks in now: the record has changed."""
        self._soon.set()

    async def leave(self) -> None:
        """Checks in for the last time, and gives the lease back: nobody has to wait for its end."""
        if self.identity is not None and self.identity.trusted:
            with suppress(EtcdError, TimeoutError):
                async with asyncio.timeout(_AT_STOP):
                    await self._check_in(self.identity)
                    await self.identity.close()

    async def _repeat(self, identity: Identity) -> None:
        self.checkins = 0
        while not identity.lost.is_set():
            self._turns()
            self._soon.clear()
            self.checkins += 1
            try:
                await self._check_in(identity)
                self.checked_in.set()
                if not self._noted:
                    await self._note_run(identity)
            except EtcdError as error:
                log.warning("check-in failed", process_id=identity.process_id, error=str(error))
            await _first_of(identity.lost, self._soon, within=self._store.settings.lease_ttl / 3)

    async def _note_run(self, identity: Identity) -> None:
        """Notes the settings for the audit. If the right to it is missing, it is tried once."""
        try:
            await note_run(self._store, self._kind, identity.process_id)
        except PermissionDenied:
            self._noted = True
            raise
        self._noted = True

    async def _check_in(self, identity: Identity) -> None:
        common = {
            "id": identity.process_id,
            "pid": os.getpid(),
            "hostname": self._hostname,
            "started_at": self._started_at,
            "last_checkin": utc_now(),
            "version": __version__,
        }
        await self._store.client.put(
            self._key(identity.process_id),
            codec.encode_state(self._record(common)),
            identity.lease_id,
        )


async def _first_of(*events: asyncio.Event, within: float) -> None:
    """Waits for one of the events, at most ``within`` seconds."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
