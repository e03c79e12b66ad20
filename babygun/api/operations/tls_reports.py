"""GET /tls-reports: what was reported to recipients' domains of their TLS (RFC 8460)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.http.context import STORE
from babygun.api.http.paging import LIMIT, limit_of, unknown_cursor
from babygun.api.http.problem_types import NOT_FOUND
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.email.domains import ascii_domain
from babygun.errors import InvalidRequest, NotFound, Violation
from babygun.store.tls_reports.records import PlaceState, TlsReport
from babygun.store.tls_reports.reports import find_report, list_reports
from babygun.tls_reports.report import document

routes = Routes("operations")

_DAY, _DOMAIN = "2026-11-29", "example.org"
_is_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_Moment = Annotated[datetime, Meta(examples=["2026-11-30T02:11:00Z"])]
_REPORT = {
    "organization-name": "Example",
    "date-range": {
        "start-datetime": "2026-11-29T00:00:00Z",
        "end-datetime": "2026-11-29T23:59:59Z",
    },
    "contact-info": "postmaster@example.com",
    "report-id": "2026-11-29.6f1d0c2b9a8e7f54@example.com",
    "policies": [
        {
            "policy": {"policy-type": "no-policy-found", "policy-domain": "example.org"},
            "summary": {
                "total-successful-session-count": 1200,
                "total-failure-session-count": 0,
            },
        }
    ],
}


class PlaceDocument(msgspec.Struct, frozen=True):
    """One place that the report goes to.

    ``state``: waiting (it is tried again), sent, or failed (no more tries). ``email_id``: of the
    e-mail that carries it. ``reason``: why the last try failed.
    """

    uri: Annotated[str, Meta(examples=["mailto:tls-reports@example.org"])]
    state: Annotated[PlaceState, Meta(examples=["sent"])]
    tries: Annotated[int, Meta(examples=[1])]
    next_at: datetime | None
    sent_at: _Moment | None
    email_id: Annotated[str, Meta(examples=["019dc2f3-5b6e-7c01-8a4d-2f0e6b7a9c15"])] | None
    reason: str | None


class TlsReportDocument(msgspec.Struct, frozen=True):
    """A TLS report. ``successful`` and ``failed``: connections to the domain's mail hosts."""

    id: Annotated[str, Meta(examples=["2026-11-29.6f1d0c2b9a8e7f54@example.com"])]
    day: Annotated[str, Meta(description="A day of UTC.", examples=[_DAY])]
    domain: Annotated[str, Meta(examples=[_DOMAIN])]
    made_at: _Moment
    successful: Annotated[int, Meta(examples=[1200])]
    failed: Annotated[int, Meta(examples=[0])]
    places: list[PlaceDocument]


class TlsReportList(msgspec.Struct, frozen=True):
    """``cursor``: for the next page; null on the last one."""

    reports: list[TlsReportDocument]
    cursor: Annotated[str | None, Meta(examples=[None, "2026-11-29/example.org"])] = None


class WholeTlsReport(msgspec.Struct, frozen=True):
    """A TLS report with what it says. ``report``: as RFC 8460, 4.4 has it."""

    summary: TlsReportDocument
    report: dict[str, Any]


@routes.call(
    "GET",
    "/tls-reports",
    summary="List the TLS reports",
    scope="workers:read",
    parameters=[
        LIMIT,
        Parameter("cursor", "query", str, "From the page before.", f"{_DAY}/{_DOMAIN}"),
        Parameter("day", "query", str, "Only those of this day of UTC.", _DAY),
        Parameter("domain", "query", str, "Only those of this domain.", _DOMAIN),
    ],
    answers=[Answer(200, "A page of reports, the newest day first.", TlsReportList)],
    errors=READ_ERRORS,
)
async def list_tls_reports(request: web.Request) -> web.Response:
    """The reports that were sent, or are to be sent, to domains that ask for them."""
    query = request.query
    limit, day, domain = limit_of(query), query.get("day", ""), query.get("domain", "")
    if day and not _is_day(day):
        raise InvalidRequest([Violation("day", f"A day is written as {_DAY}.")])
    after = None
    if cursor := query.get("cursor", ""):
        last_day, slash, last_domain = cursor.partition("/")
        if not slash or not _is_day(last_day):
            raise unknown_cursor()
        after = last_day, last_domain
    page = await list_reports(
        request.app[STORE], limit, day=day, domain=_ascii(domain), after=after
    )
    cursor_after = "/".join(page.more) if page.more else None
    return json_answer(TlsReportList([_document(each) for each in page.reports], cursor_after))


@routes.call(
    "GET",
    "/tls-reports/{day}/{domain}",
    summary="Read a TLS report",
    scope="workers:read",
    parameters=[
        Parameter("day", "path", str, "A day of UTC.", _DAY),
        Parameter("domain", "path", str, "The domain, in Unicode or ASCII.", _DOMAIN),
    ],
    answers=[
        Answer(
            200,
            "The report.",
            WholeTlsReport,
            {"report": _REPORT},
        )
    ],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_tls_report(request: web.Request) -> web.Response:
    """As it was sent, and what became of it."""
    day, domain = request.match_info["day"], _ascii(request.match_info["domain"])
    found = None
    if _is_day(day) and domain and "/" not in domain:
        found = await find_report(request.app[STORE], day, domain)
    if found is None:
        raise NotFound("There is no TLS report of this day and domain: GET /tls-reports has all.")
    return json_answer(WholeTlsReport(_document(found), document(found)))


def _ascii(domain: str) -> str:
    """As keys have it. What is no domain stays as it is, and is not found."""
    try:
        return ascii_domain(domain).lower().removesuffix(".")
    except ValueError:
        return domain


def _document(report: TlsReport) -> TlsReportDocument:
    return TlsReportDocument(
        id=report.id,
        day=report.day,
        domain=report.domain,
        made_at=report.made_at,
        successful=report.successful,
        failed=report.failed,
        places=[
            PlaceDocument(
                uri=place.uri,
                state=place.state,
                tries=place.tries,
                next_at=place.next_at,
                sent_at=place.sent_at,
                email_id=place.email_id or None,
                reason=place.reason or None,
            )
            for place in report.places
        ],
    )
