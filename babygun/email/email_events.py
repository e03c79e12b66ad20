"""The events of a transition, as webhooks get them: one per type, with the recipients concerned."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from babygun.email.events import EventType
from babygun.email.model import RecipientKind, RecipientStatus
from babygun.email.transition import Transition


class EventRecipient(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A recipient that an event is about, as the transition left it."""

    email: str
    kind: RecipientKind
    queue: str
    status: RecipientStatus
    tries: int
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
    rename={"try_number": "try"},
):
    """``data`` of an event. What does not apply is left out.

    ``sequence``: the number of the log entry; events of one transition share it. ``client_id``:
    without the serial. ``recipients_omitted``: how many more there are; etcd had no room for them.
    """

    event_id: str
    sequence: int = 0
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
    worker_id: str | None = None
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
    list: str = ""
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
    """The events of a transition: of its newest log entry, by type."""
    raise NotImplementedError
