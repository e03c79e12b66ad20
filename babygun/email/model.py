"""The data that etcd holds of an e-mail. Frozen, typed and small; times are UTC in milliseconds.

The record (:class:`Email`) says everything about an e-mail's state and nothing of its content. So
a change of state writes a few hundred bytes, however large the e-mail is. The content
(:class:`Content`) is written once and never changes.

``gc=False``: no reference cycle can be made of these, so the garbage collector skips them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from babygun.email.events import EventName

EmailStatus = Literal["incomplete", "complete", "failed", "cancelled"]
RecipientKind = Literal["to", "cc", "bcc"]

# pending    accepted, not tried yet
# deferred   failed softly; tried again when its queue is due
# delivered  final: the server took the message
# bounced    final: a server refused it for good (a hard bounce)
# expired    final: failed softly until the tries were used up
# cancelled  final: a client stopped it
# suppressed final: the client's mail does not go to this address, so it was not tried
RecipientStatus = Literal[
    "pending", "deferred", "delivered", "bounced", "expired", "cancelled", "suppressed"
]


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One envelope recipient and what became of it."""

    email: str
    kind: RecipientKind
    queue: str
    status: RecipientStatus = "pending"

    # From the last try. The code is the server's (250 or 550); without a reply it is None.
    status_code: int | None = None
    # RFC 3463, such as "5.1.1".
    enhanced_code: str | None = None
    # The server's text, or what happened to the connection.
    status_reason: str | None = None
    # A class of babygun/smtp/replies.toml; "network" and the like where no reply came, or
    # "internal" for a fault of ours. Of a suppressed one: the suppression's reason.
    reply_class: str | None = None

    tries: int = 0
    updated_at: datetime | None = None
    # How often a client had it tried again.
    retried: int = 0
    # Of a bounced one: a bounce message said so, after a server had taken the message.
    late: bool = False
    # When a provider reported that it calls the e-mail spam.
    complained_at: datetime | None = None
    # When its data were erased. The address is a mark then (babygun.email.erasure).
    erased_at: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether it has no more tries."""
        return self.status not in ("pending", "deferred")


# What a recipient's domain demands of TLS. sts: MTA-STS (RFC 8461). sts_testing: the same, and it
# wants to hear of failures only. dane: TLSA records (RFC 7672).
TlsDemand = Literal["none", "sts", "sts_testing", "dane"]
# How a certificate was verified. pkix: by an authority, and its name. dane_ee, dane_ta: by a TLSA
# record for it, or for its authority.
TlsVerified = Literal["pkix", "dane_ee", "dane_ta"]


class TlsResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one connection to a server got of TLS. Without a version it was plain text.

    ``version``: such as 1.3. ``failure``: how TLS failed, by a name of RFC 8460, 4.3.
    ``connected``: false if the failure was a reason to send nothing.
    """

    policy: TlsDemand = "none"
    version: str = ""
    cipher: str = ""
    verified: TlsVerified | None = None
    failure: str = ""
    connected: bool = True


class QueueState(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, rename={"final": "over"}
):
    """One queue of an e-mail: its recipients that go the same way, with one job."""

    tries: int = 0
    # When its job is due, while it waits and until the next try ends.
    not_before: datetime | None = None
    # All of its recipients are final. Stored as "over".
    final: bool = False
    # Workers in a row that died while they had its job.
    reclaims: int = 0
    # When it was last put back since the session was refused, until all of it is final.
    held: datetime | None = None
    # While a try goes on that came to some recipients only: when they are due again.
    retry_at: datetime | None = None
    # Of mail to mail hosts that goes on: its site, as the last try found it.
    site: str = ""
    # Of the last try's last connection. None: it got none, or had no try.
    tls: TlsResult | None = None


