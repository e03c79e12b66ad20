"""Asks etcd to compact as often as is worth it: by what was written since the last time, not by the clock.

A compaction frees the room of everything that was replaced or deleted before some revision, and looks at every key in etcd for that. By the clock,
as etcd's own does it, it comes too late for a small quota under load, and too often for a store with millions of keys: etcd begins one at every
tick, however long each takes, and where one takes longer than a tick they queue up, and room is freed later and later. So one worker
asks: sooner where the quota is small, more seldom where there is much to look at, and never while one is under way. etcd's own stays as the net below.

Where etcd's authentication is on, only root may ask (etcd 3.6.16), and no worker is root. Then etcd's own is all there is, and this looks from time to time how
far back history goes: so long it takes until what is shed is free.
"""

from __future__ import annotations

import time
from collections import deque

from babygun.errors import Compacted, PermissionDenied
from babygun.etcd import EtcdClient
from babygun.runtime.logs import get_logger
from babygun.store.upkeep.fullness import Fullness

log = get_logger("store")

HISTORY = 20.0  # s, that watches which fell behind can read on from
SHORT_HISTORY = 3.0  # s, the same where room is needed: whoever is further behind lists again
NARROW_ABOVE = 0.5  # of the quota, expected: room is needed
_OF_QUOTA, _OF_QUOTA_NARROW = 0.2, 0.08  # growth that is worth a compaction: of the quota at most,
_OF_STORE = 0.5  # else of what was there after the last one, so that looking at every key stays cheap for each that was written,
_LEAST = 128 << 20  # but this at least (bytes)
_WAIT = 10.0  # s, for more to come, after something was shed
_PATIENCE = 3600.0  # s, that a compaction may take
_ASK_AGAIN = 600.0  # s, after a refusal: authentication may be off again
_LOOK_BACK, _LONGEST = (
    5.0,
    300.0,
)  # s, between two revisions that are looked for again, and how far back


class Compaction:
    """Call :meth:`once` again and again; it takes as long as the compaction does, where one is due. ``probe``: any key that the user may read."""

    def __init__(self, client: EtcdClient, fullness: Fullness, probe: bytes) -> None:
        self._client, self._fullness, self._probe = client, fullness, probe
        self._low: int | None = None  # bytes in use when the last one was over
        self._wanted, self._wanted_since = 0, 0.0
        self._refused_until = 0.0
        self._back: deque[tuple[float, int]] = (
            deque()
        )  # monotonic time and revision, where etcd compacts by itself
        self._history = 0.0  # the longest that a revision was kept
        self.compacted = 0
        """The revision before which everything is gone, as far as is known."""
        self.took = 2.0
        """Seconds that the last one took."""

    @property
    def lead(self) -> float:
        """Seconds from a deletion until its room is free: one compaction may be under way that it came too late for, and the next takes its time."""
        return (self._history if self._refused_until else SHORT_HISTORY) + 2 * self.took + 2.0

    def want(self, revision: int) -> None:
        """What was deleted up to ``revision`` shall be free soon."""
        if self._wanted <= self.compacted:
            self._wanted_since = time.monotonic()
        self._wanted = revision

    def due(self, now: float) -> int:
        """The revision to compact at, 0 where it is not worth it now; ``now``: monotonic seconds."""
        fullness = self._fullness
        if not fullness.looks:
            return 0
        in_use = fullness.looks[-1].in_use
        self._low = in_use if self._low is None else min(self._low, in_use)
        narrow = self._wanted > self.compacted or fullness.expected(self.lead) > NARROW_ABOVE
        revision = fullness.revision_before(SHORT_HISTORY if narrow else HISTORY)
        if revision <= self.compacted:
            return 0
        share = (_OF_QUOTA_NARROW if narrow else _OF_QUOTA) * fullness.quota
        grown = in_use - self._low > min(share, max(_LEAST, _OF_STORE * self._low))
        return (
            revision
            if grown or (self._wanted > self.compacted and now - self._wanted_since > _WAIT)
            else 0
        )

    async def once(self) -> None:
        """Compacts where that is due, and returns when it is over. Raises EtcdError where etcd did not do it."""
        began = time.monotonic()
        if began < self._refused_until:
            await self._look_back(began)
            return
        if not (revision := self.due(began)):
            return
        try:
            await self._client.compact(revision, timeout=_PATIENCE)
        except PermissionDenied:
            if not self._refused_until:
                log.info("compaction not permitted")
            self._refused_until = began + _ASK_AGAIN
            return
        self._refused_until = 0.0
        self.compacted, self._low = revision, None
        self.took = time.monotonic() - began
        log.debug("history compacted", revision=revision, seconds=round(self.took, 3))

    async def _look_back(self, now: float) -> None:
        """Learns how long etcd keeps a revision."""
        if self._fullness.looks and (not self._back or now - self._back[-1][0] >= _LOOK_BACK):
            self._back.append((now, self._fullness.looks[-1].revision))
        while self._back:
            since, revision = self._back[0]
            try:
                await self._client.get(self._probe, revision=revision)
            except Compacted:
                self.compacted = revision
            else:
                self._history = min(max(self._history, now - since), _LONGEST)
                if now - since < _LONGEST:
                    return
            self._back.popleft()
