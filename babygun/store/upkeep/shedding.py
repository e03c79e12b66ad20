"""Frees space before etcd is full: deletes old contents, then sent notices, then old records.

Contents go by their end marks, notices and records with their retention leases. Incomplete e-mails
have neither, and stay. So do notices that wait, unless they are too many
(:mod:`babygun.store.upkeep.waiting_notices`).

Space that is shed now is free only after the next compaction, some ten seconds later. So shedding
goes by what will be in use by then (:mod:`babygun.store.upkeep.fullness`). A small quota fills up
much in ten seconds under load, so it sheds early. A large one sheds when it is nearly full.

Each round frees what is expected above the threshold. Of that it subtracts what it has shed already
and no compaction has freed yet. Each shed counts before it is asked for: if etcd fails in the
middle of a round, the next one must not shed the same amount again.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from msgspec import Struct

from babygun.etcd import KeyValue
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import SHED
from babygun.store.codec import log_unreadable
from babygun.store.keys import EndKind, range_end
from babygun.store.store import Store
from babygun.store.upkeep import end_marks
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.end_marks import EndMark
from babygun.store.upkeep.fullness import IN_FILE, Fullness
from babygun.store.upkeep.reserve import Reserve
from babygun.store.upkeep.retention import shared_seconds
from babygun.store.upkeep.waiting_notices import WaitingNotices

log = get_logger("store")

# These are for a reserve of a tenth. A larger one makes both smaller.
CONTENTS_ABOVE = 0.70  # of the quota, expected: the oldest contents go
NOTICES_ABOVE = 0.80  # the oldest notices go that are sent or failed
WAITING_ABOVE = 0.82  # the oldest notices that wait have failed, if there are too many
RECORDS_ABOVE = 0.85  # the contents of undelivered e-mails go, and the oldest records and logs
MORE = 0.01  # of the quota, beyond what is needed: otherwise it would shed a little each second
# Of the quota. From here on the size of the file counts too: with more free pages it grows less.
_FILE_NEAR = 0.90
_UNKNOWN_BYTES = 400_000  # of a lease that does not say how much hangs on it
_KEYS_BYTES = 300  # what the keys of a content and its end mark take
_FILLING = timedelta(seconds=5)  # a lease so young still takes new keys
_AT_ONCE = 8  # leases revoked together, for one fsync
_PAGE = 200  # leases a round
_CONTENTS = 1000  # end marks of one read
_DELETED_AT_ONCE = 100  # contents of these
_WAIT = 2.0  # times the lead of a compaction; what was shed longer ago counts as free
_LOG_AGAIN = 60.0  # s
_KINDS: tuple[EndKind, ...] = ("delivered", "undelivered")


class _Shed(Struct):
    """What was shed, and is not free before a compaction beyond ``revision``.

    ``revision``: None: not known yet. ``at``: monotonic seconds.
    """

    bytes: float
    at: float
    revision: int | None = None


class _Lease(NamedTuple):
    """A lease that goes early. ``granted``: when. ``bytes``: that it holds in etcd's file."""

    id: int
    granted: datetime
    bytes: float


