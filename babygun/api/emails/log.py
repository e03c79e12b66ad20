"""GET /emails/{id}/log: what happened to an e-mail, and what is happening now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.fields import CLIENT_ID
from babygun.api.emails.fields import (
    EmailId,
    EnhancedCode,
    RecipientAddress,
    StatusCode,
    StatusOfRecipient,
    StatusReason,
    WorkerId,
)
from babygun.api.emails.own_email import may_see, no_such_email
from babygun.api.emails.parameters import ID
from babygun.api.emails.tls_results import TlsDocument, tls_document
from babygun.api.http.context import STORE
from babygun.api.http.problem_types import NOT_FOUND
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Routes
from babygun.email.events import EVENTS, EventName, end_of_try
from babygun.email.model import Email, EmailStatus, LogEntry, LoggedTry
from babygun.store.emails import reading
from babygun.store.records import Owner

_EVENTS = " ".join(f"{name}: {event.meaning}" for name, event in EVENTS.items())


class LogLine(msgspec.Struct, frozen=True, kw_only=True, rename={"number": "try"}):
    """One event. A line that ends a try has a reply for each of its recipients."""

    at: Annotated[datetime, Meta(examples=["2026-11-25T09:00:00.171000Z"])]
    event: Annotated[EventName, Meta(description=_EVENTS, examples=["delivered"])]
    worker_id: WorkerId = None
    queue: Annotated[str | None, Meta(examples=["default"])] = None
    number: Annotated[
        int | None, Meta(description="1 for the queue's first try.", examples=[1])
    ] = None
    replies: list[RecipientReplyDocument] = []
    not_before: Annotated[datetime | None, Meta(description="When the next try is due.")] = None
    late: Annotated[
        bool, Meta(description="true: bounced by a bounce message, after the delivery.")
    ] = False
    tls: Annotated[
        TlsDocument | None, Meta(description="Null: the try had no connection, or this is no try.")
    ] = None
    reason: str | None = None
    previous_worker_id: Annotated[
        str | None, Meta(description="For reclaimed: the worker that died.")
    ] = None
    client_id: str | None = None
    request_id: str | None = None


class RecipientReplyDocument(msgspec.Struct, frozen=True):
    """What a try did for one recipient."""

    email: RecipientAddress
    status: StatusOfRecipient
    status_code: StatusCode
    enhanced_code: EnhancedCode
    status_reason: StatusReason
    reply_class: Annotated[str | None, Meta(examples=["delivered"])]


class EmailLog(msgspec.Struct, frozen=True):
    """The status log, oldest first. Of very long logs the middle is dropped."""

    id: EmailId
    status: Annotated[EmailStatus, Meta(examples=["complete"])]
    entries: list[LogLine]


routes = Routes("emails")
_CLAIMED: Mapping[str, Any] = {
    "at": "2026-11-25T09:00:00.130000Z",
    "event": "claimed",
    "replies": [],
    "tls": None,
}
_ACCEPTED = {
    **_CLAIMED,
    "at": "2026-11-25T09:00:00.120000Z",
    "event": "accepted",
    "worker_id": None,
    "queue": None,
    "try": None,
    "client_id": CLIENT_ID,
    "request_id": "5d0c1f7ae2b94836",
}


@routes.call(
    "GET",
    "/emails/{id}/log",
    summary="Read an e-mail's status log",
    scope="emails:read",
    parameters=[ID],
    answers=[Answer(200, "The log.", EmailLog, {"entries": [_ACCEPTED, _CLAIMED, {}]})],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def show_log(request: web.Request) -> web.Response:
    """The entries of the e-mail's log, oldest first. ``event`` lists what can happen."""
    found = await reading.get_log(request.app[STORE], request.match_info["id"])
    if found is None or not may_see(request, found[0]):
        raise no_such_email()
    return json_answer(email_log(*found))


def email_log(email: Email, entries: Sequence[LogEntry], owners: Mapping[str, Owner]) -> EmailLog:
    """The stored entries, each claim before the end of its try, and the claims of now last.

    ``owners``: by queue, who is sending it now.
    """
    lines = [line for entry in entries for line in _lines_of(entry)]
    for queue, owner in owners.items():
        state = email.queues.get(queue)
        number = state.tries + 1 if state else None
        lines.append(_claim(owner.since, owner.worker_id, queue, number))
    lines.sort(key=lambda line: line.at)  # stable: lines of one moment keep the log's order
    return EmailLog(email.id, email.status, lines)


def _lines_of(entry: LogEntry) -> Iterator[LogLine]:
    if entry.late or entry.event in ("reclaimed", "complained") or not entry.attempts:
        yield _plain_line(entry)
        return
    for attempt in entry.attempts:
        yield _claim(attempt.claimed_at, entry.worker_id, attempt.queue, attempt.attempt)
        yield _end_of_try(entry, attempt)


def _claim(at: datetime, worker_id: str | None, queue: str, number: int | None) -> LogLine:
    return LogLine(at=at, event="claimed", worker_id=worker_id, queue=queue, number=number)


def _plain_line(entry: LogEntry) -> LogLine:
    attempt = entry.attempts[0] if entry.attempts else None
    return LogLine(
        at=entry.at,
        event=entry.event,
        worker_id=entry.worker_id,
        queue=attempt.queue if attempt else None,
        number=attempt.attempt if attempt else None,
        replies=_replies(attempt) if attempt else [],
        late=entry.late,
        reason=entry.reason,
        previous_worker_id=entry.previous_worker_id,
        client_id=entry.client_id,
        request_id=entry.request_id,
    )


def _end_of_try(entry: LogEntry, attempt: LoggedTry) -> LogLine:
    return LogLine(
        at=entry.at,
        event=end_of_try({reply.status for reply in attempt.replies}),
        worker_id=entry.worker_id,
        queue=attempt.queue,
        number=attempt.attempt,
        replies=_replies(attempt),
        not_before=attempt.not_before,
        tls=tls_document(attempt.tls),
        reason=entry.reason,
    )


def _replies(attempt: LoggedTry) -> list[RecipientReplyDocument]:
    return [
        msgspec.convert(reply, RecipientReplyDocument, from_attributes=True)
        for reply in attempt.replies
    ]
