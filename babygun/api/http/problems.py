"""Errors as RFC 9457 problems: one shape for all of them, and the one place that turns an exception into an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from babygun import errors

CONTENT_TYPE = "application/problem+json"
URN = "urn:babygun:problem:"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem. ``slug`` ends its ``type``, a URN that programs may compare and that never changes."""

    slug: str
    status: int
    title: str
    retry_after: int | None = None  # seconds, for the Retry-After header

    @property
    def uri(self) -> str:
        return URN + self.slug


MALFORMED_JSON = ProblemType("malformed-json", 400, "The body is not JSON")
MALFORMED_REQUEST = ProblemType("malformed-request", 400, "The request is not HTTP as it should be")
NO_TOKEN = ProblemType("no-token", 401, "This call needs a token")
INVALID_TOKEN = ProblemType("invalid-token", 401, "The token is not valid")
INVALID_CREDENTIALS = ProblemType("invalid-credentials", 401, "Client id and secret do not fit")
INSUFFICIENT_SCOPE = ProblemType(
    "insufficient-scope", 403, "The client or its token lacks the scope"
)
CROSS_SITE = ProblemType("cross-site", 403, "Another site's page made this call")
NOT_FOUND = ProblemType("not-found", 404, "There is no such thing")
METHOD_NOT_ALLOWED = ProblemType("method-not-allowed", 405, "This path has no such method")
REQUEST_TIMEOUT = ProblemType("request-timeout", 408, "The request took too long to come")
CONFLICT = ProblemType("conflict", 409, "The present state does not allow this")
IDEMPOTENCY_CONFLICT = ProblemType(
    "idempotency-conflict", 409, "The Idempotency-Key has been used with another request"
)
CONTENT_GONE = ProblemType("content-gone", 410, "The content is not kept any more")
TOO_LARGE = ProblemType("too-large", 413, "The request is over a size limit")
URI_TOO_LONG = ProblemType("uri-too-long", 414, "Path and query are over a size limit")
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type", 415, "The body must be JSON, as it is or compressed"
)
EXPECTATION_FAILED = ProblemType("expectation-failed", 417, "The expectation can't be met")
INVALID_REQUEST = ProblemType("invalid-request", 422, "The request breaks a rule")
TOO_MANY_REQUESTS = ProblemType("too-many-requests", 429, "The client's rate is used up")
HEADERS_TOO_LARGE = ProblemType("headers-too-large", 431, "The headers are over a size limit")
INTERNAL = ProblemType("internal", 500, "Something went wrong on our side")
ETCD_UNAVAILABLE = ProblemType("etcd-unavailable", 503, "The store can't be reached", 5)
OUTCOME_UNKNOWN = ProblemType(
    "outcome-unknown", 503, "The store did not say whether it has taken the change", 5
)
OUT_OF_SPACE = ProblemType("out-of-space", 503, "The store is full", 60)
BUSY = ProblemType("busy", 503, "Too many large e-mails come at once", 5)
TOO_MANY_WAITING = ProblemType("too-many-waiting", 503, "Too many calls wait at this process", 5)
NO_RELAY = ProblemType("no-relay", 503, "No relay is configured", 60)
TOO_MANY_LISTENERS = ProblemType("too-many-listeners", 503, "Too many are listening", 5)
NOT_READY = ProblemType("not-ready", 503, "The API is not ready", 2)

TYPES: tuple[ProblemType, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, ProblemType)
)
_BY_STATUS = {
    400: MALFORMED_REQUEST,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
    415: UNSUPPORTED_MEDIA_TYPE,
    417: EXPECTATION_FAILED,
}


class Violation(msgspec.Struct, frozen=True):
    """One broken rule. ``field``: which part of the request, such as ``to[2]`` or ``headers.Bcc``."""

    field: str
    detail: str


class ProblemDocument(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"problem_type": "type"}
):
    """An error (RFC 9457). ``field`` names the offending part of the request; ``errors`` lists all of them where there are several."""

    problem_type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    field: str | None = None
    errors: list[Violation] | None = None
    reasons: list[str] | None = None  # of not-ready
    warnings: list[str] | None = None


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
        reasons: list[str] | None = None,
        warnings: list[str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.field = kind, detail, field
        self.violations = list(violations)
        self.headers = dict(headers or {})
        self.reasons, self.warnings = reasons, warnings
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
            self.reasons,
            self.warnings,
        )


class InvalidRequest(errors.InvalidEmail):
    """Several rules are broken; ``field`` and ``status`` are the first one's."""

    def __init__(self, violations: Sequence[Violation], *, status: int) -> None:
        super().__init__(violations[0].detail, field=violations[0].field, status=status)
        self.violations = violations


def from_exception(error: Exception) -> Problem:
    """The problem that tells of an exception; INTERNAL for one that nobody foresaw."""
    match error:
        case Problem():
            return error
        case InvalidRequest():
            return Problem(
                TOO_LARGE if error.status == 413 else INVALID_REQUEST,
                str(error),
                field=error.field,
                violations=error.violations,
            )
        case errors.InvalidEmail():
            return Problem(
                TOO_LARGE if error.status == 413 else INVALID_REQUEST, str(error), field=error.field
            )
        case errors.NotFound():
            return Problem(NOT_FOUND, sentence(error))
        case errors.Conflict():
            return Problem(CONFLICT, sentence(error))
        case errors.OutcomeUnknown():
            return Problem(
                OUTCOME_UNKNOWN, f"{sentence(error)} Repeat the call, or read the state first."
            )
        case errors.OutOfSpace():
            return Problem(OUT_OF_SPACE, sentence(error))
        case errors.EtcdError():
            return Problem(ETCD_UNAVAILABLE, sentence(error))
        case web.HTTPException():
            return _from_aiohttp(error)
        case _:
            return Problem(INTERNAL, "It is in our log under this request id.")


def _from_aiohttp(error: web.HTTPException) -> Problem:
    """What aiohttp's router and reader raise."""
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
                NOT_FOUND,
                "There is nothing under this path; GET /openapi.json lists what there is.",
            )
        case web.HTTPRequestEntityTooLarge():
            return Problem(
                TOO_LARGE,
                "The body is larger than this server takes (setting max_request).",
                field="body",
            )
    return Problem(_BY_STATUS.get(error.status, INTERNAL), error.text or error.reason)


def sentence(said: BaseException | str) -> str:
    """An exception's message as a sentence."""
    text = str(said)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _printable(text: str) -> str:
    """JSON carries no lone surrogates, which bytes that are not UTF-8 become in a header or a path."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def as_response(
    problem: Problem, *, instance: str, request_id: str, extra: Mapping[str, Any]
) -> web.Response:
    body = msgspec.json.encode(problem.document(instance=instance, request_id=request_id))
    return web.Response(
        body=body,
        status=problem.kind.status,
        headers={**extra, "Content-Type": CONTENT_TYPE, **problem.headers},
    )
