"""Lets a call reach its handler only with a token that has the call's scope."""

from __future__ import annotations

from aiohttp import web

from babygun.api.access.authenticator import ACCESS, AUTHENTICATOR
from babygun.api.access.session import authorization_of
from babygun.api.http.context import Handler, call_of
from babygun.runtime import tracing
from babygun.runtime.logs import note
from babygun.store.records import Scope


def authorized(handler: Handler, scope: Scope | None) -> Handler:
    """``handler`` behind the check of the token. ``scope``: None for any valid token."""

    async def check_token(request: web.Request) -> web.StreamResponse:
        access = request[ACCESS] = await request.app[AUTHENTICATOR].authorize(
            authorization_of(request), scope
        )
        call_of(request).client = access.client.id
        note(client_id=access.client.id)
        tracing.current().set("babygun.client_id", access.client.id)
        return await handler(request)

    return check_token
