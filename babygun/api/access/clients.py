"""The calls on API clients, for clients with the scope ``admin``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import access_of
from babygun.api.access.fields import CLIENT_ID, ClientId, ClientName, Scopes
from babygun.api.http.body import MAX_SMALL
from babygun.api.http.context import STORE
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import CONFLICT, NOT_FOUND
from babygun.api.http.responses import empty_answer, json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Parameter, Routes
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
            description="E-mails a second that each API process accepts, above 0;"
            " no limit by default."
        ),
    ] = None
    weight: Annotated[
        int,
        Meta(
            description="Its share of a worker's sends, beside that of other clients whose mail"
            f" waits for the same servers: 1 to {store.MAX_WEIGHT}, 1 by default."
        ),
    ] = 1
    id: Annotated[
        str | None,
        Meta(
            description="1 to 64 letters, digits, dots, hyphens and underscores;"
            " a random one by default."
        ),
    ] = None


class ClientDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A client. Its secret is not kept."""

    id: ClientId
    name: ClientName
    scopes: Scopes
    rate: float | None
    weight: Annotated[int, Meta(examples=[1])]
    created_at: Annotated[datetime, Meta(examples=["2026-11-20T14:02:11.480000Z"])]


class NewClient(ClientDocument, frozen=True, kw_only=True):
    """A client just made. ``client_secret`` is shown this once."""

    client_secret: Annotated[str, Meta(examples=["<64 hex digits>"])]


class ClientList(msgspec.Struct, frozen=True):
    """All clients, by id."""

    clients: list[ClientDocument]


routes = Routes("clients")
_body = JsonBody(
    ClientRequest,
    max_bytes=MAX_SMALL,
    examples={
        "sends and reads its own": {"name": "shop", "scopes": ["emails:send", "emails:read"]},
        "with an id, a rate and a weight": {
            "name": "newsletter",
            "scopes": ["emails:send"],
            "id": "newsletter",
            "rate": 50,
            "weight": 2,
        },
    },
)


@routes.call(
    "GET",
    "/clients",
    summary="List the clients",
    scope="admin",
    answers=[Answer(200, "All clients.", ClientList)],
    errors=READ_ERRORS,
)
async def list_clients(request: web.Request) -> web.Response:
    clients = await store.list_clients(request.app[STORE])
    return json_answer(ClientList([ClientDocument(**_fields(client)) for client in clients]))


@routes.call(
    "POST",
    "/clients",
    summary="Make a client",
    scope="admin",
    body=_body,
    answers=[Answer(201, "The new client and its secret.", NewClient)],
    errors=(CONFLICT, *WRITE_ERRORS),
)
async def create_client(request: web.Request) -> web.Response:
    """The answer holds the client's secret, this once: only a hash of it is kept."""
    wanted = await _body.read(request)
    violations = [
        Violation(field, sentence(fault))
        for field, fault in store.client_problems(
            wanted.name, wanted.id, wanted.rate, wanted.weight
        )
    ]
    if violations:
        raise InvalidRequest(violations)
    scopes = tuple(dict.fromkeys(wanted.scopes))
    client, secret = await store.create_client(
        request.app[STORE],
        name=wanted.name.strip(),
        scopes=scopes,
        rate=wanted.rate,
        weight=wanted.weight,
        client_id=wanted.id,
    )
    log.info("client created", client=client.id, scopes=list(scopes))
    return json_answer(NewClient(**_fields(client), client_secret=secret), status=201)


@routes.call(
    "DELETE",
    "/clients/{id}",
    summary="Delete a client",
    scope="admin",
    parameters=[Parameter("id", "path", str, "The client's id.", CLIENT_ID)],
    answers=[Answer(204, "The client is deleted.")],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def delete_client(request: web.Request) -> web.Response:
    """Its tokens are refused within a second. Its webhooks and its suppressions go, too.

    So do the sending domains that no other client holds. Its e-mails stay. A client can't
    delete itself.
    """
    client_id = request.match_info["id"]
    if client_id == access_of(request).client.id:
        raise Conflict("a client can't delete itself: another client with the scope admin can")
    if not store.is_client_id(client_id) or not await store.delete_client(
        request.app[STORE], client_id
    ):
        raise NotFound("there is no client with this id")
    log.info("client deleted", client=client_id)
    return empty_answer()


def _fields(client: Client) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "scopes": list(client.scopes),
        "rate": client.rate,
        "weight": client.weight,
        "created_at": client.created_at,
    }
