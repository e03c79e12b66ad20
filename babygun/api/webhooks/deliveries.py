"""The calls on what is sent to a webhook: see it, send it again, send a test."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.emails.fields import EMAIL_ID
from babygun.api.emails.services import QUOTA_GUARD
from babygun.api.http.context import STORE
from babygun.api.http.json_body import JsonBody
from babygun.api.http.paging import LIMIT, limit_of, unknown_cursor
from babygun.api.http.problem_types import CONFLICT, NOT_FOUND
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, WRITE_ERRORS, Answer, Parameter, Routes
from babygun.api.webhooks.documents import (
    CURSOR,
    EVENT_ID,
    DeliveryList,
    Replayed,
    TestSent,
    delivery_document,
)
from babygun.api.webhooks.own_webhook import ID, own_webhook
from babygun.email.email_events import event_id
from babygun.email.model import client_id_of
from babygun.errors import Conflict, InvalidRequest, Violation
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store.webhooks import replay
from babygun.store.webhooks.listing import list_notices
from babygun.store.webhooks.records import NoticeState, Webhook
from babygun.store.webhooks.trial import write_test_event

log = get_logger("api")
routes = Routes("webhooks")

MOST_IDS = 1000
_Since = Annotated[datetime, Meta(tz=True, description="Events that happened then or later.")]
_Until = Annotated[datetime, Meta(tz=True, description="Events that happened before.")]
_EventIds = Annotated[
    list[Annotated[str, Meta(max_length=128)]], Meta(min_length=1, max_length=MOST_IDS)
]


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events: by time, or by id. ``until``: now, if it is left out.

    ``cursor``: of the answer before, to go on where that one ended.
    """

    since: _Since | None = None
    until: _Until | None = None
    event_ids: _EventIds | None = None
    cursor: str | None = None


_REPLAY = JsonBody(
    ReplayRequest,
    examples={
        "an hour": {"since": "2026-11-25T09:00:00Z", "until": "2026-11-25T10:00:00Z"},
        "some events": {"event_ids": [EVENT_ID]},
    },
)


@routes.call(
    "GET",
    "/webhooks/{id}/deliveries",
    summary="List a webhook's sent and waiting events",
    scope="webhooks",
    parameters=[
        ID,
        LIMIT,
        Parameter("cursor", "query", str, "From the page before.", CURSOR),
        Parameter(
            "state",
            "query",
            NoticeState,
            "Only events in this state.",
            "failed",
        ),
    ],
    answers=[Answer(200, "A page of events.", DeliveryList)],
    errors=(NOT_FOUND, *READ_ERRORS),
)
async def list_deliveries(request: web.Request) -> web.Response:
    """The newest event first. Sent events are kept for a time, three days by default.

    A filtered page can be empty though more pages follow: stop only when the cursor is null.
    """
    query = request.query
    limit, cursor, state = limit_of(query), query.get("cursor"), query.get("state")
    _, webhook = await own_webhook(request)
    try:
        page = await list_notices(
            request.app[STORE],
            webhook.id,
            state=cast("NoticeState | None", state),
            limit=limit,
            cursor=cursor,
        )
    except ValueError:
        raise unknown_cursor() from None
    return json_answer(
        DeliveryList([delivery_document(one) for one in page.deliveries], page.cursor)
    )


@routes.call(
    "POST",
    "/webhooks/{id}/test",
    summary="Send a test event to a webhook",
    scope="webhooks",
    parameters=[ID],
    answers=[
        Answer(
            202,
            "The event waits to be sent.",
            TestSent,
            {"event_id": event_id(EMAIL_ID, 0, "test")},
        )
    ],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def send_test(request: web.Request) -> web.Response:
    """An event of the type test: signed, sent and tried again as all others are.

    The call in deliveries says what came of it.
    """
    client_id, webhook = await _enabled_webhook(request)
    guard = request.app[QUOTA_GUARD]  # tests, too, could fill etcd
    guard.check()
    guard.take(0)
    event_id = await write_test_event(request.app[STORE], client_id, webhook.id)
    return json_answer(TestSent(event_id, f"/webhooks/{webhook.id}/deliveries"), status=202)


@routes.call(
    "POST",
    "/webhooks/{id}/replay",
    summary="Send events again",
    scope="webhooks",
    parameters=[ID],
    body=_REPLAY,
    answers=[Answer(202, "What waits to be sent again.", Replayed)],
    errors=(NOT_FOUND, CONFLICT, *WRITE_ERRORS),
)
async def replay_events(request: web.Request) -> web.Response:
    """Each keeps its webhook-id, and gets all tries again. Only events that are kept can be sent.

    One call takes a bounded number. If the cursor of the answer is not null, repeat the call
    with it.
    """
    body = await _REPLAY.read(request)
    until = body.until or utc_now()
    _check(body, until)
    client_id, webhook = await _enabled_webhook(request)
    store = request.app[STORE]
    if body.event_ids is not None:
        ids = list(dict.fromkeys(body.event_ids))
        found = set(await replay.replay_ids(store, webhook.id, ids))
        answer = Replayed(len(found), [one for one in ids if one not in found], None)
    else:
        assert body.since is not None
        try:
            count, cursor = await replay.replay_between(
                store, webhook.id, body.since, until, body.cursor
            )
        except ValueError:
            raise unknown_cursor() from None
        answer = Replayed(count, [], cursor)
    log.info(
        "notices replayed",
        client=client_id_of(client_id),
        webhook_id=webhook.id,
        count=answer.replayed,
    )
    return json_answer(answer, status=202)


async def _enabled_webhook(request: web.Request) -> tuple[str, Webhook]:
    """As :func:`own_webhook`. Raises Conflict, too: nothing is sent to a disabled webhook."""
    client_id, webhook = await own_webhook(request)
    if not webhook.enabled:
        raise Conflict(
            f'The webhook is disabled. Enable it first: PATCH /webhooks/{webhook.id} {{"enabled":'
            " true}."
        )
    return client_id, webhook


def _check(body: ReplayRequest, until: datetime) -> None:
    """Raises InvalidRequest unless it names events in one way."""
    by_time = body.since is not None or body.until is not None or body.cursor is not None
    if by_time == (body.event_ids is not None):
        detail = "Give either since (with or without until), or event_ids."
        raise InvalidRequest([Violation("", detail)])
    if by_time and body.since is None:
        raise InvalidRequest([Violation("since", "Give since, too: when the events happened.")])
    if body.since is not None and body.since >= until:
        field, detail = ("since", "It must be in the past.")
        if body.until is not None:
            field, detail = ("until", "It must be later than since.")
        raise InvalidRequest([Violation(field, detail)])
