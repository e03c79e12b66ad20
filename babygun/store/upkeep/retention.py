"""The leases that ended things hang on until their retention is over, or until etcd needs the space (:mod:`babygun.store.upkeep.shedding`).

A lease is shared by what ends within a minute, up to 1,000 keys: one lease per email would be a million leases, and one
for too many keys would stall etcd when they all go at once. Each lease carries a small key of its own by time, so that the
oldest can be found again, and revoked when etcd runs out of space; its value says about how many bytes that gives back, once the lease is full.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress

from babygun.errors import EtcdError
from babygun.etcd import EtcdClient
from babygun.runtime.clock import utc_now
from babygun.store.keys import Keys

SHARED_SECONDS = 60.0  # how long a lease takes on new keys, and at most a tenth of the retention: things may be kept that much longer
SHARED_KEYS = 1000  # that go in one apply: 8 ms of etcd's time
SHARED_BYTES = 16 << 20  # the same: and the smallest part that can be shed of large e-mails
KEY_BYTES = 400  # about what one key of a record or a log takes of etcd's file


class LeasePool:
    """Hands out the current lease of one kind of retention. ``retention``: seconds that a key is kept at least."""

    def __init__(self, client: EtcdClient, keys: Keys, kind: str, retention: float) -> None:
        self._client, self._keys, self._kind = client, keys, kind
        self._shared = min(SHARED_SECONDS, retention / 10)
        self._ttl = math.ceil(retention + self._shared)
        self._lock = asyncio.Lock()
        self._lease_id, self._key = 0, b""
        self._room = self._bytes = 0
        self._until = 0.0

    async def lease(self, keys: int, content: int = 0) -> int:
        """A lease with room for ``keys`` more keys, which hold ``content`` bytes of contents besides."""
        if self._full(keys):
            async with self._lock:
                if self._full(keys):
                    await self._grant()
        self._room -= keys
        self._bytes += content or keys * KEY_BYTES
        return self._lease_id

    def forget(self, lease_id: int) -> None:
        """The lease turned out to be gone (revoked under pressure): hand out a new one from now on."""
        if lease_id == self._lease_id:
            self._room, self._key = 0, b""

    def _full(self, keys: int) -> bool:
        return self._room < keys or self._bytes >= SHARED_BYTES or time.monotonic() >= self._until

    async def _grant(self) -> None:
        granted = time.monotonic()
        lease_id, _ = await asyncio.gather(self._client.grant(self._ttl), self._close())
        key = self._keys.retention(self._kind, utc_now(), lease_id)
        await self._client.put(key, b"", lease_id)
        self._lease_id, self._key, self._room, self._bytes, self._until = (
            lease_id,
            key,
            SHARED_KEYS,
            0,
            granted + self._shared,
        )

    async def _close(self) -> None:
        """Notes how much hangs on the lease that takes no more, for whoever has to make room."""
        if self._key:
            with suppress(EtcdError):  # it is gone, or etcd away: then nobody knows
                await self._client.put(self._key, b"%d" % self._bytes, self._lease_id)
