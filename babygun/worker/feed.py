"""Learns which jobs of the worker's slice are ready: one read of the slice, then one watch from there.

Authoritative is etcd: what is missed here, because a watch was cut off or two workers saw different memberships for a
moment, is found again by the next read of the slice, which the reconcile makes every 30 s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping

from babygun.errors import Compacted, EtcdError
from babygun.etcd import KeyValue, Txn, count_range, get_range, watch
from babygun.runtime.logs import get_logger
from babygun.store import Store, codec
from babygun.store.keys import JobRef, range_end
from babygun.worker.ready import ReadyJobs
from babygun.worker.slices import Slice

log = get_logger("worker")

_RANGES = 64  # in one read; etcd allows 128 operations a transaction


class Feed:
    """Fills ``ready``; calls ``wake`` whenever there is something new. ``in_flight``: what needs no finding, since this worker has it."""

    def __init__(
        self,
        store: Store,
        ready: ReadyJobs,
        in_flight: Collection[JobRef],
        wake: Callable[[], None],
    ) -> None:
        self._store, self._ready, self._in_flight, self._wake = store, ready, in_flight, wake
        self._next = 0  # the shard where the next read begins: the first for whose jobs the one before had no room

    async def follow(self, part: Slice) -> None:
        """Reads and watches a slice until it is cancelled."""
        start, end = self._store.keys.job_slice(*part)
        while True:
            try:
                revision = await self.read(part)
                async with watch(
                    self._store.client, start, end, revision=revision + 1, deletes=False
                ) as batches:
                    async for batch in batches:
                        for event in batch.events:
                            self._learn(event.kv, arrived=True)
                        self._wake()
            except Compacted:
                log.info("watch was compacted, reading again")
            except EtcdError as error:
                log.warning("jobs not followed", error=str(error))
                await asyncio.sleep(0.2)

    async def read(self, part: Slice, queue: str | None = None) -> int:
        """Reads what is ready in a slice, or in one queue of it, as far as there is room. Returns the first read's revision, 0 where nothing was read.

        A read that fails leaves its queues marked as truncated, so that they are read again. It goes round the shards, a few keys of each at a time, so that the oldest jobs of all shards come first;
        of a queue that has more than there is room for, the more of a shard the more wait in it: by chance one comes to have three times as many as another, and its jobs would wait three times as long.
        """
        if part.empty:  # it had shards when the read was asked for, and lost them before it began
            return 0
        ready = self._ready
        unread = {queue} if queue is not None else set(ready.truncated)
        try:
            return await self._read(part, queue)
        except EtcdError:
            ready.truncated |= unread
            raise

    async def _read(self, part: Slice, queue: str | None) -> int:
        keys, ready = self._store.keys, self._ready
        begin = self._next if part.first <= self._next < part.end else part.first
        shards = [*range(begin, part.end), *range(part.first, begin)]
        if queue is None:
            ready.truncated.clear()
            cursors = {
                shard: (keys.job_shard(shard), range_end(keys.job_shard(shard))) for shard in shards
            }
            pages = dict.fromkeys(shards, max(8, self._store.settings.worker_ready // len(shards)))
        else:
            ready.truncated.discard(queue)
            cursors = {
                shard: (keys.job_queue(shard, queue), range_end(keys.job_queue(shard, queue)))
                for shard in shards
            }
            waiting = await self._counted(cursors)
            # What is known and what is in flight are still among the keys, the first of their shards.
            share = (ready.limit + len(self._in_flight)) / max(1, sum(waiting.values()))
            pages = {shard: math.ceil(share * count) for shard, count in waiting.items()}
            cursors = {shard: cursors[shard] for shard, count in waiting.items() if count}
        revision = 0
        left_out: int | None = None
        while cursors:
            for group in _grouped(shard for shard in shards if shard in cursors):
                result = await self._store.client.txn(
                    Txn([], [get_range(*cursors[shard], limit=pages[shard]) for shard in group])
                )
                revision = revision or result.revision
                for index, shard in enumerate(group):
                    following, full = self._take_in(
                        shard, result.kvs(index), result.more(index), cursors[shard][1]
                    )
                    if full and left_out is None:
                        left_out = self._next = shard
                    if following:
                        cursors[shard] = following
                    else:
                        del cursors[shard]
                self._wake()
        return revision

    async def _counted(self, ranges: Mapping[int, tuple[bytes, bytes]]) -> dict[int, int]:
        """How many keys are in each range."""
        found: dict[int, int] = {}
        for group in _grouped(ranges):
            result = await self._store.client.txn(
                Txn([], [count_range(*ranges[shard]) for shard in group])
            )
            found |= {shard: result.count(index) for index, shard in enumerate(group)}
        return found

    def _take_in(
        self, shard: int, kvs: list[KeyValue], more: bool, end: bytes
    ) -> tuple[tuple[bytes, bytes] | None, bool]:
        """Adds what was read of one shard. Returns what to read of it next: past a queue that is full; and whether there was one."""
        full: str | None = None
        any_full = False
        for kv in kvs:
            full = self._learn(kv)
            any_full = any_full or full is not None
        if not more:
            return None, any_full
        start = range_end(self._store.keys.job_queue(shard, full)) if full else kvs[-1].key + b"\0"
        return (start, end) if start < end else None, any_full

    def _learn(self, kv: KeyValue, *, arrived: bool = False) -> str | None:
        """Adds a job; returns its queue where that is full. ``arrived``: just now, so that in a queue which has more in etcd
        it has to wait for the next read, in its turn behind the older ones."""
        try:
            ref, job = self._store.keys.parse_job(kv.key), codec.decode_job(kv.value)
        except ValueError as error:  # put there by hand; msgspec's errors are ValueErrors
            log.error("key unreadable", key=kv.key.decode(errors="replace"), error=str(error))
            return None
        if arrived:
            if ref.queue in self._ready.truncated:
                return ref.queue
        elif ref in self._in_flight:
            return None
        return None if self._ready.add(ref, job) else ref.queue


def _grouped(shards: Iterable[int]) -> list[list[int]]:
    """In groups that one transaction reads."""
    rest = list(shards)
    return [rest[at : at + _RANGES] for at in range(0, len(rest), _RANGES)]
