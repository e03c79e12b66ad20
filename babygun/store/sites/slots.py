"""Slots: each is the right to one connection to a site, for all workers together.

A slot is a key on its worker's lease, created only where it is absent. So two workers never have
the same one, and those of a worker that dies go with its lease. A worker that waits for a slot says
so by a key of its own. All workers follow both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from babygun.etcd import Txn, WatchBatch, absent, created_at, delete, follow, get, put
from babygun.etcd.txn import KeyValue
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.records import Owner
from babygun.store.store import Store


class Taken(NamedTuple):
    """A slot that a worker has. ``created``: the key's create revision."""

    worker_id: str
    created: int


async def take(
    store: Store, site: str, number: int, *, worker_id: str, lease_id: int
) -> tuple[Taken, bool]:
    """Takes a slot. Returns who has it now, and whether that is by this call.

    Raises EtcdError, and LeaseNotFound among them.
    """
    key = store.keys.slot(site, number)
    owner = Owner(worker_id, await store.clock.now())
    result = await store.client.txn(
        Txn([absent(key)], [put(key, codec.encode_state(owner), lease_id)], [get(key)])
    )
    if result.succeeded:
        return Taken(worker_id, result.revision), True
    (kv,) = result.kvs(0)
    return _taken(kv), False


async def give_back(store: Store, site: str, number: int, created: int) -> None:
    """Gives a slot back that was taken at this revision. Raises EtcdError."""
    key = store.keys.slot(site, number)
    await store.client.txn(Txn([created_at(key, created)], [delete(key)]))


async def want(store: Store, site: str, *, worker_id: str, lease_id: int) -> None:
    """Says that a worker waits for a slot. Raises EtcdError."""
    await store.client.put(store.keys.wanted(site, worker_id), b"", lease_id)


async def want_no_more(store: Store, site: str, *, worker_id: str) -> None:
    """Raises EtcdError."""
    await store.client.txn(Txn([], [delete(store.keys.wanted(site, worker_id))]))


class Slots:
    """All slots, followed. Run :meth:`run` as a task.

    ``taken``: by site and number. ``wanted``: by site, the workers that wait. ``changed`` is called
    with each site of which something has changed.
    """

    def __init__(self, store: Store, changed: Callable[[str], None]) -> None:
        self._store, self._changed = store, changed
        self._taken: dict[str, dict[int, Taken]] = {}
        self._wanted: dict[str, set[str]] = {}
        self._followed = 0  # the revision up to which changes were followed or read

    def taken(self, site: str) -> Mapping[int, Taken]:
        return self._taken.get(site, {})

    def wanted(self, site: str) -> set[str]:
        return self._wanted.get(site, set())

    def of_worker(self, worker_id: str) -> list[tuple[str, int, int]]:
        """A worker's slots: site, number, create revision."""
        return [
            (site, number, taken.created)
            for site, slots in self._taken.items()
            for number, taken in slots.items()
            if taken.worker_id == worker_id
        ]

    def learn(self, site: str, number: int, taken: Taken) -> bool:
        """Takes in who has a slot, as an answer says. False: it is not so any more, or unsure.

        An answer may be handled after the watch has brought the slot's end; it brings that once.
        """
        known = self.taken(site).get(number)
        if taken.created > (known.created if known else self._followed):
            self._taken.setdefault(site, {})[number] = taken
            return True
        return known == taken

    def forget(self, site: str, number: int, created: int) -> None:
        """A slot that was taken at this revision is free. A later owner stays."""
        known = self._taken.get(site, {})
        if number in known and known[number].created <= created:
            del known[number]
            if not known:
                del self._taken[site]

    async def run(self) -> NoReturn:
        """Follows the slots until cancelled."""
        prefix = self._store.keys.slots

        async def changed(batch: WatchBatch) -> None:
            news = [event for event in batch.events if event.kv.mod_revision > self._followed]
            sites = {self._take_in(event.kv, gone=event.type == "delete") for event in news}
            self._followed = max(self._followed, batch.revision)
            for site in sites - {""}:
                self._changed(site)

        await follow(
            self._store.client,
            prefix,
            range_end(prefix),
            what="slots",
            read=self.read,
            changed=changed,
        )

    async def read(self) -> int:
        """Reads all of them. Returns the revision. Raises EtcdError."""
        prefix, followed = self._store.keys.slots, self._followed
        found = await self._store.client.range(prefix, range_end(prefix))
        if self._followed > max(followed, found.revision):
            return found.revision  # the watch was faster: all of this is known, and more
        before = self._taken.keys() | self._wanted.keys()
        self._taken, self._wanted = {}, {}
        for kv in found.kvs:
            self._take_in(kv, gone=False)
        self._followed = found.revision
        for site in before | self._taken.keys() | self._wanted.keys():
            self._changed(site)
        return found.revision

    def _take_in(self, kv: KeyValue, *, gone: bool) -> str:
        """The site that a key is about; empty for a key that can't be read."""
        try:
            site, number, worker_id = self._store.keys.parse_slot(kv.key)
        except ValueError as error:
            log_unreadable(kv.key, error)
            return ""
        if worker_id:
            waiting = self._wanted.setdefault(site, set())
            (waiting.discard if gone else waiting.add)(worker_id)
            if not waiting:
                del self._wanted[site]
        elif gone:
            self.forget(site, number, kv.mod_revision)
        else:
            taken, known = _taken(kv), self._taken.setdefault(site, {})
            if number not in known or known[number].created <= taken.created:
                known[number] = taken
        return site


def _taken(kv: KeyValue) -> Taken:
    """Without a worker if the key can't be read: somebody wrote it by hand."""
    try:
        return Taken(codec.decode_owner(kv.value).worker_id, kv.create_revision)
    except ValueError as error:
        log_unreadable(kv.key, error)
        return Taken("", kv.create_revision)
