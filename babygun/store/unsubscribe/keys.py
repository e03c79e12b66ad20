"""The keys of links to unsubscribe: made when needed, replaced every 30 days, kept for a year.

Each key hangs on a lease of its own, which begins again when the key is used, at most once a day.
So a key lives on for ``unsubscribe_retention`` after its last use. The links work as long, though
the e-mails' records are gone.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from datetime import datetime, timedelta

import msgspec

from babygun.errors import EtcdError, EtcdUnavailable, LeaseNotFound, OutcomeUnknown
from babygun.etcd import KeyValue, Txn, WatchBatch, all_created_before, follow, put
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.store import Store
from babygun.store.unsubscribe.tokens import KID_BYTES, SECRET_BYTES

PERIOD = timedelta(days=30)  # after which there is a new key
RENEWAL = 86_400.0  # s, between two renewals of a key's lease by one process


class UnsubscribeKey(msgspec.Struct, frozen=True):
    """``unsubscribe-keys/<kid>``: never changes. ``secret``: 64 random bytes (base64 in JSON)."""

    kid: str
    secret: bytes
    created_at: datetime


class _Known(msgspec.Struct):
    key: UnsubscribeKey
    revision: int  # that made it
    lease: int
    renew_at: float = 0.0  # monotonic


class UnsubscribeKeys:
    """Run :meth:`run` as a task. Without that, keys are read when they are asked for.

    ``calls``: for the reads and writes of :meth:`current` and :meth:`find`; by default ``store``.
    ``known``: all keys were read, and are followed.
    """

    def __init__(self, store: Store, calls: Store | None = None) -> None:
        self._store, self._calls = store, calls or store
        self._known: dict[str, _Known] = {}
        self.known = False
        self._making = asyncio.Lock()

    def secret_of(self, kid: str) -> bytes | None:
        """The secret of a key that this process knows."""
        known = self._known.get(kid)
        return known.key.secret if known else None

    async def current(self) -> UnsubscribeKey:
        """The key for new links. It is made if there is none, or none that is new enough.

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

    async def find(self, kid: str) -> UnsubscribeKey:
        """The key of an e-mail's links; the current one, if that key is gone. As :meth:`current`.

        A key is gone where an operator has deleted it.
        """
        known = self._known.get(kid)
        if known is None and (kv := await self._calls.client.get(self._key(kid))):
            known = self._learn(kv)
        if known is not None and await self._renewed(known):
            return known.key
        return await self.current()

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

        await follow(
            self._store.client, start, end, what="unsubscribe keys", read=read, changed=changed
        )

    # --- what is known ---

    @property
    def _range(self) -> tuple[bytes, bytes]:
        prefix = self._store.keys.unsubscribe_keys
        return prefix, range_end(prefix)

    def _key(self, kid: str) -> bytes:
        return self._store.keys.unsubscribe_key(kid)

    def _newest(self) -> _Known | None:
        return max(self._known.values(), key=lambda known: known.revision, default=None)

    def _learn(self, kv: KeyValue) -> _Known | None:
        try:
            key = codec.decode_state(kv.value, UnsubscribeKey)
            if len(key.secret) != SECRET_BYTES:
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
        now = time.monotonic()
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
            key = UnsubscribeKey(new_token(KID_BYTES), os.urandom(SECRET_BYTES), utc_now())
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

    @property
    def _lease_seconds(self) -> int:
        return math.ceil(self._store.settings.unsubscribe_retention + RENEWAL)
