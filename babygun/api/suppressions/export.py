"""GET /suppressions/export: all of a client's suppressions, written while they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from aiohttp import web

from babygun.api.emails.parameters import CONTENT_DISPOSITION
from babygun.api.http.body_memory import BODY_MEMORY
from babygun.api.http.context import STORE, call_of
from babygun.api.http.exports import headers_of, written
from babygun.api.http.problem_types import NOT_FOUND
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.api.suppressions.csv_cells import csv_lines
from babygun.api.suppressions.documents import SuppressionDocument, document_of
from babygun.api.suppressions.owner import CLIENT, owner_of
from babygun.api.suppressions.parameters import (
    MAX_LIMIT,
    PREFIX,
    list_of,
    list_parameter,
    prefix_of,
    reason_of,
    reason_parameter,
)
from babygun.runtime.clock import format_time
from babygun.store.suppressions.listing import SuppressionPage, list_suppressions

routes = Routes("suppressions")

COLUMNS = (
    "email",
    "list",
    "reason",
    "since",
    "until",
    "email_id",
    "status_code",
    "enhanced_code",
    "reply",
)
_PAGE_BYTES = 1 << 20  # that a page takes here, at most: 1,000 with a long reply each
_CSV = ",".join(COLUMNS) + "\r\nann@example.org,*,unsubscribe,2026-11-25T09:00:02.310Z,,,,,\r\n"
_NDJSON = (
    '{"email":"ann@example.org","list":"*","reason":"unsubscribe","since":"2026-11-25T09:00:02.310Z",'
    '"until":null,"email_id":null,"status_code":null,"enhanced_code":null,"reply":null,"by":null,'
    '"client_id":"3f9c2a51d0e4b768"}\n'
)
_Format = Literal["csv", "ndjson"]
_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}


@routes.call(
    "GET",
    "/suppressions/export",
    summary="Export all suppressions",
    scope="suppressions",
    parameters=[
        Parameter("format", "query", _Format, "CSV, or a JSON object a line.", "csv", "csv"),
        PREFIX,
        list_parameter("Only this list."),
        reason_parameter("Only those for this reason."),
        CLIENT,
    ],
    answers=[
        Answer(
            200,
            "The whole file. If the connection ends before the answer does, rows are missing.",
            str,
            _CSV,
            (CONTENT_DISPOSITION,),
            media_type="text/csv",
            more={"application/x-ndjson": _NDJSON},
        )
    ],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def export_suppressions(request: web.Request) -> web.StreamResponse:
    """By list, then by address; `POST /suppressions/import` takes it as it is.

    A suppression that exists all the time is in it exactly once. One that is added or taken off
    meanwhile may be in it or not. In CSV, a cell that a spreadsheet would run begins with an
    apostrophe.
    """
    form = request.query.get("format", "csv")
    read = _Reading(request)
    headers = headers_of(request, f"suppressions.{form}", _MEDIA_TYPES[form])
    if request.method == "HEAD":
        return web.Response(headers=headers)
    await request.app[BODY_MEMORY].take(call_of(request), _PAGE_BYTES)
    page = await read.page(None)
    async with written(request, headers) as response:
        await response.write(head_of(form) + _rows(page, form))
        while page.cursor is not None:
            page = await read.page(page.cursor)
            await response.write(_rows(page, form))
    return response


class _Reading:
    """Reads the pages that the call wants. Raises InvalidRequest for wrong parameters."""

    def __init__(self, request: web.Request) -> None:
        query = request.query
        self._store = request.app[STORE]
        self._owner = owner_of(request)
        self._list, self._reason = list_of(query), reason_of(query)
        self._prefix = prefix_of(query)

    async def page(self, cursor: str | None) -> SuppressionPage:
        return await list_suppressions(
            self._store,
            client_id=self._owner,
            list_name=self._list,
            prefix=self._prefix,
            reason=self._reason,
            limit=MAX_LIMIT,
            cursor=cursor,
        )


def _rows(page: SuppressionPage, form: str) -> bytes:
    return rows_of([document_of(found) for found in page.found], form)


def head_of(form: str) -> bytes:
    """What a file begins with. ``form``: csv or ndjson."""
    return csv_lines([COLUMNS]).encode() if form == "csv" else b""


def rows_of(documents: Sequence[SuppressionDocument], form: str) -> bytes:
    """Lines of a file, one for each document."""
    if form == "csv":
        return csv_lines([_cells(document) for document in documents]).encode()
    return b"".join(msgspec.json.encode(document) + b"\n" for document in documents)


def _cells(document: SuppressionDocument) -> Sequence[str]:
    return [
        document.email,
        document.list,
        document.reason,
        format_time(document.since),
        format_time(document.until) if document.until else "",
        document.email_id or "",
        str(document.status_code or ""),
        document.enhanced_code or "",
        document.reply or "",
    ]
