"""Gives etcd room before it runs out: revokes the oldest retention leases. Incomplete e-mails hang on no lease, and are never touched.

It goes by what will be in use when the room of what is shed now is free, some ten seconds on (:mod:`babygun.store.upkeep.fullness`): so a small quota
under much load sheds early, and a large one, in which ten seconds are nothing, when it is full. As much goes as is expected above the
mark; what was shed already and not freed by a compaction yet is counted.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import NamedTuple

from babygun.etcd import EtcdClient, KeyValue
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import SHED
from babygun.store.keys import Keys, range_end
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness

log = get_logger("store")

CONTENTS_ABOVE = 0.70  # of the quota, expected: the oldest contents go
RECORDS_ABOVE = 0.85  # the oldest records and logs go too
_MORE = 0.01  # of the quota, that goes beyond what is needed: not a little every second
_FILE_NEAR = 0.90  # of the quota: from here on the file itself counts, too. More free pages make it less likely that it grows
_UNKNOWN_BYTES = 400_000  # of a lease that does not say how much hangs on it
_IN_FILE = 1.15  # bytes of etcd's file for a byte of content
_FILLING = timedelta(seconds=5)  # a lease so young is still being filled
_AT_ONCE = 8  # revoked together, for one fsync
_PAGE = 200  # leases a round
_FREED_WITHIN = 2.0  # times what a deletion takes to be free: longer it is not waited for
_TELL_AGAIN = 60.0  # s


class _Shed(NamedTuple):
    """What went, and is not free yet: until a compaction beyond this revision."""

    revision: int
    bytes: float
    at: float


class Shedding:
    """One round is :meth:`once`; it looks at etcd through ``fullness``."""

    def __init__(
        self, client: EtcdClient, keys: Keys, fullness: Fullness, compaction: Compaction
    ) -> None:
        self._client, self._keys, self._fullness, self._compaction = (
            client,
            keys,
            fullness,
            compaction,
        )
        self.shed = {"contents": 0, "emails": 0}  # leases revoked so far, by kind
        self._pending: list[_Shed] = []
        self._told = -_TELL_AGAIN

    async def once(self) -> float:
        """One round; returns how full etcd will be in a moment, 1.0 being its quota."""
        await self._fullness.look()
        lead = self._compaction.lead
        full = self._fullness.expected(lead) + max(0.0, self._fullness.file - _FILE_NEAR)
        now, quota = time.monotonic(), self._fullness.quota
        self._pending = [
            shed
            for shed in self._pending
            if shed.revision > self._compaction.compacted and now - shed.at < _FREED_WITHIN * lead
        ]
        before = pending = sum(shed.bytes for shed in self._pending)
        for kind, above in (("contents", CONTENTS_ABOVE), ("emails", RECORDS_ABOVE)):
            if (need := (full - above) * quota - pending) > 0:
                pending += await self._shed(kind, need + _MORE * quota, full)
        if pending > before:
            revision = (await self._fullness.look()).revision
            self._pending.append(_Shed(revision, pending - before, now))
            self._compaction.want(revision)
        elif (full - RECORDS_ABOVE) * quota > pending and now - self._told >= _TELL_AGAIN:
            self._told = now
            log.error("nothing left to shed", full=round(full, 3))
        return full

    async def _shed(self, kind: str, need: float, full: float) -> float:
        """Revokes the oldest leases of this kind that hold ``need`` bytes together; returns how many bytes they do hold."""
        prefix = self._keys.retention_kind(kind)
        oldest = await self._client.range(prefix, range_end(prefix), limit=_PAGE)
        found, leases, until = 0.0, list[int](), ""
        for kv in oldest.kvs:
            try:
                _, granted, lease_id = self._keys.parse_retention(kv.key)
            except ValueError:
                log.error("key unreadable", key=kv.key.decode(errors="replace"))
                continue
            if found >= need or utc_now() - granted < _FILLING:
                break
            found += _bytes_of(kv) * _IN_FILE
            leases.append(lease_id)
            until = granted.isoformat()
        for start in range(0, len(leases), _AT_ONCE):
            together = leases[start : start + _AT_ONCE]
            await asyncio.gather(*map(self._client.revoke, together))
            self.shed[kind] += len(together)
            SHED[kind].inc(len(together))
        if leases:
            log.warning(
                "shed early",
                kind=kind,
                leases=len(leases),
                of=oldest.count,
                mib=round(found / 2**20, 1),
                ended_until_about=until,
                full=round(full, 3),
            )
        return found


def _bytes_of(kv: KeyValue) -> int:
    return int(kv.value) if kv.value.isdigit() else _UNKNOWN_BYTES
