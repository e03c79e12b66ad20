"""GET /schedule: the jobs that wait for their time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.auth import access_of
from babygun.api.emails.listing import limit_of, unknown_cursor
from babygun.api.http.context import STORE
from babygun.api.http.responses import json_answer
from babygun.runtime.clock import utc_now
from babygun.store.emails.schedule import list_waiting


class WaitingJob(msgspec.Struct, frozen=True):
    """The job of one queue of an e-mail."""

    id: Annotated[str, Meta(description="The id of the e-mail.")]
    queue: str
    due: Annotated[datetime, Meta(description="When it is sent, or tried again, at the earliest.")]
    recipients: Annotated[int, Meta(description="How many the job is for.")]
    overdue_seconds: Annotated[
        float,
        Meta(
            description="How long it has been due; 0 if it is not. "
            "A worker makes it ready soon after it is due."
        ),
    ]


class Schedule(msgspec.Struct, frozen=True):
    """The jobs that wait, soonest first. A page can be empty though more pages follow.

    Stop only when ``cursor`` is null.
    """

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
        raise unknown_cursor() from None
    now = utc_now()
    jobs = [
        WaitingJob(
            id=job.ref.email_id,
            queue=job.ref.queue,
            due=job.due,
            recipients=job.recipients,
            overdue_seconds=max(0.0, (now - job.due).total_seconds()),
        )
        for job in page.waiting
    ]
    return json_answer(Schedule(jobs, page.cursor))
