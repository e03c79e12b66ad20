"""POST /emails/batch: sends up to 1,000 e-mails in one call."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.auth import access_of
from babygun.api.emails.batch_body import read_batch
from babygun.api.emails.send import idempotency_key_of
from babygun.api.emails.services import INTAKE
from babygun.api.http.body import read_json
from babygun.api.http.context import call_of
from babygun.api.http.problem_types import MALFORMED_REQUEST
from babygun.api.http.problems import Problem, ProblemDocument, from_exception
from babygun.api.http.responses import json_answer
from babygun.errors import BabygunError, InvalidRequest
from babygun.intake.acceptance import BatchItem

VALIDATION = "x-batch-validation"


class BatchResult(msgspec.Struct, frozen=True, gc=False):
    """The result for one e-mail: its ``id``, or the ``problem`` with which it was refused."""

    index: Annotated[int, Meta(description="Its place in the request; 0 is the first.")]
    id: str | None
    created_at: datetime | None
    recipients: Annotated[int | None, Meta(description="How many, each address counted once.")]
    problem: ProblemDocument | None


class BatchResults(msgspec.Struct, frozen=True):
    """One result for each e-mail, in the order of the request.

    ``accepted``: how many are stored and will be sent. ``refused``: how many are not.
    """

    accepted: int
    refused: int
    results: list[BatchResult]


async def send_batch(request: web.Request) -> web.Response:
    """Accepts many e-mails. Answers only after etcd has committed all those that get an id."""
    intake, client = request.app[INTAKE], access_of(request).client
    intake.admit(client, emails=0)
    permissive = _is_permissive(request)
    key = idempotency_key_of(request)
    raw = await read_json(request)
    entries = read_batch(raw)
    intake.admit(client, emails=len(entries))
    batch = await intake.accept_batch(
        entries,
        client_id=client.id,
        request_id=call_of(request).request_id,
        all_or_none=not permissive,
        idempotency_key=key,
        fingerprint=hashlib.sha256(raw).hexdigest() if key else "",
    )
    results = [_result(request, index, item) for index, item in enumerate(batch.items)]
    refused = sum(result.id is None for result in results)
    return json_answer(
        BatchResults(len(results) - refused, refused, results),
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
    return BatchResult(index, item.email_id, item.created_at, item.recipients, problem)


def _problem(request: web.Request, index: int, error: BabygunError) -> ProblemDocument:
    problem = from_exception(error)
    if not isinstance(error, InvalidRequest):  # which names the field within the batch
        problem.field = f"[{index}]"
    return problem.document(
        instance=request.rel_url.raw_path, request_id=call_of(request).request_id
    )
