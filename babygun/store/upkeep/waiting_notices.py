"""Gives up the oldest notices that wait, where too many of them fill etcd.

An endpoint may be down for days, or answer more slowly than events come. Its notices would take
all of etcd in the end, and no client could send an e-mail. So all notices that wait may take
WAITING of the quota. Where room is short and they take more, the webhook that takes most loses its
oldest ones: they have failed, as after their last try. They hang on a lease then. So they can be
replayed while it lasts, and be shed.

Each notice is moved in a transaction that compares its revision, as a replay does it. So it needs
no owner, and a busy owner does not hold it up. The owner may have the notice in memory. If it was
ready, and is sent all the same, its result may take the place of the failure. If that try fails
too, and another would follow, the notice stays failed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import NamedTuple

from babygun.errors import LeaseNotFound, OutcomeUnknown, OutOfSpace
from babygun.etcd import KeyValue, Txn, delete, get_range, modified_at, present, put
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import SHED
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import NoticeRef, range_end
from babygun.store.store import Store
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import IN_FILE, Fullness

log = get_logger("store")

WAITING = 0.10  # of the quota, that all notices that wait may take
# Of the quota, that one round may write: fast growth looks as if etcd would soon be full. And that
# may be written before a compaction frees what it replaces: far less than the reserve.
_OF_QUOTA, _UNTIL_COMPACTED = 0.002, 0.02
_WAIT = 2.0  # times the lead of a compaction; what was replaced longer ago counts as free
_MOST_PAGES = 100  # of one round
_PAGE, _PAGE_BYTES = 100, 512 << 10  # notices, and their bytes, of one read
_AT_ONCE = 20  # webhooks of one look
_SAMPLE = 4  # notices of each, by which their size is estimated
_LOOK_AGAIN = 10.0  # s: etcd counts keys one by one
_COMING = 10.0  # s, until their lease can be shed
_UNKNOWN = 1 << 63  # a revision that no compaction reaches: only time frees what has it
_KEY_BYTES = 300  # what a notice takes in etcd's file beside its value


class _Waiting(NamedTuple):
    """``number``: of a webhook's notices. ``mean``: bytes of one."""

    number: int
    mean: float

    @property
    def bytes(self) -> float:
        return self.number * self.mean


class _GivenUp(NamedTuple):
    """``revision``: that etcd had after it."""

    at: float
    revision: int
    bytes: float


class _Round:
    """What one round has given up. ``counts``: by webhook. ``revision``: the highest of a move."""

    def __init__(self) -> None:
        self.bytes, self.revision = 0.0, 0
        self.counts = Counter[str]()


