"""POST /emails/cancel, /retry and /send-now: change up to 1,000 e-mails, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.emails.change import Change, cancel, retry, send_now
from babygun.api.emails.fields import EMAIL_ID, OTHER_ID, EmailId
from babygun.api.emails.own_email import own_email
from babygun.api.http.body import MAX_SMALL
from babygun.api.http.json_body import JsonBody
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import WRITE_ERRORS, Answer, Routes
from babygun.email.model import EmailStatus
from babygun.errors import Conflict, EtcdError, NotFound, sentence
from babygun.runtime.logs import get_logger

log = get_logger("api")

MAX_IDS = 1000
AT_ONCE = 16  # of one call: etcd serves others too


class BulkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which e-mails. Duplicate ids count once."""

    ids: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(min_length=1, max_length=MAX_IDS, description="Ids of e-mails."),
    ]


class BulkResult(msgspec.Struct, frozen=True):
    """The result for one e-mail."""

    id: EmailId
    status: Annotated[
        Literal["ok", "conflict", "not-found", "unavailable"],
        Meta(
            description="conflict: its state does not allow it. unavailable: etcd did not answer; "
            "it may be changed or not, and the call can be repeated."
        ),
    ]
    detail: Annotated[str | None, Meta(description="Why it was not changed.")]
    email_status: Annotated[
        EmailStatus | None,
        Meta(
            description="The e-mail's status after this, where it is known.",
            examples=["cancelled"],
        ),
    ]


class BulkResults(msgspec.Struct, frozen=True):
    """One result for each id, in the order in which they were given."""

    results: list[BulkResult]


routes = Routes("emails")
_body = JsonBody(
    BulkRequest, max_bytes=MAX_SMALL, examples={"two e-mails": {"ids": [EMAIL_ID, OTHER_ID]}}
)


def _answer(email_status: EmailStatus, refusal: str) -> Answer:
    """Two e-mails: one that is so now, and one that was complete."""
    refused = {
        "id": OTHER_ID,
        "status": "conflict",
        "detail": refusal,
        "email_status": "complete",
    }
    example = {"results": [{"status": "ok", "email_status": email_status}, refused]}
    return Answer(200, "The result for each.", BulkResults, example)


@routes.call(
    "POST",
    "/emails/cancel",
    summary="Cancel many e-mails",
    scope="emails:send",
    body=_body,
    answers=[_answer("cancelled", "The e-mail is complete already.")],
    errors=WRITE_ERRORS,
)
async def cancel_emails(request: web.Request) -> web.Response:
    """Up to 1,000 at once, each on its own, as by the call on one e-mail."""
    return await _changed(request, cancel)


@routes.call(
    "POST",
    "/emails/retry",
    summary="Try many e-mails again",
    scope="emails:send",
    body=_body,
    answers=[_answer("incomplete", "Every recipient has got the e-mail.")],
    errors=WRITE_ERRORS,
)
async def retry_emails(request: web.Request) -> web.Response:
    """Up to 1,000 at once, each on its own, as by the call on one e-mail."""
    return await _changed(request, retry)


@routes.call(
    "POST",
    "/emails/send-now",
    summary="Send many e-mails now that wait for their time",
    scope="emails:send",
    body=_body,
    answers=[_answer("incomplete", "The e-mail is complete already.")],
    errors=WRITE_ERRORS,
)
async def send_emails_now(request: web.Request) -> web.Response:
    """Up to 1,000 at once, each on its own, as by the call on one e-mail."""
    return await _changed(request, send_now)


async def _changed(request: web.Request, change: Change) -> web.Response:
    """Raises EtcdError if etcd answered for none of the e-mails."""
    ids = list(dict.fromkeys((await _body.read(request)).ids))
    bulk = _BulkChange(request, change)
    rest = iter(ids)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(ids))):
            group.create_task(bulk.work(rest))
    results = [bulk.results[email_id] for email_id in ids]
    if bulk.error is not None and all(result.status == "unavailable" for result in results):
        raise bulk.error
    changed = sum(result.status == "ok" for result in results)
    log.info("bulk change", path=request.path, ids=len(ids), changed=changed)
    return json_answer(BulkResults(results))


class _BulkChange:
    """``results``: by id. ``error``: why etcd did not answer for an e-mail.

    After an error no further change begins, since each might wait as long.
    """

    def __init__(self, request: web.Request, change: Change) -> None:
        self._request, self._change = request, change
        self.results: dict[str, BulkResult] = {}
        self.error: EtcdError | None = None

    async def work(self, rest: Iterator[str]) -> None:
        """Changes e-mails until ``rest`` is empty. Several of these share one ``rest``."""
        for email_id in rest:
            self.results[email_id] = await self._one(email_id)

    async def _one(self, email_id: str) -> BulkResult:
        if self.error is not None:
            detail = "Not begun, since etcd did not answer for another one."
            return BulkResult(email_id, "unavailable", detail, None)
        try:
            email = await self._change(self._request, email_id)
        except NotFound as error:
            return BulkResult(email_id, "not-found", sentence(error), None)
        except Conflict as error:
            return BulkResult(email_id, "conflict", sentence(error), await self._status(email_id))
        except EtcdError as error:
            self.error = error
            return BulkResult(email_id, "unavailable", sentence(error), None)
        return BulkResult(email_id, "ok", None, email.status)

    async def _status(self, email_id: str) -> EmailStatus | None:
        try:
            return (await own_email(self._request, email_id, content=False)).email.status
        except (NotFound, EtcdError):
            return None
