"""The calls on one e-mail."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from babygun.api.access.auth import access_of
from babygun.api.emails.documents import AcceptedEmail, email_document, email_log
from babygun.api.emails.services import ACCEPTED, QUOTA_GUARD, RATE_LIMITS, ROUTING
from babygun.api.http.answer import ShortAnswer
from babygun.api.http.body import read_json
from babygun.api.http.context import SETTINGS, STORE, call_of
from babygun.api.http.problem_types import (
    ETCD_UNAVAILABLE,
    IDEMPOTENCY_CONFLICT,
    INVALID_REQUEST,
    NO_RELAY,
    OUT_OF_SPACE,
    OUTCOME_UNKNOWN,
)
from babygun.api.http.problems import Problem, sentence
from babygun.api.http.responses import json_answer
from babygun.email.compose import new_email
from babygun.email.ids import created_ms
from babygun.email.model import Email
from babygun.errors import Conflict, EtcdUnavailable, NotFound, OutcomeUnknown
from babygun.intake.ids import new_email_id
from babygun.intake.request import read_request, submission_of
from babygun.runtime import metrics, tracing
from babygun.runtime.clock import at_ms
from babygun.runtime.logs import note
from babygun.store.emails import on_request, reading
from babygun.store.emails.acceptance import accept

MAX_IDEMPOTENCY_KEY = 255
_idempotency_key = re.compile(rf"[ -~]{{1,{MAX_IDEMPOTENCY_KEY}}}").fullmatch


async def send_email(request: web.Request) -> web.Response:
    """Takes an e-mail. The answer leaves only after etcd has committed it."""
    app, access = request.app, access_of(request)
    app[RATE_LIMITS].take(access.client)
    check_open(app)
    key = key_of(request)
    raw = await read_json(request)
    submission = submission_of(read_request(raw), app[ROUTING], app[SETTINGS])
    ns = time.time_ns()
    now = at_ms(ns // 1_000_000)
    span = tracing.current()
    email = new_email(
        new_email_id(ns),
        client_id=access.client.id,
        sender=submission.sender,
        subject=submission.content.subject,
        recipients=submission.recipients,
        now=now,
        send_at=submission.send_at,
        tags=submission.tags,
        metadata=submission.metadata,
        request_id=call_of(request).request_id,
        traceparent=span.traceparent,
        tracestate=span.tracestate,
    )
    note(email_id=email.id)
    fingerprint = hashlib.sha256(raw).hexdigest() if key is not None else ""
    try:
        accepted = await accept(
            app[STORE],
            email,
            submission.content,
            idempotency_key=key,
            fingerprint=fingerprint,
        )
    except Conflict as error:
        raise Problem(IDEMPOTENCY_CONFLICT, sentence(error), field="Idempotency-Key") from None
    except (EtcdUnavailable, OutcomeUnknown) as error:
        raise not_acknowledged(error, "The e-mail") from None
    span.set("babygun.email_id", accepted.email_id)
    if accepted.repeated:
        note(email_id=accepted.email_id)
    else:
        app[ACCEPTED].count += 1
        metrics.EMAILS_ACCEPTED.inc()
        metrics.RECIPIENTS_ACCEPTED.inc(len(email.recipients))
    # A repeated call gets the first one's answer: the same id, and the time that the id holds.
    created_at = at_ms(created_ms(accepted.email_id)) if accepted.repeated else now
    headers = {"Location": f"/emails/{accepted.email_id}"}
    if accepted.repeated:
        headers["Idempotent-Replayed"] = "true"
    return json_answer(
        AcceptedEmail(accepted.email_id, "incomplete", created_at, len(email.recipients)),
        status=202,
        headers=headers,
        kind=ShortAnswer,
    )


def check_open(app: web.Application) -> None:
    """Raises the 503 problem while no e-mail can be taken."""
    if not app[ROUTING].destinations:
        raise Problem(
            NO_RELAY,
            "An operator must set relay_url or relays (docs/settings.md) before e-mails can be taken.",
        )
    if app[QUOTA_GUARD].full:
        raise Problem(
            OUT_OF_SPACE,
            "etcd is nearly full; new e-mails are taken again when some of the old ones are gone.",
        )


def not_acknowledged(error: EtcdUnavailable | OutcomeUnknown, what: str) -> Problem:
    """``what``: the subject of the sentence."""
    kind = OUTCOME_UNKNOWN if isinstance(error, OutcomeUnknown) else ETCD_UNAVAILABLE
    return Problem(
        kind,
        f"{sentence(error)} {what} may have been stored all the same: a call with an Idempotency-Key can be repeated without sending it twice.",
    )


async def show_log(request: web.Request) -> web.Response:
    access = access_of(request)
    found = await reading.get_log(request.app[STORE], request.match_info["id"])
    if found is None or not (access.is_admin or found[0].client_id == access.client.id):
        raise _no_such_email()
    return json_answer(email_log(*found))


async def cancel_email(request: web.Request) -> web.Response:
    return await _changed(request, cancel)


async def retry_email(request: web.Request) -> web.Response:
    return await _changed(request, retry)


async def _changed(
    request: web.Request, change: Callable[[web.Request, str], Awaitable[Email]]
) -> web.Response:
    email_id = request.match_info["id"]
    await own_email(request, email_id, content=False)
    await change(request, email_id)
    return json_answer(email_document(await own_email(request, email_id)))


async def cancel(request: web.Request, email_id: str) -> Email:
    """Stops an e-mail in the name of the caller, whose it must be known to be. Raises NotFound, Conflict."""
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
    """Has an e-mail tried again in the name of the caller, whose it must be known to be. Raises NotFound, Conflict."""
    return await on_request.retry(
        request.app[STORE],
        email_id,
        client_id=access_of(request).client.id,
        request_id=call_of(request).request_id,
    )


async def own_email(
    request: web.Request, email_id: str, *, content: bool = True
) -> reading.EmailView:
    """The e-mail, if the caller may see it. Raises NotFound where it is another client's, too: nobody learns which ids exist."""
    access = access_of(request)
    view = await reading.get_email(request.app[STORE], email_id, content=content)
    if view is None or not (access.is_admin or view.email.client_id == access.client.id):
        raise _no_such_email()
    return view


def _no_such_email() -> NotFound:
    return NotFound(
        "There is no e-mail with this id. E-mails are kept for a time after their end, then removed."
    )


def key_of(request: web.Request) -> str | None:
    """The call's Idempotency-Key, if it has one. Raises the 422 problem."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _idempotency_key(key):
        raise Problem(
            INVALID_REQUEST,
            f"An Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters.",
            field="Idempotency-Key",
        )
    return key
