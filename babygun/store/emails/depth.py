"""How many jobs etcd holds, by queue and state, and how old the oldest are. Cheap with any number.

Ready jobs: etcd answers a range's first key with the number of keys in the range. So each shard is
read queue by queue, one key at a time. The first key names the shard's first queue, and the next
read begins after that queue. The difference of the two counts is that queue's number of jobs. A
round reads all shards in two transactions. There is one round more than a shard has queues. These
are plain reads: nested transactions would go through etcd's log.

The queues of domains may be 100,000, so they count together as ALL_MX. Their oldest job is the
oldest of those that come first in a shard.

Waiting jobs sort by time, and their queue is at the key's end. So only reading a key shows its
queue, and the first READ_WAITING keys are read.

The counts are of slightly different moments, so jobs that come and go in between make them inexact.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from babygun.email.ids import SHARDS, created_ms
from babygun.etcd import KeyValue, Op, TxnResult, count_range, get_range
from babygun.routing.sites import ALL_MX, MX
from babygun.runtime.clock import utc_now
from babygun.runtime.metric_types import OTHER
from babygun.store.keys import range_end
from babygun.store.store import Store

State = Literal["ready", "waiting"]

# Not-before keys that are read. Further ones count as queue OTHER.
READ_WAITING = 5000
# Queues of one shard that are counted apart. Further ones count as OTHER.
MOST_QUEUES = 32
# Keys read at once. They take some milliseconds of this process.
_PAGE = 1000
# Operations in one transaction.
_OPS = 128
# Revisions with their times: hours, however often the metrics are read.
_REMEMBERED = 1000


@dataclass(slots=True)
class Depth:
    """``jobs``: how many, by queue and state. ``owned``: the ready ones that a worker has.

    ``oldest``: seconds by queue and state. Ready: for how long the oldest could have been sent.
    Waiting: for how long the most overdue one should be ready, 0 if none is overdue.
    ``workers``: how many have a live lease.
    """

    owned: int = 0
    workers: int = 0
    jobs: Counter[tuple[str, State]] = field(default_factory=Counter)
    oldest: dict[tuple[str, State], float] = field(default_factory=dict)

    def note_age(self, queue: str, state: State, seconds: float) -> None:
        self.oldest[queue, state] = max(self.oldest.get((queue, state), 0.0), seconds)


class Depths:
    """Reads depths, again and again.

    It remembers which revision was current when, and so for how long a job has been ready. The id
    shows only when the e-mail was accepted, which is long ago if it was deferred.
    """

    def __init__(self, store: Store, queues: Iterable[str] = ()) -> None:
        """``queues``: those that a depth names even if they are empty."""
        self._store, self._queues = store, tuple(queues)
        self._revisions: list[int] = []
        self._times: list[float] = []  # monotonic, of the revisions

    async def read(self, deadline: float) -> Depth:
        """Reads one. Raises EtcdError if that takes longer than ``deadline`` (time.monotonic())."""
        depth = Depth()
        for queue in self._queues:
            depth.jobs[queue, "ready"] = depth.jobs[queue, "waiting"] = 0
            depth.oldest[queue, "ready"] = depth.oldest[queue, "waiting"] = 0.0
        await self._read_waiting(depth, deadline)
        await self._read_ready(depth, deadline)
        return depth

    async def _ranges(self, ops: list[Op], deadline: float) -> TxnResult:
        return await self._store.client.read(ops, timeout=max(0.0, deadline - time.monotonic()))

    async def _read_waiting(self, depth: Depth, deadline: float) -> None:
        keys = self._store.keys
        start, end = keys.waiting, range_end(keys.waiting)
        now, asked = utc_now(), time.monotonic()
        result = await self._ranges(
            [
                get_range(start, end, limit=_PAGE, keys_only=True),
                *(count_range(p, range_end(p)) for p in (keys.owners, keys.workers)),
            ],
            deadline,
        )
        self._remember(result.revision, asked)
        depth.owned, depth.workers = result.count(1), result.count(2)
        read = 0
        while kvs := result.kvs(0):
            read += len(kvs)
            for kv in kvs:
                queue = _shown(keys.last_part(kv.key))
                if not depth.jobs[queue, "waiting"]:  # the first of its queue is the most overdue
                    with suppress(ValueError):  # put there by hand
                        depth.note_age(
                            queue,
                            "waiting",
                            (now - keys.parse_not_before(kv.key)[0]).total_seconds(),
                        )
                depth.jobs[queue, "waiting"] += 1
            if read >= READ_WAITING or not result.more(0):
                break
            result = await self._ranges(
                [get_range(kvs[-1].key + b"\0", end, limit=_PAGE, keys_only=True)], deadline
            )
        # The count is of the whole range, whatever the limit of the read.
        if further := result.count(0) - len(kvs):
            depth.jobs[OTHER, "waiting"] += further

    async def _read_ready(self, depth: Depth, deadline: float) -> None:
        keys = self._store.keys
        starts = {shard: keys.job_shard(shard) for shard in range(SHARDS)}
        # By shard: the queue that its last read began with, and the jobs from that queue on.
        before: dict[int, tuple[str, int]] = {}
        for rounds in range(MOST_QUEUES + 1):
            for group in [list(starts)[at : at + _OPS] for at in range(0, len(starts), _OPS)]:
                result = await self._ranges(
                    [
                        get_range(
                            starts[shard], range_end(keys.job_shard(shard)), limit=1, keys_only=True
                        )
                        for shard in group
                    ],
                    deadline,
                )
                for index, shard in enumerate(group):
                    count = result.count(index)
                    if shard in before:
                        queue, then = before.pop(shard)
                        depth.jobs[queue, "ready"] += max(0, then - count)
                    if not count:
                        del starts[shard]
                    elif rounds == MOST_QUEUES:
                        depth.jobs[OTHER, "ready"] += count
                    else:
                        queue, starts[shard] = self._first(depth, shard, result.kvs(index)[0])
                        before[shard] = queue, count

    def _first(self, depth: Depth, shard: int, kv: KeyValue) -> tuple[str, bytes]:
        """Notes the age of a queue's first job in a shard.

        Returns the queue, and where the next queue begins.
        """
        keys = self._store.keys
        try:
            ref = keys.parse_job(kv.key)
        except ValueError:  # put there by hand
            return OTHER, kv.key + b"\0"
        accepted = max(0.0, time.time() - created_ms(ref.email_id) / 1000)
        shown = _shown(ref.queue)
        depth.note_age(shown, "ready", min(accepted, self._since(kv.create_revision)))
        counted = (
            keys.job_queues(shard, MX) if shown == ALL_MX else keys.job_queue(shard, ref.queue)
        )
        return shown, range_end(counted)

    def _remember(self, revision: int, asked: float) -> None:
        # An earlier revision: another etcd, or one restored from a backup.
        if self._revisions and revision < self._revisions[-1]:
            self._revisions.clear()
            self._times.clear()
        if not self._revisions or revision > self._revisions[-1]:
            self._revisions.append(revision)
            self._times.append(asked)
            del self._revisions[:-_REMEMBERED], self._times[:-_REMEMBERED]
        else:
            self._times[-1] = asked  # nothing was written since

    def _since(self, revision: int) -> float:
        """Seconds since this revision, at most. Infinite if it is older than what is remembered."""
        at = bisect_left(self._revisions, revision)  # those before it are older
        return time.monotonic() - self._times[at - 1] if at else float("inf")


def _shown(queue: str) -> str:
    """The name that a queue counts under."""
    return ALL_MX if queue.startswith(MX) else queue
