"""The leases that records and logs of final e-mails hang on until their retention ends.

They end earlier where etcd needs the space (:mod:`babygun.store.upkeep.shedding`). A lease is
shared by what becomes final within a minute, up to 1,000 keys. One lease per e-mail would be a
million leases, and one with too many keys would stall etcd when they all go at once.

Each lease has a small key of its own by time, so that the oldest can be found and revoked, and
those that live too long (:mod:`babygun.store.upkeep.ending`). Its value says about how many bytes
that frees, once the lease is full.
"""

from __future__ import annotations

import asyncio
import copy
import math
from contextlib import suppress
from contextvars import Context

from babygun.errors import EtcdError, EtcdUnavailable, OutcomeUnknown
from babygun.etcd import EtcdClient
from babygun.runtime.clock import since_boot, utc_now
from babygun.store.keys import Keys

# s, that a lease takes new keys, a tenth of the retention at most: keys are kept so much longer.
SHARED_SECONDS = 60.0
SHARED_KEYS = 1000  # of one lease; deleting them takes 8 ms of etcd's time
KEY_BYTES = 400  # about what one key of a record or a log takes in etcd's file
NOTICE_BYTES = 1500  # and one of a notice


def shared_seconds(retention: float) -> float:
    """For how long a lease of this retention takes new keys."""
    return min(SHARED_SECONDS, retention / 10)


class LeasePool:
    """Gives out the current lease of one kind of retention.

    ``retention``: seconds that a key is kept at least. ``shared``: for how long a lease takes new
    keys; None: a minute, or less where the retention is short. ``key_bytes``: about what a key
    takes in etcd's file.
    """

    def __init__(
        self,
        client: EtcdClient,
        keys: Keys,
        kind: str,
        retention: float,
        *,
        shared: float | None = None,
        key_bytes: int = KEY_BYTES,
    ) -> None:
        self._client, self._keys, self._kind = client, keys, kind
        self._key_bytes = key_bytes
        self._shared = shared_seconds(retention) if shared is None else shared
        self._ttl = math.ceil(retention + self._shared)
        self._granting: asyncio.Task[None] | None = None
        self._lease_id, self._key = 0, b""
        self._room = 0
        self._until = 0.0

    async def lease(self, keys: int) -> int:
        """A lease for ``keys`` more keys. Those of one e-mail may be more than usual for a lease.

        Raises EtcdError; EtcdUnavailable, too, if the outcome is unknown: nothing hangs on it yet.
        """
        keys = min(keys, SHARED_KEYS)
        while self._full(keys):
            if self._granting is None or self._granting.done():
                self._granting = asyncio.create_task(self._grant(), name="lease", context=Context())
            try:
                await asyncio.shield(self._granting)  # one for all who wait, also its failure
            except OutcomeUnknown as error:
                raise EtcdUnavailable(str(error)) from None
            except EtcdError as error:
                raise copy.copy(error) from None
            if self._room >= keys:  # new, though a slow etcd may have taken its time
                break
        self._room -= keys
        return self._lease_id

    def forget(self, lease_id: int) -> None:
        """The lease is gone (revoked for its space): give out a new one from now on."""
        if lease_id == self._lease_id:
            self._room, self._key = 0, b""

    def _full(self, keys: int) -> bool:
        return self._room < keys or since_boot() >= self._until

    async def _grant(self) -> None:
        granted = since_boot()
        lease_id, _ = await asyncio.gather(self._client.grant(self._ttl), self._close())
        key = self._keys.retention(self._kind, utc_now(), lease_id)
        await self._client.put(key, b"", lease_id)
        self._lease_id, self._key, self._until = lease_id, key, granted + self._shared
        self._room = SHARED_KEYS

    async def _close(self) -> None:
        """Writes how many bytes hang on the lease that takes no more, for the shedding."""
        if self._key:
            with suppress(EtcdError):  # the lease is gone, or etcd is away: then it stays unknown
                size = (SHARED_KEYS - self._room) * self._key_bytes
                await self._client.put(self._key, b"%d" % size, self._lease_id)
