"""What is said of many webhooks at once: their health, and how much waits."""

from __future__ import annotations

from datetime import timedelta

from babygun.store import codec
from babygun.store.webhooks.health import NEW, read_states
from babygun.store.webhooks.records import WebhookHealth
from tests.store.webhooks.written import NOW, event_of, put
from tests.support.rig import Rig


async def test_health_and_backlog_of_more_webhooks_than_fit_one_transaction(rig: Rig) -> None:
    store, ids = rig.store, [f"wh_{n:024x}" for n in range(90)]
    health = WebhookHealth(last_success_at=NOW, sent=3)
    await store.client.put(store.keys.webhook_health(ids[1]), codec.encode_state(health))
    await store.client.put(store.keys.webhook_health(ids[2]), b"rubbish")
    start = int(NOW.timestamp() * 1000)
    for n in range(3):
        await put(store, event_of(start + n), webhook_id=ids[89])
    await put(store, event_of(start), due=NOW + timedelta(hours=1), webhook_id=ids[89])
    await put(store, event_of(start), "sent", webhook_id=ids[89])
    states = await read_states(store, ids)
    assert list(states) == ids
    assert states[ids[1]] == (health, 0) and states[ids[89]].waiting == 4
    assert states[ids[2]] == NEW and await read_states(store, []) == {}
