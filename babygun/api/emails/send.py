"""POST /emails: sends one e-mail."""

from __future__ import annotations

import hashlib
import re

from aiohttp import web

from babygun.api.access.auth import access_of
from babygun.api.emails.documents import AcceptedEmail
from babygun.api.emails.services import INTAKE
from babygun.api.http.body import JsonBody, read_json
from babygun.api.http.context import call_of
from babygun.api.http.responses import json_answer
from babygun.errors import InvalidRequest, Violation
from babygun.intake.request import EmailRequest

MAX_IDEMPOTENCY_KEY = 255
_idempotency_key = re.compile(rf"[ -~]{{1,{MAX_IDEMPOTENCY_KEY}}}").fullmatch
_body = JsonBody(EmailRequest)


async def send_email(request: web.Request) -> web.Response:
    """Accepts an e-mail. Answers only after etcd has committed it."""
    intake, client = request.app[INTAKE], access_of(request).client
    intake.admit(client)
    key = idempotency_key_of(request)
    raw = await read_json(request)
    accepted = await intake.accept(
        _body.decode(raw),
        client_id=client.id,
        request_id=call_of(request).request_id,
        idempotency_key=key,
        fingerprint=hashlib.sha256(raw).hexdigest() if key else "",
    )
    headers = {"Location": f"/emails/{accepted.email_id}"}
    if accepted.repeated:
        headers["Idempotent-Replayed"] = "true"
    document = AcceptedEmail(
        accepted.email_id, "incomplete", accepted.created_at, accepted.recipients
    )
    return json_answer(document, status=202, headers=headers)


def idempotency_key_of(request: web.Request) -> str | None:
    """The call's Idempotency-Key, if it has one. Raises InvalidRequest."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _idempotency_key(key):
        detail = f"An Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters."
        raise InvalidRequest([Violation("Idempotency-Key", detail)])
    return key
