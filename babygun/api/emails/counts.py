"""GET /emails/counts: e-mails in numbers, as far back as the caller reads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.emails.fields import OTHER_ID, QueueName
from babygun.api.emails.listing import FILTERS, filter_of
from babygun.api.emails.waits import QuotedReply, quoted
from babygun.api.http.context import STORE
from babygun.api.http.paging import unknown_cursor
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.email.counts import Counts, QueueCounts, counts_of
from babygun.email.ids import is_email_id
from babygun.email.model import RecipientStatus
from babygun.runtime.metric_types import OTHER
from babygun.store.emails.listing import SCAN_KEYS, list_emails

MOST_QUEUES = 100  # that have numbers of their own; the others share one entry


class EmailStatusCounts(msgspec.Struct, frozen=True):
    """E-mails by status. Those that are incomplete are waiting or sending."""

    waiting: Annotated[int, Meta(examples=[1])] = 0
    sending: Annotated[int, Meta(examples=[0])] = 0
    complete: Annotated[int, Meta(examples=[1])] = 0
    failed: Annotated[int, Meta(examples=[1])] = 0
    cancelled: Annotated[int, Meta(examples=[0])] = 0


class LastFailure(msgspec.Struct, frozen=True):
    """The try that failed last, softly or for good."""

    at: Annotated[datetime, Meta(examples=["2026-11-25T09:00:30Z"])]
    reply: QuotedReply


class QueueNumbers(msgspec.Struct, frozen=True):
    """The recipients of one queue, by status."""

    queue: QueueName
    by_status: Annotated[
        dict[RecipientStatus, int], Meta(examples=[{"deferred": 1, "delivered": 1, "bounced": 1}])
    ]
    delivered_at: Annotated[
        datetime | None,
        Meta(description="When the last one was delivered.", examples=["2026-11-25T09:00:00Z"]),
    ]
    last_failure: LastFailure | None


class Reason(msgspec.Struct, frozen=True):
    """Recipients that were not reached, or not yet."""

    status: Annotated[RecipientStatus, Meta(examples=["bounced"])]
    reason: Annotated[
        str | None,
        Meta(description="As reply_class of a recipient.", examples=["bad_mailbox"]),
    ]
    count: Annotated[int, Meta(examples=[1])]


class DeliveryTime(msgspec.Struct, frozen=True):
    """``seconds``: from the acceptance, or the scheduled time, to the delivery; in two digits."""

    seconds: Annotated[float, Meta(examples=[0.35])]
    count: Annotated[int, Meta(description="How many recipients took it.", examples=[1])]


class EmailCounts(msgspec.Struct, frozen=True):
    """The numbers of one page. Those of several pages can be added up.

    ``queues``, ``reasons`` and ``times`` count recipients. Those of e-mails with 17 queues or more
    are in ``reasons`` alone.
    """

    emails: EmailStatusCounts
    queues: list[QueueNumbers]
    reasons: list[Reason]
    times: list[DeliveryTime]
    cursor: Annotated[str | None, Meta(examples=[None, OTHER_ID])]


routes = Routes("emails")
_EXAMPLE = {
    "queues": [
        {
            "last_failure": {
                "at": "2026-11-25T09:00:30Z",
                "reply": {
                    "reply_class": "bad_mailbox",
                    "status_code": 550,
                    "enhanced_code": "5.1.1",
                    "status_reason": "No such user",
                },
            }
        }
    ],
    "reasons": [{}, {"status": "deferred", "reason": "greylisted"}],
}


@routes.call(
    "GET",
    "/emails/counts",
    summary="Count e-mails, newest first",
    scope="emails:read",
    parameters=[
        Parameter("cursor", "query", str, "From the page before.", OTHER_ID),
        *FILTERS,
    ],
    answers=[Answer(200, "The numbers of a page of e-mails.", EmailCounts, _EXAMPLE)],
    errors=READ_ERRORS,
)
async def count_emails(request: web.Request) -> web.Response:
    """The client's own; with the scope admin everybody's. The filters are those of the listing.

    A page reads 1,000 records at most. Go on until the cursor is null, or as far back as you need.
    """
    cursor = request.query.get("cursor")
    if cursor is not None and not is_email_id(cursor):
        raise unknown_cursor()
    page = await list_emails(
        request.app[STORE], limit=SCAN_KEYS, cursor=cursor, wanted=filter_of(request)
    )
    counts = counts_of((email, bool(page.owners.get(email.id))) for email in page.emails)
    return json_answer(_document(counts, page.cursor))


def _document(counts: Counts, cursor: str | None) -> EmailCounts:
    return EmailCounts(
        EmailStatusCounts(**counts.statuses),
        _queues(counts),
        [Reason(status, reason, n) for (status, reason), n in counts.reasons.most_common()],
        [DeliveryTime(seconds, n) for seconds, n in sorted(counts.seconds.items())],
        cursor,
    )


def _queues(counts: Counts) -> list[QueueNumbers]:
    """Those with the most recipients first."""
    largest = sorted(counts.queues.items(), key=lambda item: (-item[1].statuses.total(), item[0]))
    shown = [_numbers(queue, one) for queue, one in largest[:MOST_QUEUES]]
    if rest := largest[MOST_QUEUES:]:
        others = QueueCounts()
        for _, one in rest:
            others.statuses.update(one.statuses)
        shown.append(_numbers(OTHER, others))
    return shown


def _numbers(queue: str, one: QueueCounts) -> QueueNumbers:
    failed = one.last_failure
    return QueueNumbers(
        queue,
        dict(one.statuses),
        one.delivered_at,
        LastFailure(failed.updated_at, quoted(failed)) if failed and failed.updated_at else None,
    )
