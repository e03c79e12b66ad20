"""The states under a prefix, of which all processes keep a copy that follows etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, NoReturn, Protocol, TypeVar

from babygun.etcd import KeyValue, WatchBatch, follow
from babygun.store.keys import range_end
from babygun.store.store import Store


class Kept(Protocol):
    """A state as it was read. ``name``: as its key ends. ``revision``: the key's mod revision."""

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> int: ...


K = TypeVar("K", bound=Kept)
T = TypeVar("T")


async def read_states(
    store: Store, prefix: bytes, decode: Callable[[KeyValue], T | None]
) -> list[T]:
    """The states under a prefix as they are now, sorted by key. Raises EtcdError.

    ``decode``: as of :class:`Followed`.
    """
    found = await store.client.range(prefix, range_end(prefix))
    return [state for kv in found.kvs if (state := decode(kv))]


class Followed(Generic[K]):
    """The states under a prefix, followed. Run :meth:`run` as a task.

    ``by_name``: what is known now; the last known state stays while etcd is away. ``decode``: makes
    a state of a key and its value; None where that can't be read. ``name_of``: the name in a key.
    ``changed`` is called with the name of each state that has begun, changed or ended.
    ``complete``: all were read once.
    """

    def __init__(
        self,
        store: Store,
        prefix: bytes,
        *,
        what: str,
        name_of: Callable[[bytes], str],
        decode: Callable[[KeyValue], K | None],
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store, self._prefix, self._what = store, prefix, what
        self._name_of, self._decode, self._changed = name_of, decode, changed
        self.by_name: dict[str, K] = {}
        self.complete = asyncio.Event()
        self._followed = 0  # the revision up to which changes were followed or read

    async def run(self) -> NoReturn:
        """Follows them until cancelled."""

        async def take_in(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "delete":
                    self._forget(self._name_of(event.kv.key), event.kv.mod_revision)
                elif kept := self._decode(event.kv):
                    self.learn(kept)
            self._followed = max(self._followed, batch.revision)

        await follow(
            self._store.client,
            self._prefix,
            range_end(self._prefix),
            what=self._what,
            read=self.read,
            changed=take_in,
        )

    async def read(self) -> int:
        """Reads all of them. Returns the revision. Raises EtcdError.

        A state that was known before, and is newer than what is read, comes from data that etcd
        has no more: it was restored. Nothing else would ever say that such a state has ended.
        """
        known, followed = dict(self.by_name), self._followed
        found = await self._store.client.range(self._prefix, range_end(self._prefix))
        if self._followed > max(followed, found.revision):
            return found.revision  # others were faster: all of this is known, and more
        self._followed = 0
        now = {kept.name: kept for kv in found.kvs if (kept := self._decode(kv))}
        for name, before in known.items():
            if before.revision > (now[name].revision if name in now else found.revision):
                self._forget(name, before.revision)
        for name in self.by_name.keys() - now.keys():
            self._forget(name, found.revision)
        for kept in now.values():
            self.learn(kept)
        self._followed = found.revision
        self.complete.set()
        return found.revision

    def learn(self, kept: K) -> None:
        """Takes in a state that was read or written, unless a newer one, or its end, is known."""
        known = self.by_name.get(kept.name)
        if kept.revision > (known.revision if known else self._followed):
            self.by_name[kept.name] = kept
            self._changed(kept.name)

    def _forget(self, name: str, revision: int) -> None:
        """The state of this name has ended at a revision. One that is newer stays."""
        known = self.by_name.get(name)
        if known is not None and known.revision <= revision:
            del self.by_name[name]
            self._changed(name)
