"""POST /emails/batch: sends up to 1,000 e-mails in one call."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import access_of
from babygun.api.emails.batch_body import BatchRequest, read_batch
from babygun.api.emails.documents import SuppressedAddresses
from babygun.api.emails.fields import EMAIL_ID, OTHER_ID
from babygun.api.emails.parameters import IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED
from babygun.api.emails.request_examples import BATCHES
from babygun.api.emails.send import SEND_ERRORS, fingerprint_of, idempotency_key_of, require_scope
from babygun.api.emails.services import INTAKE
from babygun.api.http.body import read_json
from babygun.api.http.context import call_of
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import INVALID_REQUEST, MALFORMED_REQUEST
from babygun.api.http.problems import Problem, ProblemDocument, from_exception
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import Answer, Parameter, Routes
from babygun.errors import BabygunError, InvalidRequest
from babygun.intake.acceptance import BatchItem
from babygun.intake.request import EmailRequest

VALIDATION = "x-batch-validation"


class BatchResult(msgspec.Struct, frozen=True, gc=False):
    """The result for one e-mail: its ``id``, or the ``problem`` with which it was refused."""

    index: Annotated[int, Meta(description="Its place in the request, from 0 on.", examples=[0])]
    id: Annotated[str | None, Meta(examples=[EMAIL_ID])]
    created_at: Annotated[datetime | None, Meta(examples=["2026-11-25T09:00:00.120000Z"])]
    recipients: Annotated[
        int | None, Meta(description="How many; duplicate addresses count once.", examples=[1])
    ]
    suppressed: SuppressedAddresses
    problem: Annotated[ProblemDocument | None, Meta(examples=[None])]


class BatchResults(msgspec.Struct, frozen=True):
    """One result for each e-mail, in the order of the request.

    ``accepted``: how many are stored and will be sent. ``refused``: how many are not.
    ``suppressed``: how many recipients are left out.
    """

    accepted: Annotated[int, Meta(examples=[1])]
    refused: Annotated[int, Meta(examples=[0])]
    suppressed: Annotated[int, Meta(examples=[0])]
    results: list[BatchResult]


_MIXED = {
    "refused": 1,
    "results": [
        {},
        {
            "index": 1,
            "id": None,
            "created_at": None,
            "recipients": None,
            "problem": {
                "type": INVALID_REQUEST.uri,
                "title": INVALID_REQUEST.title,
                "status": INVALID_REQUEST.status,
                "detail": "The address has no @.",
                "instance": "/emails/batch",
                "request_id": "5d0c1f7ae2b94836",
                "field": "[1].to",
            },
        },
    ],
}


routes = Routes("emails")


@routes.call(
    "POST",
    "/emails/batch",
    summary="Send many e-mails",
    scope="emails:send",
    parameters=[
        IDEMPOTENCY_KEY,
        Parameter(
            VALIDATION,
            "header",
            Literal["strict", "permissive"],
            "strict: all or none, if one e-mail breaks a rule. permissive: each on its own.",
            "permissive",
            "strict",
        ),
    ],
    body=JsonBody(BatchRequest, examples=BATCHES),
    answers=[
        Answer(
            202,
            "All are stored and will be sent.",
            BatchResults,
            {"accepted": 2, "results": [{}, {"index": 1, "id": OTHER_ID}]},
            (IDEMPOTENT_REPLAYED,),
        ),
        Answer(
            207,
            "Some have a problem; those with an id are stored and will be sent.",
            BatchResults,
            _MIXED,
            (IDEMPOTENT_REPLAYED,),
        ),
    ],
    errors=SEND_ERRORS,
)
async def send_emails(request: web.Request) -> web.Response:
    """Up to 1,000 e-mails in one call, each as for `POST /emails`.

    All are checked before the first is stored. If one breaks a rule none is accepted, or with
    `x-batch-validation: permissive` the others are. The answer comes after etcd has committed all
    e-mails that get an id. The `Idempotency-Key` covers the whole batch. A repeated call gives
    the same ids, whatever became of the first one. It stores the e-mails that are not stored yet,
    and sends nothing twice.
    """
    intake, access = request.app[INTAKE], access_of(request)
    client = access.client
    await intake.admit(client, emails=0)
    permissive = _is_permissive(request)
    key = idempotency_key_of(request)
    raw = await read_json(request)
    entries = await read_batch(raw)
    await intake.admit(client, emails=len(entries))
    for entry in entries:
        if isinstance(entry, EmailRequest):
            require_scope(access, entry)
    batch = await intake.accept_batch(
        entries,
        client=client,
        request_id=call_of(request).request_id,
        all_or_none=not permissive,
        idempotency_key=key,
        fingerprint=await fingerprint_of(raw) if key else "",
    )
    results = [_result(request, index, item) for index, item in enumerate(batch.items)]
    refused = sum(result.id is None for result in results)
    return json_answer(
        BatchResults(
            len(results) - refused,
            refused,
            sum(len(result.suppressed) for result in results),
            results,
        ),
        status=207 if refused else 202,
        headers={"Idempotent-Replayed": "true"} if batch.repeated else None,
    )


def _is_permissive(request: web.Request) -> bool:
    wanted = request.headers.get(VALIDATION, "strict").strip().lower()
    if wanted not in ("strict", "permissive"):
        raise Problem(
            MALFORMED_REQUEST,
            "It can be strict (all or none, the default) or permissive (each on its own).",
            field=VALIDATION,
        )
    return wanted == "permissive"


def _result(request: web.Request, index: int, item: BatchItem) -> BatchResult:
    problem = None if item.error is None else _problem(request, index, item.error)
    return BatchResult(
        index, item.email_id, item.created_at, item.recipients, list(item.suppressed), problem
    )


def _problem(request: web.Request, index: int, error: BabygunError) -> ProblemDocument:
    problem = from_exception(error)
    if not isinstance(error, InvalidRequest):  # which names the field within the batch
        problem.field = f"[{index}]"
    return problem.document(
        instance=request.rel_url.raw_path, request_id=call_of(request).request_id
    )
