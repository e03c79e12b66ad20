"""The leases that ended things hang on until their retention is over.

A lease is shared by what ends within a minute, up to 1,000 keys: one lease per email would be a million leases, and one
for too many keys would stall etcd when they all go at once. Each lease carries a small key of its own by time, so that the
oldest can be found again, and revoked when etcd runs out of space.
"""

from __future__ import annotations

import asyncio
import math
import time

from babygun.clock import utc_now
from babygun.etcd import EtcdClient
from babygun.keys import Keys

SHARED_SECONDS = 60.0  # how long a lease takes on new keys; things may be kept this much longer than asked for
SHARED_KEYS = 1000  # that go in one apply: 8 ms of etcd's time


class LeasePool:
    """Hands out the current lease of one kind of retention. ``retention``: seconds that a key is kept at least."""

    def __init__(self, client: EtcdClient, keys: Keys, kind: str, retention: float) -> None:
        self._client, self._keys, self._kind = client, keys, kind
        self._ttl = math.ceil(retention + SHARED_SECONDS)
        self._lock = asyncio.Lock()
        self._lease_id = 0
        self._room = 0
        self._until = 0.0

    async def lease(self, keys: int) -> int:
        """A lease with room for ``keys`` more keys."""
        if self._room < keys or time.monotonic() >= self._until:
            async with self._lock:
                if self._room < keys or time.monotonic() >= self._until:
                    await self._grant()
        self._room -= keys
        return self._lease_id

    def forget(self, lease_id: int) -> None:
        """The lease turned out to be gone (revoked under pressure): hand out a new one from now on."""
        if lease_id == self._lease_id:
            self._room = 0

    async def _grant(self) -> None:
        granted = time.monotonic()
        lease_id = await self._client.grant(self._ttl)
        await self._client.put(self._keys.retention(self._kind, utc_now(), lease_id), b"", lease_id)
        self._lease_id, self._room, self._until = lease_id, SHARED_KEYS, granted + SHARED_SECONDS
