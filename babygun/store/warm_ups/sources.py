"""Since when each source sends: one key a source, and a copy of all in each worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import NamedTuple

import msgspec

from babygun.etcd import KeyValue, Txn, absent, get, put, unchanged
from babygun.store import codec
from babygun.store.followed import Followed, read_states
from babygun.store.settled import Write, settled, write
from babygun.store.store import Store


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """``warm-ups/sources/<source>``

    ``began``: the first day (UTC). ``skipped``: an operator says that it needs no warm-up.
    ``set_by``: that operator, or who began it again; empty: it began with its first use.
    """

    source: str
    began: date
    skipped: bool = False
    set_by: str = ""
    set_at: datetime


class KeptSource(NamedTuple):
    """A source as it was read. ``revision``: the key's mod revision; 0: the settings say it."""

    source: Source
    revision: int

    @property
    def name(self) -> str:
        return self.source.source


class KnownSources(Followed[KeptSource]):
    """All of them, by name. Run :meth:`run` as a task."""

    def __init__(self, store: Store, changed: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(
            store,
            store.keys.warm_up_sources,
            what="warm-ups",
            name_of=store.keys.last_part,
            decode=_decoded,
            changed=changed,
        )


async def begin(store: Store, name: str, now: datetime) -> KeptSource:
    """Notes the first use of a source; if another worker was first, its note. Raises EtcdError."""
    key = store.keys.warm_up_source(name)
    source = Source(source=name, began=now.date(), set_at=now)
    result = await store.batcher.submit(
        Txn([absent(key)], [put(key, codec.encode_state(source))], [get(key)])
    )
    if result.succeeded:
        return KeptSource(source, result.revision)
    (kv,) = result.kvs(0)
    return _decoded(kv) or KeptSource(source, kv.mod_revision)


async def begin_again(store: Store, name: str, *, by: str) -> Source:
    """Begins a source's warm-up again, with today as its first day. Raises EtcdError."""
    return await _write(store, name, skipped=False, by=by)


async def skip(store: Store, name: str, *, by: str) -> Source:
    """Ends a source's warm-up: there is no ceiling any more. Raises EtcdError."""
    return await _write(store, name, skipped=True, by=by)


async def _write(store: Store, name: str, *, skipped: bool, by: str) -> Source:
    key, now = store.keys.warm_up_source(name), await store.clock.now()

    async def decide(_: bool) -> Source | Write[Source]:
        kv = await store.client.get(key)
        known = _decoded(kv) if kv else None
        began = known.source.began if known and skipped else now.date()
        source = Source(source=name, began=began, skipped=skipped, set_by=by, set_at=now)
        if known and known.source == source:
            return source
        same = unchanged(key, kv)
        return write(store, Txn([same], [put(key, codec.encode_state(source))]), source)

    return await settled(decide)


async def read_source(store: Store, name: str) -> Source | None:
    """A source. None: it was never used. Raises EtcdError."""
    kv = await store.client.get(store.keys.warm_up_source(name))
    kept = _decoded(kv) if kv else None
    return kept.source if kept else None


async def list_sources(store: Store) -> list[Source]:
    """All of them, by name. Raises EtcdError."""
    return [kept.source for kept in await read_states(store, store.keys.warm_up_sources, _decoded)]


def _decoded(kv: KeyValue) -> KeptSource | None:
    source = codec.state_of(kv, Source)
    return KeptSource(source, kv.mod_revision) if source else None
