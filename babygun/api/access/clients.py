"""The calls on API clients, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.auth import access_of
from babygun.api.http.body import MAX_SMALL, JsonBody, read_json
from babygun.api.http.context import STORE
from babygun.api.http.responses import SECURITY_HEADERS, json_answer
from babygun.errors import Conflict, InvalidRequest, NotFound, Violation, sentence
from babygun.runtime.logs import get_logger
from babygun.store.access import clients as store
from babygun.store.records import Client, Scope

log = get_logger("api")


class ClientRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client to make."""

    name: Annotated[str, Meta(description=f"What it is for: 1 to {store.MAX_NAME} characters.")]
    scopes: Annotated[list[Scope], Meta(min_length=1, description="What it may do.")]
    rate: Annotated[
        float | None,
        Meta(
            description="E-mails a second that each API process lets through, above 0; no limit by default."
        ),
    ] = None
    id: Annotated[
        str | None,
        Meta(
            description="1 to 64 letters, digits, dots, hyphens and underscores; a random one by default."
        ),
    ] = None


class ClientDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A client. Its secret is not kept."""

    id: str
    name: str
    scopes: list[Scope]
    rate: float | None
    created_at: datetime


class NewClient(ClientDocument, frozen=True, kw_only=True):
    """A client just made. ``client_secret`` is shown this once."""

    client_secret: str


class ClientList(msgspec.Struct, frozen=True):
    """All clients, by id."""

    clients: list[ClientDocument]


_body = JsonBody(ClientRequest)


async def list_clients(request: web.Request) -> web.Response:
    return json_answer(
        ClientList(
            [
                ClientDocument(**_fields(client))
                for client in await store.list_clients(request.app[STORE])
            ]
        )
    )


async def create_client(request: web.Request) -> web.Response:
    wanted = _body.decode(await read_json(request, limit=MAX_SMALL))
    violations = [
        Violation(field, sentence(fault))
        for field, fault in store.faults(wanted.name, wanted.id, wanted.rate)
    ]
    if violations:
        raise InvalidRequest(violations)
    scopes = tuple(dict.fromkeys(wanted.scopes))
    client, secret = await store.create_client(
        request.app[STORE],
        name=wanted.name.strip(),
        scopes=scopes,
        rate=wanted.rate,
        client_id=wanted.id,
    )
    log.info("client created", client=client.id, scopes=list(scopes))
    return json_answer(NewClient(**_fields(client), client_secret=secret), status=201)


async def delete_client(request: web.Request) -> web.Response:
    client_id = request.match_info["id"]
    if client_id == access_of(request).client.id:
        raise Conflict("a client can't delete itself: another administrator can")
    if not store.is_client_id(client_id) or not await store.delete_client(
        request.app[STORE], client_id
    ):
        raise NotFound("there is no client with this id")
    log.info("client deleted", client=client_id)
    return web.Response(status=204, headers=SECURITY_HEADERS)


def _fields(client: Client) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "scopes": list(client.scopes),
        "rate": client.rate,
        "created_at": client.created_at,
    }
