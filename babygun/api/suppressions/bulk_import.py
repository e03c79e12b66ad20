"""POST /suppressions/import: puts the addresses of a file on lists, while the file arrives."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.emails.services import QUOTA_GUARD
from babygun.api.http.body import body_pieces
from babygun.api.http.context import STORE
from babygun.api.http.file_body import FileBody
from babygun.api.http.problem_types import CONFLICT, MALFORMED_REQUEST, NOT_FOUND, TOO_LARGE
from babygun.api.http.problems import Problem, from_exception
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import WRITE_ERRORS, Answer, Parameter, Routes
from babygun.api.suppressions.change import LIMIT, defaults_of
from babygun.api.suppressions.entries import Defaults, entry_of, size_of
from babygun.api.suppressions.owner import CLIENT, owner_of
from babygun.api.suppressions.parameters import (
    list_of,
    list_parameter,
    reason_of,
    reason_parameter,
)
from babygun.api.suppressions.row import BadFile, BadRow, Row
from babygun.api.suppressions.rows import RowReader
from babygun.email.model import client_id_of
from babygun.errors import BabygunError, InvalidRequest, Violation, sentence
from babygun.intake.quota_guard import QuotaGuard
from babygun.runtime.event_loop import Turns
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.access.clients import is_there
from babygun.store.suppressions.limit import SuppressionLimit
from babygun.store.suppressions.suppressions import PAGE, NewSuppression, add_page

log = get_logger("api")
routes = Routes("suppressions")

CSV, NDJSON = "text/csv", "application/x-ndjson"
MAX_ROWS = 100_000
MAX_ERRORS = 1000  # that an answer names
_FILES = {
    CSV: "email,reason,list\nann@example.org,unsubscribe,news\nbob@example.org,hard_bounce,\n",
    NDJSON: '{"email": "ann@example.org", "reason": "unsubscribe", "list": "news"}\n',
}


class RowError(msgspec.Struct, frozen=True):
    """A row that was left out. ``line``: where it begins, from 1 on."""

    line: Annotated[int, Meta(examples=[3])]
    detail: Annotated[str, Meta(examples=["The address has no @."])]


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows: ``rows`` = ``added`` + ``kept`` + ``refused``.

    ``kept``: were there already. ``errors``: the first 1,000. ``ignored_columns``: of a CSV file,
    those that mean nothing here.
    """

    rows: Annotated[int, Meta(examples=[3])]
    added: Annotated[int, Meta(examples=[2])]
    kept: Annotated[int, Meta(examples=[0])]
    refused: Annotated[int, Meta(examples=[1])]
    errors: list[RowError]
    ignored_columns: Annotated[list[str], Meta(examples=[[]])]


@routes.call(
    "POST",
    "/suppressions/import",
    summary="Put the addresses of a file on lists",
    scope="suppressions",
    parameters=[
        list_parameter("For all rows, in place of what they say."),
        reason_parameter("For all rows, in place of what they say."),
        Parameter(
            "from_line",
            "query",
            Annotated[int, Meta(ge=1, le=9_999_999)],
            "Go on there after a call that broke off: earlier rows are skipped.",
            2,
        ),
        CLIENT,
    ],
    body=FileBody(_FILES),
    answers=[
        Answer(200, "All rows are good.", ImportResult, {"refused": 0, "rows": 2, "errors": []}),
        Answer(207, "The good rows are on their lists.", ImportResult),
    ],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def import_suppressions(request: web.Request) -> web.Response:
    """CSV or NDJSON in UTF-8, up to 100,000 rows; read and stored while it arrives.

    The first line of CSV names the columns: `email`, and if you like `reason`, `list`, `since`,
    `until`. One address a line will do, too. A bad row does not affect the others. A row that is on
    its list already stays as it is, so a repeated call changes nothing. If a call breaks off, its
    problem has `next_line`: the rows before it are stored. docs/suppressions.md says more.
    """
    owner, first = owner_of(request), _from_line(request)
    query = request.query
    defaults = msgspec.structs.replace(
        defaults_of(request), reason=reason_of(query), list=list_of(query)
    )
    form = FileBody(_FILES).media_type(request)
    reader = RowReader("csv" if form == CSV else "ndjson")
    app = request.app
    job = _Import(app[STORE], app[QUOTA_GUARD], app[LIMIT], owner, defaults)
    try:
        async for row in _rows(request, reader):
            if row.line >= first:
                await job.take(row)
        await job.store_page()
    except BadFile as error:
        raise InvalidRequest([Violation("body", str(error))]) from None
    except (Problem, BabygunError) as error:
        raise job.broken_off(from_exception(error)) from None
    finally:
        log.info(
            "suppressions imported",
            client=client_id_of(owner),
            rows=job.rows,
            added=job.added,
            refused=job.refused,
        )
    result = ImportResult(
        rows=job.rows,
        added=job.added,
        kept=job.kept,
        refused=job.refused,
        errors=job.errors,
        ignored_columns=reader.ignored,
    )
    return json_answer(result, status=207 if job.refused else 200)


async def _rows(request: web.Request, reader: RowReader) -> AsyncIterator[Row | BadRow]:
    turns = Turns()
    async for piece in body_pieces(request):
        for row in reader.feed(piece):
            yield row
            await turns.offer()
    for row in reader.end():
        yield row


class _Import:
    """Counts the rows, and stores them page by page. ``defaults``: for all rows."""

    def __init__(
        self,
        store: Store,
        guard: QuotaGuard,
        limit: SuppressionLimit,
        client_id: str,
        defaults: Defaults,
    ) -> None:
        self._store, self._guard, self._limit = store, guard, limit
        self._client_id, self._defaults = client_id, defaults
        self._page: list[NewSuppression] = []
        self._next_line = 1
        self.rows = self.added = self.kept = self.refused = 0
        self.errors: list[RowError] = []

    async def take(self, row: Row | BadRow) -> None:
        """Raises EtcdError, and the 413 problem for one row too many."""
        if not self._page:
            self._next_line = row.line
        if self.rows == MAX_ROWS:
            await self.store_page()
            self._next_line = row.line
            raise Problem(TOO_LARGE, f"The file has more than {MAX_ROWS:,} rows.", field="body")
        self.rows += 1
        try:
            if isinstance(row, BadRow):
                raise ValueError(row.detail)
            self._page.append(entry_of(row.fields, self._defaults))
        except ValueError as error:
            self.refused += 1
            if len(self.errors) < MAX_ERRORS:
                self.errors.append(RowError(row.line, sentence(error)))
        if len(self._page) == PAGE:
            await self.store_page()

    async def store_page(self) -> None:
        if not self._page:
            return
        self._guard.take_other(sum(map(size_of, self._page)))
        there = await is_there(self._store, self._client_id)  # it may be deleted meanwhile
        stored = await add_page(
            self._store, self._client_id, self._page, compares=[there], limit=self._limit
        )
        self.added += stored.added
        self.kept += len(self._page) - stored.added
        self._page.clear()

    def broken_off(self, problem: Problem) -> Problem:
        """The problem with which the call ends, and from where to go on."""
        problem.next_line = self._next_line
        problem.detail = (
            f"{problem.detail} The rows before line {self._next_line} are stored. Go on with"
            f" from_line={self._next_line}, or repeat the call: what is stored stays as it is."
        )
        return problem


def _from_line(request: web.Request) -> int:
    text = request.query.get("from_line", "1")
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) < 1:
        raise Problem(MALFORMED_REQUEST, "Give the number of a line.", field="from_line")
    return int(text)
