"""Makes, changes and deletes webhooks: each is one transaction under a compare of the client's key.

``client_id`` names the client with its serial, as an e-mail's record does.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from babygun.email.events import EventType
from babygun.email.model import client_id_of
from babygun.errors import Conflict, NotFound, OutOfSpace
from babygun.etcd import Compare, Op, Txn, TxnResult, created_at, delete, get, put, unchanged
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.records import Client
from babygun.store.settled import Write, settled, write
from babygun.store.store import Store
from babygun.store.upkeep import removal
from babygun.store.webhooks.known import Known, known_of
from babygun.store.webhooks.records import (
    MOST_WEBHOOKS,
    ClientWebhooks,
    Disabled,
    Webhook,
    WebhookSecret,
)

# How long the secret before signs beside a new one.
ROTATION = timedelta(hours=24)
_SECRET_BYTES = 32


async def create_webhook(
    store: Store,
    client_id: str,
    *,
    url: str,
    events: Sequence[EventType] = (),
    tags: Sequence[str] = (),
    description: str = "",
    secret: str | None = None,
) -> tuple[Webhook, str]:
    """Makes a webhook; returns it and its secret. From now on, what happens has its notices.

    ``events`` and ``tags``: empty: all. ``secret``: ``whsec_…``, by default a new one. Raises
    NotFound if there is no such client, Conflict if it has MOST_WEBHOOKS already, EtcdError.
    """
    secret, now = secret or new_secret(), utc_now()
    webhook = Webhook(
        id=f"wh_{new_token(12)}",
        url=url,
        events=tuple(events),
        tags=tuple(tags),
        description=description,
        created_at=now,
        updated_at=now,
    )
    of_client = store.keys.client(client_id_of(client_id))
    key = store.keys.webhook_secret(webhook.id)

    async def decide(_: bool) -> Webhook | Write[Webhook]:
        known, seen = await _read(store, client_id, get(of_client))
        webhooks = _webhooks(known)
        if any(one.id == webhook.id for one in webhooks):
            return webhook
        clients = seen.kvs(1)
        if not clients or codec.decode_state(clients[0].value, Client).identity != client_id:
            raise NotFound(f"there is no client {client_id_of(client_id)!r}")
        if len(webhooks) >= MOST_WEBHOOKS:
            raise Conflict(f"the client has {MOST_WEBHOOKS} webhooks already: delete one first")
        return write(
            store,
            _txn(
                store,
                client_id,
                known,
                (*webhooks, webhook),
                [put(key, codec.encode_state(WebhookSecret(secret)))],
                [created_at(of_client, clients[0].create_revision)],
            ),
            webhook,
        )

    return await settled(decide), secret


async def list_webhooks(store: Store, client_id: str) -> tuple[Webhook, ...]:
    """A client's webhooks, oldest first, read from etcd. Raises EtcdError."""
    known, _ = await _read(store, client_id)
    return _webhooks(known)


async def list_all_webhooks(store: Store) -> list[tuple[str, Webhook]]:
    """The webhooks of all clients, each with its client, read from etcd. Raises EtcdError."""
    prefix = store.keys.webhooks
    found = await store.client.range(prefix, range_end(prefix))
    return [
        (store.keys.last_part(kv.key), webhook)
        for kv in found.kvs
        for webhook in _webhooks(known_of(kv))
    ]


async def find_webhook(store: Store, webhook_id: str) -> tuple[str, Webhook] | None:
    """A webhook with its client, read from etcd. Raises EtcdError."""
    webhooks = await list_all_webhooks(store)
    return next((found for found in webhooks if found[1].id == webhook_id), None)


async def change_webhook(
    store: Store, client_id: str, webhook_id: str, change: Callable[[Webhook], Webhook]
) -> Webhook:
    """Replaces a webhook by ``change`` of it, with a new ``updated_at``; returns it.

    ``change`` may be called several times. Raises NotFound, EtcdError.
    """
    after: Webhook | None = None

    async def decide(doubt: bool) -> Webhook | Write[Webhook]:
        nonlocal after
        known, _ = await _read(store, client_id)
        before = _require(known, webhook_id)
        if doubt and before == after:
            return before
        after = replace(change(before), updated_at=_now_after(before))
        webhooks = tuple(after if one is before else one for one in _webhooks(known))
        return write(store, _txn(store, client_id, known, webhooks), after)

    return await settled(decide)


