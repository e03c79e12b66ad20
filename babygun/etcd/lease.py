"""A lease that is kept alive, and how long it can be trusted.

Work under a lease stops when the lease can't be trusted any more. etcd counts a lease's time from
the moment when it handles a renewal, which is after we sent it. So our own deadline counts from the
sending, less a margin for work that is past its last check. It goes on while the machine sleeps.
"""

from __future__ import annotations

import asyncio

from babygun.errors import EtcdError, LeaseNotFound
from babygun.etcd.client import EtcdClient
from babygun.runtime.clock import since_boot
from babygun.runtime.tasks import cancel_all

_RETRY = 0.1  # s, until a renewal that failed is tried again


class Lease:
    """One lease of ``ttl`` seconds. It ends once, and is never revived.

    ``trusted_until``: on since_boot(). Until then etcd can't have let the lease expire, with
    ``margin`` seconds to spare. ``lost``: set when the lease is known to be gone, or has not been
    renewed for its whole life.
    """

    def __init__(self, client: EtcdClient, ttl: int) -> None:
        self._client = client
        self._ttl = ttl
        self._closed = asyncio.Event()
        self._begun = 0  # renewals
        self.margin = max(0.5, ttl * 0.2)
        self.lease_id = 0
        self.trusted_until = 0.0
        self.lost = asyncio.Event()

    @property
    def trusted(self) -> bool:
        """Whether the lease can't have expired yet."""
        return since_boot() < self.trusted_until and not self.lost.is_set()

    async def start(self) -> None:
        """Asks etcd for the lease. Raises what :meth:`EtcdClient.grant_lease` raises."""
        sent = since_boot()
        self.lease_id, ttl = await self._client.grant_lease(self._ttl)
        self._renewed(sent, ttl)

    def _renewed(self, sent: float, ttl: int) -> None:
        if not self._closed.is_set():
            self.trusted_until = max(self.trusted_until, sent + ttl - self.margin)

    @property
    def _expiry(self) -> float:
        return self.trusted_until + self.margin

    async def run(self) -> None:
        """Keeps the lease alive until it is lost or closed.

        A renewal is asked for every third of the lease, also while an earlier one waits for its
        answer. So a busy machine, where answers take longer than that, does not lose the lease.
        """
        renewals: set[asyncio.Task[None]] = set()
        try:
            while not await self._closed_within(self._ttl / 3):
                if self.lost.is_set() or since_boot() >= self._expiry:
                    self.lost.set()
                    return
                self._begun += 1
                renewal = asyncio.create_task(self._renew(self._begun), name="renewal")
                renewals.add(renewal)
                renewal.add_done_callback(renewals.discard)
        finally:
            await cancel_all(*renewals)

    async def _renew(self, number: int) -> None:
        """One renewal. A failed one is tried again until the next one begins."""
        while number == self._begun and (sent := since_boot()) < self._expiry:
            try:
                ttl = await self._client.keep_alive(self.lease_id, timeout=self._expiry - sent)
            except LeaseNotFound:
                self.lost.set()
            except EtcdError:
                await asyncio.sleep(_RETRY)
                continue
            else:
                self._renewed(sent, ttl)
            return

    async def _closed_within(self, seconds: float) -> bool:
        """Waits for close(), at most this long and never past the lease's life."""
        if self._closed.is_set():
            return True
        try:
            async with asyncio.timeout(max(0.0, min(seconds, self._expiry - since_boot()))):
                await self._closed.wait()
        except TimeoutError:
            return self._closed.is_set()  # it may be closed as the time ends
        return True

    async def close(self) -> None:
        """Ends the lease: it and its keys go at once, if etcd answers."""
        self._closed.set()
        self.trusted_until = 0.0
        if self.lease_id and not self.lost.is_set():
            try:
                await self._client.revoke(self.lease_id)
            except EtcdError:
                pass  # it expires by itself
