"""The calls on API clients, for clients with the scope ``admin``."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import UNSET
from msgspec.structs import asdict, replace

from babygun.api.access.authenticator import access_of
from babygun.api.access.client_documents import (
    CHANGE,
    NEW,
    SECRET,
    ClientDocument,
    ClientList,
    NewClient,
    NewClientSecret,
    SecretChange,
    check,
    document,
    fields,
)
from babygun.api.access.fields import CLIENT_ID
from babygun.api.http.context import STORE
from babygun.api.http.problem_types import CONFLICT, NOT_FOUND
from babygun.api.http.responses import empty_answer, json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Parameter, Routes
from babygun.errors import Conflict, NotFound
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store.access import clients as store
from babygun.store.access.client_rules import is_client_id
from babygun.store.access.usage import get_usage, list_usages
from babygun.store.records import Client

log = get_logger("api")
routes = Routes("clients")
_ID = Parameter("id", "path", str, "The client's id.", CLIENT_ID)
_LIMITED = {"rate": 50.0, "recipients_per_day": 10000, "recipients_today": 1280}


@routes.call(
    "GET",
    "/clients",
    summary="List the clients",
    scope="admin",
    answers=[
        Answer(
            200,
            "All clients.",
            ClientList,
            {"clients": [{}, {"id": "console", "name": "console", "scopes": ["admin"]}]},
        )
    ],
    errors=READ_ERRORS,
)
async def list_clients(request: web.Request) -> web.Response:
    clients = await store.list_clients(request.app[STORE])
    usages, today = await list_usages(request.app[STORE]), utc_now().date()
    return json_answer(
        ClientList([document(client, usages.get(client.identity), today) for client in clients])
    )


@routes.call(
    "POST",
    "/clients",
    summary="Make a client",
    scope="admin",
    body=NEW,
    answers=[Answer(201, "The new client and its secret.", NewClient)],
    errors=(CONFLICT, *WRITE_ERRORS),
)
async def create_client(request: web.Request) -> web.Response:
    """The answer holds the client's secret, this once: only a hash of it is kept."""
    wanted = await NEW.read(request)
    check(wanted)
    client, secret = await store.create_client(
        request.app[STORE],
        name=wanted.name.strip(),
        scopes=tuple(dict.fromkeys(wanted.scopes)),
        rate=wanted.rate,
        weight=wanted.weight,
        recipients_per_day=wanted.recipients_per_day,
        client_id=wanted.id,
    )
    log.info("client created", client=client.id, scopes=list(client.scopes))
    shown = fields(client, None, utc_now().date())
    return json_answer(NewClient(**shown, client_secret=secret), status=201)


@routes.call(
    "GET",
    "/clients/{id}",
    summary="Read a client, and what it has used today",
    scope="admin",
    parameters=[_ID],
    answers=[Answer(200, "The client.", ClientDocument, _LIMITED)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_client(request: web.Request) -> web.Response:
    client = await store.get_client(request.app[STORE], _id_of(request))
    if client is None:
        raise _no_such_client()
    return await _shown(request, client)


@routes.call(
    "PATCH",
    "/clients/{id}",
    summary="Change a client",
    scope="admin",
    parameters=[_ID],
    body=CHANGE,
    answers=[
        Answer(
            200,
            "The client as it is now.",
            ClientDocument,
            _LIMITED | {"rate": 100.0, "recipients_per_day": None},
        )
    ],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def change_client(request: web.Request) -> web.Response:
    """Fields that are left out stay as they are. All API processes follow a change in a second.

    A token allows no more than its client may: a scope that is taken away is gone from its tokens.
    One that is given needs a new token. The weight holds for e-mails that are accepted from now on.
    A client can't take the scope `admin` from itself.
    """
    wanted = await CHANGE.read(request)
    check(wanted)
    changes: dict[str, Any] = {
        field: value for field, value in asdict(wanted).items() if value is not UNSET
    }
    if "name" in changes:
        changes["name"] = changes["name"].strip()
    if "scopes" in changes:
        changes["scopes"] = tuple(dict.fromkeys(changes["scopes"]))
        if _is_caller(request) and "admin" not in changes["scopes"]:
            raise Conflict(
                "a client can't take the scope admin from itself:"
                " another client with that scope can"
            )
    client = await store.change_client(
        request.app[STORE], _id_of(request), lambda before: replace(before, **changes)
    )
    log.info("client changed", client=client.id, fields=sorted(changes))
    return await _shown(request, client)


@routes.call(
    "POST",
    "/clients/{id}/secret",
    summary="Give a client a new secret",
    scope="admin",
    parameters=[_ID],
    body=SECRET,
    answers=[Answer(200, "The new secret.", NewClientSecret)],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def rotate_client_secret(request: web.Request) -> web.Response:
    """Only this answer has it. The present secret is taken for `previous_for` more seconds.

    Each secret from before is taken until its own end, so a call whose answer was lost can be
    repeated. At most 32 of them work at a time. With a `previous_for` of 0, all of them end now.
    Tokens stay valid until their end, unless `end_tokens` ends all that the client has.
    """
    wanted = await SECRET.read(request) if request.can_read_body else SecretChange()
    client, secret = await store.rotate_secret(
        request.app[STORE],
        _id_of(request),
        grace=wanted.previous_for,
        end_tokens=wanted.end_tokens,
    )
    log.info("client secret changed", client=client.id, tokens_ended=wanted.end_tokens)
    until = client.previous.until if client.previous else None
    return json_answer(NewClientSecret(client.id, secret, until))


@routes.call(
    "DELETE",
    "/clients/{id}",
    summary="Delete a client",
    scope="admin",
    parameters=[_ID],
    answers=[Answer(204, "The client is deleted.")],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def delete_client(request: web.Request) -> web.Response:
    """Its tokens are refused within a second. Its webhooks and suppressions are deleted, too.

    Sending domains that no other client holds are also deleted. Its e-mails stay. A client can't
    delete itself.
    """
    client_id = _id_of(request)
    if _is_caller(request):
        raise Conflict("a client can't delete itself: another client with the scope admin can")
    if not await store.delete_client(request.app[STORE], client_id):
        raise _no_such_client()
    log.info("client deleted", client=client_id)
    return empty_answer()


def _id_of(request: web.Request) -> str:
    """The client's id in the path. Raises NotFound where no client has such an id."""
    client_id = request.match_info["id"]
    if not is_client_id(client_id):
        raise _no_such_client()
    return client_id


def _is_caller(request: web.Request) -> bool:
    return request.match_info["id"] == access_of(request).client.id


def _no_such_client() -> NotFound:
    return NotFound("there is no client with this id")


async def _shown(request: web.Request, client: Client) -> web.Response:
    usage = await get_usage(request.app[STORE], client.identity)
    return json_answer(document(client, usage, utc_now().date()))
