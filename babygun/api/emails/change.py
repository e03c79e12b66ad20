"""POST /emails/{id}/cancel, /retry and /send-now: change one e-mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from babygun.api.access.authenticator import access_of
from babygun.api.emails.documents import EmailDocument, email_document
from babygun.api.emails.own_email import own_email
from babygun.api.emails.parameters import ID
from babygun.api.emails.waits import waits_of
from babygun.api.http.context import SITES, STORE, call_of
from babygun.api.http.problem_types import CONFLICT, NOT_FOUND
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import WRITE_ERRORS, Answer, Routes
from babygun.email.model import Email
from babygun.runtime import metrics
from babygun.store.emails import on_request

T = TypeVar("T")
Change = Callable[[web.Request, str], Awaitable[Email]]


routes = Routes("emails")
CHANGE_ERRORS = (NOT_FOUND, CONFLICT, *WRITE_ERRORS)
_PENDING = {
    "status": "pending",
    "status_code": None,
    "enhanced_code": None,
    "status_reason": None,
    "reply_class": None,
    "tries": 0,
    "updated_at": None,
}
READY = {
    "queue": "default",
    "site": "default",
    "why": "ready",
    "until": None,
    "reply": None,
    "others": None,
    "explanation": "it is next in line",
}
WAITING = {
    "status": "incomplete",
    "recipients": [_PENDING],
    "tries": 0,
    "worker_id": None,
    "waits": [READY],
    "tls": [],
}
"""The example of an e-mail that had no try yet."""
_NOW = "2026-11-25T09:00:00.171000Z"


@routes.call(
    "POST",
    "/emails/{id}/cancel",
    summary="Cancel an e-mail",
    scope="emails:send",
    parameters=[ID],
    answers=[
        Answer(
            200,
            "The e-mail as it is now.",
            EmailDocument,
            WAITING
            | {
                "status": "cancelled",
                "status_reason": "1 of 1 recipient not reached: 1 cancelled",
                "recipients": [_PENDING | {"status": "cancelled", "updated_at": _NOW}],
                "waits": [],
            },
        )
    ],
    errors=CHANGE_ERRORS,
)
async def cancel_email(request: web.Request) -> web.Response:
    """Stops every recipient that is not delivered yet.

    A try under way can't be stopped and goes on: `sending` names those queues.
    """
    return await changed(request, cancel)


@routes.call(
    "POST",
    "/emails/{id}/retry",
    summary="Try a failed e-mail again",
    scope="emails:send",
    parameters=[ID],
    answers=[
        Answer(
            200,
            "The e-mail as it is now.",
            EmailDocument,
            WAITING | {"recipients": [_PENDING | {"updated_at": _NOW}]},
        )
    ],
    errors=CHANGE_ERRORS,
)
async def retry_email(request: web.Request) -> web.Response:
    """Tries the recipients that were not reached again, from the first try.

    Only a failed or cancelled e-mail whose content is still kept can be tried again.
    """
    return await changed(request, retry)


@routes.call(
    "POST",
    "/emails/{id}/send-now",
    summary="Send an e-mail now that waits for its time",
    scope="emails:send",
    parameters=[ID],
    answers=[
        Answer(
            200,
            "The e-mail as it is now.",
            EmailDocument,
            WAITING | {"send_at": "2026-11-26T08:00:00Z"},
        )
    ],
    errors=CHANGE_ERRORS,
)
async def send_email_now(request: web.Request) -> web.Response:
    """Makes ready what waits for a later time or for its next try. No try is used up by that.

    A hold of its site still holds it: end that first. A failed e-mail is for the call to retry.
    """
    return await changed(request, send_now)


async def changed(
    request: web.Request, change: Callable[[web.Request, str], Awaitable[object]]
) -> web.Response:
    """Has the call's e-mail changed, and answers with what it is then."""
    email_id = request.match_info["id"]
    await change(request, email_id)
    view = await own_email(request, email_id)
    waits = await waits_of(request, view)
    return json_answer(email_document(view, request.app[SITES].hold_of, waits))


async def cancel(request: web.Request, email_id: str) -> Email:
    """Cancels an e-mail that the caller may see. Raises NotFound, Conflict."""
    email = await asked(request, email_id, on_request.cancel)
    if email.final:
        metrics.EMAILS_ENDED[email.status].inc()
    return email


async def retry(request: web.Request, email_id: str) -> Email:
    """Has an e-mail that the caller may see tried again. Raises NotFound, Conflict."""
    return await asked(request, email_id, on_request.retry)


async def send_now(request: web.Request, email_id: str) -> Email:
    """Makes ready what waits of an e-mail that the caller may see. Raises NotFound, Conflict."""
    return await asked(request, email_id, on_request.send_now)


async def asked(request: web.Request, email_id: str, change: Callable[..., Awaitable[T]]) -> T:
    """Has the store change an e-mail that the caller may see, in the caller's name."""
    await own_email(request, email_id, content=False)
    return await change(
        request.app[STORE],
        email_id,
        client_id=access_of(request).client.id,
        request_id=call_of(request).request_id,
    )
