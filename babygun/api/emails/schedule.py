"""GET /schedule: the jobs that wait for their time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import access_of
from babygun.api.access.fields import ClientId
from babygun.api.emails.fields import EMAIL_ID, QueueName
from babygun.api.emails.services import LOOKUPS
from babygun.api.emails.waits import QueueWait, explain
from babygun.api.http.context import SITES, STORE
from babygun.api.http.paging import LIMIT, limit_of, unknown_cursor
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Parameter, Routes
from babygun.email.model import client_id_of, queue_recipients
from babygun.runtime.clock import utc_now
from babygun.store.emails.schedule import list_waiting

_CURSOR = f"2026-11-25T09:10:00.171Z/{EMAIL_ID}/default"


class WaitingJob(msgspec.Struct, frozen=True):
    """The job of one queue of an e-mail."""

    id: Annotated[str, Meta(description="The id of the e-mail.", examples=[EMAIL_ID])]
    queue: QueueName
    due: Annotated[
        datetime,
        Meta(
            description="When it is sent, or tried again, at the earliest.",
            examples=["2026-11-25T09:10:00.171000Z"],
        ),
    ]
    recipients: Annotated[int, Meta(description="How many the job is for.", examples=[1])]
    to: Annotated[str | None, Meta(description="The first of them.", examples=["ann@example.org"])]
    client_id: ClientId
    sender: Annotated[str, Meta(examples=["shop@example.com"])]
    subject: Annotated[str, Meta(examples=["Your order"])]
    tries: Annotated[int, Meta(description="How many it has had.", examples=[1])]
    wait: Annotated[QueueWait, Meta(description="Why it waits.")]
    overdue_seconds: Annotated[
        float,
        Meta(
            description="How long it has been due; 0 if it is not. "
            "A worker makes it ready soon after it is due.",
            examples=[0.0],
        ),
    ]


class Schedule(msgspec.Struct, frozen=True):
    """The jobs that wait, soonest first. A page can be empty though more pages follow.

    Stop only when ``cursor`` is null.
    """

    jobs: list[WaitingJob]
    cursor: Annotated[str | None, Meta(examples=[None, _CURSOR])]


routes = Routes("emails")


@routes.call(
    "GET",
    "/schedule",
    summary="List what waits for its time, soonest first",
    scope="emails:read",
    parameters=[LIMIT, Parameter("cursor", "query", str, "From the page before.", _CURSOR)],
    answers=[Answer(200, "A page of what waits.", Schedule)],
    errors=READ_ERRORS,
)
async def show_schedule(request: web.Request) -> web.Response:
    """E-mails for later and deferred tries, one entry for each queue.

    The client's own; with the scope admin everybody's. A page reads a bounded number of keys.
    """
    access, sites = access_of(request), request.app[SITES]
    try:
        page = await list_waiting(
            request.app[STORE],
            client_id=None if access.is_admin else access.client.identity,
            limit=limit_of(request.query),
            cursor=request.query.get("cursor"),
        )
    except ValueError:
        raise unknown_cursor() from None
    now, lookups = utc_now(), request.app[LOOKUPS]
    jobs = [
        WaitingJob(
            id=job.ref.email_id,
            queue=job.ref.queue,
            due=job.due,
            recipients=job.recipients,
            to=next((r.email for r in queue_recipients(job.email, job.ref.queue)), None),
            client_id=client_id_of(job.email.client_id),
            sender=job.email.sender,
            subject=job.email.subject,
            tries=job.email.queues[job.ref.queue].tries,
            wait=explain(job.email, job.ref.queue, lookups.known(job.ref.queue), False, sites),
            overdue_seconds=max(0.0, (now - job.due).total_seconds()),
        )
        for job in page.waiting
    ]
    return json_answer(Schedule(jobs, page.cursor))
