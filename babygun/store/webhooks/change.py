"""Makes, changes and deletes webhooks: each is one transaction under a compare of the client's key.

``client_id`` names the client with its serial, as an e-mail's record does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from babygun.email.events import EventType
from babygun.store.store import Store
from babygun.store.webhooks.records import Webhook, WebhookSecret


async def create_webhook(
    store: Store,
    client_id: str,
    *,
    url: str,
    events: Sequence[EventType] = (),
    tags: Sequence[str] = (),
    description: str = "",
) -> tuple[Webhook, str]:
    """Makes a webhook; returns it and its secret. From now on, what happens has its notices.

    ``events`` and ``tags``: empty: all. Raises NotFound if there is no such client, Conflict if it
    has MOST_WEBHOOKS already, EtcdError.
    """
    raise NotImplementedError


async def list_webhooks(store: Store, client_id: str) -> tuple[Webhook, ...]:
    """A client's webhooks, oldest first, read from etcd. Raises EtcdError."""
    raise NotImplementedError


async def list_all_webhooks(store: Store) -> list[tuple[str, Webhook]]:
    """The webhooks of all clients, each with its client, read from etcd. Raises EtcdError."""
    raise NotImplementedError


async def find_webhook(store: Store, webhook_id: str) -> tuple[str, Webhook] | None:
    """A webhook with its client, read from etcd. Raises EtcdError."""
    raise NotImplementedError


async def change_webhook(
    store: Store, client_id: str, webhook_id: str, change: Callable[[Webhook], Webhook]
) -> Webhook:
    """Replaces a webhook by ``change`` of it, with a new ``updated_at``; returns it.

    ``change`` may be called several times. Raises NotFound, EtcdError.
    """
    raise NotImplementedError


async def disable_webhook(
    store: Store, client_id: str, webhook_id: str, reason: str
) -> Webhook | None:
    """Switches a webhook off; ``reason``: a sentence. None: it was off already, or is gone."""
    raise NotImplementedError


async def delete_webhook(store: Store, client_id: str, webhook_id: str) -> bool:
    """Deletes a webhook with its secret, its health and its notices. False: there is none."""
    raise NotImplementedError


async def rotate_secret(store: Store, client_id: str, webhook_id: str) -> str:
    """Makes a new secret and returns it; the one before signs too for ROTATION seconds.

    Raises NotFound, EtcdError.
    """
    raise NotImplementedError


async def read_secret(store: Store, webhook_id: str) -> WebhookSecret | None:
    """The secret that signs a webhook's notices. Raises EtcdError."""
    raise NotImplementedError
