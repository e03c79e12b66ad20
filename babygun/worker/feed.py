"""Learns which jobs of the worker's slice are ready: by reading the slice, and following it on.

etcd decides. A later read of the slice, made every reconcile_interval, finds what was missed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

from babygun.errors import EtcdError
from babygun.store import Store
from babygun.store.emails.ready_jobs import (
    JobRange,
    ReadyJob,
    count_jobs,
    follow_jobs,
    past_queue,
    read_jobs,
    shard_range,
)
from babygun.store.keys import JobRef
from babygun.worker.ready import ReadyJobs
from babygun.worker.slices import Slice

_LEAST_READ = 8  # jobs of a shard, in one read of a whole slice


class Feed:
    """Fills ``ready``, and calls ``wake`` after that. ``in_flight``: jobs that this worker has."""

    def __init__(
        self,
        store: Store,
        ready: ReadyJobs,
        in_flight: Collection[JobRef],
        wake: Callable[[], None],
    ) -> None:
        self._store, self._ready, self._in_flight, self._wake = store, ready, in_flight, wake
        # The shard where the next read begins: the first that had no room in the read before.
        self._next = 0

    async def follow(self, part: Slice) -> None:
        """Reads and watches a slice until cancelled."""
        await follow_jobs(
            self._store, *part, read=lambda: self.read(part), arrived=self._take_arrived
        )

    async def read(self, part: Slice, queue: str | None = None) -> int:
        """Reads what is ready in a slice, or in one queue of it, as far as there is room.

        Returns the revision of the first read, 0 where nothing was read. A read that raises
        EtcdError leaves its queues marked as truncated, so that they are read again.

        It goes round the shards, some keys of each at a time, so that the oldest jobs of all shards
        come first. Of a queue with more jobs than room, each shard gives in proportion to what
        waits in it: by chance one can have three times as many jobs as another, and its jobs would
        wait three times as long.
        """
        if part.empty:  # it has lost its shards since the read was asked for
            return 0
        begin = self._next if part.first <= self._next < part.end else part.first
        shards = [*range(begin, part.end), *range(part.first, begin)]
        unread = self._ready.begin_read(queue)
        try:
            return await self._read(await self._ranges(shards, queue))
        except EtcdError:
            self._ready.read_failed(unread)
            raise

    async def _ranges(self, shards: list[int], queue: str | None) -> dict[int, JobRange]:
        """What to read of each shard, and how much of it at a time."""
        ready, ranges = self._ready, {s: shard_range(self._store, s, queue) for s in shards}
        if queue is None:
            limit = max(_LEAST_READ, self._store.settings.worker_ready // len(shards))
            return {shard: each._replace(limit=limit) for shard, each in ranges.items()}
        counts = await count_jobs(self._store, ranges)
        # What is known and what is in flight is still among the keys, the first of its shard.
        share = (ready.limit + len(self._in_flight)) / max(1, sum(counts.values()))
        return {
            shard: ranges[shard]._replace(limit=math.ceil(share * count))
            for shard, count in counts.items()
            if count
        }

    async def _read(self, ranges: dict[int, JobRange]) -> int:
        first_revision = 0
        first_full: int | None = None
        while ranges:
            rests: dict[int, JobRange] = {}
            async for revision, found in read_jobs(self._store, ranges):
                first_revision = first_revision or revision
                for shard, jobs, rest in found:
                    full: str | None = None
                    for job in jobs:
                        full = self._add(job)
                        if full and first_full is None:
                            first_full = self._next = shard
                    if rest and full:
                        rest = past_queue(self._store, shard, full, rest)
                    if rest:
                        rests[shard] = rest
                self._wake()
            ranges = rests
        return first_revision

    def _add(self, found: ReadyJob) -> str | None:
        """Adds a job that a read found. Returns its queue where that is full."""
        if found.ref in self._in_flight or self._ready.add(*found):
            return None
        return found.ref.queue

    def _take_arrived(self, jobs: Iterable[ReadyJob]) -> None:
        """Adds jobs that have just become ready.

        In a queue that has more in etcd, they wait for the next read, behind the older ones.
        """
        for ref, job in jobs:
            if ref.queue not in self._ready.truncated:
                self._ready.add(ref, job)
        self._wake()
