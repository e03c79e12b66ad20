"""The events of a transition, as webhooks get them: one per type, with the recipients concerned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from babygun.email.events import EventType
from babygun.email.model import (
    LogEntry,
    Recipient,
    RecipientKind,
    RecipientStatus,
    client_id_of,
)
from babygun.email.suppression import ALL_MAIL
from babygun.email.transition import Transition


class EventRecipient(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A recipient that an event is about, as the transition left it."""

    email: Annotated[str, Meta(description="Its address.")]
    status: Annotated[RecipientStatus, Meta(description="Its status from then on.")]
    kind: Annotated[RecipientKind | None, Meta(description="Left out if there is no e-mail.")] = (
        None
    )
    queue: Annotated[str, Meta(description="The queue that it belongs to.")] = ""
    tries: Annotated[int, Meta(description="How many tries it has had; left out: none.")] = 0
    status_code: Annotated[int | None, Meta(description="The server's last reply.")] = None
    enhanced_code: Annotated[str | None, Meta(description="Its code of RFC 3463.")] = None
    status_reason: Annotated[
        str | None, Meta(description="Its text, or what happened to the connection.")
    ] = None
    reply_class: Annotated[str | None, Meta(description="How that was classified.")] = None


class EventData(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    rename={"try_number": "try", "list_name": "list"},
):
    """``data`` of an event. What does not apply is left out."""

    event_id: Annotated[str, Meta(description="The same as the header webhook-id.")]
    # Events of one transition share it. Always there: a receiver compares it.
    sequence: Annotated[
        int,
        Meta(description="The number of the entry in the e-mail's log; 0: the first, or none."),
    ]
    email_id: Annotated[str, Meta(description="Left out if the event is not about an e-mail.")] = ""
    client_id: Annotated[str, Meta(description="The client that sent the e-mail.")] = (
        ""  # without serial
    )
    sender: Annotated[str, Meta(description="The envelope's sender.")] = ""
    subject: Annotated[str, Meta(description="As in the request.")] = ""
    tags: Annotated[tuple[str, ...], Meta(description="As in the request.")]
    metadata: Annotated[dict[str, str], Meta(description="As in the request.")]
    recipients: Annotated[
        tuple[EventRecipient, ...], Meta(description="The recipients that the event is about.")
    ]
    recipients_omitted: Annotated[
        int,
        Meta(description="How many more there are. Only events of very large e-mails omit some."),
    ] = 0
    queues: Annotated[tuple[str, ...], Meta(description="The recipients' queues.")] = ()
    try_number: Annotated[
        int,
        Meta(
            description="The number of the try that ended; the highest, if several queues had one."
        ),
    ] = 0
    send_at: Annotated[
        datetime | None, Meta(description="Only in accepted: as in the request.")
    ] = None
    expires_at: Annotated[
        datetime | None, Meta(description="Only in accepted: as in the request.")
    ] = None
    late: Annotated[
        bool,
        Meta(
            description="Only in bounced: true if a bounce message came, after a server had taken"
            " the message."
        ),
    ] = False
    held: Annotated[
        bool,
        Meta(
            description="Only in deferred: the server refused the session, and the site is held. No"
            " try is used up."
        ),
    ] = False
    not_before: Annotated[
        datetime | None, Meta(description="Only in deferred: when the next try is due.")
    ] = None
    reason: Annotated[str | None, Meta(description="Why, in words.")] = None
    request_id: Annotated[
        str | None,
        Meta(description="In accepted, cancelled and retried: the call that asked for it."),
    ] = None
    list_name: Annotated[
        str,
        Meta(
            description="In complained and unsubscribed: the list, or * for all mail of the client."
        ),
    ] = ""
    message: Annotated[str, Meta(description="Only in test: a sentence.")] = ""


class EmailEvent(msgspec.Struct, frozen=True, gc=False):
    """The body of a request to a webhook, as JSON."""

    type: EventType | Literal["test"]
    timestamp: datetime
    data: EventData


def event_id(email_id: str, sequence: int, type: str) -> str:
    """Its ``webhook-id``: the same at every try and for every webhook.

    Ids of one e-mail sort as its log. ``email_id``: of an event without an e-mail, a new id.
    """
    return f"{email_id}-{sequence:04x}-{type}"


