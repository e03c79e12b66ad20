"""The page's sign-in: a token in a cookie that no script can read.

A session is a token like any other (:mod:`babygun.api.access.authenticator`). It ends when the
token expires or is revoked, and every API process knows it.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from babygun.api.access.authenticator import AUTHENTICATOR, Access, access_of
from babygun.api.access.fields import CLIENT_ID, ClientId, ClientName, ExpiresAt, Scopes
from babygun.api.http.body import MAX_SIGN_IN
from babygun.api.http.caller import Caller, caller_of
from babygun.api.http.context import SETTINGS
from babygun.api.http.json_body import JsonBody
from babygun.api.http.origin import check_same_origin
from babygun.api.http.problem_types import (
    CROSS_SITE,
    INVALID_CREDENTIALS,
    NOT_READY,
    TOO_MANY_REQUESTS,
)
from babygun.api.http.responses import empty_answer, json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Header, Parameter, Routes
from babygun.runtime.logs import note

COOKIE = "babygun_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""The cookie's name over https. No other host and no page without TLS can set one of this name
(RFC 6265bis, 4.1.3.2)."""


class SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in."""

    client_id: str
    client_secret: str


class Session(msgspec.Struct, frozen=True):
    """Who is signed in, until when, and what that allows."""

    client_id: ClientId
    name: ClientName
    scopes: Scopes
    expires_at: ExpiresAt


routes = Routes("tokens")
_body = JsonBody(
    SessionRequest,
    max_bytes=MAX_SIGN_IN,
    examples={
        "id and secret": {
            "client_id": CLIENT_ID,
            "client_secret": "<the secret that clients create printed>",
        }
    },
)
_SET_COOKIE = Header(
    "Set-Cookie",
    "The session's token: HttpOnly and SameSite=Strict. Over https also Secure, and its name begins"
    " with __Host-.",
)


def authorization_of(request: web.Request) -> str | None:
    """The Authorization header or, where there is none, the cookie as one.

    Raises the 403 problem where another site's page uses the cookie.
    """
    header = request.headers.get("Authorization")
    if header is not None or "Cookie" not in request.headers:
        return header
    token = request.cookies.get(_name(caller_of(request)))
    if not token:
        return None
    check_same_origin(request)
    return f"Bearer {token}"


@routes.call(
    "POST",
    "/session",
    summary="Sign in with a cookie",
    parameters=[
        Parameter(
            "Sec-Fetch-Site",
            "header",
            str,
            "A browser sets it. `Origin` will do, too.",
            "same-origin",
        )
    ],
    body=_body,
    answers=[Answer(200, "Signed in.", Session, headers=(_SET_COOKIE,))],
    errors=(INVALID_CREDENTIALS, CROSS_SITE, TOO_MANY_REQUESTS, NOT_READY, *READ_ERRORS),
)
async def sign_in(request: web.Request) -> web.Response:
    """For pages of this API's own origin: client id and secret for a token in a cookie.

    Without an Authorization header, the cookie is used. This call is refused unless
    `Sec-Fetch-Site` or `Origin` says that it comes from the same origin. The same holds for
    every other call with the cookie that is not a GET.
    """
    check_same_origin(request)  # else another site could sign its visitor in with its own account
    wanted = await _body.read(request)
    authenticator = request.app[AUTHENTICATOR]
    caller = caller_of(request)
    client = await authenticator.client_with_secret(
        wanted.client_id,
        wanted.client_secret,
        address=caller.address,
        challenge='Bearer realm="babygun"',
    )
    note(client_id=client.id)
    seconds = int(request.app[SETTINGS].token_ttl)
    token, access = authenticator.issue(client, client.scopes, seconds)
    response = json_answer(_document(access))
    response.set_cookie(
        _name(caller),
        token,
        max_age=seconds,
        path="/",
        secure=_is_https(caller),
        httponly=True,
        samesite="Strict",
    )
    return response


@routes.call(
    "GET",
    "/session",
    summary="Ask who is signed in",
    scope="any",
    answers=[Answer(200, "Signed in.", Session)],
    errors=READ_ERRORS,
)
async def show_session(request: web.Request) -> web.Response:
    return json_answer(_document(access_of(request)))


@routes.call(
    "DELETE",
    "/session",
    summary="Sign out",
    scope="any",
    answers=[Answer(204, "Signed out.", headers=(_SET_COOKIE,))],
    errors=WRITE_ERRORS,
)
async def sign_out(request: web.Request) -> web.Response:
    """Revokes the token, and has the browser forget the cookie."""
    await request.app[AUTHENTICATOR].revoke(access_of(request))
    response = empty_answer()
    caller = caller_of(request)
    response.del_cookie(
        _name(caller), path="/", secure=_is_https(caller), httponly=True, samesite="Strict"
    )
    return response


def _document(access: Access) -> Session:
    return Session(access.client.id, access.client.name, list(access.scopes), access.expires_at)


def _is_https(caller: Caller) -> bool:
    return caller.scheme == "https"


def _name(caller: Caller) -> str:
    """The cookie's name. Over https the other name, which others could set, counts for nothing."""
    return SECURE_COOKIE if _is_https(caller) else COOKIE
