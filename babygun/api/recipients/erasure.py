"""DELETE /recipients/{address}: erases what is kept of one recipient."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import msgspec
from aiohttp import web
from msgspec import Meta

from babygun.api.access.authenticator import access_of
from babygun.api.http.context import STORE, call_of
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import WRITE_ERRORS, Answer, Parameter, Routes
from babygun.api.recipients.parameters import ADDRESS, address_of
from babygun.runtime.logs import get_logger
from babygun.store.erasure.emails import Asker
from babygun.store.erasure.erasure import Suppressions, erase_recipient
from babygun.store.erasure.search import place_of

log = get_logger("api")
routes = Routes("recipients")

_SECONDS = 5.0  # of one call


class ErasureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one call erased or, with `dry_run`, found."""

    dry_run: bool
    deleted: Annotated[
        int, Meta(description="E-mails for nobody else. They are gone.", examples=[1])
    ]
    erased: Annotated[
        int,
        Meta(description="E-mails of which others keep theirs: a mark stands there.", examples=[1]),
    ]
    notices: Annotated[
        int, Meta(description="Events for webhooks that named the address.", examples=[0])
    ]
    suppressions: Annotated[int, Meta(description="Lists that the address was on.", examples=[1])]
    under_way: Annotated[
        int,
        Meta(
            description="What could not be erased yet, since it is being sent, or could not be"
            " looked at in time. Call again soon.",
            examples=[0],
        ),
    ]
    read: Annotated[int, Meta(description="Keys of etcd that were read.", examples=[48211])]
    cursor: Annotated[
        str | None,
        Meta(description="There is more: repeat the call with it.", examples=[None]),
    ]


@routes.call(
    "DELETE",
    "/recipients/{address}",
    summary="Erase a recipient's data",
    scope="admin",
    parameters=[
        ADDRESS,
        Parameter("dry_run", "query", Literal["true", "false"], "Count only.", "true", "false"),
        Parameter(
            "suppressions",
            "query",
            Suppressions,
            "hash: lists keep a hash of the address, and no mail goes there. delete: the address"
            " is taken off all lists, and mail may go there again.",
            "hash",
            "hash",
        ),
        Parameter("cursor", "query", str, "From the call before."),
    ],
    answers=[Answer(200, "What this call did.", ErasureReport)],
    errors=WRITE_ERRORS,
)
async def erase_recipient_data(request: web.Request) -> web.Response:
    """Erases all data about one mailbox, of all clients.

    An e-mail for nobody else is deleted; it is cancelled first if it is not final. In an e-mail
    to several recipients, only this address is replaced, by erased@erased.invalid. One call works
    for some seconds. Repeat it with its cursor until the cursor is null. If a call fails, repeat
    it: nothing is erased twice. docs/privacy.md says what is not erased.
    """
    query, call = request.query, call_of(request)
    mailbox, dry_run = address_of(request), query.get("dry_run") == "true"
    report = await erase_recipient(
        request.app[STORE],
        mailbox,
        place=place_of(query["cursor"]) if "cursor" in query else None,
        seconds=_SECONDS,
        suppressions=cast("Suppressions", query.get("suppressions", "hash")),
        dry_run=dry_run,
        asker=Asker(access_of(request).client.id, call.request_id),
    )
    log.info(
        "recipient erased",
        dry_run=dry_run,
        deleted=report.deleted,
        erased=report.erased,
        under_way=report.under_way,
        done=report.next is None,
    )
    answer = call.result = ErasureReport(
        dry_run=dry_run,
        deleted=report.deleted,
        erased=report.erased,
        notices=report.notices,
        suppressions=report.suppressions,
        under_way=report.under_way,
        read=report.read,
        cursor=report.next.cursor if report.next else None,
    )
    return json_answer(answer)
