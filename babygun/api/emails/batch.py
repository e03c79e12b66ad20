"""POST /emails/batch: up to 1,000 e-mails in one call, checked one by one, stored together."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.auth import access_of
from babygun.api.emails.batch_body import read_batch
from babygun.api.emails.send import check_open, key_of, not_acknowledged
from babygun.api.emails.services import ACCEPTED, RATE_LIMITS, ROUTING
from babygun.api.http.body import read_json
from babygun.api.http.context import SETTINGS, STORE, call_of
from babygun.api.http.problem_types import IDEMPOTENCY_CONFLICT, INVALID_REQUEST, MALFORMED_REQUEST
from babygun.api.http.problems import Problem, ProblemDocument, Violation, from_exception, sentence
from babygun.api.http.responses import json_answer
from babygun.email.compose import new_email
from babygun.email.ids import created_ms, email_ids
from babygun.errors import BabygunError, Conflict, EtcdUnavailable, InvalidEmail, OutcomeUnknown
from babygun.intake.request import EmailRequest, submission_of
from babygun.runtime import metrics, tracing
from babygun.runtime.clock import at_ms
from babygun.runtime.logs import note
from babygun.store.emails.acceptance import NewEmail, prepare
from babygun.store.emails.batches import BatchOutcome, accept_batch
from babygun.store.records import BatchRecord

VALIDATION = "x-batch-validation"
MAX_ERRORS = 1000  # that a strict refusal lists; beyond that each e-mail still has its first
_BREATH = 50  # e-mails between two turns of everybody else: a millisecond or two


@lru_cache(maxsize=8)  # a batch is of one or two milliseconds
def _created_at(id_time: str) -> datetime:
    """``id_time``: what an id begins with, up to its version."""
    return at_ms(created_ms(id_time))


class BatchResult(msgspec.Struct, frozen=True, gc=False):
    """What became of one e-mail: it has an ``id``, or a ``problem`` that says why it was not taken."""

    index: Annotated[int, Meta(description="Its place in the request; 0 is the first.")]
    id: str | None
    created_at: datetime | None
    recipients: Annotated[int | None, Meta(description="How many, each address counted once.")]
    problem: ProblemDocument | None


class BatchResults(msgspec.Struct, frozen=True):
    """One result for each e-mail, in the order of the request. ``accepted``: how many are stored and will be sent; ``refused``: the others."""

    accepted: int
    refused: int
    results: list[BatchResult]


async def send_batch(request: web.Request) -> web.Response:
    """Takes many e-mails. The answer leaves only after etcd has committed all those that it gives an id."""
    app, access = request.app, access_of(request)
    app[RATE_LIMITS].take(access.client, emails=0)
    check_open(app)
    permissive = _is_permissive(request)
    key = key_of(request)
    raw = await read_json(request)
    batch = _Batch(request, read_batch(raw))
    app[RATE_LIMITS].take(access.client, emails=len(batch.entries))
    record = BatchRecord(len(batch.entries), time.time_ns(), os.urandom(16), ())
    emails = await batch.prepared(record)
    if batch.problems and not permissive:
        raise _all_refused(batch.problems, len(batch.entries))
    outcome = BatchOutcome([None] * len(emails))
    if len(batch.problems) < len(emails):
        # What the other way of validation would have made of the same body is another answer.
        fingerprint = (
            hashlib.sha256(raw).hexdigest() + ("-permissive" if permissive else "")
            if key is not None
            else ""
        )
        try:
            outcome = await accept_batch(
                app[STORE],
                access.client.id,
                record,
                emails,
                idempotency_key=key,
                fingerprint=fingerprint,
                again=batch.prepared,
            )
        except Conflict as error:
            raise Problem(IDEMPOTENCY_CONFLICT, sentence(error), field="Idempotency-Key") from None
        except (EtcdUnavailable, OutcomeUnknown) as error:
            raise not_acknowledged(error, "E-mails of the batch") from None
    app[ACCEPTED].count += outcome.emails
    metrics.EMAILS_ACCEPTED.inc(outcome.emails)
    metrics.RECIPIENTS_ACCEPTED.inc(outcome.recipients)
    answer = batch.answer(outcome, emails)
    note(emails=answer.accepted, refused=answer.refused or None)
    tracing.current().set("babygun.emails", answer.accepted)
    return json_answer(
        answer,
        status=207 if answer.refused else 202,
        headers={"Idempotent-Replayed": "true"} if outcome.repeated else None,
    )


def _is_permissive(request: web.Request) -> bool:
    wanted = request.headers.get(VALIDATION, "strict").strip().lower()
    if wanted not in ("strict", "permissive"):
        raise Problem(
            MALFORMED_REQUEST,
            "It can be strict (all or none, as without it) or permissive (each on its own).",
            field=VALIDATION,
        )
    return wanted == "permissive"


def _all_refused(refused: dict[int, Problem], count: int) -> Problem:
    """The problem of a batch of which some e-mails can't be taken, with what is wrong with each."""
    violations: list[Violation] = []
    for problem in refused.values():
        found = problem.violations or [Violation(problem.field or "", problem.detail)]
        violations += found if len(violations) + len(found) <= MAX_ERRORS else found[:1]
    first = next(iter(refused.values()))
    detail = f"Nothing of the batch was taken, since {len(refused)} of {count} e-mails can't be. The first: {first.detail}"
    return Problem(first.kind, detail, field=first.field, violations=violations)


