"""The data that etcd holds. Frozen, typed, small; times are UTC in milliseconds (:mod:`babygun.runtime.clock`).
No cycle can be made of them, so the garbage collector does not look at them.

The record of an email (:class:`Email`) says everything about its state and nothing about its content, so that a change of
state writes a few hundred bytes whatever the email weighs. The content (:class:`Content`) is written once and never changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

EmailStatus = Literal["incomplete", "complete", "failed", "cancelled"]
RecipientKind = Literal["to", "cc", "bcc"]
# Who moves a recipient on:   pending    accepted, not tried yet: a worker will
#                             deferred   failed softly: a worker will, when its queue is due
#                             delivered  over: the server took it
#                             bounced    over: the server refused it for good (a hard bounce)
#                             expired    over: failed softly until the tries were used up
#                             cancelled  over: a person stopped it
RecipientStatus = Literal["pending", "deferred", "delivered", "bounced", "expired", "cancelled"]
# accepted, cancelled, retried: by a client.  delivered, deferred, bounced, expired: how a try ended.
# reclaimed: taken over from a worker that died.  claimed: never stored, told by the owner key or by the try's entry.
LogEvent = Literal[
    "accepted",
    "claimed",
    "delivered",
    "deferred",
    "bounced",
    "expired",
    "reclaimed",
    "cancelled",
    "retried",
]


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One envelope recipient and what became of it."""

    email: str
    kind: RecipientKind
    queue: str
    status: RecipientStatus = "pending"
    status_code: int | None = None  # the server's basic code, 250 or 550; None where no reply came
    enhanced_code: str | None = None  # "5.1.1" (RFC 3463)
    status_reason: str | None = None  # the server's text, or what happened to the connection
    reply_class: str | None = (
        None  # how the reply was classified: a class of babygun/smtp/replies.toml
    )
    tries: int = 0
    updated_at: datetime | None = None

    @property
    def over(self) -> bool:
        return self.status not in ("pending", "deferred")


class QueueState(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The job of one queue of an email. ``not_before`` is set while it waits (or has just become due)."""

    tries: int = 0
    not_before: datetime | None = None
    over: bool = False
    reclaims: int = 0  # workers in a row that died while they had it


class Email(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``emails/<id>``: the record."""

    id: str
    client_id: str
    sender: str  # the envelope sender: a bare address
    subject: str
    recipients: tuple[Recipient, ...]
    queues: dict[str, QueueState]
    created_at: datetime
    updated_at: datetime
    size: int = 0  # bytes of the packed content
    chunks: int = 1  # how many contents/<id>/<chunk> keys hold it
    log_seq: int = 0  # number of the newest log entry
    log_first: int = 0  # number of the first one with a key of its own: 1, since the record itself tells of the acceptance; 2 where it tells of the end, too; 0 in those of earlier versions
    claimed_at: dict[
        str, datetime
    ] = {}  # where the first tries ended it, one of each queue at once: when they began. With it the record tells of them (lifecycle.told)
    send_at: datetime | None = None  # where it was accepted for later
    status: EmailStatus = "incomplete"
    status_reason: str | None = None
    not_before: datetime | None = None  # the earliest of its queues'
    tries: int = 0  # the most of its queues'
    worker_id: str | None = None  # who wrote the last result
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    priority: int = 0
    request_id: str | None = None  # of the HTTP request that brought it
    traceparent: str | None = (
        None  # of that request's span (W3C Trace Context), where it is traced: the tries belong to its trace
    )
    tracestate: str | None = None


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    filename: str
    content_type: str
    content: bytes
    content_id: str | None = None  # set: shown inline, as cid:<content_id> in the HTML


class Content(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a person wrote. Header values are text as given; addresses in ``to`` and so on may have display names."""

    sender: str
    subject: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()  # shown to the sender by GET /emails/<id>; never rendered
    reply_to: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None  # plain text
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()


class Job(msgspec.Struct, frozen=True, gc=False):
    """``jobs/…`` and ``not-before/…``: what a worker needs to decide whether to claim."""

    size: int  # bytes of the packed content
    recipients: int
    priority: int = 0


class RecipientReply(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One recipient's line in a log entry."""

    email: str
    status: RecipientStatus
    status_code: int | None = None
    enhanced_code: str | None = None
    status_reason: str | None = None
    reply_class: str | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One try of one queue, as its log entry tells it."""

    queue: str
    attempt: int  # 1 for the first try
    claimed_at: datetime
    replies: tuple[RecipientReply, ...] = ()
    not_before: datetime | None = None  # when the next try is due


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``log/<id>/<seq>``; some are part of the record (lifecycle.told). Entries are immutable; the oldest but the first are dropped beyond LOG_ENTRIES."""

    seq: int
    at: datetime
    event: LogEvent
    worker_id: str | None = None
    attempts: tuple[Attempt, ...] = ()  # several where queues of one email finished together
    reason: str | None = None
    previous_worker_id: str | None = None  # of a reclaim: who died
    request_id: str | None = None
    client_id: str | None = None


def queue_recipients(email: Email, queue: str) -> tuple[Recipient, ...]:
    """The recipients of one queue that are not over: those that its next try is for."""
    return tuple(r for r in email.recipients if r.queue == queue and not r.over)


def as_json(value: Any) -> bytes:
    """A state as it is stored and shown: compact JSON."""
    return _encoder.encode(value)


_encoder = msgspec.json.Encoder()