class WaitingNotices:
    """One round is :meth:`give_up`.

    ``count``: how many were given up so far. ``bytes``: that these take.
    """

    def __init__(self, store: Store, fullness: Fullness, compaction: Compaction) -> None:
        self._store, self._fullness, self._compaction = store, fullness, compaction
        self._waiting: dict[str, _Waiting] = {}  # by webhook
        self._looked = -_LOOK_AGAIN
        self._given_up: list[_GivenUp] = []  # lately
        self.count, self.bytes = 0, 0.0

    @property
    def coming(self) -> float:
        """Bytes that were given up a moment ago: they are free once their lease is shed."""
        begin = time.monotonic() - _COMING
        return sum(one.bytes for one in self._given_up if one.at > begin)

    @property
    def _replaced(self) -> float:
        """Bytes of the old keys that no compaction has freed yet."""
        compacted, begin = self._compaction.compacted, time.monotonic() - self._free_after
        return sum(
            one.bytes for one in self._given_up if one.revision > compacted and one.at > begin
        )

    @property
    def _free_after(self) -> float:
        return _WAIT * self._compaction.lead

    async def give_up(self, need: float, full: float) -> float:
        """Gives up the oldest notices that take ``need`` bytes, as far as there are too many.

        Returns how many bytes they take. Raises EtcdError. Under etcd's alarm it does nothing:
        nothing can be written then.
        """
        fullness = self._fullness
        await self._look()
        too_many = sum(one.bytes for one in self._waiting.values()) - WAITING * fullness.quota
        may_write = min(
            _OF_QUOTA * fullness.quota, _UNTIL_COMPACTED * fullness.quota - self._replaced
        )
        most, done = min(need, too_many, may_write), _Round()
        try:
            for _ in range(_MOST_PAGES):
                if done.bytes >= most or not self._waiting:
                    break
                webhook_id = max(self._waiting, key=lambda one: self._waiting[one].bytes)
                await self._give_up_page(webhook_id, most - done.bytes, done)
        except OutOfSpace:
            log.info("notices kept", error="etcd takes no writes")
        finally:
            self._note(done, full)
        return done.bytes

    def _note(self, done: _Round, full: float) -> None:
        """Remembers what a round has given up, and says so."""
        if done.counts:
            now, kept = time.monotonic(), max(_COMING, self._free_after)
            self._given_up = [one for one in self._given_up if now - one.at < kept]
            self._given_up.append(_GivenUp(now, done.revision, done.bytes))
            self.bytes += done.bytes
        for webhook_id, count in done.counts.items():
            self.count += count
            SHED["waiting"].inc(count)
            log.error(
                "notices given up",
                webhook_id=webhook_id,
                count=count,
                of=self._waiting[webhook_id].number + count,
                full=round(full, 3),
            )

    async def _look(self) -> None:
        """Learns from time to time how many notices each webhook has, and how large they are."""
        store, keys = self._store, self._store.keys
        if time.monotonic() - self._looked < _LOOK_AGAIN:
            return
        secrets = keys.webhook_secrets
        found = await store.client.range(secrets, range_end(secrets), keys_only=True)
        webhooks = [keys.last_part(kv.key) for kv in found.kvs]
        self._waiting = {}
        for start in range(0, len(webhooks), _AT_ONCE):
            some = webhooks[start : start + _AT_ONCE]
            prefixes = [prefix for one in some for prefix in self._prefixes(one)]
            seen = await store.client.read(
                [get_range(prefix, range_end(prefix), limit=_SAMPLE) for prefix in prefixes]
            )
            for place, one in enumerate(some):
                places = 2 * place, 2 * place + 1
                sizes = [_size(kv) for index in places for kv in seen.kvs(index)]
                mean = sum(sizes) / len(sizes) if sizes else 0.0
                self._waiting[one] = _Waiting(sum(map(seen.count, places)), mean)
        self._looked = time.monotonic()

    def _prefixes(self, webhook_id: str) -> tuple[bytes, bytes]:
        """In this order their notices are given up: those that had a try are older."""
        keys = self._store.keys
        return keys.webhook_due_notices(webhook_id), keys.webhook_notices(webhook_id)

    async def _give_up_page(self, webhook_id: str, need: float, done: _Round) -> None:
        """Gives up the first notices of a webhook; adds those that it has to ``done``.

        One whose move had no answer may have been given up, and counts. Raises EtcdError then.
        """
        number, mean = self._waiting[webhook_id]
        limit = max(1, min(_PAGE, int(min(need, _PAGE_BYTES) / max(1.0, mean))))
        kvs: list[KeyValue] = []
        for prefix in self._prefixes(webhook_id):
            if not kvs:
                kvs = (await self._store.client.range(prefix, range_end(prefix), limit=limit)).kvs
        moves = list[int | BaseException]()
        if kvs:
            lease = await self._store.notice_leases.lease(len(kvs))
            moves = await asyncio.gather(
                *(self._move(webhook_id, kv, lease) for kv in kvs), return_exceptions=True
            )
        count = 0
        for kv, move in zip(kvs, moves, strict=True):
            revision = _UNKNOWN if isinstance(move, OutcomeUnknown) else move
            if isinstance(revision, int) and revision:
                count += 1
                done.bytes += _size(kv)
                done.revision = max(done.revision, revision)
        # Where all have changed meanwhile, the next look finds what there is.
        self._waiting[webhook_id] = _Waiting(max(0, number - count) if count else 0, mean)
        if count:
            done.counts[webhook_id] += count
        for move in moves:
            if isinstance(move, BaseException):
                raise move

    async def _move(self, webhook_id: str, kv: KeyValue, lease: int) -> int:
        """The store's revision then. 0: it has changed meanwhile, or its webhook is gone."""
        keys = self._store.keys
        try:
            notice = codec.decode_notice(kv.value)
        except ValueError as error:  # somebody wrote it by hand
            log_unreadable(kv.key, error)
            return 0
        value = codec.encode_notice(notice.given_up_for_room(utc_now()))
        key = keys.sent_notice(NoticeRef(webhook_id, keys.last_part(kv.key)))
        there = present(keys.webhook_secret(webhook_id))
        txn = Txn(
            [modified_at(kv.key, kv.mod_revision), there], [put(key, value, lease), delete(kv.key)]
        )
        try:
            result = await self._store.batcher.submit(txn)
            return result.revision if result.succeeded else 0
        except LeaseNotFound:  # revoked to make room; the next one is new
            self._store.notice_leases.forget(lease)
            return 0


def _size(kv: KeyValue) -> float:
    return len(kv.value) * IN_FILE + _KEY_BYTES
