"""How the endpoints of webhooks answer, and how many notices wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from babygun.etcd import count_range, get
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.store import Store
from babygun.store.webhooks.records import WebhookHealth

_AT_ONCE = 40  # webhooks in one transaction: etcd takes 128 operations


class WebhookState(NamedTuple):
    """``waiting``: notices that are ready, or wait for their next try."""

    health: WebhookHealth
    waiting: int


NEW = WebhookState(WebhookHealth(), 0)


async def read_states(store: Store, webhook_ids: Sequence[str]) -> dict[str, WebhookState]:
    """By webhook id. Raises EtcdError."""
    found: dict[str, WebhookState] = {}
    for start in range(0, len(webhook_ids), _AT_ONCE):
        found |= await _read(store, webhook_ids[start : start + _AT_ONCE])
    return found


async def _read(store: Store, webhook_ids: Sequence[str]) -> dict[str, WebhookState]:
    keys = store.keys
    ops = [
        op
        for webhook_id in webhook_ids
        for op in (
            get(keys.webhook_health(webhook_id)),
            *(
                count_range(prefix, range_end(prefix))
                for prefix in (
                    keys.webhook_notices(webhook_id),
                    keys.webhook_due_notices(webhook_id),
                )
            ),
        )
    ]
    result = await store.client.read(ops)
    states = {}
    for place, webhook_id in enumerate(webhook_ids):
        health = WebhookHealth()
        for kv in result.kvs(3 * place):
            health = codec.state_of(kv, WebhookHealth) or health
        waiting = result.count(3 * place + 1) + result.count(3 * place + 2)
        states[webhook_id] = WebhookState(health, waiting)
    return states