def events_of(transition: Transition) -> tuple[EmailEvent, ...]:
    """The events of a transition: of its newest log entry, one for each type.

    Each holds the recipients that it concerns. A claim that was taken over gives none, nor does a
    queue that is due now, nor a client's change.
    """
    email, entry = transition.email, transition.entry
    concerned: dict[EventType, list[Recipient]] = {}
    if entry.event == "accepted":
        # An e-mail whose recipients are all suppressed is accepted all the same.
        concerned["accepted"] = []
        for recipient in email.recipients:
            concerned.setdefault(_TYPES[recipient.status] or "accepted", []).append(recipient)
    elif entry.event == "cancelled":
        concerned["cancelled"] = [
            r for r in email.recipients if r.status == "cancelled" and r.queue in transition.final
        ]
    elif entry.event == "retried":
        concerned["retried"] = [
            r for r in email.recipients if not r.final and r.queue in transition.ready
        ]
    elif entry.event == "complained":
        about = {reply.email for attempt in entry.attempts for reply in attempt.replies}
        concerned["complained"] = [r for r in email.recipients if r.email in about]
    elif entry.event == "erased":
        stopped = [r for r in email.recipients if r.erased_at == r.updated_at == entry.at]
        if stopped:
            concerned["cancelled"] = stopped
    elif entry.event not in ("reclaimed", "due_now", "changed"):
        tried = {reply.email for attempt in entry.attempts for reply in attempt.replies}
        for recipient in email.recipients:
            if recipient.email in tried and (type := _TYPES[recipient.status]):
                concerned.setdefault(type, []).append(recipient)
    return tuple(
        _event(transition, entry, type, recipients) for type, recipients in concerned.items()
    )


# What a status says of a recipient that was tried or is not to be; None: nothing happened to it.
_TYPES: dict[RecipientStatus, EventType | None] = {
    "pending": None,
    "deferred": "deferred",
    "delivered": "delivered",
    "bounced": "bounced",
    "expired": "expired",
    "cancelled": "cancelled",
    "suppressed": "suppressed",
}


def _event(
    transition: Transition, entry: LogEntry, type: EventType, recipients: Sequence[Recipient]
) -> EmailEvent:
    email = transition.email
    waits = {r.queue for r in recipients} if type == "deferred" else ()
    due = [at for queue in waits if (at := email.queues[queue].not_before)]
    accepted = type == "accepted"
    return EmailEvent(
        type,
        entry.at,
        EventData(
            event_id=event_id(email.id, entry.seq, type),
            sequence=entry.seq,
            email_id=email.id,
            client_id=client_id_of(email.client_id),
            sender=email.sender,
            subject=email.subject,
            tags=email.tags,
            metadata=email.metadata,
            recipients=tuple(map(_recipient, recipients)),
            queues=tuple(dict.fromkeys(r.queue for r in recipients)),
            try_number=max((attempt.attempt for attempt in entry.attempts), default=0),
            send_at=email.send_at if accepted else None,
            expires_at=email.expires_at if accepted else None,
            late=entry.late,
            held=type == "deferred" and entry.event == "held",
            not_before=min(due, default=None),
            reason=entry.reason,
            request_id=entry.request_id,
            list_name=email.list or ALL_MAIL if type == "complained" else "",
        ),
    )


def _recipient(recipient: Recipient) -> EventRecipient:
    return EventRecipient(
        recipient.email,
        recipient.status,
        recipient.kind,
        recipient.queue,
        recipient.tries,
        recipient.status_code,
        recipient.enhanced_code,
        recipient.status_reason,
        recipient.reply_class,
    )


def event_of_address(
    type: EventType, at: datetime, new_id: str, *, client_id: str, address: str, list_name: str
) -> EmailEvent:
    """An event about an address: its e-mail may be gone for long.

    ``new_id``: of the form of an e-mail's. ``client_id``: with serial. ``list_name``: ``*`` for all
    mail of the client.
    """
    return EmailEvent(
        type,
        at,
        EventData(
            event_id=event_id(new_id, 0, type),
            sequence=0,
            client_id=client_id_of(client_id),
            tags=(),
            metadata={},
            recipients=(EventRecipient(address, "suppressed"),),
            list_name=list_name,
        ),
    )


def event_without_record(
    type: Literal["bounced", "complained"],
    at: datetime,
    email_id: str,
    *,
    name: str,
    client_id: str,
    recipient: EventRecipient | None,
    reason: str,
) -> EmailEvent:
    """What has come back about an e-mail whose record is gone. So little is known of it.

    ``name``: of the recipient, in the event's id: the same event has the same one. ``client_id``:
    with serial. ``recipient``: None where the message does not name it.
    """
    return EmailEvent(
        type,
        at,
        EventData(
            event_id=f"{email_id}-{name}-{type}",
            sequence=0,
            email_id=email_id,
            client_id=client_id_of(client_id),
            tags=(),
            metadata={},
            recipients=(recipient,) if recipient else (),
            late=type == "bounced",
            reason=reason,
            list_name=ALL_MAIL if type == "complained" else "",
        ),
    )


def shortened(event: EmailEvent, recipients: int) -> EmailEvent:
    """The event with its first so many recipients; it says how many are left out."""
    data = event.data
    omitted = data.recipients_omitted + len(data.recipients) - recipients
    left = data.recipients[:recipients]
    return replace(event, data=replace(data, recipients=left, recipients_omitted=omitted))


def bare(event: EmailEvent) -> EmailEvent:
    """The event without what a client wrote: recipients, subject, tags and metadata."""
    event = shortened(event, 0)
    return replace(event, data=replace(event.data, subject="", tags=(), metadata={}, reason=None))
