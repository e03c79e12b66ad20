"""Deletes what has been kept for its retention.

A worker deletes the content of a final e-mail by its end mark. The record, the log, an
Idempotency-Key, a batch's marks and a revoked token hang on leases: etcd ends them. Where a lease
lives too long, a worker or an API process revokes it.

Without checkpoints, each start of etcd begins the time of every lease again. So a lease alone may
never end. How old a key is, is known by the timeline (:mod:`babygun.store.upkeep.timeline`). A
worker samples that. Settings count as they are now: a retention that was shortened counts at once.
A lease also ends by its own time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, cast

from babygun.errors import EtcdError, LeaseNotFound
from babygun.etcd import KeyValue, Txn, delete_range, modified_at, put, range_absent
from babygun.runtime.settings import Settings
from babygun.store.codec import log_unreadable
from babygun.store.keys import EndKind, range_end
from babygun.store.newest_first import id_floor
from babygun.store.store import Store
from babygun.store.upkeep import end_marks
from babygun.store.upkeep.retention import shared_seconds
from babygun.store.upkeep.timeline import FINENESS, Timeline
from babygun.store.upkeep.trusted_clock import TrustedClock

_PAGE = 500  # keys of one read
_AT_ONCE = 4  # leases revoked together, of up to 1,000 keys each
_BUDGET = 0.5  # s, of a round: after a long pause there may be much to delete
_INTERVAL = 1.0  # s
_LONGEST_PAUSE = 30.0  # s, between two rounds that had nothing left to do


class Ending:
    """Call :meth:`once` every second; it does nothing where nothing can have ended yet.

    ``role``: a worker ends e-mails and notices, and keeps the timeline. An API process ends the
    rest, since a worker has no right to it.
    """

    def __init__(self, store: Store, role: Literal["worker", "api"]) -> None:
        self._store, self._role = store, role
        settings = store.settings
        periods = _periods(settings)
        self._kept = {kind: periods[kind] for kind in _KINDS[role]}
        self._shortest = min(seconds for seconds in periods.values() if seconds)
        self._longest = 2 * max(periods.values())
        self._clock = TrustedClock(settings, self._shortest / FINENESS)
        self._timeline = Timeline(self._longest)
        # Where to go on, by kind and whether it is what names a time that has passed.
        self._cursors: dict[tuple[str, bool], bytes] = {}
        self._granted: dict[int, int] = {}  # seconds, of leases of revoked tokens
        self._next = 0.0  # monotonic

    async def run(self, joined: Callable[[], bool]) -> None:
        """Goes on until cancelled. ``joined``: whether this process may work under the prefix."""
        while True:
            await asyncio.sleep(_INTERVAL)
            if joined():
                with suppress(EtcdError):  # a call that needs etcd notices by itself
                    await self.once()

    async def once(self) -> None:
        """One round. Raises EtcdError."""
        began = time.monotonic()
        if began < self._next:
            return
        now = await self._clock.now()
        if now is None:
            return
        await self._read_timeline(now.sampled)
        until = began + _BUDGET
        earliest = now.earliest
        rest = [await self._end(kind, earliest, kept, until) for kind, kept in self._kept.items()]
        if self._role == "api":
            await self._end_tokens(earliest)
            await self._end_audit(earliest)
        if not any(rest):
            self._next = began + min(_LONGEST_PAUSE, self._shortest / FINENESS)

    async def _read_timeline(self, now: datetime) -> None:
        """Reads the timeline, and adds a sample where one is due."""
        key, interval = self._store.keys.timeline, self._shortest / FINENESS
        if not self._timeline.wants(now, interval):
            return
        found = await self._store.client.range(key, key + b"\0")
        value = found.kvs[0].value if found.kvs else b"[]"
        try:
            timeline = Timeline(self._longest, value)
        except ValueError as error:
            log_unreadable(key, error)
            timeline = Timeline(self._longest)
        self._timeline = timeline
        if self._role == "worker" and timeline.wants(now, interval):
            timeline.add(now, found.revision)
            same = (
                modified_at(key, found.kvs[0].mod_revision)
                if found.kvs
                else range_absent(key, key + b"\0")
            )
            await self._store.client.txn(Txn([same], [put(key, timeline.value)]))

    async def _end(self, kind: str, now: datetime, kept: float, until: float) -> bool:
        """Ends what is old enough of one kind. Returns whether there is more of it.

        A key may name a time to come, if the clock of its writer was ahead. How old it is,
        its revision says alone.
        """
        begin = now - timedelta(seconds=kept)
        revision = self._timeline.revision_before(begin)
        if not revision:
            return False
        keys = self._store.keys
        prefix = keys.retention_kind(kind)
        past = prefix, keys.retention_before(kind, begin)
        to_come = keys.retention_before(kind, now), range_end(prefix)
        rest = [await self._end_range(kind, each, revision, until) for each in (past, to_come)]
        return any(rest)

    async def _end_range(
        self, kind: str, found_in: tuple[bytes, bytes], revision: int, until: float
    ) -> bool:
        """Ends what no revision after ``revision`` has made. Returns whether there is more."""
        start, end = found_in
        cursor = kind, start == self._store.keys.retention_kind(kind)
        while True:
            start = max(start, self._cursors.get(cursor, start))
            found = await self._store.client.range(start, end, limit=_PAGE)
            old = [kv for kv in found.kvs if kv.create_revision <= revision]
            if kind in ("delivered", "undelivered"):
                await self._delete_contents(cast(EndKind, kind), old)
            else:
                await self._revoke(old)
            if not found.more:
                self._cursors.pop(cursor, None)
                return False
            self._cursors[cursor] = found.kvs[-1].key + b"\0"
            if time.monotonic() > until:
                return True

    async def _delete_contents(self, kind: EndKind, old: Sequence[KeyValue]) -> None:
        store = self._store
        marks = end_marks.read(store.keys, old)
        await end_marks.delete_contents(store.client, store.batcher, store.keys, kind, marks)

    async def _revoke(self, old: Sequence[KeyValue]) -> None:
        """Revokes the leases that these keys name."""
        leases = []
        for kv in old:
            try:
                leases.append(self._store.keys.parse_retention(kv.key)[2])
            except ValueError as error:
                log_unreadable(kv.key, error)
        for start in range(0, len(leases), _AT_ONCE):
            some = leases[start : start + _AT_ONCE]
            await asyncio.gather(*map(self._store.client.revoke, some))

    async def _end_tokens(self, now: datetime) -> None:
        """Revokes the leases of revoked tokens that would have expired.

        Such a lease was granted for as long as its token was valid.
        """
        client, prefix = self._store.client, self._store.keys.revocations
        found = await client.range(prefix, range_end(prefix))
        for kv in found.kvs:
            if not kv.lease:
                continue
            try:
                if kv.lease not in self._granted:
                    self._granted[kv.lease] = await client.granted(kv.lease)
            except LeaseNotFound:
                continue
            since = now - timedelta(seconds=self._granted[kv.lease])
            if kv.create_revision <= self._timeline.revision_before(since):
                await client.revoke(kv.lease)
        there = {kv.lease for kv in found.kvs}
        self._granted = {lease: ttl for lease, ttl in self._granted.items() if lease in there}

    async def _end_audit(self, now: datetime) -> None:
        """Deletes the audit entries that are old enough by their ids."""
        end = now - timedelta(seconds=self._store.settings.audit_retention)
        start = self._store.keys.audit
        old = start + id_floor(max(1, int(end.timestamp() * 1000)))
        if (await self._store.client.range(start, old, limit=1, keys_only=True)).kvs:
            await self._store.client.txn(Txn([], [delete_range(start, old)]))


_KINDS = {
    "worker": ("delivered", "undelivered", "emails", "notices"),
    "api": ("idempotency",),
}


def _periods(settings: Settings) -> dict[str, float]:
    """How many seconds each kind is kept."""
    record, idempotency, notices = (
        seconds + shared_seconds(seconds)
        for seconds in (
            settings.retention,
            settings.idempotency_retention,
            settings.webhook_retention,
        )
    )
    return {
        "delivered": settings.contents_retention,
        "undelivered": record,
        "emails": record,
        "idempotency": idempotency,
        "notices": notices,
    }
