"""The jobs that are ready: counted, read and followed by shard, for the worker that delivers them.

A reader can miss a job, because a watch broke or two workers saw different slices for a moment.
The job is still in etcd, and the next read finds it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn

from babygun.email.model import Job
from babygun.etcd import KeyValue, Txn, WatchBatch, count_range, follow, get_range
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

_SHARDS_AT_ONCE = 64  # in one read; etcd allows 128 operations a transaction


class JobRange(NamedTuple):
    """The job keys in [start, end), all of one shard, and how many of them one read may bring."""

    start: bytes
    end: bytes
    limit: int = 0


class ReadyJob(NamedTuple):
    ref: JobRef
    job: Job


class ShardRead(NamedTuple):
    """``jobs`` of one shard, from its oldest on; ``rest``: what is still to be read, or None."""

    shard: int
    jobs: list[ReadyJob]
    rest: JobRange | None


def shard_range(store: Store, shard: int, queue: str | None = None) -> JobRange:
    """The jobs of a shard, or of one queue in it."""
    keys = store.keys
    start = keys.job_shard(shard) if queue is None else keys.job_queue(shard, queue)
    return JobRange(start, range_end(start))


def from_queue(store: Store, shard: int, queue: str, limit: int) -> JobRange:
    """A shard's jobs from those of ``queue`` on; all, if it is empty."""
    start, end, _ = shard_range(store, shard)
    return JobRange(store.keys.job_queue(shard, queue) if queue else start, end, limit)


def before_queue(store: Store, shard: int, queue: str, limit: int) -> JobRange:
    """A shard's jobs before those of ``queue``."""
    return JobRange(store.keys.job_shard(shard), store.keys.job_queue(shard, queue), limit)


def past_queue(store: Store, shard: int, queue: str, rest: JobRange) -> JobRange | None:
    """``rest`` without the jobs of ``queue``, the queue that its first jobs may belong to."""
    start = range_end(store.keys.job_queue(shard, queue))
    return rest._replace(start=start) if start < rest.end else None


async def count_jobs(store: Store, ranges: Mapping[int, JobRange]) -> dict[int, int]:
    """How many jobs there are in each shard's range."""
    counts: dict[int, int] = {}
    for group in _grouped(ranges):
        ops = [count_range(ranges[shard].start, ranges[shard].end) for shard in group]
        result = await store.client.txn(Txn([], ops))
        counts |= {shard: result.count(index) for index, shard in enumerate(group)}
    return counts


async def read_jobs(
    store: Store, ranges: Mapping[int, JobRange]
) -> AsyncIterator[tuple[int, list[ShardRead]]]:
    """Reads each shard's range up to its limit, in the order of ``ranges``, some shards at once.

    Yields the revision of each read, and what it found. Raises EtcdError.
    """
    for group in _grouped(ranges):
        ops = [get_range(*ranges[shard][:2], limit=ranges[shard].limit) for shard in group]
        result = await store.client.txn(Txn([], ops))
        found: list[ShardRead] = []
        for index, shard in enumerate(group):
            kvs = result.kvs(index)
            rest = None
            if result.more(index):
                rest = ranges[shard]._replace(start=kvs[-1].key + b"\0")
            found.append(ShardRead(shard, _jobs(store, kvs), rest))
        yield result.revision, found


async def follow_jobs(
    store: Store,
    first: int,
    end: int,
    *,
    read: Callable[[], Awaitable[int]],
    arrived: Callable[[list[ReadyJob]], None],
) -> NoReturn:
    """Follows the jobs in shards [first, end); ``arrived`` gets each that becomes ready.

    ``read`` reads what is there, and returns the revision that it began at.
    """

    async def changed(batch: WatchBatch) -> None:
        arrived(_jobs(store, [event.kv for event in batch.events]))

    start, stop = store.keys.job_slice(first, end)
    await follow(store.client, start, stop, what="jobs", read=read, changed=changed, deletes=False)


def _jobs(store: Store, kvs: Iterable[KeyValue]) -> list[ReadyJob]:
    jobs: list[ReadyJob] = []
    for kv in kvs:
        try:
            jobs.append(ReadyJob(store.keys.parse_job(kv.key), codec.decode_job(kv.value)))
        except ValueError as error:  # somebody wrote this key by hand
            log_unreadable(kv.key, error)
    return jobs


def _grouped(shards: Iterable[int]) -> list[list[int]]:
    """In groups that one transaction reads."""
    rest = list(shards)
    return [rest[at : at + _SHARDS_AT_ONCE] for at in range(0, len(rest), _SHARDS_AT_ONCE)]
