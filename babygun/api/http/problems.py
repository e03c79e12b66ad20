"""Errors as RFC 9457 problems: the one place that turns an exception into an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from aiohttp import web

from babygun import errors
from babygun.api.http.problem_types import (
    CONFLICT,
    DAILY_LIMIT,
    ETCD_UNAVAILABLE,
    EXPECTATION_FAILED,
    IDEMPOTENCY_CONFLICT,
    INTERNAL,
    INVALID_REQUEST,
    MALFORMED_REQUEST,
    METHOD_NOT_ALLOWED,
    NO_RELAY,
    NO_SEALING_KEY,
    NOT_FOUND,
    NOT_STORED,
    OUT_OF_MEMORY,
    OUT_OF_SPACE,
    OUTCOME_UNKNOWN,
    REPEAT_WITH_KEY,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemType,
)
from babygun.api.http.responses import SECURITY_HEADERS
from babygun.errors import Violation, sentence

CONTENT_TYPE = "application/problem+json"
_BY_ERROR: Mapping[type[Exception], ProblemType] = {
    errors.NoRelay: NO_RELAY,
    errors.NoSealingKey: NO_SEALING_KEY,
    errors.NotFound: NOT_FOUND,
}
_BY_STATUS = {
    400: MALFORMED_REQUEST,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
    415: UNSUPPORTED_MEDIA_TYPE,
    417: EXPECTATION_FAILED,
}


class ProblemDocument(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"problem_type": "type"}
):
    """An error (RFC 9457). ``field`` names the wrong part of the request.

    ``errors`` lists all wrong parts where there are several. ``stored``: whether what was sent is
    stored, if etcd did not confirm it. ``email_id``: of the e-mail if it is stored. ``next_line``:
    of a file of which the lines before that are done. ``remaining``: recipients that a daily limit
    has left.
    """

    problem_type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    field: str | None = None
    errors: list[Violation] | None = None
    stored: Literal["no", "unknown"] | None = None
    email_id: str | None = None
    reasons: list[str] | None = None  # of not-ready
    warnings: list[str] | None = None
    next_line: int | None = None
    remaining: int | None = None


class Problem(Exception):
    """An error that is already an answer."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        field: str | None = None,
        violations: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
        retry_after: int | None = None,
        stored: Literal["no", "unknown"] | None = None,
        email_id: str | None = None,
        reasons: list[str] | None = None,
        warnings: list[str] | None = None,
        remaining: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.field = kind, detail, field
        self.violations = list(violations)
        self.headers = dict(headers or {})
        self.stored, self.email_id = stored, email_id
        self.reasons, self.warnings = reasons, warnings
        self.next_line: int | None = None
        self.remaining = remaining
        seconds = retry_after if retry_after is not None else kind.retry_after
        if seconds is not None:
            self.headers["Retry-After"] = str(seconds)

    def document(self, *, instance: str, request_id: str) -> ProblemDocument:
        return ProblemDocument(
            self.kind.uri,
            self.kind.title,
            self.kind.status,
            _printable(self.detail),
            _printable(instance),
            request_id,
            self.field and _printable(self.field),
            [Violation(_printable(v.field), _printable(v.detail)) for v in self.violations]
            if len(self.violations) > 1
            else None,
            self.stored,
            self.email_id,
            self.reasons,
            self.warnings,
            self.next_line,
            self.remaining,
        )


def from_exception(error: Exception) -> Problem:
    """The problem for an exception; INTERNAL for one that nobody foresaw."""
    match error:
        case Problem():
            return error
        case errors.InvalidRequest():
            return Problem(
                TOO_LARGE if error.too_large else INVALID_REQUEST,
                str(error),
                field=error.violations[0].field or None,
                violations=error.violations,
            )
        case errors.RateExceeded():
            daily = isinstance(error, errors.DailyLimitReached)
            return Problem(
                DAILY_LIMIT if daily else TOO_MANY_REQUESTS,
                sentence(error),
                retry_after=error.retry_after,
                remaining=error.remaining,
            )
        case errors.NoRelay() | errors.NoSealingKey() | errors.NotFound():
            return Problem(_BY_ERROR[type(error)], sentence(error))
        case errors.IdempotencyConflict():
            return Problem(IDEMPOTENCY_CONFLICT, sentence(error), field="Idempotency-Key")
        case errors.Conflict():
            return Problem(CONFLICT, sentence(error))
        case errors.NotAcknowledged():
            return _not_acknowledged(error)
        case errors.OutcomeUnknown():
            return Problem(
                OUTCOME_UNKNOWN,
                f"{sentence(error)} Repeat the call, or read the state first.",
                stored="unknown",
            )
        case errors.EtcdError():
            full = isinstance(error, errors.OutOfSpace)
            return Problem(OUT_OF_SPACE if full else ETCD_UNAVAILABLE, sentence(error))
        case web.HTTPException():
            return _from_aiohttp(error)
        case errors.OutOfResources():  # DNS can't be asked, for want of files
            return Problem(OUT_OF_MEMORY, f"{sentence(error)} Repeat the call later.")
        case MemoryError():
            return Problem(OUT_OF_MEMORY, OUT_OF_MEMORY.example, stored="unknown")
        case _:
            return Problem(INTERNAL, INTERNAL.example)


def _not_acknowledged(error: errors.NotAcknowledged) -> Problem:
    """What became of the e-mail as far as is known, and whether the call can be repeated."""
    if error.stored == "no":
        return Problem(NOT_STORED, f"{error} Repeat the call.", stored="no")
    if error.keyed:
        detail = f"{error} Repeat the call with the same Idempotency-Key: it is stored once."
        return Problem(REPEAT_WITH_KEY, detail, stored="unknown")
    ask = f"GET /emails/{error.email_id}" if error.email_id else "GET /emails"
    return Problem(
        OUTCOME_UNKNOWN,
        f"{error} A repeated call may send it twice: first ask {ask} when etcd answers again."
        " With an Idempotency-Key, calls can be repeated safely.",
        stored="unknown",
        email_id=error.email_id,
    )


def _from_aiohttp(error: web.HTTPException) -> Problem:
    """The problem for what aiohttp's router and reader raise."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
            return Problem(
                METHOD_NOT_ALLOWED,
                f"{error.method} is not among {allowed}.",
                headers={"Allow": allowed},
            )
        case web.HTTPNotFound():
            return Problem(
                NOT_FOUND, "There is nothing under this path; GET /openapi.json lists all calls."
            )
        case web.HTTPRequestEntityTooLarge():
            return Problem(
                TOO_LARGE,
                "The body is larger than this server takes (setting max_request).",
                field="body",
            )
    kind = _BY_STATUS.get(error.status, INTERNAL)
    return Problem(kind, sentence(kind.title))  # its own text is the framework's


def _printable(text: str) -> str:
    """The text without lone surrogates, which JSON can't carry.

    Bytes of a header or a path that are not UTF-8 become such surrogates.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def as_response(problem: Problem, *, instance: str, request_id: str) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(problem.document(instance=instance, request_id=request_id)),
        status=problem.kind.status,
        headers={
            **SECURITY_HEADERS,
            "Content-Type": CONTENT_TYPE,
            "X-Request-Id": request_id,
            **problem.headers,
        },
    )
