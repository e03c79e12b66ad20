"""GET /emails: the listing and its filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, cast

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import access_of
from babygun.api.access.fields import CLIENT_ID
from babygun.api.emails.documents import EmailList, email_list
from babygun.api.emails.fields import EMAIL_ID
from babygun.api.http.context import SITES, STORE
from babygun.api.http.paging import LIMIT, limit_of, unknown_cursor
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.email.addresses import comparable, parse_address
from babygun.email.ids import is_email_id
from babygun.errors import InvalidRequest, Violation
from babygun.store.emails.listing import Filter, StatusFilter
from babygun.store.emails.listing import list_emails as read_page

_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_time: Callable[[bytes], datetime] = msgspec.json.Decoder(Annotated[datetime, Meta(tz=True)]).decode

FILTERS = (
    Parameter(
        "status",
        "query",
        StatusFilter,
        "Only e-mails in this state. An incomplete e-mail is in the state sending while a"
        " worker sends it, otherwise in the state waiting.",
        "failed",
    ),
    Parameter("tag", "query", str, "Only e-mails with this tag.", "welcome", repeats=True),
    Parameter(
        "recipient",
        "query",
        str,
        "Only e-mails to this mailbox, or to this domain where it begins with @. An address"
        " in any of its forms finds it.",
        "@example.org",
        repeats=True,
    ),
    Parameter(
        "sender",
        "query",
        str,
        "Only e-mails from this address, or @ and a domain.",
        "@shop.example",
    ),
    Parameter(
        "subject",
        "query",
        str,
        "Only e-mails with this in their subject.",
        "invoice",
        repeats=True,
    ),
    Parameter("id", "query", str, "Only e-mails whose id begins so.", EMAIL_ID[:8]),
    Parameter("client", "query", str, "Only e-mails of this client.", CLIENT_ID),
    Parameter(
        "after",
        "query",
        _Time,
        "Only e-mails accepted at this time or later.",
        "2026-11-25T09:00:00Z",
    ),
    Parameter(
        "before",
        "query",
        _Time,
        "Only e-mails accepted before this time.",
        "2026-11-25T10:00:00Z",
    ),
    Parameter(
        "ended_after",
        "query",
        _Time,
        "Only e-mails that became final at this time or later.",
        "2026-11-25T09:00:00Z",
    ),
    Parameter(
        "ended_before",
        "query",
        _Time,
        "Only e-mails that became final before this time.",
        "2026-11-25T10:00:00Z",
    ),
    Parameter(
        "reason",
        "query",
        str,
        "Only e-mails with a recipient that was not reached, or not yet, for this reason: a reply"
        " class, or why it is suppressed.",
        "bad_mailbox",
    ),
)


routes = Routes("emails")


@routes.call(
    "GET",
    "/emails",
    summary="List e-mails, newest first",
    scope="emails:read",
    parameters=[
        LIMIT,
        Parameter("cursor", "query", str, "From the page before.", EMAIL_ID),
        *FILTERS,
    ],
    answers=[Answer(200, "A page of e-mails.", EmailList)],
    errors=READ_ERRORS,
)
async def list_emails(request: web.Request) -> web.Response:
    """The client's own; with the scope admin everybody's.

    An e-mail must match all filters. The filters tag, recipient and subject may be given several
    times. A page reads a bounded number of records whatever the filter. So a filtered page can be
    empty though more pages follow: stop only when the cursor is null.
    """
    query = request.query
    limit, cursor = limit_of(query), query.get("cursor")
    if cursor is not None and not is_email_id(cursor):
        raise unknown_cursor()
    page = await read_page(
        request.app[STORE], limit=limit, cursor=cursor, wanted=filter_of(request)
    )
    return json_answer(email_list(page, request.app[SITES].hold_of))


def filter_of(request: web.Request) -> Filter:
    """What the call asks for, of what the caller may see. Raises InvalidRequest."""
    query, access = request.query, access_of(request)
    return Filter(
        client_id=None if access.is_admin else access.client.identity,
        status=cast("StatusFilter | None", query.get("status")),
        client=query.get("client"),
        tags=tuple(query.getall("tag", ())),
        recipients=tuple(_address("recipient", one) for one in query.getall("recipient", ())),
        sender=_address("sender", query["sender"]) if "sender" in query else None,
        subject=tuple(one.casefold() for one in query.getall("subject", ())),
        beginning=_beginning(query.get("id", "")),
        after=moment_of(query, "after"),
        before=moment_of(query, "before"),
        ended_after=moment_of(query, "ended_after"),
        ended_before=moment_of(query, "ended_before"),
        reason=query.get("reason", ""),
    )


def _beginning(given: str) -> str:
    """How an id is to begin. Raises InvalidRequest."""
    beginning = given.strip().lower()
    if beginning and not re.fullmatch(r"[0-9a-f-]{1,36}", beginning):
        raise InvalidRequest([Violation("id", "Give the beginning of an id: hex digits.")])
    return beginning


def _address(field: str, given: str) -> str:
    """An address, or ``@`` and a domain, in the form that the listing compares."""
    given = given.strip()
    try:
        address = parse_address(f"x{given}" if given.startswith("@") else given)
        return comparable(address.email[1:] if given.startswith("@") else address.email)
    except ValueError as error:
        detail = f"Give an address, or @ and a domain: {error}."
        raise InvalidRequest([Violation(field, detail)]) from None


def moment_of(query: Mapping[str, str], name: str) -> datetime | None:
    """A time in the query. Raises InvalidRequest."""
    if name not in query:
        return None
    try:
        return _time(msgspec.json.encode(query[name]))
    except (msgspec.ValidationError, UnicodeEncodeError):
        detail = (
            "Give a time with an offset (RFC 3339), such as 2030-01-31T08:00:00Z. "
            "In a query, write + as %2B."
        )
        raise InvalidRequest([Violation(name, detail)]) from None
