"""What an API process must know to let a request in, kept up by one watch each: clients, signing keys, revoked tokens.

Authoritative is etcd. Where the watch is cut off the last known state goes on serving (:attr:`Directory.synced` tells),
and it is read anew when etcd is back, so that nothing which changed in between is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from babygun.errors import Compacted, EtcdError
from babygun.etcd import Event, watch
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.records import Client, SigningKey
from babygun.store.store import Store

log = get_logger("store")


class Directory:
    """Run :meth:`run` as a task; wait for :attr:`ready` before the first request."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.clients: dict[str, Client] = {}
        self.signing_keys: dict[str, SigningKey] = {}
        self.revoked: set[str] = set()
        self.ready = asyncio.Event()
        self.on_change: list[
            Callable[[], None]
        ] = []  # called after each change, e.g. to forget verified tokens
        self._following: set[bytes] = set()  # prefixes whose watch is up

    @property
    def synced(self) -> bool:
        """Whether all three watches are up."""
        return len(self._following) == 3

    @property
    def signing_key(self) -> SigningKey | None:
        """The newest, which signs new tokens."""
        return max(
            self.signing_keys.values(), key=lambda key: (key.created_at, key.kid), default=None
        )

    async def run(self) -> None:
        keys = self._store.keys
        async with asyncio.TaskGroup() as group:
            for prefix in (keys.clients, keys.signing_keys, keys.revocations):
                group.create_task(self._follow(prefix), name=f"directory {prefix.decode()}")

    async def _follow(self, prefix: bytes) -> None:
        end = range_end(prefix)
        while True:
            try:
                found = await self._store.client.range(prefix, end)
                self._forget(prefix)
                for kv in found.kvs:
                    self._learn(prefix, kv.key, kv.value)
                self._following.add(prefix)
                self._changed()
                async with watch(
                    self._store.client, prefix, end, revision=found.revision + 1
                ) as batches:
                    async for batch in batches:
                        for event in batch.events:
                            self._apply(prefix, event)
                        self._changed()
            except Compacted:
                continue
            except EtcdError as error:
                log.warning("directory not followed", prefix=prefix.decode(), error=str(error))
                await asyncio.sleep(0.5)
            finally:
                self._following.discard(prefix)

    def _changed(self) -> None:
        if self.synced:
            self.ready.set()
        for callback in self.on_change:
            callback()

    def _apply(self, prefix: bytes, event: Event) -> None:
        if event.type == "put":
            self._learn(prefix, event.kv.key, event.kv.value)
            return
        name = self._store.keys.last_part(event.kv.key)
        if prefix == self._store.keys.clients:
            self.clients.pop(name, None)
        elif prefix == self._store.keys.signing_keys:
            self.signing_keys.pop(name, None)
        else:
            self.revoked.discard(name)

    def _learn(self, prefix: bytes, key: bytes, value: bytes) -> None:
        name = self._store.keys.last_part(key)
        try:
            if prefix == self._store.keys.clients:
                self.clients[name] = codec.decode_state(value, Client)
            elif prefix == self._store.keys.signing_keys:
                self.signing_keys[name] = codec.decode_state(value, SigningKey)
            else:
                self.revoked.add(name)
        except (
            ValueError
        ) as error:  # msgspec's errors are ValueErrors: a key that a person has put there by hand
            log.error(
                "key can't be read, ignored", key=key.decode(errors="replace"), error=str(error)
            )

    def _forget(self, prefix: bytes) -> None:
        if prefix == self._store.keys.clients:
            self.clients.clear()
        elif prefix == self._store.keys.signing_keys:
            self.signing_keys.clear()
        else:
            self.revoked.clear()
