"""The calls that make, list, change and delete webhooks, and give them a new secret."""

from __future__ import annotations

import re

from aiohttp import web
from msgspec.structs import replace

from babygun.api.access.authenticator import access_of
from babygun.api.access.fields import CLIENT_ID, OF_CLIENT
from babygun.api.http.context import SETTINGS, STORE
from babygun.api.http.paging import LIMIT, limit_of, unknown_cursor
from babygun.api.http.problem_types import CONFLICT, NOT_FOUND
from babygun.api.http.responses import empty_answer, json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Header, Parameter, Routes
from babygun.api.webhooks.documents import (
    WEBHOOK_ID,
    NewSecret,
    NewWebhook,
    WebhookDocument,
    WebhookList,
    new_webhook,
    webhook_document,
)
from babygun.api.webhooks.own_webhook import ID, no_such_webhook, own_webhook
from babygun.api.webhooks.requests import CHANGE, NEW, SECRET, Wanted, checked, checked_secret
from babygun.email.model import client_id_of
from babygun.runtime.clock import format_time
from babygun.runtime.logs import get_logger
from babygun.store.webhooks import change as store
from babygun.store.webhooks.health import read_states
from babygun.store.webhooks.records import Webhook

log = get_logger("api")
routes = Routes("webhooks")

_cursor = re.compile(r"[^/]+/[^/]+/wh_[0-9a-f]+").fullmatch
_CURSOR = f"{CLIENT_ID}/2026-11-25T09:00:00.120Z/{WEBHOOK_ID}"
_LOCATION = Header("Location", "Where the webhook can be read.")


@routes.call(
    "GET",
    "/webhooks",
    summary="List the webhooks",
    scope="webhooks",
    parameters=[
        LIMIT,
        Parameter("cursor", "query", str, "From the page before.", _CURSOR),
        OF_CLIENT,
    ],
    answers=[Answer(200, "A page of webhooks.", WebhookList)],
    errors=READ_ERRORS,
)
async def list_webhooks(request: web.Request) -> web.Response:
    """The client's own; with the scope admin everybody's."""
    found = await _visible(request)
    limit, cursor = limit_of(request.query), request.query.get("cursor")
    if cursor is not None and not _cursor(cursor):
        raise unknown_cursor()
    found = [one for one in found if _place(*one) > (cursor or "")]
    page = found[:limit]
    states = await read_states(request.app[STORE], [webhook.id for _, webhook in page])
    more = _place(*page[-1]) if len(found) > limit else None
    documents = [webhook_document(client, one, states[one.id]) for client, one in page]
    return json_answer(WebhookList(documents, more))


async def _visible(request: web.Request) -> list[tuple[str, Webhook]]:
    """The webhooks that the caller may see and asks for, each with its client."""
    access, wanted = access_of(request), request.query.get("client")
    if access.is_admin:
        found = await store.list_all_webhooks(request.app[STORE])
    else:
        client_id = access.client.identity
        own = await store.list_webhooks(request.app[STORE], client_id)
        found = [(client_id, webhook) for webhook in own]
    if wanted is not None:
        found = [one for one in found if client_id_of(one[0]) == wanted]
    return sorted(found, key=lambda one: _place(*one))


def _place(client_id: str, webhook: Webhook) -> str:
    """Where a webhook stands in a list: by client, the oldest first. It is the cursor, too.

    So a page goes on also where the webhook that the cursor names was deleted.
    """
    return f"{client_id}/{format_time(webhook.created_at)}/{webhook.id}"


@routes.call(
    "POST",
    "/webhooks",
    summary="Make a webhook",
    scope="webhooks",
    body=NEW,
    answers=[
        Answer(201, "The webhook, with its secret.", NewWebhook, headers=(_LOCATION,)),
    ],
    errors=(CONFLICT, *WRITE_ERRORS),
)
async def make_webhook(request: web.Request) -> web.Response:
    """From this answer on, each event of the client's e-mails is sent to the URL.

    Only this answer has the secret.
    """
    client_id = access_of(request).client.identity
    wanted = checked(await NEW.read(request), request.app[SETTINGS])
    webhook, secret = await store.create_webhook(
        request.app[STORE],
        client_id,
        url=wanted.url or "",
        events=wanted.events or (),
        tags=wanted.tags or (),
        description=wanted.description or "",
        secret=wanted.secret,
    )
    log.info("webhook created", client=client_id_of(client_id), webhook_id=webhook.id)
    return json_answer(
        new_webhook(client_id, webhook, secret),
        status=201,
        headers={"Location": f"/webhooks/{webhook.id}"},
    )


