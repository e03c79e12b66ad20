"""Limits that a site has for a while: all workers follow them.

A worker that is asked for less writes them, and one that may go up by a step writes them again. One
compare wins. An operator's limits replace them. Their lease ends them at the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, NoReturn

from babygun.email.reasons import cut, quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.etcd import (
    Compare,
    Txn,
    WatchBatch,
    absent,
    delete,
    follow,
    modified_at,
    present,
    put,
)
from babygun.etcd.txn import KeyValue
from babygun.routing.providers import Limits
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.records import Lowered, SomeLimits
from babygun.store.store import Store

_REASON_BYTES = 512


class KeptLimits(NamedTuple):
    """Limits as they were read. ``revision``: the key's mod revision."""

    lowered: Lowered
    revision: int


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
        reason=reply.reply_class,
        status_code=reply.status_code,
        enhanced_code=reply.enhanced_code,
        status_reason=quoted_to_others(reply.reason, _REASON_BYTES),
        since=now,
        set_by=worker_id,
        until=now + timedelta(seconds=lasts),
    )
    key = store.keys.limit(site)
    compare = absent(key) if before is None else modified_at(key, before.revision)
    revision = await _put(store, lowered, [compare])
    return KeptLimits(lowered, revision) if revision else None


async def write_by_operator(
    store: Store, site: str, limits: SomeLimits, *, reason: str, until: datetime, by: str
) -> Lowered:
    """Limits until a time; they replace others. Raises EtcdError."""
    now = await store.clock.now()
    lowered = Lowered(
        site=site,
        limits=limits,
        reason="operator",
        status_reason=cut(reason, _REASON_BYTES) if reason else None,
        since=now,
        set_by=by,
        by_operator=True,
        until=until,
    )
    await _put(store, lowered, [])
    return lowered


async def end(store: Store, site: str, before: KeptLimits | None = None) -> bool:
    """Ends a site's limits of a while: whichever they are, or those. Raises EtcdError.

    False: there are none, or others.
    """
    key = store.keys.limit(site)
    compare = present(key) if before is None else modified_at(key, before.revision)
    return (await store.client.txn(Txn([compare], [delete(key)]))).succeeded


async def _put(store: Store, lowered: Lowered, compares: Sequence[Compare]) -> int:
    """Writes them on a new lease; returns the revision, or 0 if another worker was first."""
    key = store.keys.limit(lowered.site)
    seconds = (lowered.until - await store.clock.now()).total_seconds()
    lease = await store.client.grant(max(1, int(seconds)))
    result = await store.client.txn(Txn(compares, [put(key, codec.encode_state(lowered), lease)]))
    if result.succeeded:
        return result.revision
    await store.client.revoke(lease)
    return 0


class SharedLimits:
    """The limits that sites have for a while, followed. Run :meth:`run` as a task.

    ``by_site``: what is known now. ``changed`` is called with each site whose limits have changed.
    """

    def __init__(self, store: Store, changed: Callable[[str], None] = lambda _: None) -> None:
        self._store, self._changed = store, changed
        self.by_site: dict[str, KeptLimits] = {}

    async def run(self) -> NoReturn:
        """Follows them until cancelled."""
        prefix = self._store.keys.limits

        async def changed(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "delete":
                    self._forget(self._store.keys.last_part(event.kv.key), event.kv.mod_revision)
                elif kept := _decoded(event.kv):
                    self.learn(kept)

        await follow(
            self._store.client,
            prefix,
            range_end(prefix),
            what="limits of sites",
            read=self.read,
            changed=changed,
        )

    def learn(self, kept: KeptLimits) -> None:
        """Takes in limits that were read or written, unless newer ones are known."""
        site = kept.lowered.site
        known = self.by_site.get(site)
        if known is None or known.revision < kept.revision:
            self.by_site[site] = kept
            self._changed(site)

    def _forget(self, site: str, revision: int) -> None:
        known = self.by_site.get(site)
        if known is not None and known.revision <= revision:
            del self.by_site[site]
            self._changed(site)

    async def read(self) -> int:
        """All are taken as they are: after a restore, revisions begin again."""
        prefix = self._store.keys.limits
        found = await self._store.client.range(prefix, range_end(prefix))
        now = {kept.lowered.site: kept for kv in found.kvs if (kept := _decoded(kv))}
        before, self.by_site = self.by_site, now
        for site in before.keys() | now.keys():
            if before.get(site) != now.get(site):
                self._changed(site)
        return found.revision


async def list_limits(store: Store) -> list[Lowered]:
    """All limits of a while, sorted by site. Raises EtcdError."""
    prefix = store.keys.limits
    found = await store.client.range(prefix, range_end(prefix))
    return [kept.lowered for kv in found.kvs if (kept := _decoded(kv))]


def _decoded(kv: KeyValue) -> KeptLimits | None:
    """None for a key that can't be read: somebody wrote it by hand."""
    try:
        return KeptLimits(codec.decode_state(kv.value, Lowered), kv.mod_revision)
    except ValueError as error:
        log_unreadable(kv.key, error)
        return None
