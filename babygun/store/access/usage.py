"""What counts towards the limits of clients, as etcd has it for all API processes."""

from __future__ import annotations

from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.records import ClientUsage
from babygun.store.store import Store


async def get_usage(store: Store, identity: str) -> ClientUsage | None:
    """Of a client, named with its serial; None: nothing counts yet. Raises EtcdError."""
    found = await store.client.get(store.keys.client_usage(identity))
    return _decoded(found.key, found.value) if found else None


async def list_usages(store: Store) -> dict[str, ClientUsage]:
    """Of all clients, by their ids with serial. Raises EtcdError."""
    prefix = store.keys.client_usages
    found = await store.client.range(prefix, range_end(prefix))
    decoded = ((store.keys.last_part(kv.key), _decoded(kv.key, kv.value)) for kv in found.kvs)
    return {identity: usage for identity, usage in decoded if usage is not None}


def _decoded(key: bytes, value: bytes) -> ClientUsage | None:
    try:
        return codec.decode_state(value, ClientUsage)
    except ValueError as error:  # somebody wrote it by hand
        log_unreadable(key, error)
        return None
