"""GET /audit: who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, cast

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.emails.listing import moment_of
from babygun.api.http.context import STORE
from babygun.api.http.paging import LIMIT, limit_of, unknown_cursor
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.email.addresses import hash_of, parse_address
from babygun.email.ids import is_email_id
from babygun.errors import InvalidRequest, Violation, sentence
from babygun.store.audit.entries import AuditEntry, Via
from babygun.store.audit.entries import Outcome as AuditOutcome
from babygun.store.audit.listing import Wanted, list_entries

ENTRY_ID = "019ab8c2-91c0-7e55-8f10-6c1b2d3e4f50"


class AuditEntryDocument(msgspec.Struct, frozen=True):
    """One change. ``outcome``: begun means that nobody knows how it ended, or that it goes on."""

    id: Annotated[str, Meta(examples=[ENTRY_ID])]
    at: Annotated[datetime, Meta(examples=["2026-11-25T09:04:11.200000Z"])]
    action: Annotated[
        str,
        Meta(
            description="The operationId of the call. A command has the same.",
            examples=["holdSite"],
        ),
    ]
    by: Annotated[
        str,
        Meta(
            description="A client's id, user@host of a command, or the id of a process.",
            examples=["console"],
        ),
    ]
    via: Annotated[Via, Meta(examples=["api"])]
    target: Annotated[
        str,
        Meta(
            description="What it was done to. An address stands there as its hash.",
            examples=["mx:google"],
        ),
    ]
    details: Annotated[
        dict[str, str],
        Meta(
            description="What was asked for.",
            examples=[{"reason": "they asked us to pause", "lasts": "2h"}],
        ),
    ]
    address: Annotated[
        str, Meta(description="The IP address of the caller.", examples=["192.0.2.7"])
    ]
    request_id: Annotated[str, Meta(examples=["4f2a91c03d5e6b78"])]
    outcome: Annotated[AuditOutcome, Meta(examples=["done"])]
    ended_at: Annotated[datetime | None, Meta(examples=["2026-11-25T09:04:11.208000Z"])]
    reason: Annotated[str, Meta(description="Why it failed, or why nobody knows.", examples=[""])]


class AuditList(msgspec.Struct, frozen=True):
    """Audit entries, newest first."""

    entries: list[AuditEntryDocument]
    cursor: Annotated[str | None, Meta(description="Of the next page.", examples=[None])]


routes = Routes("operations")
_BY_PROCESS = {
    "id": "019ab8b1-10d4-7a03-b2c7-5e9f04d1a863",
    "at": "2026-11-25T08:45:13.300000Z",
    "action": "makeSigningKey",
    "by": "web-1-04b7d19c3e",
    "via": "process",
    "target": "5d890869",
    "details": {},
    "address": "",
    "request_id": "",
    "ended_at": "2026-11-25T08:45:13.300000Z",
}


@routes.call(
    "GET",
    "/audit",
    summary="List who changed what",
    scope="admin",
    parameters=[
        LIMIT,
        Parameter("cursor", "query", str, "From the page before.", ENTRY_ID),
        Parameter("action", "query", str, "The operationId of a call.", "deleteClient"),
        Parameter("by", "query", str, "A client's id, user@host, or a process's id.", "console"),
        Parameter(
            "target",
            "query",
            str,
            "What it was done to: an id, a domain, a site. An address is looked for by its hash.",
            "mx:google",
        ),
        Parameter("outcome", "query", AuditOutcome, "How it ended.", "failed"),
        Parameter(
            "after", "query", datetime, "Begun at this time or later.", "2026-11-25T09:00:00Z"
        ),
        Parameter("before", "query", datetime, "Begun before this time.", "2026-11-25T10:00:00Z"),
    ],
    answers=[Answer(200, "A page of entries.", AuditList, {"entries": [{}, _BY_PROCESS]})],
    errors=READ_ERRORS,
)
async def list_audit(request: web.Request) -> web.Response:
    """An entry is written before its change, and again with the outcome.

    A call that was refused has no entry. Entries are kept for the setting audit_retention. A page
    reads a bounded number of entries whatever the filter: stop only when the cursor is null.
    """
    query = request.query
    limit, cursor = limit_of(query), query.get("cursor")
    if cursor is not None and not is_email_id(cursor):
        raise unknown_cursor()
    page = await list_entries(request.app[STORE], _wanted(query), limit=limit, cursor=cursor)
    return json_answer(AuditList([_document(entry) for entry in page.entries], page.cursor))


def _wanted(query: Mapping[str, str]) -> Wanted:
    """Raises InvalidRequest."""
    return Wanted(
        action=query.get("action", ""),
        by=query.get("by", ""),
        target=_target(query.get("target", "")),
        outcome=cast("AuditOutcome | None", query.get("outcome")),
        after=moment_of(query, "after"),
        before=moment_of(query, "before"),
    )


def _target(text: str) -> str:
    """Entries have the hash of an address. Raises InvalidRequest."""
    if "@" not in text:
        return text
    try:
        return hash_of(parse_address(text).email)
    except ValueError as error:
        raise InvalidRequest([Violation("target", sentence(error))]) from None


def _document(entry: AuditEntry) -> AuditEntryDocument:
    return msgspec.convert(entry, AuditEntryDocument, from_attributes=True)
