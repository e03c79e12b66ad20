"""The API's clients, signing keys and revoked tokens, kept in memory and up to date.

etcd decides. While etcd is away, an API process goes on with what it knew last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from babygun.etcd import KeyValue, WatchBatch, follow
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.access.signing_keys import signing_key
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.records import Client, SigningKey
from babygun.store.store import Store

T = TypeVar("T")


class KnownClients:
    """Run :meth:`run` as a task; wait for :attr:`ready` before the first request.

    ``clients``, ``signing_keys``, ``revoked``: by client id, key id, token id.
    ``on_change``: called after each change.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.clients: dict[str, Client] = {}
        self.signing_keys: dict[str, SigningKey] = {}
        self.revoked: dict[str, None] = {}
        self.ready = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        self._followed: set[bytes] = set()  # prefixes

    @property
    def synced(self) -> bool:
        """Whether the keys of all three kinds were read and are followed."""
        return len(self._followed) == 3

    @property
    def signing_key(self) -> SigningKey | None:
        """The key that signs new tokens. None: no key is known."""
        return signing_key(self.signing_keys.values(), utc_now())

    async def run(self) -> None:
        """Follows all three kinds of keys until cancelled."""
        keys = self._store.keys
        try:
            async with asyncio.TaskGroup() as group:
                for follow_one in (
                    self._follow("clients", keys.clients, self.clients, _client),
                    self._follow(
                        "signing keys", keys.signing_keys, self.signing_keys, _signing_key
                    ),
                    self._follow("revoked tokens", keys.revocations, self.revoked, _nothing),
                ):
                    group.create_task(follow_one, name="known clients")
        finally:
            self._followed.clear()

    async def _follow(
        self, what: str, prefix: bytes, known: dict[str, T], decode: Callable[[bytes], T]
    ) -> None:
        store, end = self._store, range_end(prefix)

        def learn(kv: KeyValue) -> None:
            try:
                known[store.keys.last_part(kv.key)] = decode(kv.value)
            except ValueError as error:  # somebody wrote this key by hand
                log_unreadable(kv.key, error)

        async def read() -> int:
            found = await store.client.range(prefix, end)
            known.clear()
            for kv in found.kvs:
                learn(kv)
            self._followed.add(prefix)
            self._changed()
            return found.revision

        async def changed(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "put":
                    learn(event.kv)
                else:
                    known.pop(store.keys.last_part(event.kv.key), None)
            self._changed()

        await follow(
            store.client,
            prefix,
            end,
            what=what,
            read=read,
            changed=changed,
            lost=lambda _: self._followed.discard(prefix),
        )

    def _changed(self) -> None:
        if self.synced:
            self.ready.set()
        for callback in self.on_change:
            callback()


def _client(value: bytes) -> Client:
    return codec.decode_state(value, Client)


def _signing_key(value: bytes) -> SigningKey:
    return codec.decode_state(value, SigningKey)


def _nothing(_: bytes) -> None:
    """A revoked token is known by its key alone."""
