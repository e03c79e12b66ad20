"""What the calls on webhooks answer, and how it is made of what the store holds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from babygun.api.access.fields import ClientId
from babygun.api.emails.fields import EMAIL_ID
from babygun.api.webhooks.rules import ALL
from babygun.email.email_events import event_id
from babygun.email.events import EVENT_TYPES, EventType
from babygun.email.model import client_id_of
from babygun.store.webhooks.health import NEW, WebhookState
from babygun.store.webhooks.listing import Delivery
from babygun.store.webhooks.records import NoticeState, Webhook

WEBHOOK_ID = "wh_5f0c9d2a71b84e36c0a9d17e"
SECRET = "whsec_<base64 of 32 bytes>"  # noqa: S105 (an example)
EVENT_ID = event_id(EMAIL_ID, 1, "delivered")
CURSOR = EVENT_ID

WebhookId = Annotated[str, Meta(examples=[WEBHOOK_ID])]
Secret = Annotated[
    str,
    Meta(
        description="Signs each request (Standard Webhooks). It is shown this once.",
        examples=[SECRET],
    ),
]
EventId = Annotated[
    str,
    Meta(description="The header webhook-id: the same at every try.", examples=[EVENT_ID]),
]
_Moment = Annotated[datetime, Meta(examples=["2026-11-25T09:00:00.120000Z"])]


class DisabledDocument(msgspec.Struct, frozen=True):
    """Since when nothing is sent, and why."""

    at: _Moment
    reason: Annotated[str, Meta(examples=["The endpoint answered 410 Gone."])]


class HealthDocument(msgspec.Struct, frozen=True):
    """How the endpoint answers.

    ``status``: new: nothing was sent yet; ok: it answered the last request with 2xx; failing: it
    did not; disabled: nothing is sent.
    """

    status: Annotated[Literal["new", "ok", "failing", "disabled"], Meta(examples=["new"])]
    last_success_at: Annotated[datetime | None, Meta(examples=[None, "2026-11-25T09:00:01Z"])]
    failing_since: datetime | None
    last_error: Annotated[str | None, Meta(description="Show it as text: others wrote it.")]
    waiting: Annotated[int, Meta(description="Events that are still to be sent.", examples=[0])]


class WebhookDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint, and which events it gets. ``tags``: of e-mails with one of these; [] for all."""

    id: WebhookId
    client_id: ClientId
    url: Annotated[str, Meta(examples=["https://shop.example.com/webhooks/mail"])]
    events: Annotated[list[str], Meta(description=f"{ALL} stands for all types.", examples=[[ALL]])]
    tags: Annotated[list[str], Meta(examples=[[]])]
    description: Annotated[str, Meta(examples=["", "the shop's orders"])]
    enabled: Annotated[bool, Meta(examples=[True])]
    disabled: Annotated[DisabledDocument | None, Meta(examples=[None])]
    created_at: _Moment
    updated_at: _Moment
    health: HealthDocument


class NewWebhook(WebhookDocument, frozen=True, kw_only=True):
    """A webhook just made."""

    secret: Secret


class WebhookList(msgspec.Struct, frozen=True):
    """A page of webhooks, by client, the oldest first."""

    webhooks: list[WebhookDocument]
    cursor: Annotated[str | None, Meta(description="For the next page; null: there is none.")]


class NewSecret(msgspec.Struct, frozen=True):
    """A secret just made. The one before signs, too, until ``previous_until``."""

    id: WebhookId
    secret: Secret
    previous_until: Annotated[datetime | None, Meta(examples=["2026-11-26T09:00:00Z"])]


class TestSent(msgspec.Struct, frozen=True):
    """A test event that waits to be sent. ``deliveries``: the call that says what came of it."""

    event_id: EventId
    deliveries: Annotated[str, Meta(examples=[f"/webhooks/{WEBHOOK_ID}/deliveries"])]


class DeliveryDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One event, as it is sent to this webhook.

    ``state``: waiting: another try follows; sent: the endpoint answered 2xx; failed: the tries are
    used up, or the endpoint is gone. The codes, ``answer`` and ``error`` are of the last try.
    """

    event_id: EventId
    type: Annotated[str, Meta(examples=["delivered"])]
    email_id: Annotated[
        str | None, Meta(description="Null if it is about none.", examples=[EMAIL_ID])
    ]
    created_at: _Moment
    state: Annotated[NoticeState, Meta(examples=["sent"])]
    tries: Annotated[int, Meta(examples=[1])]
    last_try_at: Annotated[datetime | None, Meta(examples=["2026-11-25T09:00:00.190000Z"])]
    status_code: Annotated[int | None, Meta(examples=[204])]
    answer: Annotated[
        str | None,
        Meta(description="The first bytes of the answer. Show them as text.", examples=[""]),
    ]
    error: Annotated[str | None, Meta(description="Why there was no answer.")]
    next_try_at: Annotated[datetime | None, Meta(description="Null: at once, or never.")]


class DeliveryList(msgspec.Struct, frozen=True):
    """A page of events, newest first."""

    deliveries: list[DeliveryDocument]
    cursor: Annotated[str | None, Meta(description="For the next page; null: there is none.")]


class Replayed(msgspec.Struct, frozen=True):
    """``not_found``: ids of events that are not kept. ``cursor``: repeat the call with it."""

    replayed: Annotated[int, Meta(description="Events that wait to be sent again.", examples=[1])]
    not_found: Annotated[list[str], Meta(examples=[[]])]
    cursor: Annotated[str | None, Meta(description="Null: all of them wait.")]


def webhook_document(client_id: str, webhook: Webhook, state: WebhookState) -> WebhookDocument:
    """``client_id``: with serial."""
    disabled = webhook.disabled
    return WebhookDocument(
        id=webhook.id,
        client_id=client_id_of(client_id),
        url=webhook.url,
        events=list(webhook.events) or [ALL],
        tags=list(webhook.tags),
        description=webhook.description,
        enabled=webhook.enabled,
        disabled=DisabledDocument(disabled.at, disabled.reason) if disabled else None,
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
        health=_health(webhook, state),
    )


def new_webhook(client_id: str, webhook: Webhook, secret: str) -> NewWebhook:
    shown = webhook_document(client_id, webhook, NEW)
    return NewWebhook(**asdict(shown), secret=secret)


def _health(webhook: Webhook, state: WebhookState) -> HealthDocument:
    health = state.health
    status: Literal["new", "ok", "failing", "disabled"] = "new"
    if not webhook.enabled:
        status = "disabled"
    elif health.failing_since:
        status = "failing"
    elif health.last_success_at:
        status = "ok"
    return HealthDocument(
        status, health.last_success_at, health.failing_since, health.last_error, state.waiting
    )


def delivery_document(delivery: Delivery) -> DeliveryDocument:
    notice, last = delivery.notice, delivery.notice.last
    return DeliveryDocument(
        event_id=delivery.event_id,
        type=delivery.type,
        email_id=delivery.email_id,
        created_at=notice.since,
        state=notice.state,
        tries=notice.tries,
        last_try_at=last.at if last else None,
        status_code=last.status_code if last else None,
        answer=last.answer if last and last.status_code else None,
        error=last.error if last else None,
        next_try_at=delivery.next_try_at,
    )


def stored_events(names: list[str]) -> tuple[EventType, ...]:
    """Event types as a record holds them: in their usual order, and empty for all."""
    return () if ALL in names else tuple(name for name in EVENT_TYPES if name in names)
