"""GET /suppressions: the listing, and all that is known of one address."""

from __future__ import annotations

from aiohttp import web

from babygun.api.http.context import STORE
from babygun.api.http.paging import limit_of, unknown_cursor
from babygun.api.http.problem_types import NOT_FOUND
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Routes
from babygun.api.suppressions.documents import SuppressionList, document_of
from babygun.api.suppressions.owner import CLIENT, owner_of, owner_or_all
from babygun.api.suppressions.parameters import (
    CURSOR,
    EMAIL,
    LIMIT,
    MAX_LIMIT,
    PREFIX,
    address_of,
    list_of,
    list_parameter,
    prefix_of,
    reason_of,
    reason_parameter,
)
from babygun.email.addresses import hash_of, is_hash
from babygun.errors import NotFound
from babygun.store import Store
from babygun.store.suppressions.listing import Suppressed, list_suppressions
from babygun.store.suppressions.suppressions import get_one

routes = Routes("suppressions")

_LONGER = 20  # addresses, more than begin with another one in most lists


@routes.call(
    "GET",
    "/suppressions",
    summary="List suppressions, or search for addresses",
    scope="suppressions",
    parameters=[
        LIMIT,
        CURSOR,
        PREFIX,
        list_parameter("Only this list."),
        reason_parameter("Only those for this reason."),
        CLIENT,
    ],
    answers=[Answer(200, "A page of suppressions.", SuppressionList)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def list_all(request: web.Request) -> web.Response:
    """By list, then by address; with the scope admin and no `client`: of all clients, by client.

    A page reads a bounded number of them whatever the filter. So a page can be short or empty
    though more follow: stop only when the cursor is null. A suppression that is added or taken
    off between two pages may be missing or not. All others are on exactly one page.
    """
    query = request.query
    try:
        page = await list_suppressions(
            request.app[STORE],
            client_id=owner_or_all(request),
            list_name=list_of(query),
            prefix=prefix_of(query),
            reason=reason_of(query),
            limit=limit_of(query, MAX_LIMIT),
            cursor=query.get("cursor"),
        )
    except ValueError:
        raise unknown_cursor() from None
    return json_answer(SuppressionList([document_of(found) for found in page.found], page.cursor))


@routes.call(
    "GET",
    "/suppressions/{email}",
    summary="Whether mail goes to an address",
    scope="suppressions",
    parameters=[EMAIL, list_parameter("This list alone."), CLIENT],
    answers=[Answer(200, "The lists that the address is on.", SuppressionList)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_suppression(request: web.Request) -> web.Response:
    """All lists that the address is on. 404 means that mail goes there. The cursor is null."""
    store, owner = request.app[STORE], owner_of(request)
    found = await find(store, owner, address_of(request), list_of(request.query))
    if not found:
        raise not_suppressed()
    return json_answer(SuppressionList([document_of(one) for one in found], None))


async def find(
    store: Store, client_id: str, address: str, list_name: str | None
) -> list[Suppressed]:
    """What counts of an address: on one list, or on all. ``client_id``: an identity.

    An address that was erased is found by its hash.
    """
    found: list[Suppressed] = []
    for name in dict.fromkeys((address, address if is_hash(address) else hash_of(address))):
        if list_name is None:
            found += await _on_all_lists(store, client_id, name)
        elif one := await get_one(store, client_id, name, list_name=list_name):
            found.append(Suppressed(client_id, list_name, name, one))
    return found


async def _on_all_lists(store: Store, client_id: str, name: str) -> list[Suppressed]:
    found: list[Suppressed] = []
    cursor: str | None = None
    while True:
        page = await list_suppressions(
            store, client_id=client_id, prefix=name, limit=_LONGER, cursor=cursor
        )
        found += [one for one in page.found if one.address == name]
        if (cursor := page.cursor) is None:
            return found


def not_suppressed() -> NotFound:
    return NotFound("the address is on no such list: mail goes there")