class Shedding:
    """One round is :meth:`once`. ``shed``: contents, and leases of notices and records, so far.

    ``reserve``: as of the last round. ``waiting``: notices that wait.
    """

    def __init__(self, store: Store, fullness: Fullness, compaction: Compaction) -> None:
        self._client, self._batcher, self._keys = store.client, store.batcher, store.keys
        settings = store.settings
        self._retentions = {"emails": settings.retention, "notices": settings.webhook_retention}
        self._fullness, self._compaction = fullness, compaction
        self.reserve = Reserve(store, fullness)
        self.waiting = WaitingNotices(store, fullness, compaction)
        self.shed = {"contents": 0, "notices": 0, "emails": 0}
        self._pending: list[_Shed] = []
        self._logged_at = -_LOG_AGAIN

    async def once(self) -> float:
        """One round. Returns how full etcd will be in a moment; 1.0 is its quota."""
        fullness, compaction = self._fullness, self._compaction
        self._all_until((await fullness.measure()).revision)
        await self.reserve.measure()
        usable = self.reserve.usable
        full = fullness.expected(compaction.lead) + max(0.0, fullness.file - _FILE_NEAR)
        now, quota = time.monotonic(), fullness.quota
        self._pending = [
            shed
            for shed in self._pending
            if (shed.revision is None or shed.revision > compaction.compacted)
            and now - shed.at < _WAIT * compaction.lead
        ]
        before, coming = self._not_free(), self.waiting.coming
        for shed, above, besides in (
            (partial(self._shed_contents, "delivered"), CONTENTS_ABOVE, 0.0),
            (partial(self._shed_leases, "notices"), NOTICES_ABOVE, 0.0),
            (self._give_up_waiting, WAITING_ABOVE, coming),
            (partial(self._shed_contents, "undelivered"), RECORDS_ABOVE, coming),
            (partial(self._shed_leases, "emails"), RECORDS_ABOVE, coming),
        ):
            if (need := (full - above * usable) * quota - self._not_free() - besides) > 0:
                await shed(need + MORE * usable * quota, full)
        if (pending := self._not_free()) > before:
            self._all_until((await fullness.measure()).revision)
        elif (
            full - RECORDS_ABOVE * usable
        ) * quota > pending and now - self._logged_at >= _LOG_AGAIN:
            self._logged_at = now
            log.error("nothing left to shed", full=round(full, 3))
        return full

    def _not_free(self) -> float:
        """Bytes that were shed, and were not free as the round began."""
        return sum(shed.bytes for shed in self._pending)

    def _sheds(self, size: float) -> None:
        """Counts what is shed now, or may be."""
        self._pending.append(_Shed(size, time.monotonic()))

    def _all_until(self, revision: int) -> None:
        """``revision``: of etcd after all that was shed so far. Asks for the space of that."""
        unknown = [shed for shed in self._pending if shed.revision is None]
        for shed in unknown:
            shed.revision = revision
        if unknown:
            self._compaction.request(revision)

    async def _give_up_waiting(self, need: float, full: float) -> None:
        given_up = self.waiting.bytes
        try:
            await self.waiting.give_up(need, full)
        finally:
            if (more := self.waiting.bytes - given_up) > 0:
                self._sheds(more)

    async def _shed_contents(self, kind: EndKind, need: float, full: float) -> None:
        """Deletes the oldest contents that take ``need`` bytes, as far as one read shows."""
        prefix = self._keys.retention_kind(kind)
        oldest = await self._client.range(prefix, range_end(prefix), limit=_CONTENTS)
        found, marks = 0.0, list[EndMark]()
        for mark in end_marks.read(self._keys, oldest.kvs):
            if found >= need:
                break
            found += _bytes_with(mark)
            marks.append(mark)
        done = list[EndMark]()
        try:
            for start in range(0, len(marks), _DELETED_AT_ONCE):
                some = marks[start : start + _DELETED_AT_ONCE]
                self._sheds(sum(map(_bytes_with, some)))
                await end_marks.delete_contents(self._client, self._batcher, self._keys, kind, some)
                done += some
        finally:
            if done:
                size = sum(map(_bytes_with, done))
                self._count("contents", len(done), oldest.count, size, done[-1].since, full)

    async def _shed_leases(self, kind: str, need: float, full: float) -> None:
        """Revokes the oldest leases that hold ``need`` bytes: of notices, or records and logs."""
        prefix = self._keys.retention_kind(kind)
        oldest = await self._client.range(prefix, range_end(prefix), limit=_PAGE)
        found, leases = 0.0, list[_Lease]()
        for kv in oldest.kvs:
            try:
                _, granted, lease_id = self._keys.parse_retention(kv.key)
            except ValueError as error:
                log_unreadable(kv.key, error)
                continue
            if found >= need or utc_now() - granted < _FILLING:
                break
            leases.append(_Lease(lease_id, granted, _bytes_of(kv) * IN_FILE))
            found += leases[-1].bytes
        if not leases:
            return
        filled = leases[-1].granted + timedelta(seconds=shared_seconds(self._retentions[kind]))
        if kind == "emails":
            await self._shed_contents_until(filled)
        done = list[_Lease]()
        try:
            for start in range(0, len(leases), _AT_ONCE):
                together = leases[start : start + _AT_ONCE]
                self._sheds(sum(lease.bytes for lease in together))
                await asyncio.gather(*(self._client.revoke(lease.id) for lease in together))
                done += together
            if kind == "emails":  # and of those that have become final since, on a lease
                await self._shed_contents_until(filled)
        finally:
            if done:
                size = sum(lease.bytes for lease in done)
                self._count(kind, len(done), oldest.count, size, done[-1].granted, full)

    async def _shed_contents_until(self, until: datetime) -> None:
        """Deletes the contents of e-mails that became final before: their records are to go.

        A content without its record would take room until its own retention ends.
        """
        for kind in _KINDS:
            start = self._keys.retention_kind(kind)
            end = self._keys.retention_before(kind, until)
            while True:
                found = await self._client.range(start, end, limit=_CONTENTS)
                marks = end_marks.read(self._keys, found.kvs)
                await end_marks.delete_contents(
                    self._client, self._batcher, self._keys, kind, marks
                )
                if not found.more:
                    break
                start = found.kvs[-1].key + b"\0"

    def _count(
        self, kind: str, count: int, of: int, size: float, until: datetime, full: float
    ) -> None:
        self.shed[kind] += count
        SHED[kind].inc(count)
        log.warning(
            "shed early",
            kind=kind,
            count=count,
            of=of,
            mib=round(size / 2**20, 1),
            until=until.isoformat(),
            full=round(full, 3),
        )


def _bytes_with(mark: EndMark) -> float:
    """What a content and its mark take in etcd's file."""
    return mark.size * IN_FILE + _KEYS_BYTES


def _bytes_of(kv: KeyValue) -> int:
    return int(kv.value) if kv.value.isdigit() else _UNKNOWN_BYTES
