"""POST and DELETE: puts one address on a list, and takes it off."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import access_of
from babygun.api.access.fields import CLIENT_ID
from babygun.api.emails.services import QUOTA_GUARD
from babygun.api.http.body import MAX_SMALL
from babygun.api.http.context import STORE
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import CONFLICT, NOT_FOUND
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import WRITE_ERRORS, Answer, Routes
from babygun.api.suppressions.documents import (
    ADDRESS,
    LIST,
    SuppressionDocument,
    SuppressionList,
    document,
    document_of,
)
from babygun.api.suppressions.entries import BadField, Defaults, entry, size_of
from babygun.api.suppressions.listing import find, not_suppressed
from babygun.api.suppressions.owner import CLIENT, owner_of
from babygun.api.suppressions.parameters import EMAIL, address_of, list_of, list_parameter
from babygun.email.addresses import comparable
from babygun.email.model import client_id_of
from babygun.email.suppression import ALL_MAIL, SuppressionReason
from babygun.errors import InvalidRequest, Violation, sentence
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store.access.clients import is_there
from babygun.store.suppressions.limit import SuppressionLimit
from babygun.store.suppressions.suppressions import add, remove, until_of

log = get_logger("api")
routes = Routes("suppressions")
LIMIT = web.AppKey("suppression limit", SuppressionLimit)


class SuppressionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that mail is not to go to."""

    email: Annotated[str, Meta(description="In any form that a recipient may have.")]
    reason: SuppressionReason = "manual"
    list: Annotated[
        str, Meta(description="A kind of mail; * is all of the client's.", max_length=64)
    ] = ALL_MAIL
    until: Annotated[
        datetime | None,
        Meta(
            description="By default as the settings suppress_hard_bounces and suppress_others say.",
        ),
    ] = None


_body = JsonBody(
    SuppressionRequest,
    max_bytes=MAX_SMALL,
    examples={
        "no mail any more": {"email": ADDRESS},
        "no newsletter until then": {
            "email": ADDRESS,
            "reason": "unsubscribe",
            "list": LIST,
            "until": "2030-01-31T08:00:00Z",
        },
    },
)


_BY_CALL = {
    "reason": "manual",
    "until": None,
    "email_id": None,
    "status_code": None,
    "enhanced_code": None,
    "reply": None,
    "by": CLIENT_ID,
}


def defaults_of(request: web.Request) -> Defaults:
    """What holds for all that this call puts on a list."""
    now, settings = utc_now(), request.app[STORE].settings
    return Defaults(now, partial(until_of, settings, now=now), access_of(request).client.id)


@routes.call(
    "POST",
    "/suppressions",
    summary="Put an address on a list",
    scope="suppressions",
    parameters=[CLIENT],
    body=_body,
    answers=[
        Answer(201, "It is on the list by this call.", SuppressionDocument, _BY_CALL),
        Answer(
            200,
            "It was on the list already, and this is what is there.",
            SuppressionDocument,
            _BY_CALL,
        ),
    ],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def add_suppression(request: web.Request) -> web.Response:
    """A repeated call changes nothing.

    A suppression that is there stays, unless it is a hard bounce, or the new one ends later. To
    make one end earlier, take it off first. A client may have as many as the setting
    max_suppressions says.
    """
    body, owner = await _body.read(request), owner_of(request)
    if body.until is not None and body.until.tzinfo is None:
        raise InvalidRequest([Violation("until", "Give a time with an offset (RFC 3339).")])
    try:
        new = entry(body.email, body.reason, body.list, defaults_of(request), until=body.until)
    except BadField as error:
        raise InvalidRequest([Violation(error.field, sentence(error))]) from None
    request.app[QUOTA_GUARD].take_other(size_of(new))
    store = request.app[STORE]
    there, added = await add(
        store,
        owner,
        new.address,
        new.suppression,
        list_name=new.list,
        compares=[await is_there(store, owner)],
        limit=request.app[LIMIT],
    )
    log.info("suppression added", client=client_id_of(owner), list=new.list, added=added)
    shown = document(owner, comparable(new.address), new.list, there)
    return json_answer(shown, status=201 if added else 200)


@routes.call(
    "DELETE",
    "/suppressions/{email}",
    summary="Take an address off its lists",
    scope="suppressions",
    parameters=[EMAIL, list_parameter("This list alone."), CLIENT],
    answers=[Answer(200, "What was taken off.", SuppressionList)],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
    audit=True,
)
async def remove_suppression(request: web.Request) -> web.Response:
    """Mail goes there again, also e-mails that wait. Without `list`, all lists are meant.

    So name the list if a person wants one kind of mail again and no other.
    """
    store, owner, address = request.app[STORE], owner_of(request), address_of(request)
    removed = []
    for one in await find(store, owner, address, list_of(request.query)):
        if await remove(store, owner, one.address, list_name=one.list):
            removed.append(one)
    if not removed:
        raise not_suppressed()
    log.info("suppression removed", client=client_id_of(owner), lists=len(removed))
    return json_answer(SuppressionList([document_of(one) for one in removed], None))
