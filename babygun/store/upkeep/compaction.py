"""Asks etcd to compact as often as is worth it: by what was written since the last time.

A compaction frees the space of all that was replaced or deleted before some revision, and looks at
every key for that. etcd's own compaction goes by the clock. So it is too late for a small quota
under load, and too frequent for a store with millions of keys: where one takes longer than the
interval, they queue up. So one worker asks: sooner where the quota is small, later where there are
many keys, and never while a compaction is under way. etcd's own remains as the fallback.

With etcd's authentication on, only root may ask (etcd 3.6.16), and no worker is root. Then etcd's
own compaction is all there is. This then checks from time to time how far back the history goes:
for so long, what is deleted takes space.
"""

from __future__ import annotations

import time
from collections import deque

from babygun.errors import Compacted, PermissionDenied
from babygun.etcd import EtcdClient
from babygun.runtime.logs import get_logger
from babygun.store.upkeep.fullness import Fullness

log = get_logger("store")

HISTORY = 20.0  # s, that a watch may fall behind, and still go on
SHORT_HISTORY = 3.0  # s, the same while space is short; a watch further behind reads again
SHORT_ABOVE = 0.5  # of the quota, expected: from here on space is short
# Growth that is worth a compaction is a share of the quota. Where that is less, it is a share of
# what was in use after the last one, so that looking at every key stays cheap for each key written.
_OF_QUOTA, _OF_QUOTA_SHORT = 0.2, 0.08
_OF_STORE = 0.5
_LEAST = 128 << 20  # bytes, of the share of the store
_WAIT = 10.0  # s, for more to be deleted, after a deletion
_PATIENCE = 3600.0  # s, that a compaction may take
_ASK_AGAIN = 600.0  # s, after a refusal: authentication may be off again
_PROBE_INTERVAL = 5.0  # s, between two revisions that are probed for
_LONGEST = 300.0  # s, of history that is probed for


class Compaction:
    """Call :meth:`once` again and again; it takes as long as a compaction that is due.

    ``probe``: any key that the user may read. ``compacted``: the revision before which, as far as
    is known, the history is gone. ``seconds``: that the last compaction took.
    """

    def __init__(self, client: EtcdClient, fullness: Fullness, probe: bytes) -> None:
        self._client, self._fullness, self._probe = client, fullness, probe
        self._low: int | None = None  # bytes in use after the last one
        self._requested, self._requested_at = 0, 0.0
        self._refused_until = 0.0
        # Monotonic time and revision, while etcd compacts by itself.
        self._probed: deque[tuple[float, int]] = deque()
        self._history = 0.0  # the longest that a revision was kept
        self.compacted = 0
        self.seconds = 2.0

    @property
    def lead(self) -> float:
        """Seconds from a deletion until its space is free.

        A compaction under way may have begun too early for it; then the next one frees it.
        """
        history = self._history if self._refused_until else SHORT_HISTORY
        return history + 2 * self.seconds + 2.0

    def request(self, revision: int) -> None:
        """Asks for the space of what was deleted up to ``revision``."""
        if self._requested <= self.compacted:
            self._requested_at = time.monotonic()
        self._requested = revision

    def due(self, now: float) -> int:
        """The revision to compact at, 0 where it is not worth it. ``now``: monotonic seconds."""
        fullness = self._fullness
        if not fullness.sizes:
            return 0
        in_use = fullness.sizes[-1].in_use
        self._low = in_use if self._low is None else min(self._low, in_use)
        requested = self._requested > self.compacted
        short = requested or fullness.expected(self.lead) > SHORT_ABOVE
        revision = fullness.revision_before(SHORT_HISTORY if short else HISTORY)
        if revision <= self.compacted:
            return 0
        share = (_OF_QUOTA_SHORT if short else _OF_QUOTA) * fullness.quota
        grown = in_use - self._low > min(share, max(_LEAST, _OF_STORE * self._low))
        return revision if grown or (requested and now - self._requested_at > _WAIT) else 0

    async def once(self) -> None:
        """Compacts where that is due, and returns after that. Raises EtcdError."""
        began = time.monotonic()
        if began < self._refused_until:
            await self._probe_history(began)
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
        self.seconds = time.monotonic() - began
        log.debug("history compacted", revision=revision, seconds=round(self.seconds, 3))

    async def _probe_history(self, now: float) -> None:
        """Learns how long etcd keeps a revision."""
        sizes, probed = self._fullness.sizes, self._probed
        if sizes and (not probed or now - probed[-1][0] >= _PROBE_INTERVAL):
            probed.append((now, sizes[-1].revision))
        while probed:
            since, revision = probed[0]
            try:
                await self._client.get(self._probe, revision=revision)
            except Compacted:
                self.compacted = revision
            else:
                self._history = min(max(self._history, now - since), _LONGEST)
                if now - since < _LONGEST:
                    return
            probed.popleft()
