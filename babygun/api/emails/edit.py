"""PATCH /emails/{id}: changes when an e-mail is sent, its tags and its metadata."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from babygun.api.emails.change import CHANGE_ERRORS, READY, WAITING, asked, changed
from babygun.api.emails.documents import EmailDocument
from babygun.api.emails.parameters import ID
from babygun.api.http.body import MAX_SMALL
from babygun.api.http.json_body import JsonBody
from babygun.api.http.routes import Answer, Routes
from babygun.intake.edit import EditRequest, check_edit
from babygun.store.emails import on_request

routes = Routes("emails")
_body = JsonBody(
    EditRequest,
    max_bytes=MAX_SMALL,
    examples={
        "another time": {"send_at": "2026-11-26T08:00:00Z"},
        "other tags and metadata": {"tags": ["order", "vip"], "metadata": {"order": "4712"}},
        "only if nobody changed it": {"send_at": "2026-11-26T08:00:00Z", "revision": 4711},
    },
)


@routes.call(
    "PATCH",
    "/emails/{id}",
    summary="Change when an e-mail is sent, its tags or its metadata",
    scope="emails:send",
    parameters=[ID],
    body=_body,
    answers=[
        Answer(
            200,
            "The e-mail as it is now.",
            EmailDocument,
            WAITING
            | {
                "not_before": "2026-11-26T08:00:00Z",
                "send_at": "2026-11-26T08:00:00Z",
                "waits": [
                    READY
                    | {
                        "why": "scheduled",
                        "until": "2026-11-26T08:00:00Z",
                        "explanation": "it is to be sent at 2026-11-26 08:00:00 UTC",
                    }
                ],
            },
        )
    ],
    errors=CHANGE_ERRORS,
)
async def edit_email(request: web.Request) -> web.Response:
    """Only an e-mail that is not final can be changed.

    Its `send_at` can be changed while it waits for its first try. A time in the past sends it now.
    """
    given = await _body.read(request)
    change = partial(on_request.edit, wanted=check_edit(given), newest=given.revision)

    async def edit(request: web.Request, email_id: str) -> None:
        await asked(request, email_id, change)

    return await changed(request, edit)
