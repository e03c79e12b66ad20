"""An example of each event, for the documents: made by the code that makes the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

from babygun.api.access.fields import CLIENT_ID
from babygun.api.emails.fields import EMAIL_ID, OTHER_ID
from babygun.email.bounces import Complaint
from babygun.email.compose import new_email
from babygun.email.email_events import EmailEvent, event_id, event_of_address, events_of
from babygun.email.events import EVENT_TYPES
from babygun.email.late import complain
from babygun.email.lifecycle import accept, cancel, retry
from babygun.email.model import Email, Recipient, RecipientKind
from babygun.email.retry import Schedule
from babygun.email.suppression import Suppression
from babygun.email.transition import Transition
from babygun.email.tries import QueueResult, RecipientResult, finish
from babygun.store.webhooks.trial import sample_event

_AT = datetime(2026, 11, 25, 9, 0, 0, 120000, tzinfo=UTC)
_TRY = timedelta(milliseconds=70)
_ANN, _BEN = "ann@example.org", "ben@example.org"
_WORKER = "mail-1-8f3a1c9e20"
_REQUEST = "5d0c1f7ae2b94836"
_RESULTS = {
    "delivered": RecipientResult("deliver", "delivered", 250, "2.0.0", "Ok: queued as 4F2A91C03D"),
    "deferred": RecipientResult("retry", "greylisted", 451, "4.7.1", "Greylisted, try again later"),
    "bounced": RecipientResult("fail", "bad_mailbox", 550, "5.1.1", "No such user here"),
}


@cache
def examples() -> Mapping[str, EmailEvent]:
    """By type: all that a client may ask for, and ``test``."""
    test = sample_event(CLIENT_ID, event_id(OTHER_ID, 0, "test"), _AT)
    unsubscribed = event_of_address(
        "unsubscribed",
        _AT + timedelta(hours=1),
        OTHER_ID,
        client_id=CLIENT_ID,
        address=_ANN,
        list_name="news",
    )
    made = {event.type: event for event in (*_happened(), unsubscribed, test)}
    return {type: made[type] for type in (*EVENT_TYPES, test.type)}


def _happened() -> list[EmailEvent]:
    """What happens to some e-mails: each to two recipients, with its own fate."""
    events = [
        *_suppressed(),
        *events_of(accept(_email())),
        *_tried("delivered", _ANN),
        *_tried("deferred", _BEN),
        *_tried("bounced", _BEN),
        *_tried("deferred", _BEN, tries=0),  # there is no further one: it expires
    ]
    cancelled = cancel(
        _email(), sending=(), now=_AT + _TRY, client_id=CLIENT_ID, request_id=_REQUEST
    )
    retried = retry(cancelled.email, now=_AT + 2 * _TRY, client_id=CLIENT_ID, request_id=_REQUEST)
    return [*events, *events_of(cancelled), *events_of(retried), *_complained()]


def _email() -> Email:
    kinds: tuple[tuple[str, RecipientKind], ...] = ((_ANN, "to"), (_BEN, "cc"))
    return new_email(
        EMAIL_ID,
        client_id=CLIENT_ID,
        sender="shop@example.com",
        subject="Your order",
        recipients=tuple(Recipient(email, kind, "default") for email, kind in kinds),
        now=_AT,
        tags=("order",),
        metadata={"order": "4711"},
        request_id=_REQUEST,
    )


def _suppressed() -> tuple[EmailEvent, ...]:
    bounced = _RESULTS["bounced"]
    found = Suppression(
        "hard_bounce",
        _AT - timedelta(days=3),
        status_code=bounced.status_code,
        enhanced_code=bounced.enhanced_code,
        reply=bounced.reason,
    )
    return events_of(accept(_email(), {_BEN: found}))


def _tried(status: str, email: str, *, tries: int = 2) -> tuple[EmailEvent, ...]:
    events = events_of(_done(status, email, tries))
    return tuple(event for event in events if event.type != "delivered" or email == _ANN)


def _complained() -> tuple[EmailEvent, ...]:
    email = _done("delivered", _ANN).email
    report, later = Complaint(reporter="fbl.example.org"), _AT + timedelta(hours=1)
    return events_of(complain(email, email.recipients[0], report, now=later, suppression=None))


def _done(status: str, email: str, tries: int = 2) -> Transition:
    """A first try with this result for one recipient; the other has its mail."""
    results = dict.fromkeys((_ANN, _BEN), _RESULTS["delivered"]) | {email: _RESULTS[status]}
    schedule = Schedule((600.0,) * tries)
    return finish(
        _email(),
        [QueueResult("default", _WORKER, _AT + _TRY / 2, results)],
        now=_AT + _TRY,
        schedule=lambda _: schedule,
    )