class _Batch:
    """The e-mails of one call. ``problems``: of those that can't be taken, by index."""

    def __init__(self, request: web.Request, entries: Sequence[EmailRequest | Problem]) -> None:
        self._request = request
        self._app, self._client_id, self._request_id = (
            request.app,
            access_of(request).client.id,
            call_of(request).request_id,
        )
        self._span = tracing.current()
        self.entries = entries
        self.problems: dict[int, Problem] = {}

    async def prepared(self, record: BatchRecord) -> list[NewEmail | None]:
        """The e-mails under the ids of ``record``; None for those that have a problem."""
        self.problems = {}
        found: list[NewEmail | None] = []
        for index, (email_id, entry) in enumerate(
            zip(email_ids(record.count, record.at_ns, record.seed), self.entries, strict=True)
        ):
            try:
                if isinstance(entry, Problem):
                    raise entry
                found.append(self._prepare(email_id, entry))
            except (Problem, InvalidEmail) as error:
                found.append(None)
                self.problems[index] = _within(index, from_exception(error))
            if index % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        return found

    def _prepare(self, email_id: str, entry: EmailRequest) -> NewEmail:
        app = self._app
        submission = submission_of(entry, app[ROUTING], app[SETTINGS])
        email = new_email(
            email_id,
            client_id=self._client_id,
            sender=submission.sender,
            subject=submission.content.subject,
            recipients=submission.recipients,
            now=_created_at(email_id[:13]),
            send_at=submission.send_at,
            tags=submission.tags,
            metadata=submission.metadata,
            request_id=self._request_id,
            traceparent=self._span.traceparent,
            tracestate=self._span.tracestate,
        )
        return prepare(app[STORE], email, submission.content)

    def answer(self, outcome: BatchOutcome, emails: Sequence[NewEmail | None]) -> BatchResults:
        results = []
        accepted = 0
        for index, email_id in enumerate(outcome.ids):
            if email_id is None:
                results.append(
                    BatchResult(
                        index, None, None, None, self._document(index, outcome.errors.get(index))
                    )
                )
                continue
            accepted += 1
            new = emails[index]  # None where the rules are others now than when the key was new
            results.append(
                BatchResult(
                    index,
                    email_id,
                    _created_at(email_id[:13]),
                    new.recipients if new is not None else None,
                    None,
                )
            )
        return BatchResults(accepted, len(results) - accepted, results)

    def _document(self, index: int, error: BabygunError | None) -> ProblemDocument:
        problem = self.problems.get(index)
        if isinstance(error, EtcdUnavailable | OutcomeUnknown):
            problem = _within(index, not_acknowledged(error, "The e-mail"))
        elif isinstance(error, Conflict) and problem is None:
            problem = Problem(IDEMPOTENCY_CONFLICT, sentence(error), field=f"[{index}]")
        elif error is not None and problem is None:
            problem = _within(index, from_exception(error))
        elif problem is None:
            problem = Problem(
                INVALID_REQUEST,
                "It was refused when this Idempotency-Key was new, and is not now: send it with another key.",
                field=f"[{index}]",
            )
        return problem.document(
            instance=self._request.rel_url.raw_path, request_id=self._request_id
        )


def _within(index: int, problem: Problem) -> Problem:
    """The same with fields that are paths in the batch: ``[3].to[2]``."""
    place = f"[{index}]"
    field = place if problem.field is None else f"{place}.{problem.field}"
    return Problem(
        problem.kind,
        problem.detail,
        field=field,
        violations=[Violation(f"{place}.{v.field}", v.detail) for v in problem.violations],
    )
