"""Learns which jobs of the worker's slice are ready: by reading the slice, and following it on.

etcd decides. A later read of the slice, made every reconcile_interval, finds what was missed here.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable

from msgspec import Struct

from babygun.consumer.slices import Slice
from babygun.errors import EtcdError
from babygun.store import Store
from babygun.store.emails.ready_jobs import (
    JobRange,
    ReadyJob,
    before_queue,
    count_jobs,
    follow_jobs,
    from_queue,
    past_queue,
    read_jobs,
    shard_range,
)
from babygun.store.keys import JobRef
from babygun.worker.ready import ReadyJobs
from babygun.worker.unread import Full

_LEAST_READ = 8  # jobs of a shard, in one read of a whole slice
_SEARCH = 64  # the same, where a read finds nothing that has room here
_SHARE = 20  # such a read takes one part in so many of the time, unless it takes half a second
_LONGEST_PAUSE = 10.0  # s, after it. A read also seems to take long if this process stood still


def pause_after(seconds: float) -> float:
    """The pause after a search that took so many seconds."""
    return min(_LONGEST_PAUSE, (_SHARE - 1) * seconds)


class _Refused(Struct):
    """What a read had no room for. ``shard``: the first one with such a job.

    ``queue``: the first one with such a job, or the first that got no room at all.
    """

    shard: int | None = None
    queue: str = ""
    at_all: bool = False


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
        # Where the next read begins: what had no room in the one before, first of all.
        self._next_shard = 0
        self._next_queue = ""

    async def follow(self, part: Slice) -> None:
        """Reads and watches a slice until cancelled."""
        await follow_jobs(
            self._store, *part, read=lambda: self.read(part), arrived=self._take_arrived
        )

    async def read(self, part: Slice, queue: str | None = None, *, search: bool = False) -> int:
        """Reads what is ready in a slice, or in one queue of it, as far as there is room.

        Returns the revision of the first read, 0 where nothing was read. What a read does not get
        to stays marked, so that it is read later. Raises EtcdError.

        A client that has filled its part of a site may have a million more jobs there, and hide
        those of others behind them. ``search``: goes on through them, slowly.
        """
        if part.empty:  # it has lost its shards since the read was asked for
            return 0
        marks, refused = self._ready.begin_read(queue), _Refused()
        try:
            if queue is None:
                revision, whole = await self._read_slice(part, refused, search)
            else:
                ranges = await self._queue_ranges(part, queue)
                revision, whole = await self._read(ranges, refused)
        except EtcdError:
            self._ready.stop_read(queue, marks, failed=True)
            raise
        if refused.shard is not None:
            self._next_shard = refused.shard
        if queue is None:
            self._next_queue = refused.queue
        if not whole:
            self._ready.stop_read(queue, marks, failed=False)
        return revision

    def _shards(self, part: Slice) -> list[int]:
        begin = self._next_shard if part.first <= self._next_shard < part.end else part.first
        return [*range(begin, part.end), *range(part.first, begin)]

    async def _queue_ranges(self, part: Slice, queue: str) -> dict[int, JobRange]:
        """What to read of each shard, and how much of it at a time.

        Each shard gives in proportion to what waits in it: by chance one can have three times as
        many jobs as another, and its jobs would wait three times as long.
        """
        ranges = {shard: shard_range(self._store, shard, queue) for shard in self._shards(part)}
        counts = await count_jobs(self._store, ranges)
        # What is known and what is in flight is still among the keys, the first of its shard.
        names = self._ready.unread.limit + len(self._in_flight)
        share = names / max(1, sum(counts.values()))
        return {
            shard: ranges[shard]._replace(limit=math.ceil(share * count))
            for shard, count in counts.items()
            if count
        }

    async def _read_slice(self, part: Slice, refused: _Refused, search: bool) -> tuple[int, bool]:
        """Goes round the shards, some keys of each at a time, so that the oldest jobs come first.

        It begins with the queue that had no room in the read before, so that each has its turn.
        """
        shards, first = self._shards(part), self._next_queue
        limit = max(_LEAST_READ, self._ready.unread.limit // len(shards))
        revision = 0
        for halves in (from_queue, before_queue) if first else (from_queue,):
            ranges = {shard: halves(self._store, shard, first, limit) for shard in shards}
            begun, whole = await self._read(ranges, refused, search)
            revision = revision or begun
            if not whole:
                return revision, False
        return revision, True

    async def _read(
        self, ranges: dict[int, JobRange], refused: _Refused, search: bool = False
    ) -> tuple[int, bool]:
        """Returns the revision of the first read, and whether it got to the end."""
        first_revision = 0
        while ranges:
            rests: dict[int, JobRange] = {}
            began, added = time.monotonic(), 0
            async for revision, found in read_jobs(self._store, ranges):
                first_revision = first_revision or revision
                known = len(self._ready)
                for shard, jobs, rest in found:
                    full = self._add(shard, jobs, refused)
                    if rest and full is not None and full[0] == "site":
                        rest = past_queue(self._store, shard, full[1], rest)
                    if rest:
                        rests[shard] = rest
                added += len(self._ready) - known
                self._wake()
                if self._ready.full:
                    return first_revision, False
            if rests and not added:
                if not search:
                    return first_revision, False
                rests = {shard: rest._replace(limit=_SEARCH) for shard, rest in rests.items()}
                await asyncio.sleep(pause_after(time.monotonic() - began))
            ranges = rests
        return first_revision, True

    def _add(self, shard: int, jobs: list[ReadyJob], refused: _Refused) -> tuple[Full, str] | None:
        """Adds the jobs that a read found in a shard. Returns what has no room for the last one."""
        full: Full | None = None
        for ref, job in jobs:
            full = None if ref in self._in_flight else self._ready.add(ref, job)
            if full is not None:
                if refused.shard is None:
                    refused.shard, refused.queue = shard, ref.queue
                if not refused.at_all and not self._ready.knows(ref.queue):
                    refused.queue, refused.at_all = ref.queue, True
        return (full, jobs[-1].ref.queue) if full else None

    def _take_arrived(self, jobs: Iterable[ReadyJob]) -> None:
        """Adds jobs that have just become ready.

        Those of a client that has more in etcd wait for the next read, behind the older ones.
        """
        for ref, job in jobs:
            if not self._ready.is_cut(ref.queue, job.client):
                self._ready.add(ref, job)
        self._wake()
