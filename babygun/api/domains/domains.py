"""The calls that make, list, verify, share and delete sending domains, and give them new keys."""

from __future__ import annotations

from aiohttp import web

from babygun.api.access.authenticator import access_of, lacks_scope
from babygun.api.access.fields import OF_CLIENT
from babygun.api.domains.documents import DomainDocument, DomainList, domain_document
from babygun.api.domains.examples import LOOKED_UP, ROTATED
from babygun.api.domains.examples import NAME as EXAMPLE
from babygun.api.domains.own_domain import NAME, no_own_domain, own_domain
from babygun.api.domains.requests import (
    CLIENTS,
    NEW,
    ROTATE,
    algorithms,
    checked_name,
    identities,
)
from babygun.api.http.context import DOMAIN_ALARMS, STORE
from babygun.api.http.paging import LIMIT, limit_of
from babygun.api.http.problem_types import CONFLICT, NO_SEALING_KEY, NOT_FOUND
from babygun.api.http.responses import empty_answer, json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Header, Parameter, Routes
from babygun.domains.verifier import Verifier
from babygun.email.model import client_id_of
from babygun.email.sending_domains import SendingDomain
from babygun.runtime.logs import get_logger
from babygun.store.domains import change as store

log = get_logger("api")
routes = Routes("domains")
VERIFIER = web.AppKey("verifier", Verifier)
_LOCATION = Header("Location", "Where the domain can be read.")


@routes.call(
    "GET",
    "/domains",
    summary="List the sending domains",
    scope="domains",
    parameters=[
        LIMIT,
        Parameter("cursor", "query", str, "From the page before.", EXAMPLE),
        OF_CLIENT,
    ],
    answers=[Answer(200, "A page of domains.", DomainList)],
    errors=READ_ERRORS,
)
async def list_domains(request: web.Request) -> web.Response:
    """The client's own; with the scope admin everybody's."""
    access, query = access_of(request), request.query
    limit, cursor, client = limit_of(query), query.get("cursor", ""), query.get("client")
    found = [one for one in await store.list_domains(request.app[STORE]) if one.name > cursor]
    if not access.is_admin:
        found = [one for one in found if access.client.identity in one.clients]
    if client is not None:
        found = [one for one in found if client in map(client_id_of, one.clients)]
    page = found[:limit]
    more = page[-1].name if len(found) > limit else None
    return json_answer(DomainList([_document(request, one) for one in page], more))


@routes.call(
    "POST",
    "/domains",
    summary="Make a sending domain",
    scope="domains",
    body=NEW,
    answers=[
        Answer(201, "The domain, with the records for DNS.", DomainDocument, headers=(_LOCATION,))
    ],
    errors=(CONFLICT, NO_SEALING_KEY, *WRITE_ERRORS),
)
async def make_domain(request: web.Request) -> web.Response:
    """Makes its DKIM keys, and answers with the records to put into the domain's DNS zone.

    Its mail is signed once DNS has the key's record.
    """
    access, wanted = access_of(request), await NEW.read(request)
    name = checked_name(wanted.name)
    clients = [access.client.identity]
    if wanted.clients is not None:
        if not access.is_admin:
            raise lacks_scope("admin", "To make a domain for others needs the scope admin.")
        clients = await identities(request.app[STORE], wanted.clients)
    domain = await store.create_domain(
        request.app[STORE],
        name,
        clients,
        algorithms=algorithms(wanted.ed25519),
        by_operator=access.is_admin,
    )
    log.info("domain created", client=access_of(request).client.id, domain=domain.name)
    return json_answer(
        _document(request, domain), status=201, headers={"Location": f"/domains/{name}"}
    )


@routes.call(
    "GET",
    "/domains/{name}",
    summary="Read a sending domain, and what DNS has of it",
    scope="domains",
    parameters=[NAME],
    answers=[Answer(200, "The domain.", DomainDocument)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_domain(request: web.Request) -> web.Response:
    """DNS is not asked. Workers ask it once a day, and `POST /domains/{name}/verify` does."""
    return json_answer(_document(request, await own_domain(request)))


@routes.call(
    "POST",
    "/domains/{name}/verify",
    summary="Look a sending domain up in DNS",
    scope="domains",
    parameters=[NAME],
    answers=[Answer(200, "The domain, with what DNS has now.", DomainDocument, LOOKED_UP)],
    errors=(NOT_FOUND, *WRITE_ERRORS),
)
async def verify_domain(request: web.Request) -> web.Response:
    """It may take half a minute. New DKIM keys that DNS has sign from now on.

    A resolver may remember for minutes or hours that a record was not there.
    """
    domain = await own_domain(request)
    return json_answer(_document(request, await request.app[VERIFIER].verify(domain.name)))


@routes.call(
    "POST",
    "/domains/{name}/rotate",
    summary="Give a sending domain new DKIM keys",
    scope="domains",
    parameters=[NAME],
    body=ROTATE,
    answers=[Answer(200, "The domain, with the records for DNS.", DomainDocument, ROTATED)],
    errors=(NOT_FOUND, NO_SEALING_KEY, *WRITE_ERRORS),
)
async def rotate_keys(request: web.Request) -> web.Response:
    """A new key signs once DNS has its record. Until then the old one signs.

    Leave the old key's record in DNS until the key is no longer among the selectors. Mail that it
    has signed may be under way for days.
    """
    body = await ROTATE.read(request) if request.can_read_body else None
    domain = await own_domain(request)
    wanted = () if body is None or body.ed25519 is None else algorithms(body.ed25519)
    domain = await store.rotate_keys(request.app[STORE], domain.name, wanted)
    log.info("domain keys rotated", client=access_of(request).client.id, domain=domain.name)
    return json_answer(_document(request, domain))


@routes.call(
    "PUT",
    "/domains/{name}/clients",
    summary="Give a sending domain to other clients, or let several share it",
    scope="admin",
    parameters=[NAME],
    body=CLIENTS,
    answers=[Answer(200, "The domain.", DomainDocument, CLIENTS.examples["two share it"])],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def share_domain(request: web.Request) -> web.Response:
    """A client that is not named holds it no more, and can't send from it."""
    body = await CLIENTS.read(request)
    domain = await own_domain(request)
    clients = await identities(request.app[STORE], body.clients)
    domain = await store.share_domain(request.app[STORE], domain.name, clients)
    log.info(
        "domain shared",
        client=access_of(request).client.id,
        clients=list(map(client_id_of, clients)),
        domain=domain.name,
    )
    return json_answer(_document(request, domain))


@routes.call(
    "DELETE",
    "/domains/{name}",
    summary="Delete a sending domain",
    scope="domains",
    parameters=[NAME],
    answers=[Answer(204, "The domain and its keys are deleted.")],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def delete_domain(request: web.Request) -> web.Response:
    """Its keys can't be had back. Mail that waits is sent without a signature.

    Only a client with the scope admin can delete a domain that several clients hold.
    """
    access, domain = access_of(request), await own_domain(request)
    holder = None if access.is_admin else access.client.identity
    if not await store.delete_domain(request.app[STORE], domain.name, holder=holder):
        raise no_own_domain()
    log.info("domain deleted", client=access_of(request).client.id, domain=domain.name)
    return empty_answer()


def _document(request: web.Request, domain: SendingDomain) -> DomainDocument:
    records = request.app[VERIFIER].wanted(domain)
    alarms = request.app[DOMAIN_ALARMS].of(domain.name)
    return domain_document(domain, records, alarms, with_clients=access_of(request).is_admin)
