"""A client with webhooks, notices for them, and workers that send them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import msgspec

from babygun.etcd import Txn, put
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.access.clients import create_client
from babygun.store.keys import NoticeRef, range_end
from babygun.store.webhooks.change import create_webhook
from babygun.store.webhooks.records import Notice, Webhook, WebhookHealth
from babygun.webhooks.sender import Sender
from babygun.worker import Worker
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed
from tests.support.webhook_server import WebhookServer

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Stage:
    """``client``: with its serial."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.store, self.keys = rig, rig.store, rig.store.keys
        self.client = ""

    async def webhook(self, url: str | WebhookServer, **fields: Any) -> Webhook:
        """A webhook of the client. A receiver verifies by its secret from now on."""
        if not self.client:
            client, _ = await create_client(self.store, name="shop", scopes=["emails:send"])
            self.client = client.identity
        where = url if isinstance(url, str) else url.url
        webhook, secret = await create_webhook(self.store, self.client, url=where, **fields)
        if isinstance(url, WebhookServer):
            url.secret = secret
        return webhook

    async def notices(self, webhook: Webhook, count: int, *, of: int = 1, **data: Any) -> list[str]:
        """Writes notices for the webhook, ``of`` for each e-mail; returns the ids of the events."""
        ids = [
            f"{email_id}-{seq:04x}-delivered"
            for email_id in (new_email_id() for _ in range(count))
            for seq in range(of)
        ]
        ops = [
            put(self.keys.notice(NoticeRef(webhook.id, event_id)), self.value(event_id, **data))
            for event_id in ids
        ]
        for start in range(0, len(ops), 100):
            await self.store.client.txn(Txn([], ops[start : start + 100]))
        return ids

    @staticmethod
    def value(event_id: str, **data: Any) -> bytes:
        now = utc_now()
        event = {"type": "delivered", "timestamp": now, "data": {"event_id": event_id, **data}}
        return codec.encode_notice(Notice(msgspec.Raw(msgspec.json.encode(event)), now))

    async def final(
        self, webhook: Webhook, count: int, within: float = PATIENCE
    ) -> dict[str, Notice]:
        """What was sent or has failed, by event, once there are so many."""
        prefix = self.keys.webhook_sent_notices(webhook.id)
        await self.rig.counted(prefix, count, within)
        found = await self.store.client.range(prefix, range_end(prefix))
        return {self.keys.last_part(kv.key): codec.decode_notice(kv.value) for kv in found.kvs}

    async def left(self, webhook: Webhook) -> list[bytes]:
        """The keys of what is ready or waits."""
        found: list[bytes] = []
        for prefix in (
            self.keys.webhook_notices(webhook.id),
            self.keys.webhook_due_notices(webhook.id),
        ):
            kvs = (await self.store.client.range(prefix, range_end(prefix), keys_only=True)).kvs
            found += [kv.key for kv in kvs]
        return found

    async def health(
        self, webhook: Webhook, holds: Callable[[WebhookHealth], bool]
    ) -> WebhookHealth:
        """The webhook's health, once it is so."""

        def pick(value: bytes) -> WebhookHealth | None:
            health = codec.decode_state(value, WebhookHealth)
            return health if holds(health) else None

        found: WebhookHealth = await self.rig.seen(self.keys.webhook_health(webhook.id), pick)
        return found

    @asynccontextmanager
    async def sending(self, **changes: Any) -> AsyncIterator[Worker]:
        """A worker that sends notices, in this process."""
        worker = Worker(changed(self.rig.settings, **changes), [Sender])
        task = asyncio.create_task(worker.run(), name="worker")
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, PATIENCE)
