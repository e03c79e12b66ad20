"""The webhook that a call's path names, if the caller may see it."""

from __future__ import annotations

from aiohttp import web

from babygun.api.access.authenticator import access_of
from babygun.api.http.context import STORE
from babygun.api.http.routes import Parameter
from babygun.api.webhooks.documents import WEBHOOK_ID
from babygun.errors import NotFound
from babygun.store.webhooks import change
from babygun.store.webhooks.records import Webhook

ID = Parameter("id", "path", str, "The webhook's id, from POST /webhooks.", WEBHOOK_ID)


async def own_webhook(request: web.Request) -> tuple[str, Webhook]:
    """The webhook and its client, with serial. Raises NotFound for another client's webhook, too.

    So nobody learns which ids exist.
    """
    store, access, webhook_id = request.app[STORE], access_of(request), request.match_info["id"]
    if access.is_admin:
        if (found := await change.find_webhook(store, webhook_id)) is not None:
            return found
    else:
        client_id = access.client.identity
        for webhook in await change.list_webhooks(store, client_id):
            if webhook.id == webhook_id:
                return client_id, webhook
    raise no_such_webhook()


def no_such_webhook() -> NotFound:
    return NotFound("There is no webhook with this id: GET /webhooks has all of yours.")
