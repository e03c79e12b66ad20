"""The page's sign-in: a token in a cookie that no script can read, instead of an Authorization header.

A session is a token like any other (:mod:`babygun.api.access.auth`): it ends when that expires or is revoked, and every API process knows it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from aiohttp import web

from babygun.api.access.auth import AUTHENTICATOR, Access, access_of
from babygun.api.http.body import MAX_SMALL, JsonBody, read_json
from babygun.api.http.context import SETTINGS
from babygun.api.http.origin import check_same_origin
from babygun.api.http.problem_types import INVALID_CREDENTIALS
from babygun.api.http.problems import Problem
from babygun.api.http.responses import SECURITY_HEADERS, json_answer
from babygun.runtime.logs import note
from babygun.store.access.clients import verify_secret
from babygun.store.records import Scope

COOKIE = "babygun_session"


class SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in."""

    client_id: str
    client_secret: str


class Session(msgspec.Struct, frozen=True):
    """Who is signed in, until when, and what that allows."""

    client_id: str
    name: str
    scopes: list[Scope]
    expires_at: datetime


_body = JsonBody(SessionRequest)


def authorization_of(request: web.Request) -> str | None:
    """The Authorization header or, where there is none, the cookie as one. Raises the 403 problem where another site's page uses the cookie."""
    header = request.headers.get("Authorization")
    if header is not None or "Cookie" not in request.headers:
        return header
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    check_same_origin(request)
    return f"Bearer {token}"


async def sign_in(request: web.Request) -> web.Response:
    check_same_origin(
        request
    )  # else another site could have its visitor work under an account of its own
    app = request.app
    wanted = _body.decode(await read_json(request, limit=MAX_SMALL))
    client = await app[AUTHENTICATOR].client(wanted.client_id)
    if client is None or not verify_secret(client, wanted.client_secret):
        raise Problem(
            INVALID_CREDENTIALS,
            "There is no client with this id and secret.",
            headers={"WWW-Authenticate": 'Bearer realm="babygun"'},
        )
    note(client_id=client.id)
    seconds = int(app[SETTINGS].token_ttl)
    token, access = app[AUTHENTICATOR].issue(client, client.scopes, seconds)
    response = json_answer(_document(access))
    response.set_cookie(
        COOKIE,
        token,
        max_age=seconds,
        path="/",
        secure=request.secure,
        httponly=True,
        samesite="Strict",
    )
    return response


async def show_session(request: web.Request) -> web.Response:
    return json_answer(_document(access_of(request)))


async def sign_out(request: web.Request) -> web.Response:
    await request.app[AUTHENTICATOR].revoke(access_of(request))
    response = web.Response(status=204, headers=SECURITY_HEADERS)
    response.del_cookie(COOKIE, path="/", secure=request.secure, httponly=True, samesite="Strict")
    return response


def _document(access: Access) -> Session:
    return Session(access.client.id, access.client.name, list(access.scopes), access.expires_at)
