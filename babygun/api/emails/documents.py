"""What the calls answer: the documents, and how they are made from the model. Every field is always there, null where it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from babygun.email.events import EventName, end_of_try
from babygun.email.model import (
    Attempt,
    Email,
    EmailStatus,
    LogEntry,
    Recipient,
    RecipientKind,
    RecipientReply,
    RecipientStatus,
)
from babygun.store.emails.listing import Page
from babygun.store.emails.reading import EmailView
from babygun.store.records import Owner, Worker


class AcceptedEmail(msgspec.Struct, frozen=True):
    """The e-mail is stored and will be sent. ``recipients``: how many, each address counted once."""

    id: str
    status: EmailStatus
    created_at: datetime
    recipients: int


class RecipientDocument(msgspec.Struct, frozen=True):
    """One recipient, and what became of it. ``status_code``, ``enhanced_code`` and ``status_reason`` are from the server's last reply."""

    email: str
    kind: RecipientKind
    status: RecipientStatus
    status_code: int | None
    enhanced_code: str | None
    status_reason: str | None
    reply_class: Annotated[
        str | None,
        Meta(description="How the reply was classified; docs/delivery.md lists the classes."),
    ]
    queue: Annotated[str, Meta(description="The relay that carries the mail to this recipient.")]
    tries: int
    updated_at: datetime | None


class AttachmentDocument(msgspec.Struct, frozen=True):
    """An attachment without its bytes. ``size``: how many they are."""

    filename: str
    content_type: str
    content_id: str | None
    size: int


class EmailSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An e-mail as the listing shows it, without its content."""

    id: str
    client_id: str
    sender: str
    subject: str
    recipients: list[RecipientDocument]
    created_at: datetime
    updated_at: datetime
    not_before: Annotated[
        datetime | None, Meta(description="When it is tried next at the earliest, where it waits.")
    ]
    status: EmailStatus
    status_reason: Annotated[
        str | None, Meta(description="How many recipients were not reached, and why.")
    ]
    tries: int
    worker_id: Annotated[
        str | None, Meta(description="The worker that sends it now, or else the one that did last.")
    ]
    tags: list[str]
    metadata: dict[str, str]
    size: Annotated[int, Meta(description="Bytes of the content as it is stored.")]
    sending: Annotated[
        list[str], Meta(description="The queues that are being sent at this moment.")
    ]


class EmailDocument(EmailSummary, frozen=True, kw_only=True):
    """An e-mail. Its content (``body``, ``html``, ``headers``, ``reply_to``, ``attachments``) is null when it is not kept any more."""

    body: str | None
    html: str | None
    headers: Annotated[
        list[str] | None, Meta(description="The custom headers as Name: value lines.")
    ]
    reply_to: list[str] | None
    attachments: list[AttachmentDocument] | None
    content_expired: bool


class EmailList(msgspec.Struct, frozen=True):
    """E-mails, newest first. A page may hold fewer than asked for, even none, and still have a cursor to the next; null is the end."""

    emails: list[EmailSummary]
    cursor: str | None


class LogLine(msgspec.Struct, frozen=True, kw_only=True, rename={"number": "try"}):
    """One event. ``claimed`` has no reply; a line that ends a try has one for each of its recipients."""

    at: datetime
    event: EventName
    worker_id: str | None = None
    queue: str | None = None
    number: Annotated[int | None, Meta(description="1 for the queue's first try.")] = None
    replies: list[RecipientReplyDocument] = []
    not_before: Annotated[datetime | None, Meta(description="When the next try is due.")] = None
    reason: str | None = None
    previous_worker_id: Annotated[
        str | None, Meta(description="Of reclaimed: the worker that died.")
    ] = None
    client_id: str | None = None
    request_id: str | None = None


class RecipientReplyDocument(msgspec.Struct, frozen=True):
    """What a try did for one recipient."""

    email: str
    status: RecipientStatus
    status_code: int | None
    enhanced_code: str | None
    status_reason: str | None
    reply_class: str | None


class EmailLog(msgspec.Struct, frozen=True):
    """The status log, oldest first. Of very long logs the middle is dropped."""

    id: str
    status: EmailStatus
    entries: list[LogLine]


class WorkerList(msgspec.Struct, frozen=True):
    """The live workers."""

    workers: list[WorkerDocument]


class WorkerDocument(msgspec.Struct, frozen=True):
    """A live worker. ``slice``: the shards [from, to) of 256 that it looks after; ``in_flight``: e-mails that it sends now; ``draining``: it was told to stop."""

    id: str
    pid: int
    hostname: str
    ip: str
    version: str
    started_at: datetime
    last_checkin: datetime
    checkins: int
    in_flight: int
    slice: tuple[int, int]
    draining: bool
    delivered: Annotated[
        int,
        Meta(
            description="Recipients since it started; as are deferred (by each try in vain) and failed."
        ),
    ]
    deferred: int
    failed: int


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Readiness(msgspec.Struct, frozen=True):
    """E-mails are taken. ``warnings``: what an operator should mend all the same."""

    status: Literal["ready"]
    version: str
    warnings: list[str]


def email_document(view: EmailView) -> EmailDocument:
    content = view.content
    summary = msgspec.structs.asdict(email_summary(view.email, view.owners))
    summary["sender"] = content.sender if content else view.email.sender
    return EmailDocument(
        **summary,
        body=content.body if content else None,
        html=content.html if content else None,
        headers=[f"{name}: {value}" for name, value in content.headers] if content else None,
        reply_to=list(content.reply_to) if content else None,
        attachments=[
            AttachmentDocument(a.filename, a.content_type, a.content_id, len(a.content))
            for a in content.attachments
        ]
        if content
        else None,
        content_expired=content is None,
    )


def email_summary(email: Email, owners: Mapping[str, Owner]) -> EmailSummary:
    """``owners``: by queue, who is sending it now."""
    sending = sorted(owners.items(), key=lambda item: item[1].since)
    return EmailSummary(
        id=email.id,
        client_id=email.client_id,
        sender=email.sender,
        subject=email.subject,
        recipients=[_recipient(r) for r in email.recipients],
        created_at=email.created_at,
        updated_at=email.updated_at,
        not_before=email.not_before,
        status=email.status,
        status_reason=email.status_reason,
        tries=email.tries,
        worker_id=sending[-1][1].worker_id if sending else email.worker_id,
        tags=list(email.tags),
        metadata=email.metadata,
        size=email.size,
        sending=[queue for queue, _ in sending],
    )


def _recipient(r: Recipient) -> RecipientDocument:
    return RecipientDocument(
        r.email,
        r.kind,
        r.status,
        r.status_code,
        r.enhanced_code,
        r.status_reason,
        r.reply_class,
        r.queue,
        r.tries,
        r.updated_at,
    )


def email_list(page: Page) -> EmailList:
    return EmailList(
        [email_summary(email, page.owners.get(email.id, {})) for email in page.emails], page.cursor
    )


def email_log(email: Email, entries: list[LogEntry], owners: dict[str, Owner]) -> EmailLog:
    """The stored entries, with a claim told before the end of its try, and what is claimed now at the end."""
    lines: list[LogLine] = []
    for entry in entries:
        if entry.event == "reclaimed" or not entry.attempts:
            lines.append(_plain_line(entry))
            continue
        for attempt in entry.attempts:
            lines.append(
                LogLine(
                    at=attempt.claimed_at,
                    event="claimed",
                    worker_id=entry.worker_id,
                    queue=attempt.queue,
                    number=attempt.attempt,
                )
            )
            lines.append(_outcome_line(entry, attempt))
    for queue, owner in owners.items():
        state = email.queues.get(queue)
        lines.append(
            LogLine(
                at=owner.since,
                event="claimed",
                worker_id=owner.worker_id,
                queue=queue,
                number=state.tries + 1 if state else None,
            )
        )
    lines.sort(
        key=lambda line: line.at
    )  # stable: what is of one moment stays in the order of the log
    return EmailLog(email.id, email.status, lines)


def _plain_line(entry: LogEntry) -> LogLine:
    attempt = entry.attempts[0] if entry.attempts else None
    return LogLine(
        at=entry.at,
        event=entry.event,
        worker_id=entry.worker_id,
        queue=attempt.queue if attempt else None,
        number=attempt.attempt if attempt else None,
        reason=entry.reason,
        previous_worker_id=entry.previous_worker_id,
        client_id=entry.client_id,
        request_id=entry.request_id,
    )


def _outcome_line(entry: LogEntry, attempt: Attempt) -> LogLine:
    return LogLine(
        at=entry.at,
        event=end_of_try({reply.status for reply in attempt.replies}),
        worker_id=entry.worker_id,
        queue=attempt.queue,
        number=attempt.attempt,
        replies=[_reply(reply) for reply in attempt.replies],
        not_before=attempt.not_before,
        reason=entry.reason,
    )


def _reply(r: RecipientReply) -> RecipientReplyDocument:
    return RecipientReplyDocument(
        r.email, r.status, r.status_code, r.enhanced_code, r.status_reason, r.reply_class
    )


def worker_list(workers: list[Worker]) -> WorkerList:
    return WorkerList([worker_document(worker) for worker in workers])


def worker_document(w: Worker) -> WorkerDocument:
    return WorkerDocument(
        w.id,
        w.pid,
        w.hostname,
        w.ip,
        w.version,
        w.started_at,
        w.last_checkin,
        w.checkins,
        w.in_flight,
        w.slice,
        w.draining,
        w.delivered,
        w.deferred,
        w.failed,
    )
