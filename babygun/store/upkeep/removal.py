"""Deletes what is left of a deleted client or webhook: page by page, and after a crash too.

A sending domain of a deleted client stays with the other clients that hold it; one that nobody else
holds goes, with its DKIM keys and its alarms. A client gets no domain without a compare on its key,
so a deleted one gets none.

The transaction that deletes a client or a webhook also deletes what new keys depend on: its list of
webhooks, their secrets and owners. Who writes a suppression of a client that stays compares the
client's key. So nothing new comes; only a try of its mail may suppress a dead address, on a lease.
The transaction leaves a key ``removals/<name>``, which goes when all the rest is gone. The call
itself deletes some pages; the leading worker does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from babygun.email.sending_domains import SendingDomain, without_client
from babygun.errors import EtcdError, OutOfSpace
from babygun.etcd import KeyValue, Op, Txn, delete, delete_range, modified_at, put
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.keys import Keys, range_end
from babygun.store.records import Removal
from babygun.store.store import Store

log = get_logger("store")

# Keys that one transaction deletes.
PAGE = 500
# Pages that the call itself deletes, and that a worker deletes in one round.
CALL_PAGES, ROUND_PAGES = 4, 100


def of_webhook(keys: Keys, webhook_id: str, now: datetime) -> tuple[str, list[Op]]:
    """The name of a webhook's removal, and the writes that belong into its deletion."""
    return webhook_id, [
        *_dependent(keys, (webhook_id,)),
        put(keys.removal(webhook_id), codec.encode_state(Removal(now, (webhook_id,)))),
    ]


def of_client(
    keys: Keys, client_id: str, webhooks: Sequence[str], now: datetime
) -> tuple[str, list[Op]]:
    """The same of a client, named with its serial, and its webhooks."""
    removal = Removal(now, tuple(webhooks), client_id)
    return client_id, [
        delete(keys.client_webhooks(client_id)),
        *_dependent(keys, webhooks),
        put(keys.removal(client_id), codec.encode_state(removal)),
    ]


def _dependent(keys: Keys, webhooks: Sequence[str]) -> list[Op]:
    """A worker owns a webhook only while it has a secret, and writes only while it owns it."""
    return [
        delete(key)
        for webhook_id in webhooks
        for key in (
            keys.webhook_secret(webhook_id),
            keys.notice_owner(webhook_id),
            keys.webhook_health(webhook_id),
        )
    ]


async def free(store: Store, webhook_id: str) -> None:
    """Deletes notices of a webhook that a full etcd does not let go itself. Raises EtcdError.

    Deletes need no room. Each call deletes at most ROUND_PAGES pages.
    """
    pages = ROUND_PAGES
    for prefix in _prefixes(store.keys, Removal(utc_now(), (webhook_id,))):
        while pages and await _delete_page(store, prefix):
            pages -= 1


async def begin(store: Store, name: str) -> None:
    """Deletes the first pages of a removal. If etcd does not answer, workers do that too."""
    try:
        await _go_on(store, store.keys.removal(name), CALL_PAGES)
    except EtcdError as error:
        log.info("removal goes on later", name=name, error=str(error))


async def go_on(store: Store) -> None:
    """Goes on with all removals, at most ROUND_PAGES pages of each. Raises EtcdError."""
    prefix = store.keys.removals
    found = await store.client.range(prefix, range_end(prefix), keys_only=True)
    for kv in found.kvs:
        await _go_on(store, kv.key, ROUND_PAGES)


async def _go_on(store: Store, key: bytes, pages: int) -> None:
    found = await store.client.get(key)
    removal = codec.state_of(found, Removal) if found else None
    if removal is None:
        return
    done = await _give_up_domains(store, removal.client_id) if removal.client_id else True
    for prefix in _prefixes(store.keys, removal):
        while await _delete_page(store, prefix):
            pages -= 1
            if not pages:
                return
    if done:
        await store.client.delete(key)


def _prefixes(keys: Keys, removal: Removal) -> list[bytes]:
    """All that is to be deleted."""
    prefixes = [
        prefix
        for webhook_id in removal.webhooks
        for prefix in (
            keys.webhook_notices(webhook_id),
            keys.webhook_due_notices(webhook_id),
            keys.webhook_sent_notices(webhook_id),
        )
    ]
    if removal.client_id:
        prefixes.append(keys.client_suppressions(removal.client_id))
    return prefixes


async def _delete_page(store: Store, prefix: bytes) -> bool:
    """Deletes PAGE keys. False: there is none."""
    found = await store.client.range(prefix, range_end(prefix), limit=PAGE, keys_only=True)
    if found.kvs:
        page = delete_range(prefix, found.kvs[-1].key + b"\0")
        await store.batcher.submit(Txn([], [page]))
    return bool(found.kvs)


async def _give_up_domains(store: Store, client_id: str) -> bool:
    """Takes a client, named with its serial, off its domains. False: it holds some of them still.

    Another call changed these at the same time, or a full etcd takes no writes.
    """
    prefix, done = store.keys.domains, True
    for kv in (await store.client.range(prefix, range_end(prefix))).kvs:
        domain = codec.state_of(kv, SendingDomain)
        if domain and client_id in domain.clients:
            txn = _given_up(store.keys, kv, domain, client_id)
            try:
                done &= (await store.client.txn(txn)).succeeded
            except OutOfSpace:
                done = False
    return done


def _given_up(keys: Keys, kv: KeyValue, domain: SendingDomain, client_id: str) -> Txn:
    rest = without_client(domain, client_id, utc_now())
    gone = (delete_range(one, range_end(one)) for one in keys.domain_ranges(domain.name))
    ops = [put(kv.key, codec.encode_state(rest))] if rest else [delete(kv.key), *gone]
    return Txn([modified_at(kv.key, kv.mod_revision)], ops)
