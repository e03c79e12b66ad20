"""How many recipients each source has sent to at each site, by day. All workers count together.

A worker takes a part of a day's ceiling before it sends, and gives back what it does not use. Each
change compares the key's revision, so the parts never add up to more than the ceiling. Where
nobody knows whether a change was made, it counts as made for taking, and as not made for giving
back. So the ceiling holds though processes die; at worst a part of it is lost for that day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import msgspec

from babygun.errors import LeaseNotFound
from babygun.etcd import KeyValue, Txn, absent, get, modified_at, put
from babygun.etcd.txn import Compare
from babygun.routing.warm_up import share
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.store import WARM_UPS_KEPT, Store
from babygun.store.warm_ups.sources import KeptSource

_KEPT = timedelta(seconds=WARM_UPS_KEPT)


class DayCount(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Recipients of one day: ``taken`` from the ceiling, and ``put_off`` to the next day."""

    taken: int = 0
    put_off: int = 0


class Counts(msgspec.Struct, frozen=True, gc=False):
    """``warm-ups/counts/<source>/<site>``: the last days, by date (UTC)."""

    days: dict[date, DayCount] = {}

    def on(self, day: date) -> DayCount:
        return self.days.get(day, DayCount())

    def plus(self, day: date, taken: int, put_off: int) -> Counts:
        """With a change of one day. Days that are too old are left out."""
        before = self.on(day)
        after = DayCount(max(0, before.taken + taken), before.put_off + put_off)
        days = {each: count for each, count in self.days.items() if each > day - _KEPT}
        return Counts({**days, day: after})


class KeptCounts(NamedTuple):
    """Counts as they were read. ``revision``: the key's mod revision, 0 where there is no key."""

    counts: Counts
    revision: int


class Taken(NamedTuple):
    """What was taken. ``kept``: the counts after it.

    ``changed``: the source's warm-up has changed, so nothing was taken. It is to be asked again.
    """

    recipients: int
    kept: KeptCounts
    changed: bool = False


async def take(
    store: Store,
    source: KeptSource,
    site: str,
    day: date,
    *,
    ceiling: int,
    wanted: int,
    workers: int,
    known: KeptCounts | None = None,
) -> Taken:
    """Takes some recipients of a day's ceiling: none, if it is used up. Raises EtcdError.

    ``known``: the counts as this worker knows them. ``workers``: how many there are.
    """
    same_source, source_key = [], store.keys.warm_up_source(source.name)
    if source.revision:
        same_source = [modified_at(source_key, source.revision)]
    fresh = known is None
    kept = known or await _read(store, source.name, site)
    while True:
        count = share(ceiling, kept.counts.on(day).taken, wanted, workers)
        if not count and fresh:
            return Taken(0, kept)
        if count:
            after = kept.counts.plus(day, count, 0)
            revision = await _write(store, source.name, site, kept, after, same_source)
            if revision:
                return Taken(count, KeptCounts(after, revision))
            if source.revision and await _revision(store, source_key) != source.revision:
                return Taken(0, kept, changed=True)
        kept, fresh = await _read(store, source.name, site), True


async def change(
    store: Store, source: str, site: str, day: date, *, given_back: int = 0, put_off: int = 0
) -> None:
    """Gives back what was taken and is not needed; counts what was put off. Raises EtcdError.

    After an error nobody may do it again: it may have been done.
    """
    while True:
        kept = await _read(store, source, site)
        after = kept.counts.plus(day, -given_back, put_off)
        if await _write(store, source, site, kept, after, []):
            return


async def read_counts(
    store: Store, source: str, *, first: Sequence[str], most: int
) -> dict[str, Counts]:
    """By site, at most ``most``. ``first``: sites that are among them in any case.

    Raises EtcdError.
    """
    keys, prefix = store.keys, store.keys.warm_up_counts(source)
    chosen = await store.client.get_many([keys.warm_up_counts(source, site) for site in first])
    others = await store.client.range(prefix, range_end(prefix), limit=most)
    found = [*chosen.values(), *others.kvs]
    by_site = {keys.last_part(kv.key): kept.counts for kv in found if (kept := _decoded(kv))}
    return dict(list(by_site.items())[:most])


async def _write(
    store: Store, source: str, site: str, before: KeptCounts, after: Counts, same: list[Compare]
) -> int:
    """The new revision; 0: something has changed meanwhile."""
    key = store.keys.warm_up_counts(source, site)
    compare = modified_at(key, before.revision) if before.revision else absent(key)
    lease = await store.warm_up_leases.lease(1)
    try:
        result = await store.batcher.submit(
            Txn([compare, *same], [put(key, codec.encode_state(after), lease)])
        )
    except LeaseNotFound:
        store.warm_up_leases.forget(lease)
        raise
    return result.revision if result.succeeded else 0


async def _read(store: Store, source: str, site: str) -> KeptCounts:
    key = store.keys.warm_up_counts(source, site)
    found = (await store.batcher.submit(Txn([], [get(key)]))).kvs(0)
    if not found:
        return KeptCounts(Counts(), 0)
    return _decoded(found[0]) or KeptCounts(Counts(), found[0].mod_revision)


async def _revision(store: Store, key: bytes) -> int:
    found = (await store.batcher.submit(Txn([], [get(key)]))).kvs(0)
    return found[0].mod_revision if found else 0


def _decoded(kv: KeyValue) -> KeptCounts | None:
    counts = codec.state_of(kv, Counts)
    return KeptCounts(counts, kv.mod_revision) if counts else None
