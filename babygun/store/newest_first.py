"""Reads the keys under a prefix from the newest. The keys begin with an id, so they sort by time.

etcd reads all of a descending range before it sorts it, whatever the limit. So this goes back in
windows of time and reads each one ascending.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from babygun.etcd import EtcdClient, KeyValue
from babygun.etcd.client import Range
from babygun.store.keys import range_end

# How far back the first read goes.
_FIRST_WINDOW_MS = 1000
_DAY_MS = 86_400_000
# Keys that are read at a time of a millisecond that has more than a chunk.
_REST = 1000


class Read(Protocol):
    """Reads the keys in [start, end), the first ``limit`` of them."""

    async def __call__(
        self, start: bytes, end: bytes, *, limit: int, keys_only: bool = False
    ) -> Range: ...


class AtOneRevision:
    """Reads ranges as etcd held them at the first read. ``revision``: of that; 0 before it."""

    def __init__(self, client: EtcdClient) -> None:
        self._client, self.revision = client, 0

    async def range(
        self, start: bytes, end: bytes, *, limit: int, keys_only: bool = False
    ) -> Range:
        found = await self._client.range(
            start, end, limit=limit, keys_only=keys_only, revision=self.revision
        )
        self.revision = self.revision or found.revision
        return found


async def newest_first(
    read: Read, prefix: bytes, chunk: int, *, end: bytes, end_ms: int, least_ms: int = 0
) -> AsyncIterator[list[KeyValue]]:
    """The keys under the prefix before ``end``, about ``chunk`` at a time, the newest first.

    All of them are of ids before ``end_ms``; those of ids before ``least_ms`` are left out. Both
    are milliseconds since the epoch. A window with more than ``chunk`` keys is cut. After an empty
    one the next is 16 times longer.
    """
    window = float(_FIRST_WINDOW_MS)
    probing = False
    # Where a window began that held too many keys. What is left of it is halved, so that the
    # next window does not reach beyond its start again.
    crowded: int | None = None
    while end_ms > least_ms:
        start_ms = max(least_ms, int(end_ms - window))
        if crowded is not None and crowded >= start_ms:
            start_ms = max(start_ms, min(end_ms - 1, (crowded + end_ms) // 2))
        start = prefix + id_floor(start_ms) if start_ms else prefix
        found = await read(start, end, limit=1 if probing else chunk)
        if found.more and found.count <= chunk:
            found = await read(start, end, limit=chunk)
        # The next window's length is a rough guess: only count it first.
        probing = found.count == 0 or found.count > chunk
        length = end_ms - start_ms
        if probing and found.count and length > 1:
            crowded = start_ms
            window = max(1.0, min(length / 2, length * chunk / found.count))
            continue
        kvs = found.kvs
        while found.more:  # more than a chunk of ids in one millisecond
            found = await read(kvs[-1].key + b"\0", end, limit=_REST)
            kvs = kvs + found.kvs
        if kvs:
            yield kvs[::-1]
        window = length * (min(16.0, max(1.0, chunk / len(kvs))) if kvs else 16)
        if crowded is not None and crowded >= start_ms:
            crowded = None
        end, end_ms = start, start_ms


async def newest_end(read: Read, prefix: bytes, now_ms: int) -> tuple[bytes, int]:
    """``end`` and ``end_ms`` after all keys.

    Ids come from the clocks of several machines, so the newest may be later than now.
    """
    ahead = await read(prefix + id_floor(now_ms), range_end(prefix), limit=1, keys_only=True)
    return range_end(prefix), now_ms + _DAY_MS if ahead.kvs else now_ms


def id_floor(ms: int) -> bytes:
    """Every id of this millisecond or later sorts after this."""
    digits = f"{ms:012x}"
    return f"{digits[:8]}-{digits[8:]}".encode()
