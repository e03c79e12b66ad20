"""Limits that a site has for a while: all workers follow them.

A worker that is asked for less writes them, and one that may go up by a step writes them again. One
compare wins. An operator's limits replace them. Their lease ends them at the latest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from babygun.email.tries import RecipientResult
from babygun.etcd import (
    Txn,
    absent,
    delete,
    modified_at,
)
from babygun.etcd.txn import KeyValue
from babygun.routing.providers import Limits
from babygun.store import codec
from babygun.store.followed import Followed, read_states
from babygun.store.records import Lowered, SomeLimits
from babygun.store.settled import delete_key
from babygun.store.sites.states import put_until, quoted, replace_until, said_by_operator
from babygun.store.store import Store


class KeptLimits(NamedTuple):
    """Limits as they were read. ``revision``: the key's mod revision."""

    lowered: Lowered
    revision: int

    @property
    def name(self) -> str:
        return self.lowered.site


async def write(
    store: Store,
    site: str,
    limits: Limits,
    *,
    reply: RecipientResult,
    lasts: float,
    worker_id: str,
    before: KeptLimits | None,
) -> KeptLimits | None:
    """Writes limits that hold for ``lasts`` seconds. ``before``: those that they replace.

    None: they have changed meanwhile. Raises EtcdError.
    """
    now = await store.clock.now()
    lowered = Lowered(
        site=site,
        limits=SomeLimits(limits.connections, limits.messages_per_connection, limits.rate),
        **quoted(reply),
        since=now,
        set_by=worker_id,
        until=now + timedelta(seconds=lasts),
    )
    key = store.keys.limit(site)
    compare = absent(key) if before is None else modified_at(key, before.revision)
    revision = await put_until(store, key, lowered, [compare])
    return KeptLimits(lowered, revision) if revision else None


async def write_by_operator(
    store: Store, site: str, limits: SomeLimits, *, reason: str, until: datetime, by: str
) -> Lowered:
    """Limits until a time; they replace others. Raises EtcdError."""
    now = await store.clock.now()
    lowered = Lowered(
        site=site,
        limits=limits,
        **said_by_operator(reason, by),
        since=now,
        until=until,
    )
    return await replace_until(store, store.keys.limit(site), lowered)


async def end(store: Store, site: str, before: KeptLimits | None = None) -> bool:
    """Ends a site's limits of a while: whichever they are, or those. Raises EtcdError.

    False: there are none, or others.
    """
    key = store.keys.limit(site)
    if before is None:
        return await delete_key(store, key) is not None
    same = modified_at(key, before.revision)
    return (await store.client.txn(Txn([same], [delete(key)]))).succeeded


class SharedLimits(Followed[KeptLimits]):
    """The limits that sites have for a while, by site, followed. Run :meth:`run` as a task."""

    def __init__(self, store: Store, changed: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(
            store,
            store.keys.limits,
            what="limits of sites",
            name_of=store.keys.last_part,
            decode=_decoded,
            changed=changed,
        )


async def list_limits(store: Store) -> list[Lowered]:
    """All limits of a while, sorted by site. Raises EtcdError."""
    return [kept.lowered for kept in await read_states(store, store.keys.limits, _decoded)]


def _decoded(kv: KeyValue) -> KeptLimits | None:
    lowered = codec.state_of(kv, Lowered)
    return KeptLimits(lowered, kv.mod_revision) if lowered else None
