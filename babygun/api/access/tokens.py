"""The calls on tokens: issue, show, revoke."""

from __future__ import annotations

import base64
import binascii
import time
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import AUTHENTICATOR, access_of
from babygun.api.access.fields import CLIENT_ID, ClientId, ExpiresAt, Scopes
from babygun.api.http.body import MAX_SIGN_IN, check_json, read_body
from babygun.api.http.caller import caller_of
from babygun.api.http.context import SETTINGS
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import (
    INSUFFICIENT_SCOPE,
    INVALID_CREDENTIALS,
    INVALID_REQUEST,
    NOT_READY,
    TOO_MANY_REQUESTS,
)
from babygun.api.http.problems import Problem
from babygun.api.http.responses import empty_answer, json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Routes
from babygun.runtime.logs import note
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
        Meta(description="What the token allows; by default all that the client may do."),
    ] = None
    expires_in: Annotated[
        int | None,
        Meta(description="Seconds that the token is valid: at most, and by default, token_ttl."),
    ] = None


class Token(msgspec.Struct, frozen=True):
    """A token to send as ``Authorization: Bearer <token>``."""

    token: Annotated[str, Meta(examples=["eyJhbGciOiJIUzI1NiIsImtpZCI6Ij…"])]
    token_type: Annotated[str, Meta(examples=["Bearer"])]
    expires_at: ExpiresAt
    scopes: Scopes


class TokenInfo(msgspec.Struct, frozen=True):
    """A valid token. ``expires_in``: seconds."""

    valid: Annotated[bool, Meta(examples=[True])]
    client_id: ClientId
    scopes: Scopes
    issued_at: Annotated[datetime, Meta(examples=["2026-11-25T09:00:00Z"])]
    expires_at: ExpiresAt
    expires_in: Annotated[int, Meta(examples=[3540])]


routes = Routes("tokens")
_body = JsonBody(
    TokenRequest,
    required=False,
    examples={
        "everything that the client may do": {
            "client_id": CLIENT_ID,
            "client_secret": "<the secret that clients create printed>",
        },
        "less, and for a short time": {
            "client_id": CLIENT_ID,
            "client_secret": "<the secret>",
            "scopes": ["emails:send"],
            "expires_in": 300,
        },
        "with HTTP Basic": {"scopes": ["emails:read"]},
    },
)


@routes.call(
    "POST",
    "/tokens",
    summary="Get a token",
    credentials="client",
    body=_body,
    answers=[Answer(200, "A new token.", Token)],
    errors=(
        INVALID_CREDENTIALS,
        INSUFFICIENT_SCOPE,
        TOO_MANY_REQUESTS,
        NOT_READY,
        *READ_ERRORS,
    ),
)
async def issue_token(request: web.Request) -> web.Response:
    """Client id and secret, by HTTP Basic or in the body, for a token.

    The secret stays out of all other calls.
    """
    app = request.app
    raw = await read_body(request, limit=MAX_SIGN_IN)
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


@routes.call(
    "GET",
    "/tokens",
    summary="Ask whether the token is valid",
    scope="any",
    answers=[Answer(200, "The token is valid.", TokenInfo)],
    errors=READ_ERRORS,
)
async def show_token(request: web.Request) -> web.Response:
    """Describes the token in the Authorization header. An invalid one gets 401 with the reason."""
    access = access_of(request)
    left = max(0, int(access.expires_at.timestamp() - time.time()))
    return json_answer(
        TokenInfo(
            True, access.client.id, list(access.scopes), access.issued_at, access.expires_at, left
        )
    )


@routes.call(
    "DELETE",
    "/tokens",
    summary="Revoke the token",
    scope="any",
    answers=[Answer(204, "The token is revoked.")],
    errors=WRITE_ERRORS,
)
async def revoke_token(request: web.Request) -> web.Response:
    """Every API process refuses the token in the Authorization header within a second."""
    await request.app[AUTHENTICATOR].revoke(access_of(request))
    return empty_answer()


async def _client(request: web.Request, wanted: TokenRequest) -> Client:
    """The client that shows its id and secret.

    Raises the 401 problem, or the 422 problem where it shows them twice.
    """
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
        # At a Basic challenge a browser would show its own dialogue over the page.
        challenge = 'Bearer realm="babygun"'
    return await request.app[AUTHENTICATOR].client_with_secret(
        client_id, secret, address=caller_of(request).address, challenge=challenge
    )


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
