"""Steps of the tests here: a client with webhooks, the notices that are ready."""

from __future__ import annotations

from typing import Any

import msgspec

from babygun.email.email_events import EmailEvent
from babygun.runtime.clock import utc_now
from babygun.store import Store, codec
from babygun.store.keys import range_end
from babygun.store.records import Client
from babygun.store.webhooks.change import create_webhook, disable_webhook
from babygun.store.webhooks.notices import give_back, take
from babygun.store.webhooks.records import Webhook

URL = "https://receiver.example/hook"
_decode_event = msgspec.json.Decoder(EmailEvent).decode


async def with_client(store: Store, client_id: str = "client") -> None:
    """Makes the client whose e-mails ``Rig.send`` accepts, or another one; without a serial."""
    client = Client(client_id, "tests", (), "", utc_now())
    await store.client.put(store.keys.client(client_id), codec.encode_state(client))


async def new_webhook(store: Store, client_id: str = "client", **fields: Any) -> Webhook:
    """A webhook of a client, which is made if need be."""
    if await store.client.get(store.keys.client(client_id)) is None:
        await with_client(store, client_id)
    return (await create_webhook(store, client_id, url=URL, **fields))[0]


async def owned(store: Store, webhook: Webhook) -> int:
    """Becomes the owner of a webhook, as a worker does; returns the token."""
    lease = await store.client.grant(600)
    taken = await take(store, webhook.id, worker_id="worker", lease_id=lease)
    assert taken is not None
    return taken.token


async def disabled(
    store: Store, webhook: Webhook, reason: str, client_id: str = "client"
) -> Webhook | None:
    """Disables a webhook as a worker does that owns it for so long."""
    token = await owned(store, webhook)
    try:
        return await disable_webhook(store, client_id, webhook, token, reason)
    finally:
        await give_back(store, webhook.id, token)


async def ready(store: Store, webhook: Webhook) -> list[EmailEvent]:
    """The events of the notices of a webhook, in the order of their keys."""
    prefix = store.keys.webhook_notices(webhook.id)
    found = await store.client.range(prefix, range_end(prefix))
    return [_decode_event(codec.decode_notice(kv.value).event) for kv in found.kvs]


async def types(store: Store, webhook: Webhook) -> list[str]:
    """The types of these events."""
    return [event.type for event in await ready(store, webhook)]
