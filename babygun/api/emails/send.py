"""POST /emails: sends one e-mail."""

from __future__ import annotations

import asyncio
import hashlib
import re

from aiohttp import web

from babygun.api.access.authenticator import Access, access_of, lacks_scope
from babygun.api.emails.documents import AcceptedEmail
from babygun.api.emails.parameters import (
    IDEMPOTENCY_KEY,
    IDEMPOTENT_REPLAYED,
    LOCATION,
    MAX_IDEMPOTENCY_KEY,
)
from babygun.api.emails.request_examples import EMAILS
from babygun.api.emails.services import INTAKE
from babygun.api.http.body import read_json
from babygun.api.http.context import call_of
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import (
    BUSY,
    DAILY_LIMIT,
    IDEMPOTENCY_CONFLICT,
    NO_RELAY,
    NOT_STORED,
    REPEAT_WITH_KEY,
    TOO_MANY_REQUESTS,
)
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import WRITE_ERRORS, Answer, Routes
from babygun.errors import InvalidRequest, Violation
from babygun.intake.base64_content import tidy_contents
from babygun.intake.request import EmailRequest

SEND_ERRORS = (
    IDEMPOTENCY_CONFLICT,
    BUSY,
    TOO_MANY_REQUESTS,
    DAILY_LIMIT,
    NO_RELAY,
    NOT_STORED,
    REPEAT_WITH_KEY,
    *WRITE_ERRORS,
)
_LARGE = 1 << 20  # bytes
_idempotency_key = re.compile(rf"[ -~]{{1,{MAX_IDEMPOTENCY_KEY}}}").fullmatch
routes = Routes("emails")
_body = JsonBody(EmailRequest, examples=EMAILS, tidy=tidy_contents)


@routes.call(
    "POST",
    "/emails",
    summary="Send an e-mail",
    scope="emails:send",
    parameters=[IDEMPOTENCY_KEY],
    body=_body,
    answers=[
        Answer(
            202,
            "The e-mail is stored and will be sent.",
            AcceptedEmail,
            headers=(LOCATION, IDEMPOTENT_REPLAYED),
        )
    ],
    errors=SEND_ERRORS,
)
async def send_email(request: web.Request) -> web.Response:
    """The answer comes after etcd has committed the e-mail: from then on it is delivered, or fails.

    Recipients that are suppressed are left out; the answer names them. With an `Idempotency-Key` a
    repeated call gets the first one's answer, and the e-mail is sent
    once.
    """
    intake, access = request.app[INTAKE], access_of(request)
    client = access.client
    await intake.admit(client)
    key = idempotency_key_of(request)
    raw = await read_json(request)
    email = await _body.decode_large(raw)
    require_scope(access, email)
    accepted = await intake.accept(
        email,
        client=client,
        request_id=call_of(request).request_id,
        idempotency_key=key,
        fingerprint=await fingerprint_of(raw) if key else "",
    )
    headers = {"Location": f"/emails/{accepted.email_id}"}
    if accepted.repeated:
        headers["Idempotent-Replayed"] = "true"
    document = AcceptedEmail(
        accepted.email_id,
        accepted.status,
        accepted.created_at,
        accepted.recipients,
        list(accepted.suppressed),
    )
    return json_answer(document, status=202, headers=headers)


def require_scope(access: Access, email: EmailRequest) -> None:
    """Raises the problem if the e-mail asks for what the caller may not do."""
    if email.ignore_suppressions and not access.allows("suppressions:ignore"):
        raise lacks_scope(
            "suppressions:ignore",
            "An e-mail with ignore_suppressions needs the scope suppressions:ignore. "
            "Send it without, or ask an operator for the scope.",
        )


def idempotency_key_of(request: web.Request) -> str | None:
    """The call's Idempotency-Key, if it has one. Raises InvalidRequest."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _idempotency_key(key):
        detail = f"An Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters."
        raise InvalidRequest([Violation("Idempotency-Key", detail)])
    return key


async def fingerprint_of(raw: bytes) -> str:
    """What stands for the bytes of a body. A large one is hashed beside the event loop."""
    if len(raw) <= _LARGE:
        return hashlib.sha256(raw).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, raw)).hexdigest()
