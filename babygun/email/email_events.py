"""The events of a transition, as webhooks get them: one per type, with the recipients concerned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from babygun.email.events import EventType
from babygun.email.model import (
    LogEntry,
    Recipient,
    RecipientKind,
    RecipientStatus,
    client_id_of,
)
from babygun.email.transition import Transition


class EventRecipient(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A recipient that an event is about, as the transition left it.

    ``kind`` and ``queue``: where the event is of an e-mail.
    """

    email: str
    status: RecipientStatus
    kind: RecipientKind | None = None
    queue: str = ""
    tries: int = 0
    status_code: int | None = None
    enhanced_code: str | None = None
    status_reason: str | None = None
    reply_class: str | None = None


class EventData(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    rename={"try_number": "try", "list_name": "list"},
):
    """``data`` of an event. What does not apply is left out.

    ``sequence``: the number of the log entry; events of one transition share it. ``client_id``:
    without the serial. ``recipients_omitted``: how many more there are; etcd had no room for them.
    """

    event_id: str
    sequence: int
    email_id: str = ""
    client_id: str = ""
    sender: str = ""
    subject: str = ""
    tags: tuple[str, ...]
    metadata: dict[str, str]
    recipients: tuple[EventRecipient, ...]
    recipients_omitted: int = 0
    queues: tuple[str, ...] = ()
    # The number of the try that ended; the highest, if several queues ended one.
    try_number: int = 0
    # Of accepted.
    send_at: datetime | None = None
    expires_at: datetime | None = None
    # Of deferred. ``held``: the server refused the session; no try is used up.
    held: bool = False
    not_before: datetime | None = None
    reason: str | None = None
    # Who asked for it: of accepted, cancelled and retried.
    request_id: str | None = None
    # Of complained and unsubscribed: the list of the e-mail.
    list_name: str = ""
    message: str = ""


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

    Each holds the recipients that it concerns. A claim that was taken over gives none.
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
    elif entry.event != "reclaimed":
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
            held=type == "deferred" and entry.event == "held",
            not_before=min(due, default=None),
            reason=entry.reason,
            request_id=entry.request_id,
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
