"""GET /schedule: what waits for its time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.auth import access_of
from babygun.api.emails.listing import limit_of
from babygun.api.http.context import STORE
from babygun.api.http.problem_types import INVALID_REQUEST
from babygun.api.http.problems import Problem
from babygun.api.http.responses import json_answer
from babygun.runtime.clock import utc_now
from babygun.store.emails.schedule import list_waiting


class WaitingJob(msgspec.Struct, frozen=True):
    """One queue of an e-mail."""

    id: Annotated[str, Meta(description="The e-mail's.")]
    queue: str
    due: Annotated[datetime, Meta(description="When it is sent, or tried again, at the earliest.")]
    recipients: Annotated[int, Meta(description="How many it is for.")]
    overdue_seconds: Annotated[
        float,
        Meta(
            description="How long ago it was due: some worker should have made it ready. 0 where it is not due yet."
        ),
    ]


class Schedule(msgspec.Struct, frozen=True):
    """What waits, soonest first. A page may hold fewer than asked for, even none, and still have a cursor to the next; null is the end."""

    jobs: list[WaitingJob]
    cursor: str | None


async def show_schedule(request: web.Request) -> web.Response:
    access = access_of(request)
    try:
        page = await list_waiting(
            request.app[STORE],
            client_id=None if access.is_admin else access.client.id,
            limit=limit_of(request.query),
            cursor=request.query.get("cursor"),
        )
    except ValueError:
        raise Problem(
            INVALID_REQUEST, "The cursor is not one from an earlier page.", field="cursor"
        ) from None
    now = utc_now()
    jobs = [
        WaitingJob(
            w.ref.email_id,
            w.ref.queue,
            w.due,
            w.recipients,
            max(0.0, (now - w.due).total_seconds()),
        )
        for w in page.waiting
    ]
    return json_answer(Schedule(jobs, page.cursor))
