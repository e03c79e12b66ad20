"""The one table of calls: path, handler, who may, and how the OpenAPI document tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from babygun.api import emails, examples, operations, problems, scrape, tokens
from babygun.api.documents import AcceptedEmail, EmailDocument, EmailList, EmailLog, Liveness, Readiness, WorkerList
from babygun.api.edge import Handler
from babygun.api.openapi_view import show_openapi
from babygun.api.problems import ProblemType
from babygun.api.submission import EmailRequest
from babygun.model import Scope

# "token": any valid token.  None: nobody is asked for one.
Needs = Scope | Literal["token"] | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """``where``: path, query or header."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: dict[str, Any]
    example: str | int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answers when it succeeds. ``document``: a Struct of documents or tokens, or ``str``; None: no body."""

    status: int
    description: str
    document: Any = None
    example: Any = None
    headers: tuple[str, ...] = ()  # names from openapi's table
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    operation: str  # the OpenAPI operationId
    summary: str
    description: str = ""
    tag: Literal["tokens", "emails", "operations"]
    needs: Needs = None
    basic: bool = False  # HTTP Basic is taken
    metrics_token: bool = False  # the setting metrics_token is asked for, where it is set
    parameters: tuple[Parameter, ...] = ()
    body: Any = None  # a Struct
    body_required: bool = True
    body_examples: dict[str, Any] = field(default_factory=dict)
    answer: Answer
    problems: tuple[ProblemType, ...] = ()  # beside those that its body and its token bring along


_ID = Parameter("id", "path", "The e-mail's id, from the answer to POST /emails.", {"type": "string"}, examples.EMAIL_ID)
_ETCD = (problems.ETCD_UNAVAILABLE, problems.OUTCOME_UNKNOWN)
_WRITES = (*_ETCD, problems.OUT_OF_SPACE)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/tokens",
        handler=tokens.issue_token,
        operation="issueToken",
        summary="Get a token",
        description="Client id and secret, by HTTP Basic or in the body, for a token. The secret stays out of all other calls.",
        tag="tokens",
        basic=True,
        body=tokens.TokenRequest,
        body_required=False,
        body_examples=examples.TOKEN_REQUESTS,
        answer=Answer(200, "A new token.", tokens.Token, examples.TOKEN),
        problems=(problems.INVALID_CREDENTIALS, problems.INSUFFICIENT_SCOPE, problems.NOT_READY, *_ETCD),
    ),
    Route(
        method="GET",
        path="/tokens",
        handler=tokens.show_token,
        operation="showToken",
        summary="Ask whether the token is valid",
        description="Tells of the token in the Authorization header; one that is not valid gets 401 with the reason.",
        tag="tokens",
        needs="token",
        answer=Answer(200, "The token is valid.", tokens.TokenInfo, examples.TOKEN_INFO),
        problems=_ETCD,
    ),
    Route(
        method="DELETE",
        path="/tokens",
        handler=tokens.revoke_token,
        operation="revokeToken",
        summary="Revoke the token",
        description="The token in the Authorization header is refused from now on, by every API process within a second.",
        tag="tokens",
        needs="token",
        answer=Answer(204, "The token is revoked."),
        problems=_WRITES,
    ),
    Route(
        method="POST",
        path="/emails",
        handler=emails.send_email,
        operation="sendEmail",
        summary="Send an e-mail",
        description=(
            "The answer leaves after the e-mail has been committed to etcd: from then on it is delivered, or its failure told. "
            "With an `Idempotency-Key` a repeated call gets the first one's answer, and the e-mail is sent once."
        ),
        tag="emails",
        needs="emails:send",
        parameters=(
            Parameter(
                "Idempotency-Key",
                "header",
                "Names the call: repeated with the same body it has no further effect. Remembered for the setting idempotency_retention, 24 hours by default.",
                {"type": "string", "minLength": 1, "maxLength": emails.MAX_IDEMPOTENCY_KEY, "pattern": "^[ -~]+$"},
                "order-4711-confirmation",
            ),
        ),
        body=EmailRequest,
        body_examples=examples.EMAIL_REQUESTS,
        answer=Answer(202, "The e-mail is stored and will be sent.", AcceptedEmail, examples.ACCEPTED, ("Location", "Idempotent-Replayed")),
        problems=(problems.IDEMPOTENCY_CONFLICT, problems.BUSY, problems.TOO_MANY_REQUESTS, problems.NO_RELAY, *_WRITES),
    ),
    Route(
        method="GET",
        path="/emails",
        handler=emails.list_emails,
        operation="listEmails",
        summary="List e-mails, newest first",
        description=(
            "The client's own; with the scope admin everybody's. A page reads a bounded number of records whatever the filter, "
            "so it may hold fewer e-mails than asked for and still have a cursor: go on until the cursor is null."
        ),
        tag="emails",
        needs="emails:read",
        parameters=(
            Parameter("limit", "query", "The most e-mails on the page.", {"type": "integer", "minimum": 1, "maximum": emails.MAX_LIMIT, "default": emails.DEFAULT_LIMIT}, 20),
            Parameter("cursor", "query", "From the page before.", {"type": "string"}, examples.EMAIL_ID),
            Parameter("status", "query", "Only e-mails in this state.", {"type": "string", "enum": list(emails.STATUSES)}, "failed"),
            Parameter("tag", "query", "Only e-mails with this tag.", {"type": "string"}, "welcome"),
        ),
        answer=Answer(200, "A page of e-mails.", EmailList, examples.EMAIL_LIST),
        problems=_ETCD,
    ),
    Route(
        method="GET",
        path="/emails/{id}",
        handler=emails.show_email,
        operation="showEmail",
        summary="Read an e-mail and its status",
        tag="emails",
        needs="emails:read",
        parameters=(_ID,),
        answer=Answer(200, "The e-mail.", EmailDocument, examples.EMAIL),
        problems=(problems.NOT_FOUND, *_ETCD),
    ),
    Route(
        method="GET",
        path="/emails/{id}/log",
        handler=emails.show_log,
        operation="showLog",
        summary="Read an e-mail's status log",
        description="What happened to it, oldest first: accepted, claimed, delivered, deferred, bounced, expired, reclaimed, cancelled, retried.",
        tag="emails",
        needs="emails:read",
        parameters=(_ID,),
        answer=Answer(200, "The log.", EmailLog, examples.LOG),
        problems=(problems.NOT_FOUND, *_ETCD),
    ),
    Route(
        method="POST",
        path="/emails/{id}/cancel",
        handler=emails.cancel_email,
        operation="cancelEmail",
        summary="Cancel an e-mail",
        description="Stops every recipient that is not delivered yet. What is being sent at this moment can't be stopped and goes on: `sending` names those queues.",
        tag="emails",
        needs="emails:send",
        parameters=(_ID,),
        answer=Answer(200, "The e-mail as it is now.", EmailDocument, examples.CANCELLED),
        problems=(problems.NOT_FOUND, problems.CONFLICT, *_WRITES),
    ),
    Route(
        method="POST",
        path="/emails/{id}/retry",
        handler=emails.retry_email,
        operation="retryEmail",
        summary="Try a failed e-mail again",
        description="Tries the recipients that have not got it again, from the first try. Only a failed or cancelled e-mail whose content is still kept can be tried again.",
        tag="emails",
        needs="emails:send",
        parameters=(_ID,),
        answer=Answer(200, "The e-mail as it is now.", EmailDocument, examples.RETRIED),
        problems=(problems.NOT_FOUND, problems.CONFLICT, *_WRITES),
    ),
    Route(
        method="GET",
        path="/workers",
        handler=operations.list_workers,
        operation="listWorkers",
        summary="List the live workers",
        tag="operations",
        needs="workers:read",
        answer=Answer(200, "The workers whose lease is alive.", WorkerList, examples.WORKERS),
        problems=_ETCD,
    ),
    Route(
        method="GET",
        path="/healthz",
        handler=operations.alive,
        operation="alive",
        summary="Liveness",
        description="Says that this process answers, and nothing of etcd: a restart would not mend that.",
        tag="operations",
        answer=Answer(200, "The process answers.", Liveness, examples.ALIVE),
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=operations.ready,
        operation="ready",
        summary="Readiness",
        description="Whether e-mails are taken; asks etcd each time. 503 tells every reason why not.",
        tag="operations",
        answer=Answer(200, "E-mails are taken.", Readiness, examples.READY),
        problems=(problems.NOT_READY,),
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=scrape.show_metrics,
        operation="showMetrics",
        summary="Metrics",
        description="For Prometheus; as OpenMetrics to those who accept that. What it tells of etcd is up to five seconds old, and absent where etcd does not answer.",
        tag="operations",
        metrics_token=True,
        answer=Answer(200, "Metrics in Prometheus' text format.", str, examples.METRICS, media_type="text/plain"),
        problems=(problems.NO_TOKEN, problems.INVALID_TOKEN),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=show_openapi,
        operation="showOpenapi",
        summary="This description",
        tag="operations",
        answer=Answer(200, "An OpenAPI 3.1 document.", dict[str, Any], {"openapi": "3.1.0"}),
    ),
)
