"""The leases that ended things hang on until their retention is over, or until etcd needs the space.

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
from babygun.keys import Keys, range_end
from babygun.logs import get_logger
from babygun.metrics import SHED

log = get_logger("store")

SHARED_SECONDS = 60.0  # how long a lease takes on new keys, and at most a tenth of the retention: things may be kept that much longer
SHARED_KEYS = 1000  # that go in one apply: 8 ms of etcd's time


class LeasePool:
    """Hands out the current lease of one kind of retention. ``retention``: seconds that a key is kept at least."""

    def __init__(self, client: EtcdClient, keys: Keys, kind: str, retention: float) -> None:
        self._client, self._keys, self._kind = client, keys, kind
        self._shared = min(SHARED_SECONDS, retention / 10)
        self._ttl = math.ceil(retention + self._shared)
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
        self._lease_id, self._room, self._until = lease_id, SHARED_KEYS, granted + self._shared


CONTENTS_ABOVE = 0.70  # of the quota: the oldest contents go
RECORDS_ABOVE = 0.85  # the oldest records and logs go too
URGENT_ABOVE = 0.90  # no more waiting for compaction to show what the last round has freed
COMPACTION_SECONDS = 30.0  # until etcd has compacted what was shed, with the settings of etcd/server.yml
_LEASES_AT_ONCE = 20  # revoked between two looks at the size; 20,000 keys at most


class Shedding:
    """Gives etcd space before it runs out: revokes the oldest retention leases. Incomplete emails are never touched.

    Goes by the size in use, since the file itself never shrinks without a defragmentation: as long as the size in use
    stays well below the quota, the file does too. Space is free again once etcd has compacted, so a round that sheds
    waits for that before the next one, unless it is urgent.
    """

    def __init__(self, client: EtcdClient, keys: Keys, quota: int) -> None:
        self._client, self._keys, self._quota = client, keys, quota
        self.shed = {"contents": 0, "emails": 0}  # leases revoked so far, by kind
        self._look_again = 0.0  # monotonic time before which the size does not show yet what was shed

    async def once(self) -> float:
        """One round; returns how full etcd was, 1.0 being its quota."""
        status = await self._client.status()
        full = status.db_size_in_use / (status.quota or self._quota)
        if full < URGENT_ABOVE and time.monotonic() < self._look_again:
            return full
        if full > CONTENTS_ABOVE:
            self._look_again = time.monotonic() + COMPACTION_SECONDS
            await self._shed("contents", full)
        if full > RECORDS_ABOVE:
            await self._shed("emails", full)
        return full

    async def _shed(self, kind: str, full: float) -> None:
        prefix = self._keys.retention_kind(kind)
        oldest = await self._client.range(prefix, range_end(prefix), limit=_LEASES_AT_ONCE)
        for kv in oldest.kvs:
            try:
                _, granted, lease_id = self._keys.parse_retention(kv.key)
            except ValueError:
                log.error("retention key can't be read, ignored", key=kv.key.decode(errors="replace"))
                continue
            await self._client.revoke(lease_id)
            self.shed[kind] += 1
            SHED[kind].inc()
            log.warning("shed before its time", kind=kind, ended_about=granted.isoformat(), full=round(full, 3))
        if not oldest.kvs:
            log.error("etcd is filling up and nothing more can be shed", kind=kind, full=round(full, 3))
