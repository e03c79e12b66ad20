"""Whose suppressions a call is about: the caller's own, or those of a client that it names."""

from __future__ import annotations

from aiohttp import web

from babygun.api.access.authenticator import KNOWN_CLIENTS, access_of, lacks_scope
from babygun.api.access.fields import CLIENT_ID
from babygun.api.http.routes import Parameter
from babygun.errors import NotFound

CLIENT = Parameter(
    "client",
    "query",
    str,
    "Another client, by its id: needs the scope `admin`. By default the caller itself.",
    CLIENT_ID,
)


def owner_of(request: web.Request) -> str:
    """The identity of the client that the call names, by default of the caller.

    Raises the 403 problem for another client without the scope ``admin``, and NotFound.
    """
    access = access_of(request)
    named = request.query.get("client")
    if named is None or named == access.client.id:
        return access.client.identity
    if not access.is_admin:
        raise lacks_scope("admin", "Another client's suppressions need the scope admin.")
    client = request.app[KNOWN_CLIENTS].clients.get(named)
    if client is None:
        raise NotFound("there is no client with this id")
    return client.identity


def owner_or_all(request: web.Request) -> str | None:
    """As :func:`owner_of`; None, for all clients, where the scope ``admin`` names none."""
    if access_of(request).is_admin and "client" not in request.query:
        return None
    return owner_of(request)
