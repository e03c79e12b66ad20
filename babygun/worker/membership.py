"""Who works: this worker's own session and heartbeat, and the others as their keys come and go.

A worker is its lease. When the lease is lost (etcd or this process stood still for too long), the worker registers again
under a new id and lease, by itself; what it had begun under the old one is decided by the fencing of the results.
When another dies, its key and its owner keys vanish in one revision; ``owners/`` read just before that tells what it held.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from msgspec.structs import replace

from babygun import __version__
from babygun.errors import Compacted, EtcdError
from babygun.etcd import KeyValue, Session, watch
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_worker_id
from babygun.runtime.logs import get_logger
from babygun.store import Store, codec
from babygun.store.emails.reading import owned_by
from babygun.store.keys import JobRef, range_end
from babygun.store.records import Worker
from babygun.worker.counters import Tally
from babygun.worker.slices import NOTHING, Slice, slice_of

log = get_logger("worker")

_LAST_WORD = (
    1.0  # s, that the last check-in may take: a stop does not wait for an etcd that is away
)


class Membership:
    """``changed`` is called with the worker's new slice, ``died`` with a worker's id and the jobs it held."""

    def __init__(
        self,
        store: Store,
        *,
        in_flight: Callable[[], int],
        tally: Tally,
        changed: Callable[[Slice], None],
        died: Callable[[str, list[JobRef]], None],
        queues: dict[str, str],
    ) -> None:
        """``queues``: as the worker's key tells them."""
        self._queues = queues
        self._store, self._in_flight, self._tally, self._changed, self._died = (
            store,
            in_flight,
            tally,
            changed,
            died,
        )
        self._live: set[str] = set()  # those that have a slice: a draining one has none any more
        self._draining = False
        self._check_in_now = asyncio.Event()
        self.session: Session | None = None
        self._worker: Worker | None = None  # as it checked in last
        self.worker_id = ""
        self.slice = NOTHING
        self.registered = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this worker does what one of them should do: the first of the live ones."""
        return bool(self._live) and min(self._live) == self.worker_id

    @property
    def joined(self) -> bool:
        """Whether this worker has seen its own key among the others', so that its slice is what they think it is."""
        return self.worker_id in self._live

    async def live(self) -> None:
        """Registers and checks in, again and again under a new id when the lease is lost. Runs until cancelled."""
        hostname = socket.gethostname()
        started, first = utc_now(), True
        while True:
            session = Session(self._store.client, int(self._store.settings.lease_ttl))
            try:
                await session.start()
            except EtcdError as error:
                log.warning("not registered", error=str(error))
                await asyncio.sleep(0.5)
                continue
            worker_id = new_worker_id(hostname)
            self.session, self.worker_id = session, worker_id
            keep_alive = asyncio.create_task(session.run(), name="session")
            worker = Worker(
                worker_id,
                os.getpid(),
                hostname,
                _own_address(self._store.settings.etcd_endpoints[0]),
                started,
                started,
                0,
                0,
                (0, 0),
                __version__,
                queues=self._queues,
            )
            log.info("registered", worker_id=worker_id, again=not first)
            first = False
            try:
                await self._check_in(session, worker)
            finally:
                keep_alive.cancel()
                self.registered.clear()
                await asyncio.gather(keep_alive, return_exceptions=True)
            log.warning("lease lost", worker_id=worker_id)

    async def _check_in(self, session: Session, worker: Worker) -> None:
        """Writes the worker's key every third of the lease, until the lease is lost."""
        checkins = 0
        while not session.lost.is_set():
            checkins += 1
            self._check_in_now.clear()
            self._worker = self._checked_in(replace(worker, checkins=checkins))
            try:
                await self._store.client.put(
                    self._store.keys.worker(worker.id),
                    codec.encode_state(self._worker),
                    session.lease_id,
                )
                self.registered.set()
            except EtcdError as error:
                log.warning("check-in failed", worker_id=worker.id, error=str(error))
            await _first_of(
                session.lost, self._check_in_now, within=self._store.settings.lease_ttl / 3
            )

    def _checked_in(self, worker: Worker) -> Worker:
        part, tally = self.slice, self._tally
        return replace(
            worker,
            last_checkin=utc_now(),
            in_flight=self._in_flight(),
            slice=(part.first, part.end),
            draining=self._draining,
            delivered=tally.delivered,
            deferred=tally.deferred,
            failed=tally.failed,
        )

    def drain(self) -> None:
        """Tells the others that this worker takes no more: they share its slice at once."""
        self._draining = True
        self._check_in_now.set()

    async def leave(self) -> None:
        """Gives the lease back, so that the others need not wait for it to run out. What was delivered to the last is told first."""
        session, worker = self.session, self._worker
        if session is None:
            return
        if worker is not None and session.trusted:
            with suppress(EtcdError, TimeoutError):
                async with asyncio.timeout(_LAST_WORD):
                    await self._store.client.put(
                        self._store.keys.worker(worker.id),
                        codec.encode_state(self._checked_in(worker)),
                        session.lease_id,
                    )
        await session.close(revoke=True)

    async def follow(self) -> None:
        """Watches who comes and goes. Runs until cancelled."""
        prefix = self._store.keys.workers
        while True:
            try:
                found = await self._store.client.range(prefix, range_end(prefix))
                self._live = {
                    self._store.keys.worker_id(kv.key) for kv in found.kvs if _has_slice(kv)
                }
                self._recompute()
                async with watch(
                    self._store.client, prefix, range_end(prefix), revision=found.revision + 1
                ) as batches:
                    async for batch in batches:
                        gone: dict[str, int] = {}
                        for event in batch.events:
                            worker_id = self._store.keys.worker_id(event.kv.key)
                            if event.type == "put" and _has_slice(event.kv):
                                self._live.add(worker_id)
                            else:
                                self._live.discard(worker_id)
                            if event.type == "delete":
                                gone[worker_id] = event.kv.mod_revision
                        for worker_id, revision in gone.items():
                            await self._bury(worker_id, revision)
                        self._recompute(read_again=bool(gone))
            except Compacted:
                continue
            except EtcdError as error:
                log.warning("workers not followed", error=str(error))
                await asyncio.sleep(0.2)

    def _recompute(self, *, read_again: bool = False) -> None:
        part = slice_of(self.worker_id, self._live)
        if part != self.slice or read_again:
            log.info(
                "slice changed",
                worker_id=self.worker_id,
                first=part.first,
                end=part.end,
                workers=len(self._live),
            )
            self.slice = part
            self._check_in_now.set()
            self._changed(part)

    async def _bury(self, worker_id: str, revision: int) -> None:
        """Finds what a worker held in the revision before its keys vanished."""
        held: list[JobRef] = []
        try:
            held = [ref for ref, _ in await owned_by(self._store, worker_id, revision=revision - 1)]
        except (
            EtcdError
        ) as error:  # compacted, or etcd is away: the next read of the slice finds the jobs too
            log.warning("jobs of dead worker not read", worker=worker_id, error=str(error))
        log.info("worker left", worker=worker_id, held=len(held))
        self._died(worker_id, held)


def _has_slice(kv: KeyValue) -> bool:
    """Whether this worker's key stands for one that takes jobs: on a lease (without one, a person has put it there), and not draining."""
    try:
        return kv.lease != 0 and not codec.decode_state(kv.value, Worker).draining
    except ValueError:
        return False


async def _first_of(*events: asyncio.Event, within: float) -> None:
    """Waits for one of the events, at most ``within`` seconds."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _own_address(endpoint: str) -> str:
    """This host's address as seen on the way to etcd; no packet is sent to find it."""
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