@routes.call(
    "GET",
    "/webhooks/{id}",
    summary="Read a webhook, and how its endpoint answers",
    scope="webhooks",
    parameters=[ID],
    answers=[Answer(200, "The webhook.", WebhookDocument)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_webhook(request: web.Request) -> web.Response:
    return await _shown(request, *await own_webhook(request))


@routes.call(
    "PATCH",
    "/webhooks/{id}",
    summary="Change a webhook",
    scope="webhooks",
    parameters=[ID],
    body=CHANGE,
    answers=[
        Answer(200, "The webhook as it is now.", WebhookDocument, CHANGE.examples["other events"])
    ],
    errors=(NOT_FOUND, *WRITE_ERRORS),
)
async def change_webhook(request: web.Request) -> web.Response:
    """Fields that are left out stay as they are. Other changes at the same time are kept, too.

    Events from before keep the filter of their time, and go to the new URL.
    """
    body = await CHANGE.read(request)
    wanted = checked(body, request.app[SETTINGS])
    client_id, found = await own_webhook(request)
    webhook = await store.change_webhook(
        request.app[STORE], client_id, found.id, lambda old: _changed(old, wanted, body.enabled)
    )
    log.info("webhook changed", client=client_id_of(client_id), webhook_id=webhook.id)
    return await _shown(request, client_id, webhook)


def _changed(webhook: Webhook, wanted: Wanted, enabled: bool | None) -> Webhook:
    return replace(
        webhook,
        url=webhook.url if wanted.url is None else wanted.url,
        events=webhook.events if wanted.events is None else wanted.events,
        tags=webhook.tags if wanted.tags is None else wanted.tags,
        description=webhook.description if wanted.description is None else wanted.description,
        enabled=webhook.enabled if enabled is None else enabled,
        disabled=None if enabled else webhook.disabled,
    )


@routes.call(
    "DELETE",
    "/webhooks/{id}",
    summary="Delete a webhook",
    scope="webhooks",
    parameters=[ID],
    answers=[Answer(204, "The webhook and its waiting events are deleted.")],
    errors=(NOT_FOUND, *WRITE_ERRORS),
)
async def delete_webhook(request: web.Request) -> web.Response:
    """Its waiting events are not sent. A request that is under way may still arrive."""
    client_id, webhook = await own_webhook(request)
    if not await store.delete_webhook(request.app[STORE], client_id, webhook.id):
        raise no_such_webhook()
    log.info("webhook deleted", client=client_id_of(client_id), webhook_id=webhook.id)
    return empty_answer()


@routes.call(
    "POST",
    "/webhooks/{id}/secret",
    summary="Give a webhook a new secret",
    scope="webhooks",
    parameters=[ID],
    body=SECRET,
    answers=[Answer(200, "The new secret.", NewSecret)],
    errors=(NOT_FOUND, *WRITE_ERRORS),
)
async def rotate_secret(request: web.Request) -> web.Response:
    """For 24 hours each request has two signatures: by the new secret and by the one before.

    So give your endpoint the new one within that time. Only this answer has it.
    """
    body = await SECRET.read(request) if request.can_read_body else None
    secret = checked_secret(body) if body else None
    client_id, webhook = await own_webhook(request)
    made = await store.rotate_secret(request.app[STORE], client_id, webhook.id, secret)
    log.info("webhook secret changed", client=client_id_of(client_id), webhook_id=webhook.id)
    return json_answer(NewSecret(webhook.id, made.secret, made.previous_until))


async def _shown(request: web.Request, client_id: str, webhook: Webhook) -> web.Response:
    states = await read_states(request.app[STORE], [webhook.id])
    return json_answer(webhook_document(client_id, webhook, states[webhook.id]))
