"""The secrets of webhooks, followed as they change: a new one signs requests at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from babygun.etcd import WatchBatch, follow
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.store import Store
from babygun.store.webhooks.records import WebhookSecret


async def follow_secrets(store: Store, changed: Callable[[str, WebhookSecret], None]) -> NoReturn:
    """Calls ``changed`` with each webhook's id and its secret, now and when it changes."""
    prefix = store.keys.webhook_secrets

    def take(key: bytes, value: bytes) -> None:
        try:
            changed(store.keys.last_part(key), codec.decode_state(value, WebhookSecret))
        except ValueError as error:  # somebody wrote it by hand
            log_unreadable(key, error)

    async def read() -> int:
        found = await store.client.range(prefix, range_end(prefix))
        for kv in found.kvs:
            take(kv.key, kv.value)
        return found.revision

    async def seen(batch: WatchBatch) -> None:
        for event in batch.events:
            take(event.kv.key, event.kv.value)

    await follow(
        store.client,
        prefix,
        range_end(prefix),
        what="webhook secrets",
        read=read,
        changed=seen,
        deletes=False,
    )
