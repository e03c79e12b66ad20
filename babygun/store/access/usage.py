"""What counts towards the limits of clients, as etcd has it for all API processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from babygun.errors import LeaseNotFound
from babygun.etcd import KeyValue, Txn, get, put, unchanged
from babygun.store import codec
from babygun.store.access.allowance import usage_now
from babygun.store.keys import range_end
from babygun.store.records import ClientUsage
from babygun.store.store import Store


async def get_usage(store: Store, identity: str) -> ClientUsage | None:
    """Of a client, named with its serial; None: nothing counts yet. Raises EtcdError."""
    return _decoded(await store.client.get(store.keys.client_usage(identity)))


async def list_usages(store: Store) -> dict[str, ClientUsage]:
    """Of all clients, by their ids with serial. Raises EtcdError."""
    prefix = store.keys.client_usages
    found = await store.client.range(prefix, range_end(prefix))
    decoded = ((store.keys.last_part(kv.key), _decoded(kv)) for kv in found.kvs)
    return {identity: usage for identity, usage in decoded if usage is not None}


async def change_usage(
    store: Store, identity: str, change: Callable[[ClientUsage, datetime], ClientUsage]
) -> None:
    """Changes what counts of a client. ``change`` gets what counts now, and the time.

    It may be called several times, and each time takes the place of the time before. Raises what it
    raises, and EtcdError. With MAY_BE_WRITTEN the change may have been made.
    """
    key = store.keys.client_usage(identity)
    found = await store.client.get(key)
    while True:
        now = await store.clock.now()
        usage = change(usage_now(_decoded(found), now), now)
        try:
            lease = await store.usage_leases.lease(1)
            result = await store.batcher.submit(
                Txn(
                    [unchanged(key, found)],
                    [put(key, codec.encode_state(usage), lease)],
                    [get(key)],
                )
            )
        except LeaseNotFound:
            store.usage_leases.forget(lease)
            continue
        if result.succeeded:
            return
        found = next(iter(result.kvs(0)), None)


def _decoded(found: KeyValue | None) -> ClientUsage | None:
    return codec.state_of(found, ClientUsage) if found else None
