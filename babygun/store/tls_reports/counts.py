"""The counts that TLS reports are made of: each process of each day has a key for each domain.

A process puts its own sums again and again. So a put that is repeated counts nothing twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import groupby
from typing import NamedTuple

from babygun.etcd import Txn, delete_range, put
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.store import Store
from babygun.store.tls_reports.records import DomainCount

_PAGE = 50  # keys of one read; some KB each


class CountedDay(NamedTuple):
    """What all processes counted of a domain on a day."""

    day: str
    domain: str
    counts: tuple[DomainCount, ...]


async def write_count(
    store: Store, day: str, domain: str, process: str, count: DomainCount, lease: int
) -> None:
    """Puts what a process has counted so far. Raises EtcdError."""
    key = store.keys.tls_count(day, domain, process)
    await store.batcher.submit(Txn([], [put(key, codec.encode_state(count), lease)]))


async def counted_days(store: Store, before: str) -> AsyncIterator[CountedDay]:
    """What was counted on the days before one, by day and domain. Raises EtcdError.

    Deleting what it gave does no harm meanwhile.
    """
    keys = store.keys
    start, end = keys.tls_counts, keys.tls_counts_before(before)
    while True:
        found = await store.client.range(start, end, limit=_PAGE)
        kvs = found.kvs
        if found.more:  # of the last domain, some keys may be on the next page
            prefix = kvs[-1].key[: kvs[-1].key.rindex(b"/") + 1]
            rest = await store.client.range(kvs[-1].key + b"\0", range_end(prefix))
            kvs = [*kvs, *rest.kvs]
        for prefix, group in groupby(kvs, lambda kv: kv.key[: kv.key.rindex(b"/") + 1]):
            try:
                day, domain = keys.parse_tls_count(prefix)
            except ValueError as error:
                log_unreadable(prefix, error)
                continue
            counts = (codec.state_of(kv, DomainCount) for kv in group)
            yield CountedDay(day, domain, tuple(filter(None, counts)))
        if not found.more:
            return
        start = kvs[-1].key + b"\0"


async def drop_counts(store: Store, day: str, domain: str) -> None:
    """Nobody wants to know. Raises EtcdError."""
    prefix = store.keys.domain_tls_counts(day, domain)
    await store.client.txn(Txn([], [delete_range(prefix, range_end(prefix))]))
