"""Leases for what is kept for some days and then goes by itself."""

from __future__ import annotations

from babygun.etcd import EtcdClient
from babygun.runtime.clock import since_boot

_SHARED_KEYS = 1000  # of one lease: etcd deletes them all at once
_SHARED_SECONDS = 86_400.0  # for which it takes new keys


class SharedLeases:
    """``seconds``: that a key is kept at least, and one day longer at most."""

    def __init__(self, client: EtcdClient, seconds: float) -> None:
        self._client, self._ttl = client, int(seconds + _SHARED_SECONDS)
        self._lease, self._room, self._until = 0, 0, 0.0

    async def one(self) -> int:
        """A lease for one more key. Raises EtcdError."""
        if not self._room or since_boot() >= self._until:
            began = since_boot()
            self._lease, self._room = await self._client.grant(self._ttl), _SHARED_KEYS
            self._until = began + _SHARED_SECONDS
        self._room -= 1
        return self._lease

    def forget(self) -> None:
        """The lease is gone: etcd was put back to an earlier state."""
        self._room = 0