async def disable_webhook(
    store: Store, client_id: str, seen: Webhook, token: int, reason: str
) -> Webhook | None:
    """Switches a webhook off, for its owner; ``reason``: a sentence. It gets no new notices.

    None: it is no more as it was ``seen``, so what was decided by that is void; or ``token`` says
    no more who owns it. Raises EtcdError.
    """
    owner = store.keys.notice_owner(seen.id)
    now = _now_after(seen)
    off = replace(seen, enabled=False, disabled=Disabled(now, reason), updated_at=now)

    async def decide(doubt: bool) -> Webhook | Write[Webhook | None] | None:
        known, read = await _read(store, client_id, get(owner))
        webhooks, owners = _webhooks(known), read.kvs(1)
        if doubt and off in webhooks:
            return off
        is_owner = bool(owners) and owners[0].create_revision == token
        if not (is_owner and seen.enabled and seen in webhooks):
            return None
        after = tuple(off if one == seen else one for one in webhooks)
        same_owner = created_at(owner, token)
        return write(store, _txn(store, client_id, known, after, compares=[same_owner]), off)

    return await settled(decide)


async def delete_webhook(store: Store, client_id: str, webhook_id: str) -> bool:
    """Deletes a webhook with its secret, its health and its notices. False: there is none.

    Nothing is written for it from now on. If it has many notices, workers delete the rest of them.
    Raises EtcdError. A full etcd deletes only the notices: that makes room.
    """
    name = ""

    async def decide(doubt: bool) -> bool | Write[bool]:
        nonlocal name
        known, _ = await _read(store, client_id)
        rest = tuple(one for one in _webhooks(known) if one.id != webhook_id)
        if len(rest) == len(_webhooks(known)):
            return doubt
        name, ops = removal.of_webhook(store.keys, webhook_id, utc_now())
        return write(store, _txn(store, client_id, known, rest, ops), True)

    try:
        deleted = await settled(decide)
    except OutOfSpace:
        await removal.free(store, webhook_id)
        raise OutOfSpace(
            "etcd is full. The webhook's events are deleted; delete the webhook itself once"
            " there is room"
        ) from None
    if deleted:
        await removal.begin(store, name)
    return deleted


async def rotate_secret(
    store: Store, client_id: str, webhook_id: str, secret: str | None = None
) -> WebhookSecret:
    """Makes a new secret and returns it; the one before signs too for ROTATION.

    ``secret``: ``whsec_…``, by default a new one. The present one changes nothing, so the call can
    be repeated with it. Raises NotFound, EtcdError.
    """
    secret, key = secret or new_secret(), store.keys.webhook_secret(webhook_id)

    async def decide(_: bool) -> WebhookSecret | Write[WebhookSecret]:
        known, seen = await _read(store, client_id, get(key))
        _require(known, webhook_id)
        found = seen.kvs(1)
        before = codec.decode_state(found[0].value, WebhookSecret) if found else None
        if before and before.secret == secret:
            return before
        after = WebhookSecret(secret)
        if before:
            after = WebhookSecret(secret, before.secret, utc_now() + ROTATION)
        same = unchanged(key, found[0] if found else None)
        # Under the client's key, too: a webhook that is deleted gets no secret again.
        compares = [same, store.webhooks.compare(client_id, known)]
        return write(store, Txn(compares, [put(key, codec.encode_state(after))]), after)

    return await settled(decide)


async def read_secret(store: Store, webhook_id: str) -> WebhookSecret | None:
    """The secret that signs a webhook's notices. Raises EtcdError."""
    found = await store.client.get(store.keys.webhook_secret(webhook_id))
    return codec.decode_state(found.value, WebhookSecret) if found else None


def new_secret() -> str:
    """A new random secret, in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


async def _read(store: Store, client_id: str, *more: Op) -> tuple[Known, TxnResult]:
    """The client's webhooks, and all that was read; ``more``: read at the same revision."""
    seen = await store.client.read([get(store.keys.client_webhooks(client_id)), *more])
    found = seen.kvs(0)
    return known_of(found[0] if found else None), seen


def _webhooks(known: Known) -> tuple[Webhook, ...]:
    return known.webhooks.webhooks if known.webhooks else ()


def _require(known: Known, webhook_id: str) -> Webhook:
    webhook = known.webhooks.get(webhook_id) if known.webhooks else None
    if webhook is None:
        raise NotFound("there is no such webhook")
    return webhook


def _now_after(before: Webhook) -> datetime:
    """Never the time of the change before: by that, a decision sees that it is out of date."""
    now = utc_now()
    return now if now != before.updated_at else now + timedelta(milliseconds=1)


def _txn(
    store: Store,
    client_id: str,
    known: Known,
    webhooks: tuple[Webhook, ...],
    more: Sequence[Op] = (),
    compares: Sequence[Compare] = (),
) -> Txn:
    """Writes the client's webhooks in place of ``known``."""
    key = store.keys.client_webhooks(client_id)
    new = put(key, codec.encode_state(ClientWebhooks(webhooks))) if webhooks else delete(key)
    same = store.webhooks.compare(client_id, known)
    return Txn([same, *compares], [new, *more])
