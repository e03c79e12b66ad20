"""POST /emails/{id}/cancel and /retry: change one e-mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from babygun.api.access.auth import access_of
from babygun.api.emails.documents import email_document
from babygun.api.emails.own_email import own_email
from babygun.api.http.context import STORE, call_of
from babygun.api.http.responses import json_answer
from babygun.email.model import Email
from babygun.runtime import metrics
from babygun.store.emails import on_request

Change = Callable[[web.Request, str], Awaitable[Email]]


async def cancel_email(request: web.Request) -> web.Response:
    return await _changed(request, cancel)


async def retry_email(request: web.Request) -> web.Response:
    return await _changed(request, retry)


async def _changed(request: web.Request, change: Change) -> web.Response:
    email_id = request.match_info["id"]
    await change(request, email_id)
    return json_answer(email_document(await own_email(request, email_id)))


async def cancel(request: web.Request, email_id: str) -> Email:
    """Cancels an e-mail that the caller may see. Raises NotFound, Conflict."""
    await own_email(request, email_id, content=False)
    email = await on_request.cancel(
        request.app[STORE],
        email_id,
        client_id=access_of(request).client.id,
        request_id=call_of(request).request_id,
    )
    if email.status != "incomplete":
        metrics.EMAILS_ENDED[email.status].inc()
    return email


async def retry(request: web.Request, email_id: str) -> Email:
    """Has an e-mail that the caller may see tried again. Raises NotFound, Conflict."""
    await own_email(request, email_id, content=False)
    return await on_request.retry(
        request.app[STORE],
        email_id,
        client_id=access_of(request).client.id,
        request_id=call_of(request).request_id,
    )
