"""Every type of problem that a call can end in (RFC 9457), with an example for the document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

URN = "urn:babygun:problem:"

Repeat = Literal["no", "later", "with the same key", "with a new token", "find out first"]


@dataclass(frozen=True, slots=True)
class ProblemType:
    """``slug`` ends its ``type``, a URN that programs may compare and that never changes.

    ``example`` and ``example_field``: a detail and a field as a problem of this type has them.
    ``retry_after``: seconds, for the header Retry-After. ``means`` and ``repeat``, for docs/api.md:
    when it comes, and whether the call can be repeated. "later": after Retry-After, or a while.
    """

    slug: str
    status: int
    title: str
    example: str
    example_field: str | None = None
    retry_after: int | None = None
    means: str = field(kw_only=True)
    repeat: Repeat = field(default="no", kw_only=True)

    @property
    def uri(self) -> str:
        return URN + self.slug


MALFORMED_JSON = ProblemType(
    "malformed-json",
    400,
    "The body is not JSON",
    "The body is not JSON: in an object, a comma or } is missing (byte 32).",
    means="the body is not JSON in UTF-8",
)
MALFORMED_REQUEST = ProblemType(
    "malformed-request",
    400,
    "The request is not valid HTTP",
    "A header is not of the form Name: value.",
    means=(
        "one of these: the request is not valid HTTP. Its body broke off. It is not compressed "
        "as it says. `x-batch-validation` is neither `strict` nor `permissive`"
    ),
)
NO_TOKEN = ProblemType(
    "no-token",
    401,
    "This call needs a token",
    "Send a token from POST /tokens as Authorization: Bearer <token>.",
    means="this call needs a token",
)
INVALID_TOKEN = ProblemType(
    "invalid-token",
    401,
    "The token is not valid",
    "The token has expired.",
    means="the token has expired, was revoked, or was not issued here; `detail` says which",
    repeat="with a new token",
)
INVALID_CREDENTIALS = ProblemType(
    "invalid-credentials",
    401,
    "Client id and secret do not match",
    "There is no client with this id and secret.",
    means="client id and secret do not match",
)
INSUFFICIENT_SCOPE = ProblemType(
    "insufficient-scope",
    403,
    "The client or its token lacks the scope",
    "This call needs the scope emails:send.",
    means="the client or its token lacks the scope",
)
CROSS_SITE = ProblemType(
    "cross-site",
    403,
    "Another site's page made this call",
    "A call with a cookie must come from a page of this same address."
    " Programs send Authorization: Bearer <token> instead.",
    means="a page of another site made a call with the session's cookie",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "There is no such thing",
    "There is no e-mail with this id. E-mails are kept for a time after their end, then removed.",
    means=(
        "there is no such path, e-mail, domain, webhook or client, or it belongs to another client"
    ),
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "This path has no such method",
    "PUT is not among GET, OPTIONS.",
    means="the header `Allow` names the methods that this path has",
)
REQUEST_TIMEOUT = ProblemType(
    "request-timeout",
    408,
    "The request took too long to arrive",
    "The body was not there after 120 s (setting request_timeout).",
    "body",
    means="the body did not arrive within the setting `request_timeout` (2 minutes)",
    repeat="later",
)
CONFLICT = ProblemType(
    "conflict",
    409,
    "The present state does not allow this",
    "The e-mail is complete already.",
    means=(
        "one of these; `detail` says which. The e-mail's state does not allow this. A client "
        "with this id exists. A client would delete itself, or take the scope `admin` from "
        "itself. The client has ten webhooks, or the most suppressions. The webhook is "
        "disabled. Another client holds the domain"
    ),
)
IDEMPOTENCY_CONFLICT = ProblemType(
    "idempotency-conflict",
    409,
    "The Idempotency-Key was used with another request",
    "This Idempotency-Key has been used with another request.",
    "Idempotency-Key",
    means=(
        "the key was used with another body; or, for a batch, with another `x-batch-validation`"
    ),
)
CONTENT_GONE = ProblemType(
    "content-gone",
    410,
    "The content is deleted",
    "The e-mail's content is not kept any more.",
    means="the e-mail exists, but its content was deleted",
)
TOO_LARGE = ProblemType(
    "too-large",
    413,
    "The request is over a size limit",
    "The body is larger than this server takes (setting max_request).",
    "body",
    means="a body, the attachments, headers, metadata or the whole request exceed their limit",
)
URI_TOO_LONG = ProblemType(
    "uri-too-long",
    414,
    "Path and query are over a size limit",
    "Path and query have more than 8190 bytes.",
    means="path and query have more than 8,190 bytes",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "The body has another type than the call takes, or is compressed in another way",
    "Send the body with Content-Type: application/json.",
    "Content-Type",
    means=(
        "the call does not take this type of body, or the compression is neither gzip nor "
        "deflate. Calls take `application/json`; an import takes `text/csv` or "
        "`application/x-ndjson`"
    ),
)
EXPECTATION_FAILED = ProblemType(
    "expectation-failed",
    417,
    "The expectation can't be met",
    "Only 100-continue can be expected.",
    means="the request has an `Expect` other than `100-continue`",
)
INVALID_REQUEST = ProblemType(
    "invalid-request",
    422,
    "The request breaks a rule",
    "Bcc can't be set here: give its addresses in the field bcc, which is never sent along.",
    "headers.Bcc",
    means="a wrong type, an unknown field or parameter, or a broken rule",
)
TOO_MANY_REQUESTS = ProblemType(
    "too-many-requests",
    429,
    "A rate is used up",
    "The client may send 50 e-mails a second.",
    means="the client's rate limit is reached; `Retry-After` says how long to wait",
    repeat="later",
)
DAILY_LIMIT = ProblemType(
    "daily-limit",
    429,
    "The client's daily limit has too little left",
    "The client may send to 10,000 recipients a day (UTC), of which 3 remain."
    " An operator can raise the limit.",
    means=(
        "the client's daily limit has too little left; `remaining` says how many recipients are"
    ),
    repeat="later",
)
HEADERS_TOO_LARGE = ProblemType(
    "headers-too-large",
    431,
    "The headers are over a size limit",
    "A header has more than 8192 bytes.",
    means="there are more than 128 headers, or one of more than 8,192 bytes",
)
INTERNAL = ProblemType(
    "internal",
    500,
    "Something went wrong on our side",
    "It is in our log under this request id.",
    means="an error in Babygun; the log has it under the request id",
    repeat="with the same key",
)
ETCD_UNAVAILABLE = ProblemType(
    "etcd-unavailable",
    503,
    "The store can't be reached",
    "etcd does not answer.",
    retry_after=5,
    means="etcd does not answer",
    repeat="later",
)
NOT_STORED = ProblemType(
    "not-stored",
    503,
    "The store can't be reached, and nothing is stored",
    "etcd does not answer. Nothing is stored. Repeat the call.",
    retry_after=5,
    means="etcd does not answer, and nothing is stored; `stored` is `no`. Repeat the call",
    repeat="later",
)
OUTCOME_UNKNOWN = ProblemType(
    "outcome-unknown",
    503,
    "The store did not say whether it took the change",
    "etcd did not answer in time. The e-mail may be stored. A repeated call may send it twice:"
    " first ask GET /emails/01930000-0000-7000-8000-000000000000 when etcd answers again."
    " With an Idempotency-Key, calls can be repeated safely.",
    retry_after=5,
    means=(
        "etcd did not answer a write of a call without `Idempotency-Key`; `stored` is "
        "`unknown`. See [After a 503](#after-a-503)"
    ),
    repeat="find out first",
)
REPEAT_WITH_KEY = ProblemType(
    "repeat-with-key",
    503,
    "The store did not say whether it took the e-mail, and repeating the call is safe",
    "etcd did not answer in time. The e-mail may be stored. Repeat the call with the same"
    " Idempotency-Key: it is stored once.",
    retry_after=5,
    means=(
        "etcd did not answer a write; `stored` is `unknown`. Repeat the call with the same "
        "`Idempotency-Key`: the e-mail is stored once"
    ),
    repeat="with the same key",
)
OUT_OF_SPACE = ProblemType(
    "out-of-space",
    503,
    "The store is full",
    "etcd's database has reached its quota and takes no more writes.",
    retry_after=60,
    means=(
        "etcd is full or nearly full: above 90 % of its quota, or sooner where e-mails are "
        "large, no new e-mails are taken. One e-mail is also refused if it is larger than what its "
        "API process may give out; `detail` says how much that is. If that stays so, it must be "
        "smaller, or etcd needs a larger quota"
    ),
    repeat="later",
)
BUSY = ProblemType(
    "busy",
    503,
    "Too many bodies or large answers at once",
    "Bodies and large answers fill this process's memory for them, or this client's share of it"
    " (setting api_memory).",
    retry_after=5,
    means="too many bodies or large answers at once for the setting `api_memory`",
    repeat="later",
)
OUT_OF_MEMORY = ProblemType(
    "out-of-memory",
    503,
    "This process has no memory or files left",
    "The call broke off. A change may have been made: read the state first. With an"
    " Idempotency-Key, calls can be repeated safely.",
    retry_after=5,
    means=(
        "the process has no memory left and broke off the call; `stored` is `unknown`. See "
        "[After a 503](#after-a-503)"
    ),
    repeat="with the same key",
)
TOO_MANY_CONNECTIONS = ProblemType(
    "too-many-connections",
    503,
    "Too many connections are open",
    "This process has its most connections (setting api_connections). Come again in a moment.",
    retry_after=5,
    means="the process has its maximum of connections, in all or from your address",
    repeat="later",
)
TOO_MANY_WAITING = ProblemType(
    "too-many-waiting",
    503,
    "Too many calls wait at this process",
    "1000 calls wait at this process already. Call without wait, or again in a moment.",
    retry_after=5,
    means="the process has its maximum of calls with `wait` (1,000)",
    repeat="later",
)
NO_RELAY = ProblemType(
    "no-relay",
    503,
    "No route is configured",
    "An operator must set relay_url, routes or default (docs/settings.md) before e-mails can be "
    "accepted.",
    retry_after=60,
    means="no route is configured",
    repeat="later",
)
NO_SEALING_KEY = ProblemType(
    "no-sealing-key",
    503,
    "No key is configured that seals secrets",
    "An operator must set secrets_key_file or secrets_keys before domains get DKIM keys.",
    retry_after=60,
    means="the settings have no key that [seals](domains.md#keys-are-sealed) DKIM keys",
    repeat="later",
)
TOO_MANY_LISTENERS = ProblemType(
    "too-many-listeners",
    503,
    "Too many are listening",
    "This process has no room for more listeners, or this client has half of them.",
    retry_after=5,
    means="the process has its maximum of listeners: 500, or 250 of one client",
    repeat="later",
)
NOT_READY = ProblemType(
    "not-ready",
    503,
    "The API is not ready",
    "The API has not read its clients and keys from etcd yet.",
    retry_after=2,
    means=(
        "the API has just started, is stopping, or found another cluster in etcd; `GET "
        "/readyz` says why"
    ),
    repeat="later",
)

TYPES: tuple[ProblemType, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, ProblemType)
)
