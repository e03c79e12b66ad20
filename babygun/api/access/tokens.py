"""The calls on tokens: issue, tell of, revoke."""

from __future__ import annotations

import base64
import binascii
import time
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.auth import AUTHENTICATOR, access_of
from babygun.api.http.body import MAX_SMALL, JsonBody, check_json, read_body
from babygun.api.http.context import SETTINGS
from babygun.api.http.problem_types import INSUFFICIENT_SCOPE, INVALID_CREDENTIALS, INVALID_REQUEST
from babygun.api.http.problems import Problem
from babygun.api.http.responses import SECURITY_HEADERS, json_answer
from babygun.runtime.logs import note
from babygun.store.access.clients import verify_secret
from babygun.store.records import Client, Scope


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants a token, and for what. With HTTP Basic authentication the body may be left out."""

    client_id: Annotated[
        str | None, Meta(description="The client's id; not beside HTTP Basic.")
    ] = None
    client_secret: Annotated[str | None, Meta(description="Its secret; not beside HTTP Basic.")] = (
        None
    )
    scopes: Annotated[
        list[Scope] | None,
        Meta(
            description="What the token shall be good for; all that the client may do by default."
        ),
    ] = None
    expires_in: Annotated[
        int | None,
        Meta(
            description="Seconds that the token shall be valid, at most the setting token_ttl, which is the default."
        ),
    ] = None


class Token(msgspec.Struct, frozen=True):
    """A token to send as ``Authorization: Bearer <token>``."""

    token: str
    token_type: str
    expires_at: datetime
    scopes: list[Scope]


class TokenInfo(msgspec.Struct, frozen=True):
    """A valid token. ``expires_in``: seconds."""

    valid: bool
    client_id: str
    scopes: list[Scope]
    issued_at: datetime
    expires_at: datetime
    expires_in: int


_body = JsonBody(TokenRequest)


async def issue_token(request: web.Request) -> web.Response:
    app = request.app
    raw = await read_body(request, limit=MAX_SMALL)
    if raw:
        check_json(request)
    wanted = _body.decode(raw) if raw else TokenRequest()
    client = await _client(request, wanted)
    note(client_id=client.id)
    limit = int(app[SETTINGS].token_ttl)
    if wanted.expires_in is not None and not 1 <= wanted.expires_in <= limit:
        raise Problem(
            INVALID_REQUEST, f"A token lives from 1 to {limit} seconds.", field="expires_in"
        )
    scopes = client.scopes if wanted.scopes is None else tuple(dict.fromkeys(wanted.scopes))
    for scope in scopes:
        if scope not in client.scopes:
            raise Problem(
                INSUFFICIENT_SCOPE, f"The client does not have the scope {scope}.", field="scopes"
            )
    token, access = app[AUTHENTICATOR].issue(client, scopes, wanted.expires_in or limit)
    return json_answer(Token(token, "Bearer", access.expires_at, list(access.scopes)))


async def show_token(request: web.Request) -> web.Response:
    access = access_of(request)
    left = max(0, int(access.expires_at.timestamp() - time.time()))
    return json_answer(
        TokenInfo(
            True, access.client.id, list(access.scopes), access.issued_at, access.expires_at, left
        )
    )


async def revoke_token(request: web.Request) -> web.Response:
    await request.app[AUTHENTICATOR].revoke(access_of(request))
    return web.Response(status=204, headers=SECURITY_HEADERS)


async def _client(request: web.Request, wanted: TokenRequest) -> Client:
    """The client that shows its id and secret. Raises the 401 problem, or 422 where it shows them twice."""
    header = request.headers.get("Authorization")
    if header is not None:
        if wanted.client_id is not None or wanted.client_secret is not None:
            raise Problem(
                INVALID_REQUEST,
                "Give id and secret once: by HTTP Basic or in the body.",
                field="client_id",
            )
        client_id, secret = _basic(header)
        challenge = 'Basic realm="babygun", charset="UTF-8"'
    elif wanted.client_id is None or wanted.client_secret is None:
        challenge = 'Basic realm="babygun", charset="UTF-8"'
        raise Problem(
            INVALID_CREDENTIALS,
            "Give client_id and client_secret, in the body or by HTTP Basic.",
            headers={"WWW-Authenticate": challenge},
        )
    else:
        client_id, secret = wanted.client_id, wanted.client_secret
        challenge = 'Bearer realm="babygun"'  # at a Basic challenge a browser would show its own dialogue over the page
    client = await request.app[AUTHENTICATOR].client(client_id)
    if client is None or not verify_secret(client, secret):
        raise Problem(
            INVALID_CREDENTIALS,
            "There is no client with this id and secret.",
            headers={"WWW-Authenticate": challenge},
        )
    return client


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError
        client_id, colon, secret = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
        if not colon:
            raise ValueError
    except (ValueError, binascii.Error):
        challenge = {"WWW-Authenticate": 'Basic realm="babygun", charset="UTF-8"'}
        raise Problem(
            INVALID_CREDENTIALS,
            "The Authorization header must be Basic, with base64 of id:secret.",
            headers=challenge,
        ) from None
    return client_id, secret
