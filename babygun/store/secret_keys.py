"""Secret keys that are made when needed, replaced every 30 days, and kept for long.

Links to unsubscribe and return paths are made under such keys. Each key hangs on a lease of its
own, which begins again when the key is used, at most once a day. So it lives on for its retention
after its last use. What was made under it counts as long, though the e-mails' records are gone.
"""

from __future__ import annotations

import asyncio
import math
import os
from datetime import datetime, timedelta

import msgspec

from babygun.errors import EtcdError, EtcdUnavailable, LeaseNotFound, OutcomeUnknown
from babygun.etcd import KeyValue, Txn, WatchBatch, all_created_before, follow, put
from babygun.runtime.clock import since_boot, utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.store import Store

PERIOD = timedelta(days=30)  # after which there is a new key
RENEWAL = 86_400.0  # s, between two renewals of a key's lease by one process
KID_BYTES = 4


class SecretKey(msgspec.Struct, frozen=True):
    """``unsubscribe-keys/<kid>`` and ``return-path-keys/<kid>``: never change.

    ``secret``: random bytes (base64 in JSON).
    """

    kid: str
    secret: bytes
    created_at: datetime


class _Known(msgspec.Struct):
    key: SecretKey
    revision: int  # that made it
    lease: int
    renew_at: float = 0.0  # of since_boot()


class SecretKeys:
    """The keys of one kind. Run :meth:`run` as a task; without that, they are read when asked for.

    ``prefix``: of their keys in etcd. ``what``: what they are, in words. ``retention``: seconds.
    ``calls``: for the reads and writes of :meth:`current` and :meth:`find`; by default ``store``.
    ``known``: all keys were read, and are followed.
    """

    def __init__(
        self,
        store: Store,
        prefix: bytes,
        *,
        what: str,
        secret_bytes: int,
        retention: float,
        calls: Store | None = None,
    ) -> None:
        self._store, self._calls = store, calls or store
        self._range = prefix, range_end(prefix)
        self._what, self._secret_bytes = what, secret_bytes
        self._lease_seconds = math.ceil(retention + RENEWAL)
        self._known: dict[str, _Known] = {}
        self.known = False
        self._making = asyncio.Lock()

    def secret_of(self, kid: str) -> bytes | None:
        """The secret of a key that this process knows."""
        known = self._known.get(kid)
        return known.key.secret if known else None

    @property
    def secrets(self) -> list[bytes]:
        """The secrets of all keys that this process knows, the newest first."""
        known = sorted(self._known.values(), key=lambda known: -known.revision)
        return [each.key.secret for each in known]

    async def current(self) -> SecretKey:
        """The key for what is new. It is made if there is none, or none that is new enough.

        Any number of processes may do this at the same time: one key is made. Raises EtcdError;
        EtcdUnavailable, too, if the outcome is unknown: nothing hangs on the key yet.
        """
        while True:
            newest = self._newest()
            if newest is None or utc_now() - newest.key.created_at >= PERIOD:
                async with self._making:
                    newest = await self._made_or_found()
            if await self._renewed(newest):
                return newest.key

    async def find(self, kid: str) -> SecretKey:
        """The key of this id; the current one, if that key is gone. As :meth:`current`.

        A key is gone where an operator has deleted it.
        """
        known = self._known.get(kid)
        if known is None and (kv := await self._calls.client.get(self._key(kid))):
            known = self._learn(kv)
        if known is not None and await self._renewed(known):
            return known.key
        return await self.current()

    async def of_time(self, at: datetime) -> SecretKey:
        """The newest key that was there at a time, or else the first one. As :meth:`current`.

        So what is made again later is the same, in all processes.
        """
        while True:
            await self.current()
            known = sorted(self._known.values(), key=lambda known: known.revision)
            there = [each for each in known if each.key.created_at <= at]
            if await self._renewed(found := there[-1] if there else known[0]):
                return found.key

    async def run(self) -> None:
        """Follows the keys until cancelled."""
        start, end = self._range

        async def read() -> int:
            revision = await self._read_all(self._store)
            self.known = True
            return revision

        async def changed(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "put":
                    self._learn(event.kv)
                else:
                    self._known.pop(self._store.keys.last_part(event.kv.key), None)

        await follow(self._store.client, start, end, what=self._what, read=read, changed=changed)

    # --- what is known ---

    def _key(self, kid: str) -> bytes:
        return self._range[0] + kid.encode()

    def _newest(self) -> _Known | None:
        return max(self._known.values(), key=lambda known: known.revision, default=None)

    def _learn(self, kv: KeyValue) -> _Known | None:
        try:
            key = codec.decode_state(kv.value, SecretKey)
            if len(key.secret) != self._secret_bytes:
                raise ValueError(f"the secret has {len(key.secret)} bytes")
        except ValueError as error:  # somebody wrote this key by hand
            log_unreadable(kv.key, error)
            return None
        known = self._known.get(key.kid)
        if known is None or known.revision != kv.create_revision:
            known = self._known[key.kid] = _Known(key, kv.create_revision, kv.lease)
        return known

    async def _read_all(self, store: Store) -> int:
        """Reads all keys. Returns the revision."""
        found = await store.client.range(*self._range)
        there = {known.key.kid for kv in found.kvs if (known := self._learn(kv))}
        for kid in self._known.keys() - there:
            del self._known[kid]
        return found.revision

    # --- use ---

    async def _renewed(self, known: _Known) -> bool:
        """Renews a key's lease, if that is due. False: the key is gone."""
        now = since_boot()
        if now < known.renew_at or not known.lease:
            return True
        try:
            await self._calls.client.keep_alive(known.lease)
        except LeaseNotFound:
            self._known.pop(known.key.kid, None)
            return False
        known.renew_at = now + RENEWAL
        return True

    async def _made_or_found(self) -> _Known:
        """The newest key, which another process may have made. It is made if there is none."""
        client = self._calls.client
        while True:
            revision = await self._read_all(self._calls)
            newest = self._newest()
            if newest is not None and utc_now() - newest.key.created_at < PERIOD:
                return newest
            key = SecretKey(new_token(KID_BYTES), os.urandom(self._secret_bytes), utc_now())
            try:
                lease = await client.grant(self._lease_seconds)
                result = await client.txn(
                    Txn(
                        [all_created_before(*self._range, revision + 1)],
                        [put(self._key(key.kid), codec.encode_state(key), lease)],
                    )
                )
            except OutcomeUnknown as error:
                raise EtcdUnavailable(str(error)) from None
            if result.succeeded:
                made = self._known[key.kid] = _Known(key, result.revision, lease)
                return made
            try:
                await client.revoke(lease)
            except EtcdError:
                pass  # it ends by itself, with nothing on it