class RecipientGroup(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many recipients are alike. ``reply_class`` and ``tries``: where they say why."""

    status: RecipientStatus
    reply_class: str | None
    tries: int
    count: int
    late: bool = False


class Wide(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is known of a wide e-mail's queues that are not at hand (:mod:`babygun.email.wide`).

    ``groups``: their recipients. ``not_final``: how many of them are not. ``logs``: the log
    entries of the queues that are at hand, by queue; a record holds none. ``first``: the e-mail's
    first recipient, for lists.
    """

    groups: tuple[RecipientGroup, ...] = ()
    not_final: int = 0
    logs: dict[str, tuple[LogEntry, ...]] = {}
    first: str = ""


class Email(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``emails/<id>``: the record. :mod:`babygun.email.compose` makes it."""

    id: str
    # Whose it is: the client's id, a colon and its serial. :func:`client_id_of` gives the id.
    client_id: str
    # The envelope sender, a bare address.
    sender: str
    subject: str
    recipients: tuple[Recipient, ...]
    queues: dict[str, QueueState]
    created_at: datetime
    updated_at: datetime

    # The packed content: its bytes, and the number of contents/<id>/<chunk> keys that hold it.
    size: int = 0
    chunks: int = 1

    # Number of the newest log entry; 0 is the acceptance.
    log_seq: int = 0
    # When the first tries began, by queue, if they ended the e-mail all at once. Then the record
    # itself is the log's last entry (babygun.email.log).
    claimed_at: dict[str, datetime] = {}

    # Set if it was accepted for later, or its client changed the time since.
    send_at: datetime | None = None
    # If the client changed it: what it was at the acceptance, or created_at if it was not set.
    first_send_at: datetime | None = None
    # No try begins after it, if the client gave one.
    expires_at: datetime | None = None
    status: EmailStatus = "incomplete"
    status_reason: str | None = None
    # The earliest of its queues.
    not_before: datetime | None = None
    # The most of its queues.
    tries: int = 0
    # The worker that wrote the last result.
    worker_id: str | None = None

    # The client's when it was accepted: its turns in a row.
    weight: int = 1

    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}

    # The kind of mail that recipients can unsubscribe from; "*": all of the client's. Empty: none.
    list: str = ""
    # It also goes to addresses that are suppressed.
    ignore_suppressions: bool = False

    # The HTTP request that brought it, and its span (W3C Trace Context) if it is traced. The tries
    # belong to that trace.
    request_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    # Of a wide e-mail. Then recipients and queues are those whose parts are at hand; a record has
    # none of them.
    wide: Wide | None = None

    @property
    def final(self) -> bool:
        """Whether no queue has more tries."""
        return self.status != "incomplete"

    @property
    def first_log_key(self) -> int:
        """Number of the first log entry with a key; the record itself holds those before it."""
        return 2 if self.claimed_at else 1


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A file.

    ``content_type``: tidied (:mod:`babygun.mime.media_type`). ``content_id``: the HTML may show it
    as ``cid:<content_id>``. ``alternative``: also an alternative of the text, as an invitation.
    """

    filename: str
    content_type: str
    content: bytes
    content_id: str | None = None
    alternative: bool = False


class UnsubscribeLink(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How each recipient's link is made: ``url``, a slash, and a token under the key ``kid``."""

    url: str
    kid: str


class Content(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a person wrote. :mod:`babygun.mime` makes the message of it.

    Addresses and header values are text as given; an address may have a display name.
    """

    sender: str
    subject: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    # GET /emails/<id> shows them to the client. No message does.
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    # Plain text.
    body: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    # Each recipient gets a copy with a link of its own.
    unsubscribe: UnsubscribeLink | None = None
    # The type of a report (RFC 6522) that this is, such as tlsrpt. Its last attachment is what
    # programs read.
    report: str = ""


# Before the names of queues and sites that are no relays.
MX = "mx:"


class Job(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``jobs/…`` and ``not-before/…``: what a worker needs to decide whether to claim.

    ``size``: bytes of the packed content. ``recipients``: those that are not final. ``since``: when
    it became ready, if not with the acceptance. ``expires_at``: the e-mail's. ``wide``: the
    queue has a part. ``client``: the id of the client whose it is. ``weight``: the client's turns
    in a row. ``sender``: the sender's domain, if the mail of one sender may be held alone.
    """

    size: int
    recipients: int
    since: datetime | None = None
    expires_at: datetime | None = None
    wide: bool = False
    client: str = ""
    weight: int = 1
    sender: str = ""


class RecipientReply(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a try did for one recipient, as the log keeps it."""

    email: str
    status: RecipientStatus
    status_code: int | None = None
    enhanced_code: str | None = None
    status_reason: str | None = None
    reply_class: str | None = None


class LoggedTry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One try of one queue, as the log keeps it."""

    queue: str
    # 1 for the first try.
    attempt: int
    claimed_at: datetime
    replies: tuple[RecipientReply, ...] = ()
    # When the next try is due.
    not_before: datetime | None = None
    # Of its last connection; None: it got none.
    tls: TlsResult | None = None


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``log/<id>/<seq>``: one event, immutable. Some entries are part of the record instead."""

    seq: int
    at: datetime
    event: EventName
    worker_id: str | None = None
    # Several if queues of one e-mail finished together. Of what came back after the delivery: the
    # recipient's queue, with what it became.
    attempts: tuple[LoggedTry, ...] = ()
    # Of bounced: by a bounce message, after the server had taken the message.
    late: bool = False
    reason: str | None = None
    # Of a reclaim: the worker that died.
    previous_worker_id: str | None = None
    request_id: str | None = None
    client_id: str | None = None


class Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``parts/<id>/<queue>``: one queue of a wide e-mail, with its own log."""

    state: QueueState
    recipients: tuple[Recipient, ...]
    log: tuple[LogEntry, ...] = ()


def client_id_of(identity: str) -> str:
    """The client's id, of the ``client_id`` in a record."""
    return identity.partition(":")[0]


def queue_recipients(email: Email, queue: str) -> tuple[Recipient, ...]:
    """The recipients of one queue that are not final: those that its next try is for."""
    return tuple(r for r in email.recipients if r.queue == queue and not r.final)


def as_json(value: Any) -> bytes:
    """A state as it is stored and shown: compact JSON."""
    return _encoder.encode(value)


_encoder = msgspec.json.Encoder()
