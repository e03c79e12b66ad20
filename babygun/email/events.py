"""What happens to an e-mail: the one vocabulary of its events.

The status log stores these names. The API, the live stream and the page show them. Each event is
one log entry, except ``claimed``, which is never stored. The owner key shows that a try runs. The
entry that ends the try shows when it began.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple

EventName = Literal[
    "accepted",
    "claimed",
    "delivered",
    "deferred",
    "held",
    "bounced",
    "expired",
    "suppressed",
    "complained",
    "reclaimed",
    "cancelled",
    "retried",
    "due_now",
    "changed",
    "erased",
]

# What a webhook may ask for: each type is of recipients, where an entry of the log is of a try.
EventType = Literal[
    "accepted",
    "delivered",
    "deferred",
    "bounced",
    "expired",
    "suppressed",
    "cancelled",
    "retried",
    "complained",
    "unsubscribed",
]


class Event(NamedTuple):
    """``by``: who causes it. ``holds``: its log entry's fields, beside number, time and event.

    Some of these fields may be empty. What comes back is also written by others than workers.
    """

    by: Literal["client", "worker"]
    meaning: str
    holds: tuple[str, ...] = ()


_CLIENT = ("client_id", "request_id")
_TRY = ("worker_id", "attempts")

EVENTS: Final[Mapping[EventName, Event]] = {
    "accepted": Event("client", "The e-mail is stored and will be sent.", (*_CLIENT, "reason")),
    "claimed": Event("worker", "A try has begun."),
    "delivered": Event("worker", "The try ended, and every recipient of it is delivered.", _TRY),
    "deferred": Event("worker", "The try ended, and some recipient is tried again later.", _TRY),
    "held": Event(
        "worker",
        "The server refused the session or the login. Its site is held; no try is used up.",
        _TRY,
    ),
    "bounced": Event(
        "worker",
        "The try ended, and some recipient was refused for good. Or, late, a bounce message came"
        " after the server had taken the message.",
        (*_TRY, "late", "reason"),
    ),
    "expired": Event(
        "worker",
        "The last try of some recipient has ended, or the e-mail's own end has come.",
        (*_TRY, "reason"),
    ),
    "suppressed": Event(
        "worker",
        "The try ended, and some recipient was left out: the client's mail does not go there.",
        _TRY,
    ),
    "complained": Event(
        "worker",
        "A provider reported that a recipient calls the e-mail spam.",
        ("attempts", "reason"),
    ),
    "reclaimed": Event(
        "worker",
        "A worker has taken the job over from one that was silent for too long.",
        (*_TRY, "previous_worker_id", "reason"),
    ),
    "cancelled": Event(
        "client", "All is stopped, except for tries under way.", (*_CLIENT, "reason")
    ),
    "retried": Event("client", "Recipients that were not reached are tried again.", _CLIENT),
    "due_now": Event("client", "Jobs that waited for their time wait no longer.", _CLIENT),
    "changed": Event(
        "client", "The time to send it, its tags or its metadata changed.", (*_CLIENT, "reason")
    ),
    "erased": Event("client", "A recipient's data were erased.", (*_CLIENT, "attempts")),
}

EVENT_TYPES: Final[Mapping[EventType, str]] = {
    "accepted": "The e-mail is stored and will be sent.",
    "delivered": "The server took the message for these recipients.",
    "deferred": "These recipients are tried again later.",
    "bounced": "These recipients were refused for good; with late, by a bounce message that came"
    " after the delivery.",
    "expired": "These recipients get no more tries, and were never refused for good.",
    "suppressed": "These recipients are not tried: their addresses are suppressed.",
    "cancelled": "These recipients get no more tries, because a client asked for that.",
    "retried": "These recipients are tried again, because a client asked for that.",
    "complained": "This recipient called the e-mail spam.",
    "unsubscribed": "This recipient wants no more such e-mails.",
}

# How metrics and rates count a recipient after a try, by its status.
OUTCOMES: Final[Mapping[str, str]] = {
    "delivered": "delivered",
    "deferred": "deferred",
    "bounced": "failed",
    "expired": "failed",
    "suppressed": "suppressed",
}

_LEAST_FINISHED_FIRST: tuple[EventName, ...] = (
    "deferred",
    "bounced",
    "expired",
    "suppressed",
)


def end_of_try(statuses: Collection[str]) -> EventName:
    """The event that ends a try, from its recipients' statuses: that of the least finished one."""
    return next((event for event in _LEAST_FINISHED_FIRST if event in statuses), "delivered")
