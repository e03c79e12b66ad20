"""The calls on e-mails."""

from __future__ import annotations

from babygun.api.emails import (
    batch,
    batch_body,
    bulk,
    change,
    content,
    listing,
    log,
    preview,
    schedule,
    send,
    show,
)
from babygun.api.emails.documents import AcceptedEmail, EmailDocument, EmailList
from babygun.api.http import problem_types as problems
from babygun.api.http.route import READS, WRITES, Answer, Parameter, Route
from babygun.api.openapi import examples
from babygun.intake.request import EmailRequest

_ID = Parameter(
    "id",
    "path",
    "The e-mail's id, from the answer to POST /emails.",
    {"type": "string"},
    examples.EMAIL_ID,
)
_BULK = f"Up to {bulk.MAX_IDS:,} at once, each on its own: one that can't be changed keeps none of the others from it."
_IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Names the call: repeated with the same body it has no further effect. Remembered for the setting idempotency_retention, 24 hours by default.",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": send.MAX_IDEMPOTENCY_KEY,
        "pattern": "^[ -~]+$",
    },
    "order-4711-confirmation",
)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/emails",
        handler=send.send_email,
        operation="sendEmail",
        summary="Send an e-mail",
        description=(
            "The answer leaves after the e-mail has been committed to etcd: from then on it is delivered, or its failure told. "
            "With an `Idempotency-Key` a repeated call gets the first one's answer, and the e-mail is sent once."
        ),
        tag="emails",
        needs="emails:send",
        parameters=(_IDEMPOTENCY_KEY,),
        body=EmailRequest,
        body_examples=examples.EMAIL_REQUESTS,
        answer=Answer(
            202,
            "The e-mail is stored and will be sent.",
            AcceptedEmail,
            examples.ACCEPTED,
            ("Location", "Idempotent-Replayed"),
        ),
        problems=(
            problems.IDEMPOTENCY_CONFLICT,
            problems.BUSY,
            problems.TOO_MANY_REQUESTS,
            problems.NO_RELAY,
            *WRITES,
        ),
    ),
    Route(
        method="POST",
        path="/emails/batch",
        handler=batch.send_batch,
        operation="sendEmails",
        summary="Send many e-mails",
        description=(
            f"Up to {batch_body.MAX_EMAILS:,} in one call, each as for `POST /emails`. All of them are checked before the first is stored: where one breaks a rule none is taken, or with "
            f"`{batch.VALIDATION}: permissive` the others are. The answer leaves after all that it gives an id have been committed to etcd. "
            "The `Idempotency-Key` covers the whole batch: repeated, whatever became of the first call, it gives the same ids, stores what is not stored yet, and sends nothing twice."
        ),
        tag="emails",
        needs="emails:send",
        parameters=(
            _IDEMPOTENCY_KEY,
            Parameter(
                batch.VALIDATION,
                "header",
                "strict: one e-mail that can't be taken keeps all from it. permissive: each on its own.",
                {"type": "string", "enum": ["strict", "permissive"], "default": "strict"},
                "permissive",
            ),
        ),
        body=batch_body.BatchRequest,
        body_examples=examples.BATCH_REQUESTS,
        answer=Answer(
            202,
            "All are stored and will be sent.",
            batch.BatchResults,
            examples.BATCH_ACCEPTED,
            ("Idempotent-Replayed",),
        ),
        other_answers=(
            Answer(
                207,
                "Some have a problem; those with an id are stored and will be sent.",
                batch.BatchResults,
                examples.BATCH_MIXED,
                ("Idempotent-Replayed",),
            ),
        ),
        problems=(
            problems.IDEMPOTENCY_CONFLICT,
            problems.BUSY,
            problems.TOO_MANY_REQUESTS,
            problems.NO_RELAY,
            *WRITES,
        ),
    ),
    Route(
        method="GET",
        path="/emails",
        handler=listing.list_emails,
        operation="listEmails",
        summary="List e-mails, newest first",
        description=(
            "The client's own; with the scope admin everybody's. A page reads a bounded number of records whatever the filter, "
            "so it may hold fewer e-mails than asked for and still have a cursor: go on until the cursor is null."
        ),
        tag="emails",
        needs="emails:read",
        parameters=(
            Parameter(
                "limit",
                "query",
                "The most e-mails on the page.",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": listing.MAX_LIMIT,
                    "default": listing.DEFAULT_LIMIT,
                },
                20,
            ),
            Parameter(
                "cursor", "query", "From the page before.", {"type": "string"}, examples.EMAIL_ID
            ),
            Parameter(
                "status",
                "query",
                "Only e-mails in this state; of the incomplete ones, waiting and sending tell apart those that nobody sends at this moment and those that somebody does.",
                {"type": "string", "enum": list(listing.STATUSES)},
                "failed",
            ),
            Parameter("tag", "query", "Only e-mails with this tag.", {"type": "string"}, "welcome"),
            Parameter(
                "recipient",
                "query",
                "Only e-mails to this address, or to this domain where it begins with @; upper and lower case are the same.",
                {"type": "string"},
                "@example.org",
            ),
            Parameter(
                "after",
                "query",
                "Only e-mails accepted at this time or later.",
                {"type": "string", "format": "date-time"},
                "2026-11-25T09:00:00Z",
            ),
            Parameter(
                "before",
                "query",
                "Only e-mails accepted before this time.",
                {"type": "string", "format": "date-time"},
                "2026-11-25T10:00:00Z",
            ),
        ),
        answer=Answer(200, "A page of e-mails.", EmailList, examples.EMAIL_LIST),
        problems=READS,
    ),
    Route(
        method="GET",
        path="/emails/{id}",
        handler=show.show_email,
        operation="showEmail",
        summary="Read an e-mail and its status",
        description=(
            "With `wait` the answer comes at the instant of the e-mail's next change (its status, a recipient's, or who sends it); at once where it is over, or where "
            "`If-None-Match` is given and is not its `ETag` any more; and as it is then when the time is over."
        ),
        tag="emails",
        needs="emails:read",
        parameters=(
            _ID,
            Parameter(
                "wait",
                "query",
                f"How long to wait for a change, at most {show.MAX_WAIT:g}s.",
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m)?$"},
                "30s",
            ),
            Parameter(
                "If-None-Match",
                "header",
                "The ETag of the version that the caller has.",
                {"type": "string"},
                '"5f2-600"',
            ),
        ),
        not_modified=True,
        answer=Answer(200, "The e-mail.", EmailDocument, examples.EMAIL, ("ETag",)),
        problems=(problems.NOT_FOUND, problems.TOO_MANY_WAITING, *READS),
    ),
    Route(
        method="GET",
        path="/emails/{id}/log",
        handler=log.show_log,
        operation="showLog",
        summary="Read an e-mail's status log",
        description="What happened to it, oldest first: accepted, claimed, delivered, deferred, bounced, expired, reclaimed, cancelled, retried.",
        tag="emails",
        needs="emails:read",
        parameters=(_ID,),
        answer=Answer(200, "The log.", log.EmailLog, examples.LOG),
        problems=(problems.NOT_FOUND, *READS),
    ),
    Route(
        method="GET",
        path="/emails/{id}/html",
        handler=preview.show_html,
        operation="showHtml",
        summary="See an e-mail's HTML",
        description="For a frame of the page: its Content-Security-Policy lets it run nothing and load nothing; pictures that came along stand in it.",
        tag="emails",
        needs="emails:read",
        parameters=(_ID,),
        answer=Answer(200, "The HTML.", str, "<p>Thank you!</p>", media_type="text/html"),
        problems=(problems.NOT_FOUND, problems.CONTENT_GONE, *READS),
    ),
    Route(
        method="POST",
        path="/emails/{id}/cancel",
        handler=change.cancel_email,
        operation="cancelEmail",
        summary="Cancel an e-mail",
        description="Stops every recipient that is not delivered yet. What is being sent at this moment can't be stopped and goes on: `sending` names those queues.",
        tag="emails",
        needs="emails:send",
        parameters=(_ID,),
        answer=Answer(200, "The e-mail as it is now.", EmailDocument, examples.CANCELLED),
        problems=(problems.NOT_FOUND, problems.CONFLICT, *WRITES),
    ),
    Route(
        method="POST",
        path="/emails/{id}/retry",
        handler=change.retry_email,
        operation="retryEmail",
        summary="Try a failed e-mail again",
        description="Tries the recipients that have not got it again, from the first try. Only a failed or cancelled e-mail whose content is still kept can be tried again.",
        tag="emails",
        needs="emails:send",
        parameters=(_ID,),
        answer=Answer(200, "The e-mail as it is now.", EmailDocument, examples.RETRIED),
        problems=(problems.NOT_FOUND, problems.CONFLICT, *WRITES),
    ),
    Route(
        method="POST",
        path="/emails/cancel",
        handler=bulk.cancel_emails,
        operation="cancelEmails",
        summary="Cancel many e-mails",
        description=f"{_BULK} What a call on one of them would answer is told for each.",
        tag="emails",
        needs="emails:send",
        body=bulk.BulkRequest,
        body_examples=examples.BULK_REQUESTS,
        answer=Answer(200, "What became of each.", bulk.BulkResults, examples.BULK_RESULTS),
        problems=WRITES,
    ),
    Route(
        method="POST",
        path="/emails/retry",
        handler=bulk.retry_emails,
        operation="retryEmails",
        summary="Try many e-mails again",
        description=f"{_BULK} What a call on one of them would answer is told for each.",
        tag="emails",
        needs="emails:send",
        body=bulk.BulkRequest,
        body_examples=examples.BULK_REQUESTS,
        answer=Answer(200, "What became of each.", bulk.BulkResults, examples.BULK_RESULTS),
        problems=WRITES,
    ),
    Route(
        method="GET",
        path="/emails/{id}/source",
        handler=content.show_source,
        operation="showSource",
        summary="Read an e-mail as it is sent",
        description="The whole message as the relay gets it, if that takes bodies of eight bits; Bcc is not in there.",
        tag="emails",
        needs="emails:read",
        parameters=(
            _ID,
            Parameter(
                "download",
                "query",
                "Present, with any value: the answer is a file to save.",
                {"type": "string"},
                "",
            ),
        ),
        answer=Answer(
            200, "The message.", str, examples.SOURCE, ("Content-Disposition",), "message/rfc822"
        ),
        problems=(problems.NOT_FOUND, problems.CONTENT_GONE, *READS),
    ),
    Route(
        method="GET",
        path="/emails/{id}/attachments/{n}",
        handler=content.show_attachment,
        operation="showAttachment",
        summary="Read an attachment",
        description="Its bytes, with its own media type, and always as a file to save.",
        tag="emails",
        needs="emails:read",
        parameters=(
            _ID,
            Parameter(
                "n",
                "path",
                "Its place in `attachments`: 0 is the first.",
                {"type": "integer", "minimum": 0},
                0,
            ),
        ),
        answer=Answer(200, "The bytes.", bytes, "…", ("Content-Disposition",), "*/*"),
        problems=(problems.NOT_FOUND, problems.CONTENT_GONE, *READS),
    ),
    Route(
        method="GET",
        path="/schedule",
        handler=schedule.show_schedule,
        operation="showSchedule",
        summary="List what waits for its time, soonest first",
        description="E-mails for later and deferred tries, one entry for each queue: the client's own; with the scope admin everybody's. A page reads a bounded number of keys.",
        tag="emails",
        needs="emails:read",
        parameters=(
            Parameter(
                "limit",
                "query",
                "The most entries on the page.",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": listing.MAX_LIMIT,
                    "default": listing.DEFAULT_LIMIT,
                },
                20,
            ),
            Parameter(
                "cursor",
                "query",
                "From the page before.",
                {"type": "string"},
                examples.SCHEDULE["cursor"],
            ),
        ),
        answer=Answer(200, "A page of what waits.", schedule.Schedule, examples.SCHEDULE),
        problems=READS,
    ),
)
